/* Included by lines.h once for each REAL and size of vectors; see there for what it computes. */

typedef REAL VECTOR(channels) __attribute__((vector_size(BYTES)));
typedef REAL VECTOR(any_channels) __attribute__((vector_size(BYTES), aligned(sizeof(REAL)), may_alias));

/* Sums += a row of taps. pixels, taps, step and fetches are constants: sums and weights stay in registers, and each
 * pixel is loaded once for all of them. The next ones may lie too far apart for the processor to guess. */
static inline __attribute__((always_inline)) void VECTOR(add_row)(
    int pixels, int taps, int step, int fetches, const REAL *row, ptrdiff_t pixel_step, const VECTOR(channels) *weights,
    VECTOR(channels) *sum)
{
    const ptrdiff_t ahead = pixels * step * pixel_step;
#pragma GCC unroll 32
    for (int x = 0; x < (pixels - 1) * step + taps; x++, row += pixel_step) {
        const VECTOR(channels) pixel = *(const VECTOR(any_channels) *)row;
        __asm__("" : "+r"(row)); /* or the compiler makes a list of all their places, more than there are registers */
        if (fetches)
            __builtin_prefetch(row + ahead);
#pragma GCC unroll 4
        for (int t = 0; t < taps; t++)
            if (x >= t && (x - t) % step == 0 && (x - t) / step < pixels)
                sum[(x - t) / step] += weights[t] * pixel;
    }
}

static inline __attribute__((always_inline)) void VECTOR(add_row_of_groups)(
    int pixels, int taps, int step, const REAL *row, ptrdiff_t pixel_step, const REAL *weights, ptrdiff_t weights_step,
    VECTOR(channels) *sum)
{
    VECTOR(channels) each[4];
#pragma GCC unroll 4
    for (int t = 0; t < taps; t++)
        each[t] = *(const VECTOR(any_channels) *)(weights + t * weights_step);
    VECTOR(add_row)(pixels, taps, step, 1, row, pixel_step, each, sum);
}

static inline __attribute__((always_inline)) void VECTOR(add_pixels)(
    int pixels, int step, const ptrdiff_t *counts, const REAL *const *rows, ptrdiff_t first, ptrdiff_t pixel_step,
    const REAL *const *weights, ptrdiff_t weights_step, ptrdiff_t c, const REAL *bias, REAL *target,
    ptrdiff_t target_step)
{
    const VECTOR(channels) shift = *(const VECTOR(any_channels) *)(bias + c);
    VECTOR(channels) sum[8] = {{0}};
    ptrdiff_t i = 0, last = counts[3];
    for (; i < last; i++)
        VECTOR(add_row_of_groups)(pixels, 4, step, rows[i] + first + c, pixel_step, weights[i] + c, weights_step, sum);
    for (last += counts[2]; i < last; i++)
        VECTOR(add_row_of_groups)(pixels, 3, step, rows[i] + first + c, pixel_step, weights[i] + c, weights_step, sum);
    for (last += counts[1]; i < last; i++)
        VECTOR(add_row_of_groups)(pixels, 2, step, rows[i] + first + c, pixel_step, weights[i] + c, weights_step, sum);
    for (last += counts[0]; i < last; i++)
        VECTOR(add_row_of_groups)(pixels, 1, 1, rows[i] + first + c, step * pixel_step, weights[i] + c, 0, sum);
#pragma GCC unroll 8
    for (int p = 0; p < pixels; p++) {
        *(VECTOR(any_channels) *)(target + p * target_step + c) = sum[p] + shift;
        __builtin_prefetch(target + (p + pixels) * target_step + c, 1);
    }
}

/* All the pixels; the last vector of channels begins where it ends with them, and computes some of them again. */
static inline __attribute__((always_inline)) void VECTOR(add_groups_with)(
    int step, const ptrdiff_t *counts, const REAL *const *rows, ptrdiff_t pixel_step, const REAL *const *weights,
    ptrdiff_t weights_step, ptrdiff_t width, ptrdiff_t channels, const REAL *bias, REAL *target, ptrdiff_t target_step)
{
    enum { LANES = BYTES / sizeof(REAL) };
    for (ptrdiff_t p = 0, used; p < width; p += used, target += used * target_step) {
        const ptrdiff_t first = p * step * pixel_step;
        used = width - p >= 8 ? 8 : width - p >= 4 ? 4 : width - p >= 2 ? 2 : 1;
        for (ptrdiff_t next = 0; next < channels; next += LANES) {
            const ptrdiff_t c = next + LANES <= channels ? next : channels - LANES;
#define ADD_PIXELS(PIXELS)                                                                                             \
    case PIXELS:                                                                                                       \
        VECTOR(add_pixels)(PIXELS, step, counts, rows, first, pixel_step, weights, weights_step, c, bias, target,      \
                           target_step);                                                                               \
        break;
            switch (used) {
                ADD_PIXELS(1)
                ADD_PIXELS(2)
                ADD_PIXELS(4)
                ADD_PIXELS(8)
            }
#undef ADD_PIXELS
        }
    }
}

static __attribute__((noinline)) void VECTOR(add_groups)(
    const ptrdiff_t *counts, const REAL *const *rows, ptrdiff_t step, ptrdiff_t pixel_step, const REAL *const *weights,
    ptrdiff_t weights_step, ptrdiff_t width, ptrdiff_t channels, const REAL *bias, REAL *target, ptrdiff_t target_step)
{
    if (step == 2) /* a constant */
        VECTOR(add_groups_with)(2, counts, rows, pixel_step, weights, weights_step, width, channels, bias, target,
                                target_step);
    else /* rows of single taps, if it is not one */
        VECTOR(add_groups_with)(1, counts, rows, step * pixel_step, weights, weights_step, width, channels, bias,
                                target, target_step);
}
