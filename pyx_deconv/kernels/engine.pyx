# cython: language_level=3, cdivision=True, wraparound=False, nonecheck=False, autotestdict=False
# cython: freethreading_compatible=True
"""The loops: packing, correlation and weight gradient, over one register tile.

This file is compiled once for every instruction set (see ``setup.py``). ``plan_correlation.py`` and
``plan_weight_gradient.py`` decide how the work is cut and fill the plan classes; ``kernels/__init__.py`` allocates;
here sizes are trusted. Two operations serve all six passes:

correlate        target[n, m, first + step*u] = bias[m] + sum over taps t, channels c of
                     source[n, c, source_step*u + offset[t]] * weight[m, c, t]        (source is zero outside)
weight_gradient  weight[a, b, t] = sum over n, i of  conj(coarse[n, a, i]) * fine[n, b, stride*i + offset[t]]

A transposed convolution with stride s is s independent correlations per axis, one for each output phase (u counts the
outputs of that phase, step = s, source_step = 1); a convolution is one (step = 1, source_step = s). Maps are seen as
(batch, channel, z, y, x, part): absent axes have size 1, and a complex number is two real channels, so that
everything below is real arithmetic. Channels are counted in parts: channel 2*c + 1 is the imaginary part of c.

Both have ways of their own for pairs of neighbouring outputs or taps, with fewer multiplications (``karatsuba.pxi``,
``karatsuba_gradient.pxi``), for few channels (``lines.pxi``, ``groups.pxi``, ``columns_gradient.pxi``,
``lines_gradient.pxi``), and ``correlate`` for pixels in the lanes of the tile (``across.pxi``) and for few pixels with
a large weight (``columns.pxi``).

The tile takes pointers. Wherever one is handed over, the end of what it may touch is looked up as well (``end``,
otherwise unused), so that a build with bounds checks sees it.

Every element of a result is summed by one task in an order that the plan fixes, whatever the number of threads.
"""
from cython.parallel cimport prange, threadid

cdef extern from "storage.h" nogil:
    float float_from_half(unsigned short)
    unsigned short half_from_float(float)
    float float_from_bfloat(short)
    short bfloat_from_float(float)

cdef extern from "platform.h" nogil:
    int c_openmp_version "openmp_version" ()
    int c_openmp_max_threads "openmp_max_threads" ()
    const char *c_openmp_library "openmp_library" ()
    int c_x86_64_level "x86_64_level" ()
    bint c_bounds_checked "PYX_DECONV_CHECKED"

cdef extern from "tile.h" nogil:
    enum:
        TILE_ROWS
        TALL_ROWS
        TILE_BYTES
        TILE_UNIT
    void tall_tile_float(Py_ssize_t used_rows, Py_ssize_t segments, Py_ssize_t depth, const float *rows,
                         const Py_ssize_t *shifts, Py_ssize_t row_step, const float *panel,
                         const Py_ssize_t *offsets, Py_ssize_t panel_step, float *c, Py_ssize_t c_step, bint adds)
    void tile_float(Py_ssize_t width, Py_ssize_t segments, Py_ssize_t depth, Py_ssize_t used_rows,
                    const float **rows, const Py_ssize_t *shifts, Py_ssize_t row_step,
                    const float *panel, const Py_ssize_t *offsets, Py_ssize_t panel_step,
                    float *c, Py_ssize_t c_step, const Py_ssize_t *places, const float *bias, bint adds)
    void tall_tile_double(Py_ssize_t used_rows, Py_ssize_t segments, Py_ssize_t depth, const double *rows,
                          const Py_ssize_t *shifts, Py_ssize_t row_step, const double *panel,
                          const Py_ssize_t *offsets, Py_ssize_t panel_step, double *c, Py_ssize_t c_step, bint adds)
    void tile_double(Py_ssize_t width, Py_ssize_t segments, Py_ssize_t depth, Py_ssize_t used_rows,
                     const double **rows, const Py_ssize_t *shifts, Py_ssize_t row_step,
                     const double *panel, const Py_ssize_t *offsets, Py_ssize_t panel_step,
                     double *c, Py_ssize_t c_step, const Py_ssize_t *places, const double *bias, bint adds)

