/* Included by karatsuba.h once for each REAL; see there for what it computes. */

typedef REAL NAME(unaligned) __attribute__((vector_size(VECTOR_BYTES), aligned(sizeof(REAL)), may_alias));
typedef INTEGER NAME(half_bits) __attribute__((vector_size(HALF_BYTES)));
#define ALL_BUT_SIGN (~((INTEGER)1 << (8 * sizeof(REAL) - 1)))
typedef REAL NAME(four) __attribute__((vector_size(4 * sizeof(REAL)), aligned(sizeof(REAL)), may_alias));
typedef REAL NAME(single) __attribute__((may_alias));

/* Pixels are loaded, combined along x and along y, and stored; from two pixels of a sum the first and last of three. */
#define MAKE(TYPE, NY, NX, FROM_Y, FROM_X, ALONG)                                                                      \
    {                                                                                                                  \
        TYPE v[NY][NX];                                                                                                \
        for (int y = 0; y < NY; y += NY == 3 && FROM_Y == 2 ? 2 : 1)                                                   \
            for (int x = 0; x < NX; x += NX == 3 && FROM_X == 2 ? 2 : 1)                                               \
                v[y][x] = *(const TYPE *)(pixels[(FROM_Y == 2 && NY == 3 ? y / 2 : y) * FROM_X                         \
                                                 + (FROM_X == 2 && NX == 3 ? x / 2 : x)] + c);                         \
        if (NX == 3)                                                                                                   \
            for (int y = 0; y < NY; y += NY == 3 && FROM_Y == 2 ? 2 : 1)                                               \
                ALONG(v[y][0], v[y][NX / 2], v[y][NX - 1])                                                             \
        if (NY == 3)                                                                                                   \
            for (int x = 0; x < NX; x++)                                                                               \
                ALONG(v[0][x], v[NY / 2][x], v[NY - 1][x])                                                             \
        for (int y = 0; y < NY; y++)                                                                                   \
            for (int x = 0; x < NX; x++)                                                                               \
                *(TYPE *)(values + (y * NX + x) * step + c) = v[y][x];                                                 \
    }
#define LESS_MIDDLE(first, middle, last) { first -= middle; last -= middle; }
#define MIDDLE_SUM(first, middle, last) { middle = first + last; }

/* Whole vectors; the last one overlaps the one before it, and fewer channels than a vector go one by one. */
#define ALL_CHANNELS(KEY, NY, NX, FROM_Y, FROM_X, ALONG)                                                               \
    case KEY:                                                                                                          \
        if (depth < LANES)                                                                                             \
            for (ptrdiff_t c = 0; c < depth; c++)                                                                      \
                MAKE(NAME(single), NY, NX, FROM_Y, FROM_X, ALONG)                                                      \
        else                                                                                                           \
            for (ptrdiff_t next = 0; next < depth; next += LANES) {                                                    \
                const ptrdiff_t c = next + LANES <= depth ? next : depth - LANES;                                      \
                if (ahead)                                                                                             \
                    for (int i = 0; i < FROM_Y * FROM_X; i++)                                                          \
                        if (i % FROM_X || FROM_X == 1)                                                                 \
                            __builtin_prefetch(pixels[i] + ahead + c);                                                 \
                MAKE(NAME(unaligned), NY, NX, FROM_Y, FROM_X, ALONG)                                                   \
            }                                                                                                          \
        break;

static inline void NAME(differences)(ptrdiff_t ny, ptrdiff_t nx, const REAL *const *pixels, ptrdiff_t depth,
                                     ptrdiff_t ahead, REAL *values, ptrdiff_t step)
{
    enum { LANES = VECTOR_BYTES / sizeof(REAL) };
    switch (10 * ny + nx) {
        ALL_CHANNELS(11, 1, 1, 1, 1, LESS_MIDDLE)
        ALL_CHANNELS(12, 1, 2, 1, 2, LESS_MIDDLE)
        ALL_CHANNELS(13, 1, 3, 1, 3, LESS_MIDDLE)
        ALL_CHANNELS(21, 2, 1, 2, 1, LESS_MIDDLE)
        ALL_CHANNELS(22, 2, 2, 2, 2, LESS_MIDDLE)
        ALL_CHANNELS(23, 2, 3, 2, 3, LESS_MIDDLE)
        ALL_CHANNELS(31, 3, 1, 3, 1, LESS_MIDDLE)
        ALL_CHANNELS(32, 3, 2, 3, 2, LESS_MIDDLE)
        ALL_CHANNELS(33, 3, 3, 3, 3, LESS_MIDDLE)
    }
}

static inline void NAME(sums)(ptrdiff_t ny, ptrdiff_t nx, const REAL *const *pixels, ptrdiff_t depth, ptrdiff_t ahead,
                              REAL *values, ptrdiff_t step)
{
    enum { LANES = VECTOR_BYTES / sizeof(REAL) };
    switch (10 * ny + nx) {
        ALL_CHANNELS(11, 1, 1, 1, 1, MIDDLE_SUM)
        ALL_CHANNELS(12, 1, 3, 1, 2, MIDDLE_SUM)
        ALL_CHANNELS(21, 3, 1, 2, 1, MIDDLE_SUM)
        ALL_CHANNELS(22, 3, 3, 2, 2, MIDDLE_SUM)
    }
}

#undef MAKE
#undef LESS_MIDDLE
#undef MIDDLE_SUM
#undef ALL_CHANNELS

