/* Included by tile.h once for each REAL; see there for what it computes. */

static inline void TILE(
    ptrdiff_t segments, ptrdiff_t depth, ptrdiff_t used_rows,
    const REAL *const *rows, ptrdiff_t row_step,
    const REAL *panel, const ptrdiff_t *offsets, ptrdiff_t panel_step,
    REAL *c, ptrdiff_t c_step)
{
    enum { LANES = VECTOR_BYTES / sizeof(REAL) };
    typedef REAL vector __attribute__((vector_size(VECTOR_BYTES)));
    typedef REAL unaligned __attribute__((vector_size(VECTOR_BYTES), aligned(sizeof(REAL)), may_alias));

    vector sum[TILE_ROWS][2] = {{{0}}};
    for (ptrdiff_t g = 0; g < segments; g++) {
        const REAL *row[TILE_ROWS];
#pragma GCC unroll 16
        for (int i = 0; i < TILE_ROWS; i++)
            row[i] = rows[g * TILE_ROWS + i];
        const REAL *lanes = panel + offsets[g];
        for (ptrdiff_t k = 0; k < depth; k++) {
            const vector left = *(const unaligned *)lanes;
            const vector right = *(const unaligned *)(lanes + LANES);
#pragma GCC unroll 16
            for (int i = 0; i < TILE_ROWS; i++) {
                /* A splat: 0 + x would cost an addition, because of -0.0. */
                const vector x = row[i][k * row_step] - (vector){0};
                sum[i][0] += x * left;
                sum[i][1] += x * right;
            }
            lanes += panel_step;
        }
    }
    /* Added to memory at the end, not accumulated from it: sums of long sums lose less than one long sum. */
#pragma GCC unroll 16
    for (int i = 0; i < TILE_ROWS; i++)
        if (i < used_rows) {
            *(unaligned *)(c + i * c_step) += sum[i][0];
            *(unaligned *)(c + i * c_step + LANES) += sum[i][1];
        }
}
