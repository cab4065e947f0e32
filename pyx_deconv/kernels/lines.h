/* What few channels are computed with, where the vectors of the register tile would be nearly empty: here they run
 * along lines of pixels, or across groups of channels.
 *
 *     add_lines    sums[m * sums_step + j] = (itself if add, else 0)
 *                      + sum over i < count of weights[m * weights_step + i] * lines[offsets[i] + j]
 *                  for m < rows and j < width, a multiple of the lanes of a vector
 *     add_stacks   target[y * target_step + x * phases + p] = shift + sum over stacks i of phase p, their taps t, of
 *                      weights[t] * planes[offsets[i] + (y + t) * pitch + x]
 *                  for y < height and x * phases + p < width; 1 or 2 phases, whose stacks and weights follow each
 *                  other: counts[4 * p + 3] stacks of four taps, then counts[4 * p + 2] of three ...
 *     add_groups   target[p * target_step + c] = bias[c] + sum over rows i, over their taps t, of
 *                      weights[i][t * weights_step + c] * rows[i][(p * step + t) * pixel_step + c]
 *                  for p < width and c < channels, at least HALF_BYTES / sizeof(real). The first counts[3] rows have
 *                  four taps, the next counts[2] have three ...; all have one if the step is more than 2.
 *     join         target[l * target_step + x * count + i] = sums[i * sums_step + l * pitch + x] + shift
 *                  for i < count, x < width and l < lines
 *     separate     planes[((y % lines_step) * count + i) * plane + y / lines_step * width + x]
 *                      = source[(y - first_line) * source_step + start + x * count + i]
 *                  for first_line <= y < last_line, i < count and first[i] <= x < last[i]; zeros for the other
 *                  x < width. For left <= x < right, which leave at most one pixel at either end, all i are in it.
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
/* The lanes of two vectors in turn, from one or from half of their lanes on. */
#define TURNS_2(first, lanes) first, lanes + first
#define TURNS_4(first, lanes) TURNS_2(first, lanes), TURNS_2(first + 1, lanes)
#define TURNS_8(first, lanes) TURNS_4(first, lanes), TURNS_4(first + 2, lanes)
#define TURNS_16(first, lanes) TURNS_8(first, lanes), TURNS_8(first + 4, lanes)

#define REAL float
#define NAME(name) name##_float
#if VECTOR_BYTES == 16
#define EVEN_LANES EVENS_4
#define ODD_LANES ODDS_4
#define LOW_LANES TURNS_4(0, 4)
#define HIGH_LANES TURNS_4(2, 4)
#elif VECTOR_BYTES == 32
#define EVEN_LANES EVENS_8
#define ODD_LANES ODDS_8
#define LOW_LANES TURNS_8(0, 8)
#define HIGH_LANES TURNS_8(4, 8)
#else
#define EVEN_LANES EVENS_16
#define ODD_LANES ODDS_16
#define LOW_LANES TURNS_16(0, 16)
#define HIGH_LANES TURNS_16(8, 16)
#endif
#define VECTOR(name) name##_whole_float
#define BYTES VECTOR_BYTES
#include "groups_body.h"
#undef VECTOR
#undef BYTES
#define VECTOR(name) name##_half_float
#define BYTES HALF_BYTES
#include "groups_body.h"
#undef VECTOR
#undef BYTES
#include "lines_body.h"
#undef REAL
#undef NAME
#undef EVEN_LANES
#undef ODD_LANES
#undef LOW_LANES
#undef HIGH_LANES

#define REAL double
#define NAME(name) name##_double
#if VECTOR_BYTES == 16
#define EVEN_LANES EVENS_2
#define ODD_LANES ODDS_2
#define LOW_LANES TURNS_2(0, 2)
#define HIGH_LANES TURNS_2(1, 2)
#elif VECTOR_BYTES == 32
#define EVEN_LANES EVENS_4
#define ODD_LANES ODDS_4
#define LOW_LANES TURNS_4(0, 4)
#define HIGH_LANES TURNS_4(2, 4)
#else
#define EVEN_LANES EVENS_8
#define ODD_LANES ODDS_8
#define LOW_LANES TURNS_8(0, 8)
#define HIGH_LANES TURNS_8(4, 8)
#endif
#define VECTOR(name) name##_whole_double
#define BYTES VECTOR_BYTES
#include "groups_body.h"
#undef VECTOR
#undef BYTES
#define VECTOR(name) name##_half_double
#define BYTES HALF_BYTES
#include "groups_body.h"
#undef VECTOR
#undef BYTES
#include "lines_body.h"
#undef REAL
#undef NAME
#undef EVEN_LANES
#undef ODD_LANES
#undef LOW_LANES
#undef HIGH_LANES

#define add_lines(rows, count, lines, ...) TYPED(add_lines, lines)(rows, count, lines, __VA_ARGS__)
#define add_stacks(phases, counts, planes, ...) TYPED(add_stacks, planes)(phases, counts, planes, __VA_ARGS__)
#define add_groups(counts, rows, ...) TYPED(add_groups, rows)(counts, rows, __VA_ARGS__)
#define join(count, sums, ...) TYPED(join, sums)(count, sums, __VA_ARGS__)
#define separate(count, lines_step, source, ...) TYPED(separate, source)(count, lines_step, source, __VA_ARGS__)
#define dot_taps(taps, x, ...) TYPED(dot_taps, x)(taps, x, __VA_ARGS__)
#define sum_lanes(lanes) TYPED(sum_lanes, lanes)(lanes)
#define dot_groups(taps, offsets, places, x, ...) TYPED(dot_groups, x)(taps, offsets, places, x, __VA_ARGS__)

#endif
