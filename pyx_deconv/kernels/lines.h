/* What few channels are computed with, where the vectors of the register tile would be nearly empty: here they run
 * along lines of pixels.
 *
 *     add_lines    sums[j] += sum over i < count of weights[i] * lines[i][j], for j < width
 *     dot_lines    sum over i < count, j < width of x[i][j] * y[i][j]
 *
 * Or, where each channel is a group of its own, along channels that lie side by side:
 *
 *     dot_pixels   sums[j] += sum over i < count of x[i * x_step + j] * y[i * y_step + j], for j < width
 */
#ifndef PYX_DECONV_LINES_H
#define PYX_DECONV_LINES_H

#include "tile.h"

#define REAL float
#define ADD_LINES add_lines_float
#define DOT_LINES dot_lines_float
#define DOT_PIXELS dot_pixels_float
#include "lines_body.h"
#undef REAL
#undef ADD_LINES
#undef DOT_LINES
#undef DOT_PIXELS

#define REAL double
#define ADD_LINES add_lines_double
#define DOT_LINES dot_lines_double
#define DOT_PIXELS dot_pixels_double
#include "lines_body.h"
#undef REAL
#undef ADD_LINES
#undef DOT_LINES
#undef DOT_PIXELS

#endif
