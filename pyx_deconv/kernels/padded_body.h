/* Included by padded.h once for each REAL; see there for what it computes. */

/* Every step-th of 4 numbers; none behind the last of them is read. */
static inline NAME(four) NAME(every)(const REAL *line, ptrdiff_t step)
{
    if (step == 1)
        return *(const NAME(four) *)line;
    if (step == 2)
        return SHUFFLE(*(const NAME(four) *)line, *(const NAME(four) *)(line + 3), 0, 2, 5, 7);
    return (NAME(four)){line[0], line[step], line[2 * step], line[3 * step]};
}

static inline __attribute__((always_inline)) void NAME(padded_lines_with)(
    const REAL *source, ptrdiff_t source_step, ptrdiff_t step, ptrdiff_t lines, ptrdiff_t left, ptrdiff_t count,
    ptrdiff_t width, REAL *target, ptrdiff_t target_step, ptrdiff_t ahead)
{
    enum { LANES = VECTOR_BYTES / sizeof(REAL) };
    typedef REAL vector __attribute__((vector_size(VECTOR_BYTES), aligned(sizeof(REAL)), may_alias));
    for (ptrdiff_t i = 0; i < lines; i++, source += source_step, target += target_step) {
        if (count == width) {
            /* No zeros. */
        } else if (width >= LANES && left <= LANES && width - left - count <= LANES) {
            /* Zeros first, in vectors that reach under the numbers. */
            *(vector *)target = (vector){0};
            *(vector *)(target + width - LANES) = (vector){0};
        } else {
            for (ptrdiff_t x = 0; x < left; x++)
                target[x] = 0;
            for (ptrdiff_t x = left + count; x < width; x++)
                target[x] = 0;
        }
        for (ptrdiff_t x = 0; x < count * step; x += 64 / sizeof(REAL))
            __builtin_prefetch(source + ahead + x);
        REAL *const line = target + left;
        ptrdiff_t x = 0;
        if (step == 1 && count >= LANES) {
            for (; x + LANES < count; x += LANES)
                *(vector *)(line + x) = *(const vector *)(source + x);
            *(vector *)(line + count - LANES) = *(const vector *)(source + count - LANES);
        } else if (count >= 4) {
            for (; x + 4 < count; x += 4)
                *(NAME(four) *)(line + x) = NAME(every)(source + x * step, step);
            *(NAME(four) *)(line + count - 4) = NAME(every)(source + (count - 4) * step, step);
        } else
            for (; x < count; x++)
                line[x] = source[x * step];
    }
}

static inline void NAME(padded_lines)(const REAL *source, ptrdiff_t source_step, ptrdiff_t step, ptrdiff_t lines,
                                      ptrdiff_t left, ptrdiff_t count, ptrdiff_t width, REAL *target,
                                      ptrdiff_t target_step, ptrdiff_t ahead)
{
    if (step == 1) /* constants, so that lines are loaded in vectors */
        NAME(padded_lines_with)(source, source_step, 1, lines, left, count, width, target, target_step,
                                 ahead);
    else if (step == 2)
        NAME(padded_lines_with)(source, source_step, 2, lines, left, count, width, target, target_step,
                                 ahead);
    else
        NAME(padded_lines_with)(source, source_step, step, lines, left, count, width, target, target_step,
                                 ahead);
}

static inline int NAME(rows_of_tap)(const REAL *const *base, ptrdiff_t shift, const ptrdiff_t *first,
                                    const ptrdiff_t *last, ptrdiff_t tap, const REAL *zeros, const REAL **restrict rows)
{
    ptrdiff_t any = 0; /* as wide as a pointer, so that vectors are made of it */
    for (int i = 0; i < TILE_ROWS; i++) {
        const ptrdiff_t inside = (first[i] <= tap) & (tap < last[i]);
        rows[i] = inside ? base[i] + shift : zeros;
        any |= inside;
    }
    return any != 0;
}
