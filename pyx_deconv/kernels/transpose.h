/* A line of pixels, channel by channel, becomes channels side by side, pixel by pixel:
 *
 *     transpose       target[column * target_step + row] = source[row * row_step + column * column_step]
 *     transpose_to    target[place[column] * target_step + row] = source[row * source_step + column],
 *                     while the cache fetches what lies ahead of the source
 *     transpose_rows  target[column * target_step + row] = rows[row][column] + shift[column], which is 0 for
 *                     NULL
 *
 *     interleave      target[x * count + i] = lines[i * line_step + x] + shift
 *
 * In blocks of 4 x 4, because element by element it costs as much as multiplying by 64 channels.
 */
#ifndef PYX_DECONV_TRANSPOSE_H
#define PYX_DECONV_TRANSPOSE_H

#include <stddef.h>

#include "typed.h"

#if defined(__clang__) || __GNUC__ >= 12
#define SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define SHUFFLE(a, b, i, j, k, l) \
    ((__typeof__(a)){PICK(a, b, i), PICK(a, b, j), PICK(a, b, k), PICK(a, b, l)})
#define PICK(a, b, i) ((i) < 4 ? (a)[(i) % 4] : (b)[(i) % 4])
#endif

#define REAL float
#define NAME(name) name##_float
#include "transpose_body.h"
#undef REAL
#undef NAME

#define REAL double
#define NAME(name) name##_double
#include "transpose_body.h"
#undef REAL
#undef NAME

#define transpose(source, ...) TYPED(transpose, source)(source, __VA_ARGS__)
#define transpose_to(source, ...) TYPED(transpose_to, source)(source, __VA_ARGS__)
#define transpose_rows(rows, ...) TYPED(transpose_rows, rows)(rows, __VA_ARGS__)
#define interleave(count, lines, ...) TYPED(interleave, lines)(count, lines, __VA_ARGS__)

#endif