cdef extern from "transpose.h" nogil:
    void transpose_float(const float *source, Py_ssize_t row_step, Py_ssize_t column_step, Py_ssize_t rows,
                         Py_ssize_t columns, float *target, Py_ssize_t target_step)
    void transpose_double(const double *source, Py_ssize_t row_step, Py_ssize_t column_step, Py_ssize_t rows,
                          Py_ssize_t columns, double *target, Py_ssize_t target_step)
    void transpose_to_float(const float *source, Py_ssize_t source_step, Py_ssize_t rows, Py_ssize_t columns,
                            float *target, const Py_ssize_t *place, Py_ssize_t target_step, Py_ssize_t ahead)
    void transpose_to_double(const double *source, Py_ssize_t source_step, Py_ssize_t rows, Py_ssize_t columns,
                             double *target, const Py_ssize_t *place, Py_ssize_t target_step, Py_ssize_t ahead)
    void transpose_rows_float(const float **rows, Py_ssize_t count, Py_ssize_t columns, const float *shift,
                              float *target, Py_ssize_t target_step)
    void transpose_rows_double(const double **rows, Py_ssize_t count, Py_ssize_t columns, const double *shift,
                               double *target, Py_ssize_t target_step)
    void interleave_float(Py_ssize_t count, const float *lines, Py_ssize_t line_step, Py_ssize_t width, float shift,
                          float *target)
    void interleave_double(Py_ssize_t count, const double *lines, Py_ssize_t line_step, Py_ssize_t width, double shift,
                           double *target)

cdef extern from "padded.h" nogil:
    void padded_lines_float(const float *source, Py_ssize_t source_step, Py_ssize_t step, Py_ssize_t lines,
                            Py_ssize_t left, Py_ssize_t count, Py_ssize_t width, float *target, Py_ssize_t target_step,
                            Py_ssize_t ahead)
    void padded_lines_double(const double *source, Py_ssize_t source_step, Py_ssize_t step, Py_ssize_t lines,
                             Py_ssize_t left, Py_ssize_t count, Py_ssize_t width, double *target,
                             Py_ssize_t target_step, Py_ssize_t ahead)
    bint rows_of_tap_float(const float **base, Py_ssize_t shift, const Py_ssize_t *first, const Py_ssize_t *last,
                           Py_ssize_t tap, const float *zeros, const float **rows)
    bint rows_of_tap_double(const double **base, Py_ssize_t shift, const Py_ssize_t *first, const Py_ssize_t *last,
                            Py_ssize_t tap, const double *zeros, const double **rows)

cdef extern from "stream.h" nogil:
    void stream(const void *source, Py_ssize_t bytes, void *target)
    void end_of_stream()
    void fetch(const void *address)

cdef extern from "karatsuba.h" nogil:
    void differences_float(Py_ssize_t ny, Py_ssize_t nx, const float **pixels, Py_ssize_t depth, Py_ssize_t ahead,
                           float *values, Py_ssize_t step)
    void differences_double(Py_ssize_t ny, Py_ssize_t nx, const double **pixels, Py_ssize_t depth, Py_ssize_t ahead,
                            double *values, Py_ssize_t step)
    void sums_float(Py_ssize_t ny, Py_ssize_t nx, const float **pixels, Py_ssize_t depth, Py_ssize_t ahead,
                    float *values, Py_ssize_t step)
    void add_to_outer_float(float *outer0, const float *inner, float *outer2, Py_ssize_t size, int sign)
    void sums_double(Py_ssize_t ny, Py_ssize_t nx, const double **pixels, Py_ssize_t depth, Py_ssize_t ahead,
                     double *values, Py_ssize_t step)
    void add_to_outer_double(double *outer0, const double *inner, double *outer2, Py_ssize_t size, int sign)
    int add_rows_float(float *first, const float *middle, float *last, Py_ssize_t rows, Py_ssize_t size)
    int add_pairs_float(const float *a, const float *b, const float *c, Py_ssize_t size, float *first, float *second)
    int add_rows_double(double *first, const double *middle, double *last, Py_ssize_t rows, Py_ssize_t size)
    int add_pairs_double(const double *a, const double *b, const double *c, Py_ssize_t size, double *first,
                         double *second)
    void add_up_float(const float *a, const float *b, float *sum, Py_ssize_t size)
    void add_up_double(const double *a, const double *b, double *sum, Py_ssize_t size)
    void copy_run_float(const float *source, Py_ssize_t size, float *target)
    int move_float(const float *source, Py_ssize_t size, float *target)
    void copy_run_double(const double *source, Py_ssize_t size, double *target)
    int move_double(const double *source, Py_ssize_t size, double *target)
    int all_finite_float(const float *values, Py_ssize_t size)
    int all_finite_double(const double *values, Py_ssize_t size)

