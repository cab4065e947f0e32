/* Included by lines.h once for each REAL; see there for what it computes. */

/* taps is a constant, so that the sums stay in registers. */
static inline __attribute__((always_inline)) void NAME(dot_some_taps)(
    int taps, const REAL *x, const REAL *y, const ptrdiff_t *offsets, ptrdiff_t size, REAL *sums)
{
    enum { LANES = VECTOR_BYTES / sizeof(REAL), MOST = 9 };
    typedef REAL vector __attribute__((vector_size(VECTOR_BYTES)));
    typedef REAL unaligned __attribute__((vector_size(VECTOR_BYTES), aligned(sizeof(REAL)), may_alias));
    typedef __typeof__((vector){0} < (vector){0}) mask;
    vector sum[MOST] = {{0}}, lane;
    const REAL *line[MOST];
    ptrdiff_t j = 0;
    for (int v = 0; v < LANES; v++)
        lane[v] = v;
#pragma GCC unroll 9
    for (int t = 0; t < taps; t++)
        line[t] = y + offsets[t];
    for (; j + LANES <= size; j += LANES) {
        const vector pixels = *(const unaligned *)(x + j);
#pragma GCC unroll 9
        for (int t = 0; t < taps; t++)
            sum[t] += pixels * *(const unaligned *)(line[t] + j);
    }
    /* The last pixels, and zeros instead of what lies behind them. */
    const mask used = lane < (REAL)(size - j) - (vector){0};
    const vector pixels = (vector)((mask) * (const unaligned *)(x + j) & used);
#pragma GCC unroll 9
    for (int t = 0; t < taps; t++) {
        sum[t] += pixels * (vector)((mask) * (const unaligned *)(line[t] + j) & used);
        *(unaligned *)(sums + t * LANES) += sum[t];
    }
}

static __attribute__((noinline)) void NAME(dot_taps)(
    ptrdiff_t taps, const REAL *x, const REAL *y, const ptrdiff_t *offsets, ptrdiff_t size, REAL *sums)
{
#define DOT_TAPS(TAPS)                                                                                                 \
    case TAPS:                                                                                                         \
        NAME(dot_some_taps)(TAPS, x, y, offsets, size, sums);                                                          \
        break;
    while (taps > 0) {
        const ptrdiff_t used = (taps + (taps + 8) / 9 - 1) / ((taps + 8) / 9); /* as even as they can be */
        switch (used) {
            DOT_TAPS(1)
            DOT_TAPS(2)
            DOT_TAPS(3)
            DOT_TAPS(4)
            DOT_TAPS(5)
            DOT_TAPS(6)
            DOT_TAPS(7)
            DOT_TAPS(8)
            DOT_TAPS(9)
        }
        taps -= used, offsets += used, sums += used * (VECTOR_BYTES / sizeof(REAL));
    }
#undef DOT_TAPS
}

static inline REAL NAME(sum_lanes)(const REAL *lanes)
{
    REAL sum[VECTOR_BYTES / sizeof(REAL)];
    memcpy(sum, lanes, sizeof sum);
    for (int half = VECTOR_BYTES / sizeof(REAL) / 2; half > 0; half /= 2)
        for (int v = 0; v < half; v++)
            sum[v] += sum[v + half];
    return sum[0];
}

typedef REAL NAME(lanes) __attribute__((vector_size(VECTOR_BYTES)));
typedef REAL NAME(any_lanes) __attribute__((vector_size(VECTOR_BYTES), aligned(sizeof(REAL)), may_alias));
typedef REAL NAME(half_lanes) __attribute__((vector_size(HALF_BYTES)));
typedef REAL NAME(any_half_lanes) __attribute__((vector_size(HALF_BYTES), aligned(sizeof(REAL)), may_alias));

