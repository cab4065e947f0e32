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
``lines_gradient.pxi``), and ``correlate`` for pixels in the lanes of the tile (``across.pxi``, ``across_taps.pxi``)
and for few pixels with a large weight (``columns.pxi``).

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

# What stands for a function of floats and one of doubles takes either: the headers say what (``typed.h``).
cdef extern from "tile.h" nogil:
    enum:
        TILE_ROWS
        TALL_ROWS
        TILE_BYTES
        TILE_UNIT
    void tall_tile(...)
    void tile_at(...)

cdef extern from "transpose.h" nogil:
    void transpose(...)
    void transpose_to(...)
    void transpose_rows(...)
    void interleave(...)

cdef extern from "padded.h" nogil:
    void padded_lines(...)
    bint rows_of_tap(...)

cdef extern from "karatsuba.h" nogil:
    void differences(...)
    void sums(...)
    void add_to_outer(...)
    int add_rows(...)
    int add_pairs(...)
    void add_up(...)
    void copy_run(...)
    int move(...)
    int all_finite(...)

cdef extern from "lines.h" nogil:
    void add_lines(...)
    void add_stacks(...)
    void add_groups(...)
    void join(...)
    void separate(...)
    void dot_taps(...)
    double sum_lanes(...)
    void dot_groups(...)

cdef extern from "columns.h" nogil:
    enum:
        DOT_PIXELS
        DOT_ROWS
    void cut_into_panels(...)
    void add_dots(...)
    void add_multiples(...)

cdef extern from "stream.h" nogil:
    void stream(const void *source, Py_ssize_t bytes, void *target)
    void end_of_stream()
    void fetch(const void *address)

cdef enum:
    MAX_ROWS = 16       # at least TILE_ROWS
    MAX_SEGMENTS = 64   # taps or lines gathered before the tile is called: the pointers stay in L1
    MAX_COLUMNS = 1024   # of a task: taps and channels of the fine map (plan.COLUMNS)
    MAX_UNITS = 512     # of a task: pairs of outputs, or single ones (plan.PIXELS)
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

ctypedef long long outcome_t    # of tasks, see done()

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


cdef inline void tile(Py_ssize_t width, Py_ssize_t segments, Py_ssize_t depth, Py_ssize_t used_rows,
                      const real_t **rows, Py_ssize_t row_step, const real_t *panel, const Py_ssize_t *offsets,
                      Py_ssize_t panel_step, real_t *c, Py_ssize_t c_step) noexcept nogil:
    # Each segment with row pointers of its own, added to what is there.
    tile_at(width, segments, depth, used_rows, rows, NULL, row_step, panel, offsets, panel_step, c, c_step, NULL, NULL,
            True)


cdef inline outcome_t done(bint finite) noexcept nogil:
    # What a task returns. The sum over all tasks says how many there were, and in its upper half how many of them met
    # an infinity or NaN.
    return 1 if finite else (<outcome_t>1 << 32) + 1


cdef bint all_finite_in(outcome_t outcome, outcome_t tasks) except -1:
    # Tasks are noexcept: if they could raise, Cython would have each thread wait for the GIL before its first task and
    # after its last one, which takes longer than many a layer. One that a bounds check ended has returned 0.
    if outcome & 0xFFFFFFFF != tasks:
        raise IndexError("Out of bounds in a task, as printed to stderr")
    return outcome >> 32 == 0


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
    """The processor's x86-64 level, 1 to 4; 5 with AVX512_BF16; 0 on another architecture."""
    return c_x86_64_level()


include "pixels.pxi"
include "correlation_plan.pxi"
include "packed_weight.pxi"
include "storing.pxi"
include "dots.pxi"
include "lines.pxi"
include "groups.pxi"
include "across.pxi"
include "across_taps.pxi"
include "karatsuba.pxi"
include "correlation.pxi"
include "weight_gradient.pxi"
include "karatsuba_gradient.pxi"
include "columns_gradient.pxi"
include "lines_gradient.pxi"
include "columns.pxi"