cdef extern from "lines.h" nogil:
    void add_lines_float(Py_ssize_t rows, Py_ssize_t count, const float *lines, const Py_ssize_t *offsets,
                         const float *weights, Py_ssize_t weights_step, Py_ssize_t width, bint add, float *sums,
                         Py_ssize_t sums_step)
    void add_lines_double(Py_ssize_t rows, Py_ssize_t count, const double *lines, const Py_ssize_t *offsets,
                          const double *weights, Py_ssize_t weights_step, Py_ssize_t width, bint add, double *sums,
                          Py_ssize_t sums_step)
    void add_groups_float(Py_ssize_t count, const float **pixels, Py_ssize_t pixel_step, const float **weights,
                          Py_ssize_t width, Py_ssize_t channels, const float *bias, float *target,
                          Py_ssize_t target_step)
    void add_groups_double(Py_ssize_t count, const double **pixels, Py_ssize_t pixel_step, const double **weights,
                           Py_ssize_t width, Py_ssize_t channels, const double *bias, double *target,
                           Py_ssize_t target_step)
    void join_float(Py_ssize_t count, const float *sums, Py_ssize_t sums_step, Py_ssize_t width, float shift,
                    float *target, Py_ssize_t lines, Py_ssize_t pitch, Py_ssize_t target_step)
    void join_double(Py_ssize_t count, const double *sums, Py_ssize_t sums_step, Py_ssize_t width, double shift,
                     double *target, Py_ssize_t lines, Py_ssize_t pitch, Py_ssize_t target_step)
    void separate_float(Py_ssize_t count, const float *source, Py_ssize_t height, Py_ssize_t source_step,
                        Py_ssize_t start, const Py_ssize_t *first, const Py_ssize_t *last, Py_ssize_t left,
                        Py_ssize_t right, Py_ssize_t width, float *lines, Py_ssize_t line_step)
    void separate_double(Py_ssize_t count, const double *source, Py_ssize_t height, Py_ssize_t source_step,
                         Py_ssize_t start, const Py_ssize_t *first, const Py_ssize_t *last, Py_ssize_t left,
                         Py_ssize_t right, Py_ssize_t width, double *lines, Py_ssize_t line_step)
    void dot_taps_float(Py_ssize_t taps, const float *x, const float *y, const Py_ssize_t *offsets, Py_ssize_t size,
                        float *sums)
    float sum_lanes_float(const float *lanes)
    void dot_taps_double(Py_ssize_t taps, const double *x, const double *y, const Py_ssize_t *offsets, Py_ssize_t size,
                         double *sums)
    double sum_lanes_double(const double *lanes)
    void dot_groups_float(Py_ssize_t taps, const Py_ssize_t *offsets, const Py_ssize_t *places, const float *x,
                          Py_ssize_t x_step, const float *y, Py_ssize_t y_step, Py_ssize_t width, Py_ssize_t channels,
                          float *sums)
    void dot_groups_double(Py_ssize_t taps, const Py_ssize_t *offsets, const Py_ssize_t *places, const double *x,
                           Py_ssize_t x_step, const double *y, Py_ssize_t y_step, Py_ssize_t width,
                           Py_ssize_t channels, double *sums)