/* rows and vectors are constants, so that the sums stay in registers. */
static inline __attribute__((always_inline)) void NAME(add_line_block)(
    int rows, int vectors, ptrdiff_t count, const REAL *lines, const ptrdiff_t *offsets, const REAL *weights,
    ptrdiff_t weights_step, int add, REAL *sums, ptrdiff_t sums_step)
{
    enum { LANES = VECTOR_BYTES / sizeof(REAL) };
    NAME(lanes) sum[4][8] = {{{0}}};
    for (ptrdiff_t i = 0; i < count; i++) {
        const REAL *line = lines + offsets[i];
        NAME(lanes) pixels[8];
#pragma GCC unroll 8
        for (int v = 0; v < vectors; v++)
            pixels[v] = *(const NAME(any_lanes) *)(line + v * LANES);
#pragma GCC unroll 4
        for (int m = 0; m < rows; m++) {
            const NAME(lanes) weight = weights[m * weights_step + i] - (NAME(lanes)){0};
#pragma GCC unroll 8
            for (int v = 0; v < vectors; v++)
                sum[m][v] += weight * pixels[v];
        }
    }
#pragma GCC unroll 4
    for (int m = 0; m < rows; m++)
#pragma GCC unroll 8
        for (int v = 0; v < vectors; v++) {
            NAME(any_lanes) *target = (NAME(any_lanes) *)(sums + m * sums_step + v * LANES);
            if (add)
                sum[m][v] += *target;
            *target = sum[m][v];
        }
}

static inline __attribute__((always_inline)) void NAME(add_line_rows)(
    int rows, int vectors, ptrdiff_t count, const REAL *lines, const ptrdiff_t *offsets, const REAL *weights,
    ptrdiff_t weights_step, ptrdiff_t width, int add, REAL *sums, ptrdiff_t sums_step)
{
    enum { LANES = VECTOR_BYTES / sizeof(REAL) };
    ptrdiff_t j = 0;
    for (; j + vectors * LANES <= width; j += vectors * LANES)
        NAME(add_line_block)(rows, vectors, count, lines + j, offsets, weights, weights_step, add, sums + j, sums_step);
    for (; vectors > 4 && j + 4 * LANES <= width; j += 4 * LANES)
        NAME(add_line_block)(rows, 4, count, lines + j, offsets, weights, weights_step, add, sums + j, sums_step);
    for (; j + LANES < width; j += 2 * LANES)
        NAME(add_line_block)(rows, 2, count, lines + j, offsets, weights, weights_step, add, sums + j, sums_step);
    for (; j < width; j += LANES)
        NAME(add_line_block)(rows, 1, count, lines + j, offsets, weights, weights_step, add, sums + j, sums_step);
}

static __attribute__((noinline)) void NAME(add_lines)(
    ptrdiff_t rows, ptrdiff_t count, const REAL *lines, const ptrdiff_t *offsets, const REAL *weights,
    ptrdiff_t weights_step, ptrdiff_t width, int add, REAL *sums, ptrdiff_t sums_step)
{
    for (; rows >= 4; rows -= 4, weights += 4 * weights_step, sums += 4 * sums_step)
        NAME(add_line_rows)(4, 2, count, lines, offsets, weights, weights_step, width, add, sums, sums_step);
    if (rows == 3)
        NAME(add_line_rows)(3, 2, count, lines, offsets, weights, weights_step, width, add, sums, sums_step);
    if (rows == 2)
        NAME(add_line_rows)(2, 4, count, lines, offsets, weights, weights_step, width, add, sums, sums_step);
    if (rows == 1)
        NAME(add_line_rows)(1, 8, count, lines, offsets, weights, weights_step, width, add, sums, sums_step);
}

/* Functions of their own, so that what the compiler makes of them stays out of the loops that call them. */
static __attribute__((noinline)) void NAME(join)(
    ptrdiff_t count, const REAL *sums, ptrdiff_t sums_step, ptrdiff_t width, REAL shift, REAL *restrict target,
    ptrdiff_t lines, ptrdiff_t pitch, ptrdiff_t target_step)
{
    for (ptrdiff_t i = 0; i < lines; i++)
        NAME(interleave)(count, sums + i * pitch, sums_step, width, shift, target + i * target_step);
}

