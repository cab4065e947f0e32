/* What few channels are computed with, where the vectors of the register tile would be nearly empty: here they run
 * along lines of pixels, or across groups of channels.
 *
 *     add_lines    sums[m * sums_step + j] = (itself if add, else 0)
 *                      + sum over i < count of weights[m * weights_step + i] * lines[offsets[i] + j]
 *                  for m < rows and j < width, a multiple of the lanes of a vector
 *     add_groups   target[p * target_step + c] = bias[c]
 *                      + sum over i < count of weights[i][c] * pixels[i][p * pixel_step + c]
 *                  for p < width and c < channels, at least HALF_BYTES / sizeof(real)
 *     join         target[l * target_step + x * count + i] = sums[i * sums_step + l * pitch + x] + shift
 *                  for i < count, x < width and l < lines
 *     separate     lines[i * line_step + y * width + x] = source[y * source_step + start + x * count + i]
 *                  for i < count, y < height and first[i] <= x < last[i]; zeros for the other x < width. For
 *                  left <= x < right, which leave at most one pixel at either end, all i are in the source.
 *     dot_taps     sums[t * lanes + j % lanes] += sum over j < size of x[j] * y[offsets[t] + j], for t < taps;
 *                  reads, and leaves out, up to a vector behind them
 *     sum_lanes    sum of the lanes of a vector, by halves
 *     dot_groups   sums[places[t] + c] += sum over p < width of x[p * x_step + c] * y[offsets[t] + p * y_step + c]
 *                  for t < taps and c < channels, at least HALF_BYTES / sizeof(real). The last channels, as many as
 *                  a vector (or half of one) has lanes, are summed behind those of the vectors before.
 */
#ifndef PYX_DECONV_LINES_H
#define PYX_DECONV_LINES_H

#include <string.h>

#include "tile.h"
#include "transpose.h"

/* Every second lane of two vectors of so many lanes; an older GCC shuffles no more than four. */
#define EVENS_2 0, 2
#define EVENS_4 EVENS_2, 4, 6
#define EVENS_8 EVENS_4, 8, 10, 12, 14
#define EVENS_16 EVENS_8, 16, 18, 20, 22, 24, 26, 28, 30
#define ODDS_2 1, 3
#define ODDS_4 ODDS_2, 5, 7
#define ODDS_8 ODDS_4, 9, 11, 13, 15
#define ODDS_16 ODDS_8, 17, 19, 21, 23, 25, 27, 29, 31

#define REAL float
#define NAME(name) name##_float
#if VECTOR_BYTES == 16
#define EVEN_LANES EVENS_4
#define ODD_LANES ODDS_4
#elif VECTOR_BYTES == 32
#define EVEN_LANES EVENS_8
#define ODD_LANES ODDS_8
#else
#define EVEN_LANES EVENS_16
#define ODD_LANES ODDS_16
#endif
#include "lines_body.h"
#undef REAL
#undef NAME
#undef EVEN_LANES
#undef ODD_LANES

#define REAL double
#define NAME(name) name##_double
#if VECTOR_BYTES == 16
#define EVEN_LANES EVENS_2
#define ODD_LANES ODDS_2
#elif VECTOR_BYTES == 32
#define EVEN_LANES EVENS_4
#define ODD_LANES ODDS_4
#else
#define EVEN_LANES EVENS_8
#define ODD_LANES ODDS_8
#endif
#include "lines_body.h"
#undef REAL
#undef NAME
#undef EVEN_LANES
#undef ODD_LANES

#endif