cdef extern from "columns.h" nogil:
    enum:
        DOT_PIXELS
        DOT_ROWS
    void cut_into_panels_float(const float *row, Py_ssize_t count, Py_ssize_t ahead, float *panels,
                               Py_ssize_t panel_step)
    void cut_into_panels_double(const double *row, Py_ssize_t count, Py_ssize_t ahead, double *panels,
                                Py_ssize_t panel_step)

    void add_dots_float(Py_ssize_t pixels, Py_ssize_t used_rows, Py_ssize_t depth, const float *rows,
                        Py_ssize_t row_step, const float *columns, Py_ssize_t column_step, float *sums,
                        Py_ssize_t sums_step)
    void add_dots_double(Py_ssize_t pixels, Py_ssize_t used_rows, Py_ssize_t depth, const double *rows,
                         Py_ssize_t row_step, const double *columns, Py_ssize_t column_step, double *sums,
                         Py_ssize_t sums_step)
    void add_multiples_float(Py_ssize_t pixels, Py_ssize_t depth, Py_ssize_t size, const float *values,
                             Py_ssize_t value_step, const float *rows, Py_ssize_t row_step, float *sums,
                             Py_ssize_t sums_step)
    void add_multiples_double(Py_ssize_t pixels, Py_ssize_t depth, Py_ssize_t size, const double *values,
                              Py_ssize_t value_step, const double *rows, Py_ssize_t row_step, double *sums,
                              Py_ssize_t sums_step)

cdef enum:
    MAX_ROWS = 16       # at least TILE_ROWS
    MAX_SEGMENTS = 64   # taps or lines gathered before the tile is called: the pointers stay in L1
    MAX_COLUMNS = 1024   # of a task: taps and channels of the fine map (plan.COLUMNS)
    MAX_UNITS = 256     # of a task: pairs of outputs (half of plan.PIXELS)
    MAX_TAPS = 512      # of a task, for pairs of taps, and along lines (plan.TAPS)
    TURNED = 32         # channels and pixels that are transposed at a time on their way out
    MAX_TOGETHER = 8    # phases whose outputs are stored side by side
    MAX_PHASES = 64     # the same along lines of pixels
    STREAMED = 1024     # elements that are assembled before they are streamed
    CACHE_LINE = 64     # bytes

tile_rows = TILE_ROWS
tall_rows = TALL_ROWS
tile_bytes = TILE_BYTES
tile_unit = TILE_UNIT
bounds_checked = c_bounds_checked

ctypedef unsigned short half    # float16, seen through its bits
ctypedef short bfloat           # bfloat16, seen through its bits

ctypedef fused real_t:          # what is computed in
    float
    double

ctypedef fused stored_t:        # what lies in memory
    float
    double
    half
    bfloat


cdef inline void load(const stored_t *source, real_t *target) noexcept nogil:
    if stored_t is half:
        target[0] = float_from_half(source[0])
    elif stored_t is bfloat:
        target[0] = float_from_bfloat(source[0])
    else:
        target[0] = <real_t>source[0]


cdef inline void store(real_t value, stored_t *target) noexcept nogil:
    if stored_t is half:
        target[0] = half_from_float(<float>value)
    elif stored_t is bfloat:
        target[0] = bfloat_from_float(<float>value)
    else:
        target[0] = <stored_t>value


cdef inline void tile_at(Py_ssize_t width, Py_ssize_t segments, Py_ssize_t depth, Py_ssize_t used_rows,
                         const real_t **rows, const Py_ssize_t *shifts, Py_ssize_t row_step, const real_t *panel,
                         const Py_ssize_t *offsets, Py_ssize_t panel_step, real_t *c, Py_ssize_t c_step,
                         const Py_ssize_t *places, const real_t *bias, bint adds) noexcept nogil:
    if real_t is float:
        tile_float(width, segments, depth, used_rows, rows, shifts, row_step, panel, offsets, panel_step, c, c_step,
                   places, bias, adds)
    else:
        tile_double(width, segments, depth, used_rows, rows, shifts, row_step, panel, offsets, panel_step, c, c_step,
                    places, bias, adds)