/* The last ones overlap those before them. */
static inline __attribute__((always_inline)) void NAME(separate_pairs)(const REAL *source, ptrdiff_t width, REAL *even,
                                                                       REAL *odd)
{
    enum { LANES = VECTOR_BYTES / sizeof(REAL) };
    if (width >= LANES) {
        for (ptrdiff_t next = 0; next < width; next += LANES) {
            const ptrdiff_t x = next + LANES <= width ? next : width - LANES;
            const NAME(lanes) low = *(const NAME(any_lanes) *)(source + 2 * x);
            const NAME(lanes) high = *(const NAME(any_lanes) *)(source + 2 * x + LANES);
            *(NAME(any_lanes) *)(even + x) = SHUFFLE(low, high, EVEN_LANES);
            *(NAME(any_lanes) *)(odd + x) = SHUFFLE(low, high, ODD_LANES);
        }
        return;
    }
    for (ptrdiff_t next = 0; next < width; next += 4) {
        const ptrdiff_t x = next + 4 <= width ? next : width - 4;
        const NAME(four) low = *(const NAME(four) *)(source + 2 * x), high = *(const NAME(four) *)(source + 2 * x + 4);
        *(NAME(four) *)(even + x) = SHUFFLE(low, high, 0, 2, 4, 6);
        *(NAME(four) *)(odd + x) = SHUFFLE(low, high, 1, 3, 5, 7);
    }
}

static __attribute__((noinline)) void NAME(separate)(
    ptrdiff_t count, const REAL *source, ptrdiff_t height, ptrdiff_t source_step, ptrdiff_t start,
    const ptrdiff_t *first, const ptrdiff_t *last, ptrdiff_t left, ptrdiff_t right, ptrdiff_t width,
    REAL *restrict lines, ptrdiff_t line_step)
{
    for (ptrdiff_t y = 0; y < height; y++, source += source_step, lines += width) {
        const REAL *const pixel = source + start + left * count;
        /* Zeros first, in vectors that reach under the numbers. */
        for (ptrdiff_t i = 0; i < count; i++) {
            REAL *const line = lines + i * line_step;
            if (width >= 4 && first[i] <= 4 && width - last[i] <= 4) {
                if (first[i] > 0)
                    *(NAME(four) *)line = (NAME(four)){0};
                if (last[i] < width)
                    *(NAME(four) *)(line + width - 4) = (NAME(four)){0};
            } else
                for (ptrdiff_t x = 0; x < width; x++)
                    line[x] = 0;
        }
        /* The lines that come later, or those of the next map: as far ahead as memory is slow. */
        for (ptrdiff_t x = 0; x < (right - left) * count; x += 64 / (ptrdiff_t)sizeof(REAL))
            __builtin_prefetch(pixel + x + 8192 / sizeof(REAL));
#define SEPARATE(COUNT)                                                                                                \
    case COUNT:                                                                                                        \
        for (ptrdiff_t x = 0; x < right - left; x++)                                                                   \
            for (int i = 0; i < COUNT; i++)                                                                            \
                lines[i * line_step + left + x] = pixel[x * COUNT + i];                                                \
        break;
        if (count == 2 && right - left >= 4)
            NAME(separate_pairs)(pixel, right - left, lines + left, lines + line_step + left);
        else
            switch (count) { /* constants, so that the compiler makes shuffles of them */
                SEPARATE(1)
                SEPARATE(2)
                SEPARATE(3)
                SEPARATE(4)
                SEPARATE(8)
            default:
                for (ptrdiff_t i = 0; i < count; i++)
                    for (ptrdiff_t x = 0; x < right - left; x++)
                        lines[i * line_step + left + x] = pixel[x * count + i];
            }
#undef SEPARATE
        /* What is in the source beside those: at most one pixel at either end. */
        for (ptrdiff_t i = 0; i < count; i++) {
            if (first[i] < left && first[i] < last[i])
                lines[i * line_step + first[i]] = source[start + first[i] * count + i];
            if (last[i] > right && first[i] < last[i])
                lines[i * line_step + last[i] - 1] = source[start + (last[i] - 1) * count + i];
        }
    }
}

/* Some pixels and as many channels as a vector holds. The next ones lie too far apart for the processor to guess. */
#define ADD_PIXELS(NAME, PIXELS, VECTOR, UNALIGNED)                                                                    \
    static inline __attribute__((always_inline)) void NAME(                                                            \
        ptrdiff_t count, const REAL *const *pixels, ptrdiff_t first, ptrdiff_t pixel_step, const REAL *const *weights, \
        ptrdiff_t c, VECTOR shift, REAL *target, ptrdiff_t target_step)                                                \
    {                                                                                                                  \
        VECTOR sum[PIXELS] = {{0}};                                                                                    \
        for (ptrdiff_t i = 0; i < count; i++) {                                                                        \
            const VECTOR weight = *(const UNALIGNED *)(weights[i] + c);                                                \
            const REAL *pixel = pixels[i] + first + c;                                                                 \
            _Pragma("GCC unroll 8") for (int p = 0; p < PIXELS; p++)                                                   \
            {                                                                                                          \
                __builtin_prefetch(pixel + (p + PIXELS) * pixel_step);                                                 \
                sum[p] += weight * *(const UNALIGNED *)(pixel + p * pixel_step);                                       \
            }                                                                                                          \
        }                                                                                                              \
        _Pragma("GCC unroll 8") for (int p = 0; p < PIXELS; p++)                                                       \
        {                                                                                                              \
            *(UNALIGNED *)(target + p * target_step + c) = sum[p] + shift;                                             \
            __builtin_prefetch(target + (p + PIXELS) * target_step + c, 1);                                            \
        }                                                                                                              \
    }

