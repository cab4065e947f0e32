/* target[column * target_step + row] = source[row * source_step + column]: a line of pixels, channel by channel, becomes
 * channels side by side, pixel by pixel. In blocks of 16-byte vectors, because element by element it costs as
 * much as multiplying by 64 channels. */
#ifndef PYX_DECONV_TRANSPOSE_H
#define PYX_DECONV_TRANSPOSE_H

#include <stddef.h>

typedef float float4 __attribute__((vector_size(16), aligned(4), may_alias));
typedef double double2 __attribute__((vector_size(16), aligned(8), may_alias));

static inline void transpose_float(const float *source, ptrdiff_t source_step, ptrdiff_t rows, ptrdiff_t columns,
                                   float *target, ptrdiff_t target_step)
{
    ptrdiff_t row = 0;
    for (; row + 4 <= rows; row += 4) {
        const float *line = source + row * source_step;
        ptrdiff_t column = 0;
        for (; column + 4 <= columns; column += 4) {
            const float4 a = *(const float4 *)(line + column);
            const float4 b = *(const float4 *)(line + source_step + column);
            const float4 c = *(const float4 *)(line + 2 * source_step + column);
            const float4 d = *(const float4 *)(line + 3 * source_step + column);
            float *pixel = target + column * target_step + row;
            *(float4 *)pixel = (float4){a[0], b[0], c[0], d[0]};
            *(float4 *)(pixel + target_step) = (float4){a[1], b[1], c[1], d[1]};
            *(float4 *)(pixel + 2 * target_step) = (float4){a[2], b[2], c[2], d[2]};
            *(float4 *)(pixel + 3 * target_step) = (float4){a[3], b[3], c[3], d[3]};
        }
        for (; column < columns; column++)
            for (int i = 0; i < 4; i++)
                target[column * target_step + row + i] = line[i * source_step + column];
    }
    for (; row < rows; row++)
        for (ptrdiff_t column = 0; column < columns; column++)
            target[column * target_step + row] = source[row * source_step + column];
}

static inline void transpose_double(const double *source, ptrdiff_t source_step, ptrdiff_t rows, ptrdiff_t columns,
                                    double *target, ptrdiff_t target_step)
{
    ptrdiff_t row = 0;
    for (; row + 2 <= rows; row += 2) {
        const double *line = source + row * source_step;
        ptrdiff_t column = 0;
        for (; column + 2 <= columns; column += 2) {
            const double2 a = *(const double2 *)(line + column);
            const double2 b = *(const double2 *)(line + source_step + column);
            *(double2 *)(target + column * target_step + row) = (double2){a[0], b[0]};
            *(double2 *)(target + (column + 1) * target_step + row) = (double2){a[1], b[1]};
        }
        for (; column < columns; column++) {
            target[column * target_step + row] = line[column];
            target[column * target_step + row + 1] = line[source_step + column];
        }
    }
    for (; row < rows; row++)
        for (ptrdiff_t column = 0; column < columns; column++)
            target[column * target_step + row] = source[row * source_step + column];
}

#endif
