/* Pixels with zeros beside them:
 *
 *     padded_lines    target[i * target_step + left + x] = source[i * source_step + x * step] for x < count,
 *                     and zeros up to width, for i < lines; what lies ahead of each is asked for early
 *
 *     rows_of_tap     rows[i] = base[i] + shift where first[i] <= tap < last[i], else zeros, for i < TILE_ROWS;
 *                     returns whether that is so for any of them
 */
#ifndef PYX_DECONV_PADDED_H
#define PYX_DECONV_PADDED_H

#include "tile.h"
#include "transpose.h"

#define REAL float
#define NAME(name) name##_float
#include "padded_body.h"
#undef REAL
#undef NAME

#define REAL double
#define NAME(name) name##_double
#include "padded_body.h"
#undef REAL
#undef NAME

#define padded_lines(source, ...) TYPED(padded_lines, source)(source, __VA_ARGS__)
#define rows_of_tap(base, ...) TYPED(rows_of_tap, base)(base, __VA_ARGS__)

#endif
