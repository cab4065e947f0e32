/* Included by columns.h once for each REAL; see there for what it computes. */

static inline void NAME(cut_into_panels)(const REAL *row, ptrdiff_t count, ptrdiff_t ahead, REAL *panels,
                                         ptrdiff_t panel_step)
{
    enum { LANES = VECTOR_BYTES / sizeof(REAL) }; /* two vectors make a panel */
    for (ptrdiff_t p = 0; p < count; p++) {
        __builtin_prefetch(row + ahead);
        if (TILE_BYTES > 64)
            __builtin_prefetch(row + ahead + LANES);
        *(NAME(unaligned_vector) *)panels = *(const NAME(unaligned_vector) *)row;
        *(NAME(unaligned_vector) *)(panels + LANES) = *(const NAME(unaligned_vector) *)(row + LANES);
        row += 2 * LANES;
        panels += panel_step;
    }
}
