/* Included by transpose.h once for each REAL; see there for what it computes. */

typedef REAL NAME(four) __attribute__((vector_size(4 * sizeof(REAL)), aligned(sizeof(REAL)), may_alias));

static inline __attribute__((always_inline)) void NAME(transpose_four)(
    const NAME(four) *row, REAL *p0, REAL *p1, REAL *p2, REAL *p3)
{
    const NAME(four) low01 = SHUFFLE(row[0], row[1], 0, 4, 1, 5), high01 = SHUFFLE(row[0], row[1], 2, 6, 3, 7);
    const NAME(four) low23 = SHUFFLE(row[2], row[3], 0, 4, 1, 5), high23 = SHUFFLE(row[2], row[3], 2, 6, 3, 7);
    *(NAME(four) *)p0 = SHUFFLE(low01, low23, 0, 1, 4, 5);
    *(NAME(four) *)p1 = SHUFFLE(low01, low23, 2, 3, 6, 7);
    *(NAME(four) *)p2 = SHUFFLE(high01, high23, 0, 1, 4, 5);
    *(NAME(four) *)p3 = SHUFFLE(high01, high23, 2, 3, 6, 7);
}

static inline __attribute__((always_inline)) void NAME(transpose_block)(
    const REAL *source, ptrdiff_t row_step, int column_step, REAL *p0, REAL *p1, REAL *p2, REAL *p3)
{
    NAME(four) row[4];
    for (int i = 0; i < 4; i++) {
        const REAL *line = source + i * row_step;
        if (column_step == 1)
            row[i] = *(const NAME(four) *)line;
        else if (column_step == 2)
            row[i] = SHUFFLE(*(const NAME(four) *)line, *(const NAME(four) *)(line + 3), 0, 2, 5, 7);
        else
            row[i] = (NAME(four)){line[0], line[column_step], line[2 * column_step], line[3 * column_step]};
    }
    NAME(transpose_four)(row, p0, p1, p2, p3);
}

/* rows is a constant, less than four: what is stored side by side is stored in turn. */
static inline __attribute__((always_inline)) void NAME(transpose_few)(
    int rows, const REAL *source, ptrdiff_t row_step, ptrdiff_t column_step, ptrdiff_t columns, REAL *target,
    ptrdiff_t target_step)
{
    for (ptrdiff_t column = 0; column < columns; column++)
        for (int row = 0; row < rows; row++)
            target[column * target_step + row] = source[row * row_step + column * column_step];
}

static inline __attribute__((always_inline)) void NAME(transpose_with)(
    const REAL *source, ptrdiff_t row_step, ptrdiff_t column_step, ptrdiff_t rows, ptrdiff_t columns, REAL *target,
    ptrdiff_t target_step)
{
    /* Four rows at a time, of which the last four overlap those before them. */
    for (ptrdiff_t next = 0; rows >= 4 && next < rows; next += 4) {
        const ptrdiff_t row = next + 4 <= rows ? next : rows - 4;
        const REAL *line = source + row * row_step;
        ptrdiff_t column = 0;
        for (; column + 4 <= columns; column += 4) {
            REAL *pixel = target + column * target_step + row;
            NAME(transpose_block)(line + column * column_step, row_step, column_step, pixel, pixel + target_step,
                                  pixel + 2 * target_step, pixel + 3 * target_step);
        }
        for (; column < columns; column++)
            for (int i = 0; i < 4; i++)
                target[column * target_step + row + i] = line[i * row_step + column * column_step];
    }
    if (rows == 3)
        NAME(transpose_few)(3, source, row_step, column_step, columns, target, target_step);
    if (rows == 2)
        NAME(transpose_few)(2, source, row_step, column_step, columns, target, target_step);
    if (rows == 1)
        NAME(transpose_few)(1, source, row_step, column_step, columns, target, target_step);
}

static inline void NAME(transpose)(const REAL *source, ptrdiff_t row_step, ptrdiff_t column_step, ptrdiff_t rows,
                                   ptrdiff_t columns, REAL *target, ptrdiff_t target_step)
{
    if (column_step == 1) /* a constant, so that a block is loaded in vectors */
        NAME(transpose_with)(source, row_step, 1, rows, columns, target, target_step);
    else if (column_step == 2)
        NAME(transpose_with)(source, row_step, 2, rows, columns, target, target_step);
    else
        NAME(transpose_with)(source, row_step, column_step, rows, columns, target, target_step);
}

