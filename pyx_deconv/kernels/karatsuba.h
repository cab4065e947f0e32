/* What multiplying by pairs of taps needs beside the tile; karatsuba.pxi has the formula.
 *
 *     differences   values of one unit of outputs along y and x: d0 - d1, d1, d2 - d1 along an axis with three
 *                   pixels, the pixels themselves along one with two or one; in value[(j*nx + i) * step + channel];
 *                   what lies ahead elements after the pixels is fetched, unless ahead is 0
 *     sums          likewise d0, d0 + d1, d1 along an axis with two pixels
 *     add_to_outer  outer0 += inner, outer2 += inner; or -= for a negative sign
 *     add_pairs     first = a + b, second = b + c (second may be NULL); returns whether both rows are finite and, in
 *                   sum, not much smaller than what was added
 *     add_rows      first += middle, last += middle, row by row, with the same answer
 *     add_up        sum = a + b
 *     copy_run      target = source, for short runs
 *     move          target = source; returns whether all of it is finite
 *     all_finite    whether no value is infinite or NaN
 */
#ifndef PYX_DECONV_KARATSUBA_H
#define PYX_DECONV_KARATSUBA_H

#include <stdint.h>
#include <string.h>

#include "tile.h"

/* A row may be this much smaller than its parts: it loses four bits then. */
#define CANCELLATION 16

#define REAL float
#define INTEGER int32_t
#define NAME(name) name##_float
#include "karatsuba_body.h"
#undef REAL
#undef INTEGER
#undef NAME

#define REAL double
#define INTEGER int64_t
#define NAME(name) name##_double
#include "karatsuba_body.h"
#undef REAL
#undef INTEGER
#undef NAME

#define differences(ny, nx, pixels, ...) TYPED(differences, pixels)(ny, nx, pixels, __VA_ARGS__)
#define sums(ny, nx, pixels, ...) TYPED(sums, pixels)(ny, nx, pixels, __VA_ARGS__)
#define add_to_outer(outer0, ...) TYPED(add_to_outer, outer0)(outer0, __VA_ARGS__)
#define add_rows(first, ...) TYPED(add_rows, first)(first, __VA_ARGS__)
#define add_pairs(a, ...) TYPED(add_pairs, a)(a, __VA_ARGS__)
#define add_up(a, ...) TYPED(add_up, a)(a, __VA_ARGS__)
#define copy_run(source, ...) TYPED(copy_run, source)(source, __VA_ARGS__)
#define move(source, ...) TYPED(move, source)(source, __VA_ARGS__)
#define all_finite(values, ...) TYPED(all_finite, values)(values, __VA_ARGS__)

#endif
