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

#include "typed.h"

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

/* The same where a number stands for two of bfloat16, side by side: the products of both are added at a time. Only a
 * processor that can do so may call it. */
#if defined(__AVX512F__) && (defined(__clang__) || __GNUC__ >= 10)
#include <immintrin.h>
#define TILE_DOTS 1
#define REAL float
#define NAME(name) name##_dots
#define TILE_TARGET __attribute__((target("avx512bf16")))
#define ADD_PRODUCTS(SUM, X, WIDE) SUM = (VECTOR)_mm512_dpbf16_ps(SUM, (__m512bh)_mm512_set1_ps(X), (__m512bh)(WIDE))
#define ADD_HALF(SUM, X, HALF) SUM = (HALF_VECTOR)_mm256_dpbf16_ps(SUM, (__m256bh)_mm256_set1_ps(X), (__m256bh)(HALF))
#include "tile_body.h"
#undef REAL
#undef NAME
#undef TILE_TARGET
#undef ADD_PRODUCTS
#undef ADD_HALF
#else
#define TILE_DOTS 0
#define tile_dots tile_float /* never called */
#endif

#define tall_tile(used_rows, segments, depth, rows, ...) \
    TYPED(tall_tile, rows)(used_rows, segments, depth, rows, __VA_ARGS__)
#define tile_at(width, segments, depth, used_rows, rows, ...) \
    TYPED(tile, rows)(width, segments, depth, used_rows, rows, __VA_ARGS__)

#endif
