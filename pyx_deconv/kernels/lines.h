/* What few channels are computed with, where the vectors of the register tile would be nearly empty: here they run
 * along lines of pixels, or across groups of channels.
 *
 *     add_lines    sums[m * sums_step + j] = (itself if add, else 0)
 *                      + sum over i < count of weights[m * weights_step + i] * lines[offsets[i] + j]
 *                  for m < rows and j < width, a multiple of the lanes of a vector
 *     add_groups   target[p * target_step + c] = bias[c]
 *                      + sum over i < count of weights[i][c] * pixels[i][p * pixel_step + c]
 *                  for p < width and c < channels, at least HALF_BYTES / sizeof(real)
 *     join         target[x * count + i] = lines[i * line_step + x] + shift for i < count and x < width
 *     separate     lines[i * line_step + x] = source[x * count + i] for i < count and x < width
 *     dot_lines    sum over i < count, j < width of x[i][j] * y[i][j]
 *     dot_pixels   sums[j] += sum over i < count of x[i * x_step + j] * y[i * y_step + j], for j < width
 */
#ifndef PYX_DECONV_LINES_H
#define PYX_DECONV_LINES_H

#include "tile.h"
#include "transpose.h"

#define REAL float
#define NAME(name) name##_float
#include "lines_body.h"
#undef REAL
#undef NAME

#define REAL double
#define NAME(name) name##_double
#include "lines_body.h"
#undef REAL
#undef NAME

#endif
