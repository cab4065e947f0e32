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

/* lines and phases are constants. */
static inline __attribute__((always_inline)) void NAME(add_stack)(int lines, int taps, const REAL *plane,
                                                                  ptrdiff_t pitch, const REAL *weights,
                                                                  NAME(channels_whole) *sum)
{
    NAME(channels_whole) each[4];
#pragma GCC unroll 4
    for (int t = 0; t < taps; t++)
        each[t] = weights[t] - (NAME(channels_whole)){0};
    NAME(add_row_whole)(lines, taps, 1, 0, plane, pitch, each, sum);
}

static inline __attribute__((always_inline)) void NAME(add_stacks_of)(
    int lines, int phases, const ptrdiff_t *counts, const REAL *planes, ptrdiff_t pitch, const ptrdiff_t *offsets,
    const REAL *weights, ptrdiff_t height, ptrdiff_t width, REAL shift, REAL *target, ptrdiff_t target_step)
{
    enum { LANES = VECTOR_BYTES / sizeof(REAL) };
    for (ptrdiff_t next_line = 0; next_line < height; next_line += lines) {
        const ptrdiff_t line = next_line + lines <= height ? next_line : height - lines;
        for (ptrdiff_t next = 0; next < width; next += LANES * phases) {
            ptrdiff_t x = next / phases, count = LANES * phases;
            if (next + count > width) {
                x = width < count ? 0 : (width - count + phases - 1) / phases;
                count = width - x * phases;
            }
            const REAL *const source = planes + line * pitch + x;
            const ptrdiff_t *offset = offsets;
            const REAL *weight = weights;
            NAME(channels_whole) sum[2][8];
#pragma GCC unroll 2
            for (int p = 0; p < phases; p++) {
#pragma GCC unroll 8
                for (int l = 0; l < lines; l++)
                    sum[p][l] = (NAME(channels_whole)){0};
                for (const ptrdiff_t *last = offset + counts[4 * p + 3]; offset < last; offset++, weight += 4)
                    NAME(add_stack)(lines, 4, source + *offset, pitch, weight, sum[p]);
                for (const ptrdiff_t *last = offset + counts[4 * p + 2]; offset < last; offset++, weight += 3)
                    NAME(add_stack)(lines, 3, source + *offset, pitch, weight, sum[p]);
                for (const ptrdiff_t *last = offset + counts[4 * p + 1]; offset < last; offset++, weight += 2)
                    NAME(add_stack)(lines, 2, source + *offset, pitch, weight, sum[p]);
                for (const ptrdiff_t *last = offset + counts[4 * p]; offset < last; offset++, weight += 1)
                    NAME(add_stack)(lines, 1, source + *offset, pitch, weight, sum[p]);
            }
            REAL *to = target + line * target_step + x * phases;
#pragma GCC unroll 8
            for (int l = 0; l < lines; l++, to += target_step) {
                NAME(channels_whole) first = sum[0][l] + shift, second = first;
                if (phases == 2) {
                    second = sum[1][l] + shift;
                    const NAME(channels_whole) low = SHUFFLE(first, second, LOW_LANES);
                    second = SHUFFLE(first, second, HIGH_LANES);
                    first = low;
                }
                if (count == LANES * phases) {
                    *(NAME(any_channels_whole) *)to = first;
                    if (phases == 2)
                        *(NAME(any_channels_whole) *)(to + LANES) = second;
                } else {
                    REAL all[2 * LANES];
                    *(NAME(any_channels_whole) *)all = first;
                    *(NAME(any_channels_whole) *)(all + LANES) = second;
                    for (ptrdiff_t i = 0; i < count; i++)
                        to[i] = all[i];
                }
            }
        }
    }
}

