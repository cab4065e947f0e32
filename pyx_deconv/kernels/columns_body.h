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

static inline REAL NAME(total)(NAME(vector) sum)
{
    REAL lanes[VECTOR_BYTES / sizeof(REAL)];
    memcpy(lanes, &sum, sizeof sum);
    for (int half = VECTOR_BYTES / sizeof(REAL) / 2; half > 0; half /= 2)
        for (int i = 0; i < half; i++)
            lanes[i] += lanes[i + half];
    return lanes[0];
}

#define ADD_DOTS(PIXELS)                                                                                               \
    static __attribute__((noinline)) void NAME(add_dots_##PIXELS)(                                                     \
        ptrdiff_t used_rows, ptrdiff_t depth, const REAL *rows, ptrdiff_t row_step, const REAL *columns,               \
        ptrdiff_t column_step, REAL *sums, ptrdiff_t sums_step)                                                        \
    {                                                                                                                  \
        enum { LANES = VECTOR_BYTES / sizeof(REAL) };                                                                  \
        NAME(vector) sum[DOT_ROWS][PIXELS] = {{{0}}};                                                                  \
        const REAL *row[DOT_ROWS];                                                                                     \
        for (int i = 0; i < DOT_ROWS; i++)                                                                             \
            row[i] = rows + (i < used_rows ? i : 0) * row_step;                                                        \
        ptrdiff_t k = 0;                                                                                               \
        for (; k + LANES <= depth; k += LANES) {                                                                       \
            NAME(vector) column[PIXELS];                                                                               \
            _Pragma("GCC unroll 16") for (int p = 0; p < PIXELS; p++)                                                  \
                column[p] = *(const NAME(unaligned_vector) *)(columns + p * column_step + k);                          \
            _Pragma("GCC unroll 16") for (int i = 0; i < DOT_ROWS; i++)                                                \
            {                                                                                                          \
                const NAME(vector) x = *(const NAME(unaligned_vector) *)(row[i] + k);                                  \
                __builtin_prefetch(row[i] + k + DOT_AHEAD / sizeof(REAL));                                             \
                _Pragma("GCC unroll 16") for (int p = 0; p < PIXELS; p++) sum[i][p] += x * column[p];                  \
            }                                                                                                          \
        }                                                                                                              \
        _Pragma("GCC unroll 16") for (int i = 0; i < DOT_ROWS; i++) if (i < used_rows)                                 \
            _Pragma("GCC unroll 16") for (int p = 0; p < PIXELS; p++) {                                                \
                REAL rest = 0;                                                                                         \
                for (ptrdiff_t j = k; j < depth; j++)                                                                  \
                    rest += row[i][j] * columns[p * column_step + j];                                                  \
                sums[i * sums_step + p] += NAME(total)(sum[i][p]) + rest;                                              \
            }                                                                                                          \
    }

#define ADD_MULTIPLES(PIXELS)                                                                                          \
    static __attribute__((noinline)) void NAME(add_multiples_##PIXELS)(                                                \
        ptrdiff_t used_pixels, ptrdiff_t depth, ptrdiff_t size, const REAL *values, ptrdiff_t value_step,              \
        const REAL *rows, ptrdiff_t row_step, REAL *sums, ptrdiff_t sums_step)                                         \
    {                                                                                                                  \
        enum { LANES = VECTOR_BYTES / sizeof(REAL) };                                                                  \
        const REAL *value[PIXELS];                                                                                     \
        _Pragma("GCC unroll 16") for (int p = 0; p < PIXELS; p++)                                                      \
            value[p] = values + (p < used_pixels ? p : 0) * value_step;                                                \
        ptrdiff_t j = 0;                                                                                               \
        for (; j + 2 * LANES <= size; j += 2 * LANES) {                                                                \
            NAME(vector) sum[PIXELS][2] = {{{0}}};                                                                     \
            const REAL *row = rows + j;                                                                                \
            for (ptrdiff_t k = 0; k < depth; k++, row += row_step) {                                                   \
                const NAME(vector) a = *(const NAME(unaligned_vector) *)row;                                           \
                const NAME(vector) b = *(const NAME(unaligned_vector) *)(row + LANES);                                 \
                _Pragma("GCC unroll 16") for (int p = 0; p < PIXELS; p++)                                              \
                {                                                                                                      \
                    const NAME(vector) x = value[p][k] - (NAME(vector)){0};                                            \
                    sum[p][0] += x * a;                                                                                \
                    sum[p][1] += x * b;                                                                                \
                }                                                                                                      \
            }                                                                                                          \
            _Pragma("GCC unroll 16") for (int p = 0; p < PIXELS; p++) if (p < used_pixels) {                           \
                *(NAME(unaligned_vector) *)(sums + p * sums_step + j) += sum[p][0];                                    \
                *(NAME(unaligned_vector) *)(sums + p * sums_step + j + LANES) += sum[p][1];                            \
            }                                                                                                          \
        }                                                                                                              \
        for (; j < size; j++)                                                                                          \
            for (int p = 0; p < used_pixels; p++) {                                                                    \
                REAL rest = 0;                                                                                         \
                for (ptrdiff_t k = 0; k < depth; k++)                                                                  \
                    rest += value[p][k] * rows[k * row_step + j];                                                      \
                sums[p * sums_step + j] += rest;                                                                       \
            }                                                                                                          \
    }

ADD_DOTS(1) ADD_DOTS(2) ADD_DOTS(3) ADD_DOTS(4)
ADD_MULTIPLES(1) ADD_MULTIPLES(2) ADD_MULTIPLES(4)
#if TILE_ROWS > 4
ADD_MULTIPLES(TILE_ROWS)
#endif

static inline void NAME(add_dots)(ptrdiff_t pixels, ptrdiff_t used_rows, ptrdiff_t depth, const REAL *rows,
                                  ptrdiff_t row_step, const REAL *columns, ptrdiff_t column_step, REAL *sums,
                                  ptrdiff_t sums_step)
{
    (pixels == 1   ? NAME(add_dots_1)
     : pixels == 2 ? NAME(add_dots_2)
     : pixels == 3 ? NAME(add_dots_3)
                   : NAME(add_dots_4))(used_rows, depth, rows, row_step, columns, column_step, sums, sums_step);
}

static inline void NAME(add_multiples)(ptrdiff_t pixels, ptrdiff_t depth, ptrdiff_t size, const REAL *values,
                                       ptrdiff_t value_step, const REAL *rows, ptrdiff_t row_step, REAL *sums,
                                       ptrdiff_t sums_step)
{
    (pixels == 1   ? NAME(add_multiples_1)
     : pixels == 2 ? NAME(add_multiples_2)
#if TILE_ROWS > 4
     : pixels > 4  ? NAME(add_multiples_TILE_ROWS)
#endif
                   : NAME(add_multiples_4))(pixels, depth, size, values, value_step, rows, row_step, sums, sums_step);
}
#undef ADD_DOTS
#undef ADD_MULTIPLES
