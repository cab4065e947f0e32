/* What few channels are computed with, where the vectors of the register tile would be nearly empty: here they run
 * along lines of pixels.
 *
 *     add_lines    sums[j] += sum over i < count of weights[i] * lines[i][j], for j < width
 *     dot_lines    sum over i < count, j < width of x[i][j] * y[i][j]
 */
#ifndef PYX_DECONV_LINES_H
#define PYX_DECONV_LINES_H

#include "tile.h"

#define REAL float
#define ADD_LINES add_lines_float
#define DOT_LINES dot_lines_float
#include "lines_body.h"
#undef REAL
#undef ADD_LINES
#undef DOT_LINES

#define REAL double
#define ADD_LINES add_lines_double
#define DOT_LINES dot_lines_double
#include "lines_body.h"
#undef REAL
#undef ADD_LINES
#undef DOT_LINES

#endif