cdef inline void tile(Py_ssize_t width, Py_ssize_t segments, Py_ssize_t depth, Py_ssize_t used_rows,
                      const real_t **rows, Py_ssize_t row_step, const real_t *panel, const Py_ssize_t *offsets,
                      Py_ssize_t panel_step, real_t *c, Py_ssize_t c_step) noexcept nogil:
    # Each segment with row pointers of its own, added to what is there.
    tile_at(width, segments, depth, used_rows, rows, NULL, row_step, panel, offsets, panel_step, c, c_step, NULL, NULL,
            True)


cdef inline void tall_tile(Py_ssize_t used_rows, Py_ssize_t segments, Py_ssize_t depth, const real_t *rows,
                           const Py_ssize_t *shifts, Py_ssize_t row_step, const real_t *panel,
                           const Py_ssize_t *offsets, Py_ssize_t panel_step, real_t *c, Py_ssize_t c_step,
                           bint adds) noexcept nogil:
    if real_t is float:
        tall_tile_float(used_rows, segments, depth, rows, shifts, row_step, panel, offsets, panel_step, c, c_step, adds)
    else:
        tall_tile_double(used_rows, segments, depth, rows, shifts, row_step, panel, offsets, panel_step, c, c_step,
                         adds)


cdef inline void transpose(const real_t *source, Py_ssize_t row_step, Py_ssize_t column_step, Py_ssize_t rows,
                           Py_ssize_t columns, real_t *target, Py_ssize_t target_step) noexcept nogil:
    if real_t is float:
        transpose_float(source, row_step, column_step, rows, columns, target, target_step)
    else:
        transpose_double(source, row_step, column_step, rows, columns, target, target_step)


cdef inline void transpose_to(const real_t *source, Py_ssize_t source_step, Py_ssize_t rows, Py_ssize_t columns,
                              real_t *target, const Py_ssize_t *place, Py_ssize_t target_step,
                              Py_ssize_t ahead) noexcept nogil:
    if real_t is float:
        transpose_to_float(source, source_step, rows, columns, target, place, target_step, ahead)
    else:
        transpose_to_double(source, source_step, rows, columns, target, place, target_step, ahead)


cdef inline void transpose_rows(const real_t **rows, Py_ssize_t count, Py_ssize_t columns, const real_t *shift,
                                real_t *target, Py_ssize_t target_step) noexcept nogil:
    if real_t is float:
        transpose_rows_float(rows, count, columns, shift, target, target_step)
    else:
        transpose_rows_double(rows, count, columns, shift, target, target_step)


cdef inline void interleave(Py_ssize_t count, const real_t *lines, Py_ssize_t line_step, Py_ssize_t width, real_t shift,
                            real_t *target) noexcept nogil:
    if real_t is float:
        interleave_float(count, lines, line_step, width, shift, target)
    else:
        interleave_double(count, lines, line_step, width, shift, target)


cdef inline void padded_lines(const real_t *source, Py_ssize_t source_step, Py_ssize_t step, Py_ssize_t lines,
                              Py_ssize_t left, Py_ssize_t count, Py_ssize_t width, real_t *target,
                              Py_ssize_t target_step, Py_ssize_t ahead) noexcept nogil:
    if real_t is float:
        padded_lines_float(source, source_step, step, lines, left, count, width, target, target_step, ahead)
    else:
        padded_lines_double(source, source_step, step, lines, left, count, width, target, target_step, ahead)


cdef inline bint rows_of_tap(const real_t **base, Py_ssize_t shift, const Py_ssize_t *first, const Py_ssize_t *last,
                             Py_ssize_t tap, const real_t *zeros, const real_t **rows) noexcept nogil:
    if real_t is float:
        return rows_of_tap_float(base, shift, first, last, tap, zeros, rows)
    else:
        return rows_of_tap_double(base, shift, first, last, tap, zeros, rows)