static __attribute__((noinline)) void NAME(add_stacks)(ptrdiff_t phases, const ptrdiff_t *counts, const REAL *planes,
                                                       ptrdiff_t pitch, const ptrdiff_t *offsets, const REAL *weights,
                                                       ptrdiff_t height, ptrdiff_t width, REAL shift, REAL *target,
                                                       ptrdiff_t target_step)
{
    enum { LANES = VECTOR_BYTES / sizeof(REAL) };
    const ptrdiff_t block = LANES * phases, blocks = width / block;
    if (height == 1 && blocks > 1 && !(counts[1] | counts[2] | counts[3])) {
        /* A single line: its vectors are as good as lines. */
        NAME(add_stacks)(phases, counts, planes, LANES, offsets, weights, blocks, block, shift, target, block);
        planes += blocks * LANES, target += blocks * block, width -= blocks * block;
    }
#define ADD_STACKS(LINES, PHASES)                                                                                      \
    NAME(add_stacks_of)(LINES, PHASES, counts, planes, pitch, offsets, weights, height, width, shift, target,          \
                        target_step)
    if (phases == 1) {
        if (height >= 8)
            ADD_STACKS(8, 1);
        else if (height >= 4)
            ADD_STACKS(4, 1);
        else
            ADD_STACKS(1, 1);
    } else if (height >= 4)
        ADD_STACKS(4, 2);
    else
        ADD_STACKS(1, 2);
#undef ADD_STACKS
}

/* Functions of their own, so that what the compiler makes of them stays out of the loops that call them. */
static __attribute__((noinline)) void NAME(join)(
    ptrdiff_t count, const REAL *sums, ptrdiff_t sums_step, ptrdiff_t width, REAL shift, REAL *restrict target,
    ptrdiff_t lines, ptrdiff_t pitch, ptrdiff_t target_step)
{
    for (ptrdiff_t i = 0; i < lines; i++)
        NAME(interleave)(count, sums + i * pitch, sums_step, width, shift, target + i * target_step);
}

/* Lines of whole vectors, with zeros from the last pixel of one to the first of the next. count is a constant, 1 or 2;
 * the last pixels overlap those before them; the first rest remainders have one pixel more. */
static inline __attribute__((always_inline)) void NAME(separate_vectors)(
    int count, ptrdiff_t lines_step, const REAL *source, ptrdiff_t first_line, ptrdiff_t last_line,
    ptrdiff_t source_step, ptrdiff_t size, ptrdiff_t rest, ptrdiff_t width, REAL *restrict row, ptrdiff_t plane)
{
    enum { LANES = VECTOR_BYTES / sizeof(REAL) };
    ptrdiff_t remainder = first_line % lines_step;
    for (ptrdiff_t y = first_line; y < last_line; y++, source += source_step) {
        REAL *const line = row + remainder * count * plane;
        if (++remainder == lines_step)
            remainder = 0, row += width;
        for (ptrdiff_t x = size / LANES * LANES; x < width; x += LANES)
            for (int i = 0; i < count; i++)
                *(NAME(any_lanes) *)(line + i * plane + x) = (NAME(any_lanes)){0};
        if (size >= LANES)
            for (ptrdiff_t next = 0; next < size; next += LANES) {
                const ptrdiff_t x = next + LANES <= size ? next : size - LANES;
                const REAL *const pixel = source + x * count;
                const NAME(lanes) low = *(const NAME(any_lanes) *)pixel;
                /* The lines that come later, or those of the next map: as far ahead as memory is slow. */
                __builtin_prefetch(pixel + 8192 / sizeof(REAL));
                if (count == 1) {
                    *(NAME(any_lanes) *)(line + x) = low;
                } else {
                    const NAME(lanes) high = *(const NAME(any_lanes) *)(pixel + LANES);
                    __builtin_prefetch(pixel + LANES + 8192 / sizeof(REAL));
                    *(NAME(any_lanes) *)(line + x) = SHUFFLE(low, high, EVEN_LANES);
                    *(NAME(any_lanes) *)(line + plane + x) = SHUFFLE(low, high, ODD_LANES);
                }
            }
        else
            for (ptrdiff_t next = 0; next < size; next += 4) {
                const ptrdiff_t x = next + 4 <= size ? next : size - 4;
                const NAME(four) low = *(const NAME(four) *)(source + x * count);
                __builtin_prefetch(source + x * count + 8192 / sizeof(REAL));
                if (count == 1) {
                    *(NAME(four) *)(line + x) = low;
                } else {
                    const NAME(four) high = *(const NAME(four) *)(source + x * count + 4);
                    *(NAME(four) *)(line + x) = SHUFFLE(low, high, 0, 2, 4, 6);
                    *(NAME(four) *)(line + plane + x) = SHUFFLE(low, high, 1, 3, 5, 7);
                }
            }
        for (ptrdiff_t i = 0; i < rest; i++)
            line[i * plane + size] = source[size * count + i];
    }
}