static inline int NAME(all_finite)(const REAL *values, ptrdiff_t size)
{
    enum { LANES = VECTOR_BYTES / sizeof(REAL) };
    ptrdiff_t i = 0;
    int finite = 1;
    if (size >= LANES) {
        NAME(unaligned) zero = {0}, others[4] = {{0}};
        for (; i + 4 * LANES <= size; i += 4 * LANES) /* sums that need not wait for each other */
            for (int j = 0; j < 4; j++)
                others[j] += *(const NAME(unaligned) *)(values + i + j * LANES) * 0;
        for (; i + LANES <= size; i += LANES)
            zero += *(const NAME(unaligned) *)(values + i) * 0;
        for (int j = 0; j < 4; j++)
            zero += others[j];
        for (int lane = 0; lane < LANES; lane++)
            finite &= zero[lane] == 0;
    }
    for (; i < size; i++)
        finite &= values[i] * 0 == 0;
    return finite;
}

static inline void NAME(add_to_outer)(REAL *restrict outer0, const REAL *restrict inner, REAL *restrict outer2,
                                      ptrdiff_t size, int sign)
{
    if (sign > 0)
        for (ptrdiff_t i = 0; i < size; i++) {
            outer0[i] += inner[i];
            outer2[i] += inner[i];
        }
    else
        for (ptrdiff_t i = 0; i < size; i++) {
            outer0[i] -= inner[i];
            outer2[i] -= inner[i];
        }
}

/* Whether a row of sums is finite, and not so small beside its parts that their rounding errors show. */
static inline int NAME(balanced)(const NAME(unaligned_half) *parts, const NAME(unaligned_half) *sums)
{
    REAL part = 0, sum = 0;
    for (int lane = 0; lane < (int)(HALF_BYTES / sizeof(REAL)); lane++) {
        part += (*parts)[lane];
        sum += (*sums)[lane];
    }
    return CANCELLATION * sum >= part && sum * 0 == 0;
}

static inline NAME(unaligned_half) NAME(magnitude)(NAME(unaligned_half) values)
{
    return (NAME(unaligned_half))((NAME(half_bits))values & ((NAME(half_bits)){0} + ALL_BUT_SIGN));
}

static inline int NAME(add_pairs)(const REAL *a, const REAL *b, const REAL *c, ptrdiff_t size, REAL *first, REAL *second)
{
    NAME(unaligned_half) first_parts = {0}, first_sums = {0}, second_parts = {0}, second_sums = {0};
    for (ptrdiff_t i = 0; i < size; i += HALF_BYTES / sizeof(REAL)) {
        const NAME(unaligned_half) middle = *(const NAME(unaligned_half) *)(b + i);
        const NAME(unaligned_half) left = *(const NAME(unaligned_half) *)(a + i);
        const NAME(unaligned_half) right = *(const NAME(unaligned_half) *)(c + i);
        first_parts += NAME(magnitude)(left) + NAME(magnitude)(middle);
        first_sums += NAME(magnitude)(left + middle);
        *(NAME(unaligned_half) *)(first + i) = left + middle;
        if (second) {
            second_parts += NAME(magnitude)(right) + NAME(magnitude)(middle);
            second_sums += NAME(magnitude)(right + middle);
            *(NAME(unaligned_half) *)(second + i) = right + middle;
        }
    }
    return NAME(balanced)(&first_parts, &first_sums) && NAME(balanced)(&second_parts, &second_sums);
}

static inline int NAME(add_rows)(REAL *first, const REAL *middle, REAL *last, ptrdiff_t rows, ptrdiff_t size)
{
    int good = 1;
    for (ptrdiff_t row = 0; row < rows; row++)
        good &= NAME(add_pairs)(first + row * size, middle + row * size, last + row * size, size, first + row * size,
                                last + row * size);
    return good;
}

static inline void NAME(add_up)(const REAL *a, const REAL *b, REAL *restrict sum, ptrdiff_t size)
{
/* Whole vectors, of which the last one overlaps the one before it. */
#define ADD_UP(TYPE)                                                                                                   \
    if (size >= (ptrdiff_t)(sizeof(TYPE) / sizeof(REAL))) {                                                            \
        const ptrdiff_t lanes = sizeof(TYPE) / sizeof(REAL), last = size - lanes;                                      \
        for (ptrdiff_t i = 0; i < last; i += lanes)                                                                    \
            *(TYPE *)(sum + i) = *(const TYPE *)(a + i) + *(const TYPE *)(b + i);                                      \
        *(TYPE *)(sum + last) = *(const TYPE *)(a + last) + *(const TYPE *)(b + last);                                 \
        return;                                                                                                        \
    }
    ADD_UP(NAME(unaligned))
    ADD_UP(NAME(unaligned_half))
    ADD_UP(NAME(four))
    for (ptrdiff_t i = 0; i < size; i++)
        sum[i] = a[i] + b[i];
#undef ADD_UP
}

static inline void NAME(copy_run)(const REAL *source, ptrdiff_t size, REAL *restrict target)
{
    enum { LANES = VECTOR_BYTES / sizeof(REAL) };
    if (size < LANES) {
        for (ptrdiff_t i = 0; i < size; i++)
            target[i] = source[i];
        return;
    }
    for (ptrdiff_t i = 0; i + LANES < size; i += LANES)
        *(NAME(unaligned) *)(target + i) = *(const NAME(unaligned) *)(source + i);
    *(NAME(unaligned) *)(target + size - LANES) = *(const NAME(unaligned) *)(source + size - LANES);
}

static inline int NAME(move)(const REAL *source, ptrdiff_t size, REAL *restrict target)
{
    memcpy(target, source, size * sizeof(REAL));
    return NAME(all_finite)(source, size);
}

#undef ALL_BUT_SIGN
