/* Included by tile.h once for each REAL; see there for what it computes. */

/* Row i of the sums, with what is added to it, to where it belongs. */
#define PUT(TO, i, WIDE, HALF)                                                                                         \
    if (i < used_rows) {                                                                                               \
        for (int v = 0; v < WIDE; v++) {                                                                               \
            UNALIGNED *at = (UNALIGNED *)(TO + v * LANES);                                                             \
            *at = sum[i][v] + (adds   ? (VECTOR)*at                                                                    \
                               : bias ? (VECTOR) * (const UNALIGNED *)(bias + v * LANES)                               \
                                      : (VECTOR){0});                                                                  \
        }                                                                                                              \
        if (HALF) {                                                                                                    \
            UNALIGNED_HALF *at = (UNALIGNED_HALF *)(TO + WIDE * LANES);                                                \
            *at = half_sum[i] + (adds   ? (HALF_VECTOR)*at                                                             \
                                 : bias ? (HALF_VECTOR) * (const UNALIGNED_HALF *)(bias + WIDE * LANES)                \
                                        : (HALF_VECTOR){0});                                                           \
        }                                                                                                              \
    }

/* ROWS rows, and panels of WIDE whole vectors and, with HALF, half a vector more. */
#define TILE_OF(NAME, ROWS, WIDE, HALF)                                                                                \
    static __attribute__((noinline)) void NAME(                                                                        \
        ptrdiff_t segments, ptrdiff_t depth, ptrdiff_t used_rows, const REAL *const *rows, const ptrdiff_t *shifts,    \
        ptrdiff_t row_step, const REAL *panel, const ptrdiff_t *offsets, ptrdiff_t panel_step, REAL *c,                \
        ptrdiff_t c_step, const ptrdiff_t *places, const REAL *bias, int adds)                                         \
    {                                                                                                                  \
        VECTOR sum[ROWS][2] = {{{0}}};                                                                                 \
        HALF_VECTOR half_sum[ROWS] = {{0}};                                                                            \
        for (ptrdiff_t g = 0; g < segments; g++) {                                                                     \
            const REAL *const *at = shifts ? rows : rows + g * TILE_ROWS;                                              \
            const ptrdiff_t shift = shifts ? shifts[g] : 0;                                                            \
            const REAL *row[ROWS];                                                                                     \
            _Pragma("GCC unroll 16") for (int i = 0; i < ROWS; i++) row[i] = at[i] + shift;                            \
            const REAL *lanes = panel + offsets[g];                                                                    \
            for (ptrdiff_t k = 0; k < depth; k++) {                                                                    \
                VECTOR wide[2] = {{0}};                                                                                \
                HALF_VECTOR half = {0};                                                                                \
                for (int v = 0; v < WIDE; v++)                                                                         \
                    wide[v] = *(const UNALIGNED *)(lanes + v * LANES);                                                 \
                if (HALF)                                                                                              \
                    half = *(const UNALIGNED_HALF *)(lanes + WIDE * LANES);                                            \
                _Pragma("GCC unroll 16") for (int i = 0; i < ROWS; i++)                                                \
                {                                                                                                      \
                    /* A splat: 0 + x would cost an addition, because of -0.0. */                                      \
                    const REAL x = row[i][k * row_step];                                                               \
                    for (int v = 0; v < WIDE; v++)                                                                     \
                        sum[i][v] += (x - (VECTOR){0}) * wide[v];                                                      \
                    if (HALF)                                                                                          \
                        half_sum[i] += (x - (HALF_VECTOR){0}) * half;                                                  \
                }                                                                                                      \
                lanes += panel_step;                                                                                   \
            }                                                                                                          \
        }                                                                                                              \
        /* Added to memory at the end, not accumulated from it: sums of long sums lose less than one long sum. */      \
        if (places) {                                                                                                  \
            _Pragma("GCC unroll 16") for (int i = 0; i < ROWS; i++) PUT(c + places[i] * c_step, i, WIDE, HALF)         \
        } else {                                                                                                       \
            _Pragma("GCC unroll 16") for (int i = 0; i < ROWS; i++) PUT(c + i * c_step, i, WIDE, HALF)                 \
        }                                                                                                              \
    }

#define LANES (VECTOR_BYTES / (int)sizeof(REAL))
#define VECTOR NAME(vector)
#define HALF_VECTOR NAME(half_vector)
#define UNALIGNED NAME(unaligned_vector)
#define UNALIGNED_HALF NAME(unaligned_half)
typedef REAL VECTOR __attribute__((vector_size(VECTOR_BYTES)));
typedef REAL HALF_VECTOR __attribute__((vector_size(HALF_BYTES)));
typedef REAL UNALIGNED __attribute__((vector_size(VECTOR_BYTES), aligned(sizeof(REAL)), may_alias));
typedef REAL UNALIGNED_HALF __attribute__((vector_size(HALF_BYTES), aligned(sizeof(REAL)), may_alias));