static inline void NAME(transpose_to)(const REAL *source, ptrdiff_t source_step, ptrdiff_t rows, ptrdiff_t columns,
                                      REAL *target, const ptrdiff_t *place, ptrdiff_t target_step, ptrdiff_t ahead)
{
    ptrdiff_t row = 0;
    for (; row + 4 <= rows; row += 4) {
        const REAL *line = source + row * source_step;
        REAL *lane = target + row;
        ptrdiff_t column = 0;
        for (int i = 0; i < 4; i++)
            for (ptrdiff_t fetched = 0; fetched < columns; fetched += 64 / sizeof(REAL))
                __builtin_prefetch(line + i * source_step + fetched + ahead);
        for (; column + 4 <= columns; column += 4)
            NAME(transpose_block)(line + column, source_step, 1, lane + place[column] * target_step,
                                  lane + place[column + 1] * target_step, lane + place[column + 2] * target_step,
                                  lane + place[column + 3] * target_step);
        for (; column < columns; column++)
            for (int i = 0; i < 4; i++)
                lane[place[column] * target_step + i] = line[i * source_step + column];
    }
    for (; row < rows; row++)
        for (ptrdiff_t column = 0; column < columns; column++)
            target[place[column] * target_step + row] = source[row * source_step + column];
}

static inline void NAME(transpose_rows)(const REAL *const *rows, ptrdiff_t count, ptrdiff_t columns,
                                        const REAL *shift, REAL *target, ptrdiff_t target_step)
{
    enum { MOST = 128 / sizeof(REAL), LINE = 64 / sizeof(REAL) };
    ptrdiff_t done = count >= 4 ? columns / 4 * 4 : 0;
    /* Rows for two cache lines of the target, and what about a cache line of them has: rows may push each other out of
     * L1, and no line is to be fetched again. */
    for (ptrdiff_t first = 0; first < count; first += MOST)
        for (ptrdiff_t begin = 0; begin < done; begin += LINE)
            /* Four at a time, of which the last four overlap those before them. */
            for (ptrdiff_t next = first; next < count && next < first + MOST; next += 4) {
                const ptrdiff_t row = next + 4 <= count ? next : count - 4;
                for (ptrdiff_t column = begin; column < done && column < begin + LINE; column += 4) {
                    const NAME(four) shifts = shift ? *(const NAME(four) *)(shift + column) : (NAME(four)){0};
                    REAL *to = target + column * target_step + row;
                    NAME(four) block[4];
                    for (int i = 0; i < 4; i++)
                        block[i] = *(const NAME(four) *)(rows[row + i] + column) + shifts;
                    NAME(transpose_four)(block, to, to + target_step, to + 2 * target_step, to + 3 * target_step);
                }
            }
    for (ptrdiff_t column = done; column < columns; column++)
        for (ptrdiff_t row = 0; row < count; row++)
            target[column * target_step + row] = rows[row][column] + (shift ? shift[column] : 0);
}

static inline void NAME(interleave)(ptrdiff_t count, const REAL *lines, ptrdiff_t line_step, ptrdiff_t width, REAL shift,
                                    REAL *restrict target)
{
/* A constant number of pixels, so that no loop is left; the last ones overlap those before them. */
#define INTERLEAVE_PIXELS(COUNT, PIXELS)                                                                               \
    for (ptrdiff_t next = 0; next < width; next += PIXELS) {                                                           \
        const ptrdiff_t x = next + PIXELS <= width ? next : width - PIXELS;                                            \
        for (int j = 0; j < PIXELS; j++)                                                                               \
            for (int i = 0; i < COUNT; i++)                                                                            \
                target[(x + j) * COUNT + i] = lines[i * line_step + x + j] + shift;                                    \
    }
#define INTERLEAVE(COUNT)                                                                                              \
    case COUNT:                                                                                                        \
        if (width >= 16)                                                                                               \
            INTERLEAVE_PIXELS(COUNT, 16)                                                                               \
        else if (width >= 4)                                                                                           \
            INTERLEAVE_PIXELS(COUNT, 4)                                                                                \
        else                                                                                                           \
            INTERLEAVE_PIXELS(COUNT, 1)                                                                                \
        break;
    switch (count) { /* constants, so that the compiler makes shuffles of them */
        INTERLEAVE(1)
        INTERLEAVE(2)
        INTERLEAVE(3)
        INTERLEAVE(4)
        INTERLEAVE(5)
        INTERLEAVE(6)
        INTERLEAVE(7)
        INTERLEAVE(8)
    default:
        for (ptrdiff_t x = 0; x < width; x++)
            for (ptrdiff_t i = 0; i < count; i++)
                target[x * count + i] = lines[i * line_step + x] + shift;
    }
#undef INTERLEAVE
#undef INTERLEAVE_PIXELS
}