cdef inline void differences(Py_ssize_t ny, Py_ssize_t nx, const real_t **pixels, Py_ssize_t depth, Py_ssize_t ahead,
                             real_t *values, Py_ssize_t step) noexcept nogil:
    if real_t is float:
        differences_float(ny, nx, pixels, depth, ahead, values, step)
    else:
        differences_double(ny, nx, pixels, depth, ahead, values, step)


cdef inline void sums(Py_ssize_t ny, Py_ssize_t nx, const real_t **pixels, Py_ssize_t depth, Py_ssize_t ahead,
                      real_t *values, Py_ssize_t step) noexcept nogil:
    if real_t is float:
        sums_float(ny, nx, pixels, depth, ahead, values, step)
    else:
        sums_double(ny, nx, pixels, depth, ahead, values, step)


cdef inline void add_to_outer(real_t *outer0, const real_t *inner, real_t *outer2, Py_ssize_t size,
                              int sign) noexcept nogil:
    if real_t is float:
        add_to_outer_float(outer0, inner, outer2, size, sign)
    else:
        add_to_outer_double(outer0, inner, outer2, size, sign)


cdef inline int add_rows(real_t *first, const real_t *middle, real_t *last, Py_ssize_t rows,
                         Py_ssize_t size) noexcept nogil:
    if real_t is float:
        return add_rows_float(first, middle, last, rows, size)
    else:
        return add_rows_double(first, middle, last, rows, size)


cdef inline int add_pairs(const real_t *a, const real_t *b, const real_t *c, Py_ssize_t size, real_t *first,
                          real_t *second) noexcept nogil:
    if real_t is float:
        return add_pairs_float(a, b, c, size, first, second)
    else:
        return add_pairs_double(a, b, c, size, first, second)


cdef inline void add_up(const real_t *a, const real_t *b, real_t *sum, Py_ssize_t size) noexcept nogil:
    if real_t is float:
        add_up_float(a, b, sum, size)
    else:
        add_up_double(a, b, sum, size)


cdef inline void copy_run(const real_t *source, Py_ssize_t size, real_t *target) noexcept nogil:
    if real_t is float:
        copy_run_float(source, size, target)
    else:
        copy_run_double(source, size, target)


cdef inline int move(const real_t *source, Py_ssize_t size, real_t *target) noexcept nogil:
    if real_t is float:
        return move_float(source, size, target)
    else:
        return move_double(source, size, target)


cdef inline int all_finite(const real_t *values, Py_ssize_t size) noexcept nogil:
    if real_t is float:
        return all_finite_float(values, size)
    else:
        return all_finite_double(values, size)


cdef inline void add_lines(Py_ssize_t rows, Py_ssize_t count, const real_t *lines, const Py_ssize_t *offsets,
                           const real_t *weights, Py_ssize_t weights_step, Py_ssize_t width, bint add, real_t *sums,
                           Py_ssize_t sums_step) noexcept nogil:
    if real_t is float:
        add_lines_float(rows, count, lines, offsets, weights, weights_step, width, add, sums, sums_step)
    else:
        add_lines_double(rows, count, lines, offsets, weights, weights_step, width, add, sums, sums_step)


cdef inline void add_groups(Py_ssize_t count, const real_t **pixels, Py_ssize_t pixel_step, const real_t **weights,
                            Py_ssize_t width, Py_ssize_t channels, const real_t *bias, real_t *target,
                            Py_ssize_t target_step) noexcept nogil:
    if real_t is float:
        add_groups_float(count, pixels, pixel_step, weights, width, channels, bias, target, target_step)
    else:
        add_groups_double(count, pixels, pixel_step, weights, width, channels, bias, target, target_step)


cdef inline void join(Py_ssize_t count, const real_t *sums, Py_ssize_t sums_step, Py_ssize_t width, real_t shift,
                      real_t *target, Py_ssize_t lines, Py_ssize_t pitch, Py_ssize_t target_step) noexcept nogil:
    if real_t is float:
        join_float(count, sums, sums_step, width, shift, target, lines, pitch, target_step)
    else:
        join_double(count, sums, sums_step, width, shift, target, lines, pitch, target_step)