/* All the pixels; the last vector of channels begins where it ends with them, and computes some of them again. */
#define ADD_GROUPS(NAME, PIXELS8, PIXELS4, PIXELS1, VECTOR, UNALIGNED)                                                 \
    static void NAME(ptrdiff_t count, const REAL *const *pixels, ptrdiff_t pixel_step, const REAL *const *weights,     \
                     ptrdiff_t width, ptrdiff_t channels, const REAL *bias, REAL *target, ptrdiff_t target_step)       \
    {                                                                                                                  \
        const ptrdiff_t lanes = sizeof(VECTOR) / sizeof(REAL);                                                         \
        for (ptrdiff_t p = 0; p < width;) {                                                                            \
            const ptrdiff_t used = width - p >= 8 ? 8 : width - p >= 4 ? 4 : 1;                                        \
            for (ptrdiff_t first = 0; first < channels; first += lanes) {                                              \
                const ptrdiff_t c = first + lanes <= channels ? first : channels - lanes;                              \
                const VECTOR shift = *(const UNALIGNED *)(bias + c);                                                   \
                REAL *pixel = target + p * target_step;                                                                \
                if (used == 8)                                                                                         \
                    PIXELS8(count, pixels, p * pixel_step, pixel_step, weights, c, shift, pixel, target_step);         \
                else if (used == 4)                                                                                    \
                    PIXELS4(count, pixels, p * pixel_step, pixel_step, weights, c, shift, pixel, target_step);         \
                else                                                                                                   \
                    PIXELS1(count, pixels, p * pixel_step, pixel_step, weights, c, shift, pixel, target_step);         \
            }                                                                                                          \
            p += used;                                                                                                 \
        }                                                                                                              \
    }

ADD_PIXELS(NAME(add_pixels_8), 8, NAME(lanes), NAME(any_lanes))
ADD_PIXELS(NAME(add_pixels_4), 4, NAME(lanes), NAME(any_lanes))
ADD_PIXELS(NAME(add_pixels_1), 1, NAME(lanes), NAME(any_lanes))
ADD_PIXELS(NAME(add_half_pixels_8), 8, NAME(half_lanes), NAME(any_half_lanes))
ADD_PIXELS(NAME(add_half_pixels_4), 4, NAME(half_lanes), NAME(any_half_lanes))
ADD_PIXELS(NAME(add_half_pixels_1), 1, NAME(half_lanes), NAME(any_half_lanes))
ADD_GROUPS(NAME(add_whole_groups), NAME(add_pixels_8), NAME(add_pixels_4), NAME(add_pixels_1), NAME(lanes),
           NAME(any_lanes))
ADD_GROUPS(NAME(add_half_groups), NAME(add_half_pixels_8), NAME(add_half_pixels_4), NAME(add_half_pixels_1),
           NAME(half_lanes), NAME(any_half_lanes))

static inline void NAME(add_groups)(ptrdiff_t count, const REAL *const *pixels, ptrdiff_t pixel_step,
                                    const REAL *const *weights, ptrdiff_t width, ptrdiff_t channels, const REAL *bias,
                                    REAL *target, ptrdiff_t target_step)
{
    (channels * sizeof(REAL) < VECTOR_BYTES ? NAME(add_half_groups) : NAME(add_whole_groups))(
        count, pixels, pixel_step, weights, width, channels, bias, target, target_step);
}

