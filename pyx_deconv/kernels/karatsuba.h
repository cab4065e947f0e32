/* What multiplying by pairs of taps needs beside the tile; karatsuba.pxi has the formula.
 *
 *     differences   values of one unit of outputs along y and x: d0 - d1, d1, d2 - d1 along an axis with three
 *                   pixels, the pixels themselves along one with two or one; in value[(j*nx + i) * step + channel]
 *     sums          likewise d0, d0 + d1, d1 along an axis with two pixels
 *     add_to_outer  outer0 += inner, outer2 += inner; or -= for a negative sign
 *     add_pairs     first = a + b, second = b + c; returns whether all of it is finite (second may be NULL)
 *     add_up        sum = a + b
 *     move          target = source; returns whether all of it is finite
 *     all_finite    whether no value is infinite or NaN
 */
#ifndef PYX_DECONV_KARATSUBA_H
#define PYX_DECONV_KARATSUBA_H

#include <string.h>

#include "tile.h"

#define REAL float
#define NAME(name) name##_float
#include "karatsuba_body.h"
#undef REAL
#undef NAME

#define REAL double
#define NAME(name) name##_double
#include "karatsuba_body.h"
#undef REAL
#undef NAME

#endif