cdef inline void separate(Py_ssize_t count, const real_t *source, Py_ssize_t height, Py_ssize_t source_step,
                          Py_ssize_t start, const Py_ssize_t *first, const Py_ssize_t *last, Py_ssize_t left,
                          Py_ssize_t right, Py_ssize_t width, real_t *lines, Py_ssize_t line_step) noexcept nogil:
    if real_t is float:
        separate_float(count, source, height, source_step, start, first, last, left, right, width, lines, line_step)
    else:
        separate_double(count, source, height, source_step, start, first, last, left, right, width, lines, line_step)


cdef inline void dot_taps(Py_ssize_t taps, const real_t *x, const real_t *y, const Py_ssize_t *offsets,
                          Py_ssize_t size, real_t *sums) noexcept nogil:
    if real_t is float:
        dot_taps_float(taps, x, y, offsets, size, sums)
    else:
        dot_taps_double(taps, x, y, offsets, size, sums)


cdef inline real_t sum_lanes(const real_t *lanes) noexcept nogil:
    if real_t is float:
        return sum_lanes_float(lanes)
    else:
        return sum_lanes_double(lanes)


cdef inline void cut_into_panels(const real_t *row, Py_ssize_t count, Py_ssize_t ahead, real_t *panels,
                                 Py_ssize_t panel_step) noexcept nogil:
    if real_t is float:
        cut_into_panels_float(row, count, ahead, panels, panel_step)
    else:
        cut_into_panels_double(row, count, ahead, panels, panel_step)


cdef inline void add_dots(Py_ssize_t pixels, Py_ssize_t used_rows, Py_ssize_t depth, const real_t *rows,
                          Py_ssize_t row_step, const real_t *columns, Py_ssize_t column_step, real_t *sums,
                          Py_ssize_t sums_step) noexcept nogil:
    if real_t is float:
        add_dots_float(pixels, used_rows, depth, rows, row_step, columns, column_step, sums, sums_step)
    else:
        add_dots_double(pixels, used_rows, depth, rows, row_step, columns, column_step, sums, sums_step)


cdef inline void add_multiples(Py_ssize_t pixels, Py_ssize_t depth, Py_ssize_t size, const real_t *values,
                               Py_ssize_t value_step, const real_t *rows, Py_ssize_t row_step, real_t *sums,
                               Py_ssize_t sums_step) noexcept nogil:
    if real_t is float:
        add_multiples_float(pixels, depth, size, values, value_step, rows, row_step, sums, sums_step)
    else:
        add_multiples_double(pixels, depth, size, values, value_step, rows, row_step, sums, sums_step)


cdef inline void dot_groups(Py_ssize_t taps, const Py_ssize_t *offsets, const Py_ssize_t *places, const real_t *x,
                            Py_ssize_t x_step, const real_t *y, Py_ssize_t y_step, Py_ssize_t width,
                            Py_ssize_t channels, real_t *sums) noexcept nogil:
    if real_t is float:
        dot_groups_float(taps, offsets, places, x, x_step, y, y_step, width, channels, sums)
    else:
        dot_groups_double(taps, offsets, places, x, x_step, y, y_step, width, channels, sums)


def openmp_version():
    """The date of the OpenMP specification, as yyyymm; 0 in a build without it."""
    return c_openmp_version()


def openmp_max_threads():
    """How many threads OpenMP would use: OMP_NUM_THREADS, threadpoolctl."""
    return c_openmp_max_threads()


def openmp_library():
    """The file of the OpenMP runtime that this module calls; empty without one, or where it cannot be known."""
    return <bytes>c_openmp_library()


def x86_64_level():
    """The processor's x86-64 level, 1 to 4, or 0 on another architecture."""
    return c_x86_64_level()


include "pixels.pxi"
include "correlation_plan.pxi"
include "packed_weight.pxi"
include "storing.pxi"
include "lines.pxi"
include "groups.pxi"
include "across.pxi"
include "karatsuba.pxi"
include "correlation.pxi"
include "weight_gradient.pxi"
include "karatsuba_gradient.pxi"
include "columns_gradient.pxi"
include "lines_gradient.pxi"
include "columns.pxi"