/* taps is a constant, so that the sums stay in registers. */
#define DOT_PIXELS(NAME, VECTOR, UNALIGNED)                                                                            \
    static inline __attribute__((always_inline)) void NAME(                                                            \
        int taps, const REAL *x, ptrdiff_t x_step, const REAL *y, const ptrdiff_t *offsets, ptrdiff_t y_step,          \
        ptrdiff_t width, REAL *sums, const ptrdiff_t *places)                                                          \
    {                                                                                                                  \
        VECTOR sum[9];                                                                                                 \
        const REAL *pixel[9];                                                                                          \
        _Pragma("GCC unroll 9") for (int t = 0; t < taps; t++)                                                         \
        {                                                                                                              \
            sum[t] = *(const UNALIGNED *)(sums + places[t]);                                                           \
            pixel[t] = y + offsets[t];                                                                                 \
        }                                                                                                              \
        for (ptrdiff_t p = 0; p < width; p++, x += x_step) {                                                           \
            const VECTOR factor = *(const UNALIGNED *)x;                                                               \
            _Pragma("GCC unroll 9") for (int t = 0; t < taps; t++)                                                     \
                sum[t] += factor * *(const UNALIGNED *)(pixel[t] + p * y_step);                                        \
        }                                                                                                              \
        _Pragma("GCC unroll 9") for (int t = 0; t < taps; t++) *(UNALIGNED *)(sums + places[t]) = sum[t];              \
    }

/* Some pixels at a time, so that memory is read nearly in order; the last vector of channels begins where it ends with
 * them, and has sums of its own. */
#define DOT_GROUPS(NAME, PIXELS, VECTOR)                                                                               \
    static void NAME(ptrdiff_t taps, const ptrdiff_t *offsets, const ptrdiff_t *places, const REAL *x,                 \
                     ptrdiff_t x_step, const REAL *y, ptrdiff_t y_step, ptrdiff_t width, ptrdiff_t channels,           \
                     REAL *sums)                                                                                       \
    {                                                                                                                  \
        const ptrdiff_t lanes = sizeof(VECTOR) / sizeof(REAL), most = 32;                                              \
        for (ptrdiff_t p = 0; p < width; p += most)                                                                    \
            for (ptrdiff_t first = 0; first < channels; first += lanes) {                                              \
                const ptrdiff_t c = first + lanes <= channels ? first : channels - lanes;                              \
                const ptrdiff_t count = width - p < most ? width - p : most;                                           \
                for (ptrdiff_t t = 0, used; t < taps; t += used) {                                                     \
                    const ptrdiff_t parts = (taps - t + 8) / 9;                                                        \
                    used = (taps - t + parts - 1) / parts; /* as even as they can be */                                \
                    switch (used) {                                                                                    \
                        EACH_OF_9(DOT_SOME, PIXELS)                                                                    \
                    }                                                                                                  \
                }                                                                                                      \
            }                                                                                                          \
    }
#define DOT_SOME(TAPS, PIXELS)                                                                                         \
    case TAPS:                                                                                                         \
        PIXELS(TAPS, x + p * x_step + c, x_step, y + p * y_step + c, offsets + t, y_step, count, sums + first,         \
               places + t);                                                                                            \
        break;
#define EACH_OF_9(DO, WITH)                                                                                            \
    DO(1, WITH) DO(2, WITH) DO(3, WITH) DO(4, WITH) DO(5, WITH) DO(6, WITH) DO(7, WITH) DO(8, WITH) DO(9, WITH)

DOT_PIXELS(NAME(dot_pixels), NAME(lanes), NAME(any_lanes))
DOT_PIXELS(NAME(dot_half_pixels), NAME(half_lanes), NAME(any_half_lanes))
DOT_GROUPS(NAME(dot_whole_groups), NAME(dot_pixels), NAME(lanes))
DOT_GROUPS(NAME(dot_half_groups), NAME(dot_half_pixels), NAME(half_lanes))

static inline void NAME(dot_groups)(ptrdiff_t taps, const ptrdiff_t *offsets, const ptrdiff_t *places, const REAL *x,
                                    ptrdiff_t x_step, const REAL *y, ptrdiff_t y_step, ptrdiff_t width,
                                    ptrdiff_t channels, REAL *sums)
{
    (channels * sizeof(REAL) < VECTOR_BYTES ? NAME(dot_half_groups) : NAME(dot_whole_groups))(
        taps, offsets, places, x, x_step, y, y_step, width, channels, sums);
}

#undef ADD_PIXELS
#undef ADD_GROUPS
#undef DOT_PIXELS
#undef DOT_GROUPS
#undef DOT_SOME
#undef EACH_OF_9
