/* Two bfloat16 in the bits of one float, as the tile multiplies and adds them up together. */
#ifndef PYX_DECONV_DOTS_H
#define PYX_DECONV_DOTS_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include "transpose.h"

typedef uint32_t __attribute__((may_alias)) two;
enum { JOINED_ROWS = 16, JOINED_COLUMNS = 64 };

/* target[i] = first[i * step] and second[i * step]; zero instead of either if it is NULL */
static inline __attribute__((always_inline)) void join_with(const unsigned short *first, const unsigned short *second,
                                                            ptrdiff_t step, ptrdiff_t count, two *target)
{
    if (first && second)
        for (ptrdiff_t i = 0; i < count; i++)
            target[i] = first[i * step] | (two)second[i * step] << 16;
    else
        for (ptrdiff_t i = 0; i < count; i++)
            target[i] = first ? first[i * step] : (two)second[i * step] << 16;
}

static inline void join_line_of_twos(const short *first, const short *second, ptrdiff_t step, ptrdiff_t count,
                                     float *target)
{
    const unsigned short *a = (const unsigned short *)first, *b = (const unsigned short *)second;
    if (first && step == 2 && second == first + 1)
        memcpy(target, first, count * sizeof *target);
    else if (step == 1)
        join_with(a, b, 1, count, (two *)target);
    else
        join_with(a, b, step, count, (two *)target);
}

/* The same for target[column * target_step + row] and what lies at row * row_step + column * column_step, in blocks
 * that are transposed where columns are nearer to each other. */
static inline void join_twos(const short *first, const short *second, ptrdiff_t row_step, ptrdiff_t column_step,
                             ptrdiff_t rows, ptrdiff_t columns, float *target, ptrdiff_t target_step)
{
    const int turned = row_step > column_step || row_step < 0;
    if (!turned && rows * row_step == column_step && rows == target_step) /* one long row */
        rows *= columns, columns = 1;
    const ptrdiff_t block_rows = turned ? JOINED_ROWS : rows, block_columns = turned ? JOINED_COLUMNS : 1;
    float block[JOINED_ROWS * JOINED_COLUMNS];
    for (ptrdiff_t row = 0; row < rows; row += block_rows)
        for (ptrdiff_t column = 0; column < columns; column += block_columns) {
            const ptrdiff_t shift = row * row_step + column * column_step;
            const short *a = first ? first + shift : NULL, *b = second ? second + shift : NULL;
            float *to = target + column * target_step + row;
            if (!turned) {
                join_line_of_twos(a, b, row_step, rows, to);
                continue;
            }
            const ptrdiff_t height = rows - row < block_rows ? rows - row : block_rows;
            const ptrdiff_t width = columns - column < block_columns ? columns - column : block_columns;
            for (ptrdiff_t i = 0; i < height; i++, a += a ? row_step : 0, b += b ? row_step : 0)
                join_line_of_twos(a, b, column_step, width, block + i * JOINED_COLUMNS);
            transpose_float(block, JOINED_COLUMNS, 1, height, width, to, target_step);
        }
}

static inline int any_infinite(const short *values, ptrdiff_t size)
{
    int infinite = 0; /* or NaN: all bits of the exponent are set */
    for (ptrdiff_t i = 0; i < size; i++)
        infinite |= (values[i] & 0x7f80) == 0x7f80;
    return infinite;
}

#endif
