/* Included by lines.h once for each REAL; see there for what it computes. */

static inline REAL DOT_LINES(ptrdiff_t count, const REAL *const *x, const REAL *const *y, ptrdiff_t width)
{
    enum { LANES = VECTOR_BYTES / sizeof(REAL) };
    typedef REAL vector __attribute__((vector_size(VECTOR_BYTES)));
    typedef REAL unaligned __attribute__((vector_size(VECTOR_BYTES), aligned(sizeof(REAL)), may_alias));
    vector even = {0}, odd = {0};
    REAL sum = 0;
    for (ptrdiff_t i = 0; i < count; i++) {
        ptrdiff_t j = 0;
        for (; j + 2 * LANES <= width; j += 2 * LANES) {
            even += *(const unaligned *)(x[i] + j) * *(const unaligned *)(y[i] + j);
            odd += *(const unaligned *)(x[i] + j + LANES) * *(const unaligned *)(y[i] + j + LANES);
        }
        if (j + LANES <= width) {
            even += *(const unaligned *)(x[i] + j) * *(const unaligned *)(y[i] + j);
            j += LANES;
        }
        for (; j < width; j++)
            sum += x[i][j] * y[i][j];
    }
    even += odd;
    for (int v = 0; v < LANES; v++)
        sum += even[v];
    return sum;
}

static inline void DOT_PIXELS(ptrdiff_t count, const REAL *x, ptrdiff_t x_step, const REAL *y, ptrdiff_t y_step,
                              ptrdiff_t width, REAL *sums)
{
    enum { LANES = VECTOR_BYTES / sizeof(REAL), VECTORS = 4 };
    typedef REAL vector __attribute__((vector_size(VECTOR_BYTES)));
    typedef REAL unaligned __attribute__((vector_size(VECTOR_BYTES), aligned(sizeof(REAL)), may_alias));
    ptrdiff_t j = 0;

    for (; j + VECTORS * LANES <= width; j += VECTORS * LANES) {
        vector sum[VECTORS] = {{0}};
        for (ptrdiff_t i = 0; i < count; i++)
#pragma GCC unroll 4
            for (int v = 0; v < VECTORS; v++)
                sum[v] += *(const unaligned *)(x + i * x_step + j + v * LANES)
                          * *(const unaligned *)(y + i * y_step + j + v * LANES);
#pragma GCC unroll 4
        for (int v = 0; v < VECTORS; v++)
            *(unaligned *)(sums + j + v * LANES) += sum[v];
    }
    for (; j + LANES <= width; j += LANES) {
        vector sum = {0};
        for (ptrdiff_t i = 0; i < count; i++)
            sum += *(const unaligned *)(x + i * x_step + j) * *(const unaligned *)(y + i * y_step + j);
        *(unaligned *)(sums + j) += sum;
    }
    for (; j < width; j++) {
        REAL sum = 0;
        for (ptrdiff_t i = 0; i < count; i++)
            sum += x[i * x_step + j] * y[i * y_step + j];
        sums[j] += sum;
    }
}

static inline void ADD_LINES(ptrdiff_t count, const REAL *const *lines, const REAL *weights, ptrdiff_t width, REAL *sums)
{
    enum { LANES = VECTOR_BYTES / sizeof(REAL), VECTORS = 4 };
    typedef REAL vector __attribute__((vector_size(VECTOR_BYTES)));
    typedef REAL unaligned __attribute__((vector_size(VECTOR_BYTES), aligned(sizeof(REAL)), may_alias));
    ptrdiff_t j = 0;

    for (; j + VECTORS * LANES <= width; j += VECTORS * LANES) {
        vector sum[VECTORS] = {{0}};
        for (ptrdiff_t i = 0; i < count; i++) {
            const vector weight = weights[i] - (vector){0};
#pragma GCC unroll 4
            for (int v = 0; v < VECTORS; v++)
                sum[v] += weight * *(const unaligned *)(lines[i] + j + v * LANES);
        }
#pragma GCC unroll 4
        for (int v = 0; v < VECTORS; v++)
            *(unaligned *)(sums + j + v * LANES) += sum[v];
    }
    for (; j + LANES <= width; j += LANES) {
        vector sum = {0};
        for (ptrdiff_t i = 0; i < count; i++)
            sum += weights[i] * *(const unaligned *)(lines[i] + j);
        *(unaligned *)(sums + j) += sum;
    }
    for (; j < width; j++) {
        REAL sum = 0;
        for (ptrdiff_t i = 0; i < count; i++)
            sum += weights[i] * lines[i][j];
        sums[j] += sum;
    }
}
