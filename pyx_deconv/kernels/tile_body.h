/* Included by tile.h once for each REAL; see there for what it computes. */

#ifndef ADD_PRODUCTS
#define TILE_TARGET
/* A splat: 0 + x would cost an addition, because of -0.0. */
#define ADD_PRODUCTS(SUM, X, WIDE) SUM += (X - (VECTOR){0}) * WIDE
#define ADD_HALF(SUM, X, HALF) SUM += (X - (HALF_VECTOR){0}) * HALF
#define PLAIN_PRODUCTS
#endif

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
    static __attribute__((noinline)) TILE_TARGET void NAME(                                                            \
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
                    const REAL x = row[i][k * row_step];                                                               \
                    for (int v = 0; v < WIDE; v++)                                                                     \
                        ADD_PRODUCTS(sum[i][v], x, wide[v]);                                                           \
                    if (HALF)                                                                                          \
                        ADD_HALF(half_sum[i], x, half);                                                                \
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

/* A tile for each width of the panel and each number of rows from half of all on: fewer rows are no faster. */
#if TILE_QUARTERS
#define TILES_OF(ROWS)                                                                                                 \
    TILE_OF(NAME(tile_##ROWS##_1), ROWS, 0, 1)                                                                         \
    TILE_OF(NAME(tile_##ROWS##_2), ROWS, 1, 0)                                                                         \
    TILE_OF(NAME(tile_##ROWS##_3), ROWS, 1, 1)                                                                         \
    TILE_OF(NAME(tile_##ROWS##_4), ROWS, 2, 0)
#else
#define TILES_OF(ROWS)                                                                                                 \
    TILE_OF(NAME(tile_##ROWS##_2), ROWS, 1, 0)                                                                         \
    TILE_OF(NAME(tile_##ROWS##_4), ROWS, 2, 0)
#endif
TILES_OF(4)
#if TILE_ROWS == 4
TILES_OF(2)
TILES_OF(3)
#elif TILE_ROWS == 6
TILES_OF(3)
TILES_OF(5)
TILES_OF(6)
#else
TILES_OF(5)
TILES_OF(6)
TILES_OF(7)
TILES_OF(8)
#endif

static inline void NAME(tile)(ptrdiff_t width, ptrdiff_t segments, ptrdiff_t depth, ptrdiff_t used_rows,
                              const REAL *const *rows, const ptrdiff_t *shifts, ptrdiff_t row_step, const REAL *panel,
                              const ptrdiff_t *offsets, ptrdiff_t panel_step, REAL *c, ptrdiff_t c_step,
                              const ptrdiff_t *places, const REAL *bias, int adds)
{
    typedef void function(ptrdiff_t, ptrdiff_t, ptrdiff_t, const REAL *const *, const ptrdiff_t *, ptrdiff_t,
                          const REAL *, const ptrdiff_t *, ptrdiff_t, REAL *, ptrdiff_t, const ptrdiff_t *,
                          const REAL *, int);
#if TILE_QUARTERS
#define TILES(ROWS) {NAME(tile_##ROWS##_1), NAME(tile_##ROWS##_2), NAME(tile_##ROWS##_3), NAME(tile_##ROWS##_4)}
    const int quarter = width > LANES ? 2 + (2 * width > 3 * LANES) : 2 * width > LANES;
#else
#define TILES(ROWS) {NAME(tile_##ROWS##_2), NAME(tile_##ROWS##_4)}
    const int quarter = width > LANES;
#endif
    static function *const tiles[][TILE_QUARTERS ? 4 : 2] = {
#if TILE_ROWS == 4
        TILES(2), TILES(3), TILES(4),
#elif TILE_ROWS == 6
        TILES(3), TILES(4), TILES(5), TILES(6),
#else
        TILES(4), TILES(5), TILES(6), TILES(7), TILES(8),
#endif
    };
    enum { LEAST = (TILE_ROWS + 1) / 2 };
    tiles[used_rows > LEAST ? used_rows - LEAST : 0][quarter](segments, depth, used_rows, rows, shifts, row_step, panel,
                                                              offsets, panel_step, c, c_step, places, bias, adds);
#undef TILES
}

#ifdef PLAIN_PRODUCTS
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

#undef TALL_TILE_OF
#undef TILE_TARGET
#undef ADD_PRODUCTS
#undef ADD_HALF
#undef PLAIN_PRODUCTS
#endif

#undef PUT
#undef TILE_OF
#undef TILES_OF
#undef LANES
#undef VECTOR
#undef HALF_VECTOR
#undef UNALIGNED
#undef UNALIGNED_HALF