enum { NAME(HALF_ROWS) = (TILE_ROWS + 1) / 2 };
TILE_OF(NAME(tile_4), TILE_ROWS, 2, 0)
TILE_OF(NAME(tile_2), TILE_ROWS, 1, 0)
TILE_OF(NAME(short_tile_4), NAME(HALF_ROWS), 2, 0)
TILE_OF(NAME(short_tile_2), NAME(HALF_ROWS), 1, 0)
#if TILE_QUARTERS
TILE_OF(NAME(tile_3), TILE_ROWS, 1, 1)
TILE_OF(NAME(tile_1), TILE_ROWS, 0, 1)
TILE_OF(NAME(short_tile_3), NAME(HALF_ROWS), 1, 1)
TILE_OF(NAME(short_tile_1), NAME(HALF_ROWS), 0, 1)
#endif

static inline void NAME(tile)(ptrdiff_t width, ptrdiff_t segments, ptrdiff_t depth, ptrdiff_t used_rows,
                              const REAL *const *rows, const ptrdiff_t *shifts, ptrdiff_t row_step, const REAL *panel,
                              const ptrdiff_t *offsets, ptrdiff_t panel_step, REAL *c, ptrdiff_t c_step,
                              const ptrdiff_t *places, const REAL *bias, int adds)
{
    const int is_short = used_rows <= NAME(HALF_ROWS);
#define TILE(QUARTERS)                                                                                                 \
    (is_short ? NAME(short_tile_##QUARTERS) : NAME(tile_##QUARTERS))(segments, depth, used_rows, rows, shifts,         \
                                                                     row_step, panel, offsets, panel_step, c, c_step,  \
                                                                     places, bias, adds)
    if (2 * width > 3 * LANES || (!TILE_QUARTERS && width > LANES))
        TILE(4);
#if TILE_QUARTERS
    else if (width > LANES)
        TILE(3);
    else if (2 * width <= LANES)
        TILE(1);
#endif
    else
        TILE(2);
#undef TILE
}

#define TALL_TILE_OF(ROWS)                                                                                             \
    static __attribute__((noinline)) void NAME(tall_tile_##ROWS)(                                                      \
        ptrdiff_t segments, ptrdiff_t depth, const REAL *rows, const ptrdiff_t *shifts, ptrdiff_t row_step,            \
        const REAL *panel, const ptrdiff_t *offsets, ptrdiff_t panel_step, REAL *c, ptrdiff_t c_step, int adds)        \
    {                                                                                                                  \
        VECTOR sum[ROWS][2] = {{{0}}};                                                                                 \
        for (ptrdiff_t g = 0; g < segments; g++) {                                                                     \
            const REAL *row = rows + shifts[g];                                                                        \
            const REAL *lanes = panel + offsets[g];                                                                    \
            for (ptrdiff_t k = 0; k < depth; k++, row += row_step, lanes += panel_step) {                              \
                const VECTOR first = *(const UNALIGNED *)lanes, second = *(const UNALIGNED *)(lanes + LANES);          \
                _Pragma("GCC unroll 16") for (int i = 0; i < ROWS; i++)                                                \
                {                                                                                                      \
                    sum[i][0] += (row[i] - (VECTOR){0}) * first;                                                       \
                    sum[i][1] += (row[i] - (VECTOR){0}) * second;                                                      \
                }                                                                                                      \
            }                                                                                                          \
        }                                                                                                              \
        _Pragma("GCC unroll 16") for (int i = 0; i < ROWS; i++) for (int v = 0; v < 2; v++)                            \
        {                                                                                                              \
            UNALIGNED *at = (UNALIGNED *)(c + i * c_step + v * LANES);                                                 \
            *at = sum[i][v] + (adds ? (VECTOR)*at : (VECTOR){0});                                                      \
        }                                                                                                              \
    }

#if TALL_ROWS > TILE_ROWS
TALL_TILE_OF(9)
TALL_TILE_OF(10)
TALL_TILE_OF(11)
TALL_TILE_OF(12)
#endif

static inline void NAME(tall_tile)(ptrdiff_t used_rows, ptrdiff_t segments, ptrdiff_t depth, const REAL *rows,
                                   const ptrdiff_t *shifts, ptrdiff_t row_step, const REAL *panel,
                                   const ptrdiff_t *offsets, ptrdiff_t panel_step, REAL *c, ptrdiff_t c_step, int adds)
{
#if TALL_ROWS > TILE_ROWS
    (used_rows == 9    ? NAME(tall_tile_9)
     : used_rows == 10 ? NAME(tall_tile_10)
     : used_rows == 11 ? NAME(tall_tile_11)
                       : NAME(tall_tile_12))(segments, depth, rows, shifts, row_step, panel, offsets, panel_step, c,
                                             c_step, adds);
#endif
}

#undef PUT
#undef TILE_OF
#undef TALL_TILE_OF
#undef LANES
#undef VECTOR
#undef HALF_VECTOR
#undef UNALIGNED
#undef UNALIGNED_HALF
