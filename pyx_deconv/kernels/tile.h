/* The register tile, in GCC/Clang vector extensions: one inner loop for every kernel, dtype, instruction set.
 *
 *     c[i][j] += sum over segments g, over k < depth, of
 *                    rows[g][i][k * row_step] * panel[offsets[g] + k * panel_step + j]
 *
 * for i < used_rows and j < width, at most TILE_BYTES / sizeof(real) and a multiple of TILE_UNIT / sizeof(real);
 * c = sum (+ bias[j], if there is one) where it does not add; with places, row places[i] of c instead of row i. A
 * segment is whatever shares one set of row pointers: a tap of the kernel (k runs over channels) or a line of pixels
 * (k runs over pixels). With shifts, rows[i] + shifts[g] stands for rows[g][i]. The rows are broadcast from wherever
 * they lie, so a channels-last map needs no packing; the panel is read as whole vectors.
 *
 * A tall tile has whole panels, and rows side by side: row[k * row_step + i] is the k-th number of row i. More than
 * TILE_ROWS of them pay where they fill what would be left of a second tile.
 */
#ifndef PYX_DECONV_TILE_H
#define PYX_DECONV_TILE_H

#include <stddef.h>

#if defined(__AVX512F__)
#define VECTOR_BYTES 64
#define TILE_ROWS 8 /* 8 x 2 accumulators of 32 registers; 12 rows are no faster, and too many pointers */
#define TALL_ROWS 12 /* without pointers */
#elif defined(__AVX2__) && defined(__FMA__)
#define VECTOR_BYTES 32
#define TILE_ROWS 6 /* 6 x 2 accumulators of 16 registers */
#define TALL_ROWS 6
#elif defined(__aarch64__)
#define VECTOR_BYTES 16
#define TILE_ROWS 8 /* 8 x 2 accumulators of 32 registers */
#define TALL_ROWS 12
#else
#define VECTOR_BYTES 16
#define TILE_ROWS 4 /* 4 x 2 accumulators of 16 registers, and room for products where there is no FMA */
#define TALL_ROWS 4
#endif
#define TILE_BYTES (2 * VECTOR_BYTES)
#define TILE_QUARTERS (VECTOR_BYTES > 16) /* half of a vector is a vector as well */
#define HALF_BYTES (TILE_QUARTERS ? VECTOR_BYTES / 2 : VECTOR_BYTES)
#define TILE_UNIT HALF_BYTES

#define REAL float
#define NAME(name) name##_float
#include "tile_body.h"
#undef REAL
#undef NAME

#define REAL double
#define NAME(name) name##_double
#include "tile_body.h"
#undef REAL
#undef NAME

#endif