static __attribute__((noinline)) void NAME(separate)(
    ptrdiff_t count, ptrdiff_t lines_step, const REAL *source, ptrdiff_t first_line, ptrdiff_t last_line,
    ptrdiff_t source_step, ptrdiff_t start, const ptrdiff_t *first, const ptrdiff_t *last, ptrdiff_t left,
    ptrdiff_t right, ptrdiff_t width, REAL *restrict planes, ptrdiff_t plane)
{
    enum { LANES = VECTOR_BYTES / sizeof(REAL) };
    int whole = width % LANES == 0 && right - left >= 4 && left <= LANES;
    for (ptrdiff_t i = 0; i < count; i++)
        whole = whole && first[i] == left;
    if (whole && count <= 2) {
        REAL *const row = planes + first_line / lines_step * width + left;
        const REAL *const pixel = source + start + left * count;
        if (count == 1)
            NAME(separate_vectors)(1, lines_step, pixel, first_line, last_line, source_step, right - left,
                                   last[0] - right, width, row, plane);
        else
            NAME(separate_vectors)(2, lines_step, pixel, first_line, last_line, source_step, right - left,
                                   last[0] - right, width, row, plane);
        return;
    }
    ptrdiff_t remainder = first_line % lines_step;
    REAL *row = planes + first_line / lines_step * width;
    for (ptrdiff_t y = first_line; y < last_line; y++, source += source_step) {
        REAL *const lines = row + remainder * count * plane;
        const REAL *const pixel = source + start + left * count;
        if (++remainder == lines_step)
            remainder = 0, row += width;
        for (ptrdiff_t i = 0; i < count; i++) {
            REAL *const line = lines + i * plane;
            if (whole)
                for (ptrdiff_t x = left + (right - left) / LANES * LANES; x < left + width; x += LANES)
                    *(NAME(any_lanes) *)(line + x) = (NAME(any_lanes)){0};
            else if (width >= 4 && first[i] <= 4 && width - last[i] <= 4) {
                /* In vectors that reach under the numbers. */
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
                lines[i * plane + left + x] = pixel[x * COUNT + i];                                                    \
        break;
        switch (count) { /* constants, so that the compiler makes shuffles of them */
            SEPARATE(1)
            SEPARATE(2)
            SEPARATE(3)
            SEPARATE(4)
            SEPARATE(8)
        default:
            for (ptrdiff_t i = 0; i < count; i++)
                for (ptrdiff_t x = 0; x < right - left; x++)
                    lines[i * plane + left + x] = pixel[x * count + i];
        }
#undef SEPARATE
        /* What is in the source beside those: at most one pixel at either end. */
        for (ptrdiff_t i = 0; i < count; i++) {
            if (first[i] < left && first[i] < last[i])
                lines[i * plane + first[i]] = source[start + first[i] * count + i];
            if (last[i] > right && first[i] < last[i])
                lines[i * plane + last[i] - 1] = source[start + (last[i] - 1) * count + i];
        }
    }
}

static inline void NAME(add_groups)(const ptrdiff_t *counts, const REAL *const *rows, ptrdiff_t step,
                                    ptrdiff_t pixel_step, const REAL *const *weights, ptrdiff_t weights_step,
                                    ptrdiff_t width, ptrdiff_t channels, const REAL *bias, REAL *target,
                                    ptrdiff_t target_step)
{
    (channels * sizeof(REAL) < VECTOR_BYTES ? NAME(add_groups_half) : NAME(add_groups_whole))(
        counts, rows, step, pixel_step, weights, weights_step, width, channels, bias, target, target_step);
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

#undef DOT_PIXELS
#undef DOT_GROUPS
#undef DOT_SOME
#undef EACH_OF_9
