# bfloat16 channels in twos: a number of 32 bits stands for two of them, as the processor multiplies and adds them up in
# one instruction. The plan counts such numbers as source channels; an odd last one has a zero beside it. Part of
# engine.pyx.

cdef extern from "tile.h" nogil:
    bint TILE_DOTS
    void tile_dots(Py_ssize_t width, Py_ssize_t segments, Py_ssize_t depth, Py_ssize_t used_rows,
                   const float **rows, const Py_ssize_t *shifts, Py_ssize_t row_step,
                   const float *panel, const Py_ssize_t *offsets, Py_ssize_t panel_step,
                   float *c, Py_ssize_t c_step, const Py_ssize_t *places, const float *bias, bint adds)

cdef extern from "dots.h" nogil:
    void join_twos(const bfloat *first, const bfloat *second, Py_ssize_t row_step, Py_ssize_t column_step,
                   Py_ssize_t rows, Py_ssize_t columns, float *target, Py_ssize_t target_step)
    bint any_infinite(const bfloat *values, Py_ssize_t size)

in_twos = TILE_DOTS


cdef inline void tile_of(bint dots, Py_ssize_t width, Py_ssize_t segments, Py_ssize_t depth, Py_ssize_t used_rows,
                         const real_t **rows, const Py_ssize_t *shifts, Py_ssize_t row_step, const real_t *panel,
                         const Py_ssize_t *offsets, Py_ssize_t panel_step, real_t *c, Py_ssize_t c_step,
                         const Py_ssize_t *places, const real_t *bias, bint adds) noexcept nogil:
    if real_t is float:
        if dots:
            tile_dots(width, segments, depth, used_rows, rows, shifts, row_step, panel, offsets, panel_step, c, c_step,
                      places, bias, adds)
            return
    tile_at(width, segments, depth, used_rows, rows, shifts, row_step, panel, offsets, panel_step, c, c_step, places,
            bias, adds)


cdef outcome_t join_channels(const bfloat[:, :, ::1] weight, Py_ssize_t index, float[:, :, ::1] twos) noexcept nogil:
    # Two channels of the weight, or the last one and zeros.
    cdef Py_ssize_t i = index // twos.shape[1], k = index % twos.shape[1], size = weight.shape[2]
    cdef const bfloat *first = &weight[i, 2 * k, 0]
    cdef const bfloat *second = NULL
    if 2 * k + 1 < weight.shape[1]:
        second = &weight[i, 2 * k + 1, 0]
    join_twos(first, second, 1, size, size, 1, &twos[i, k, 0], size)
    return done(not (any_infinite(first, size) or (second != NULL and any_infinite(second, size))))


def weight_in_twos(const bfloat[:, :, ::1] weight, float[:, :, ::1] twos, int threads):
    """Fill ``twos`` from channels side by side along the second axis of both; return whether they are finite."""
    cdef Py_ssize_t index
    cdef outcome_t outcome = 0
    if threads == 1:
        with nogil:
            for index in range(twos.shape[0] * twos.shape[1]):
                outcome += join_channels(weight, index, twos)
    else:
        for index in prange(twos.shape[0] * twos.shape[1], nogil=True, schedule="static", num_threads=threads):
            outcome += join_channels(weight, index, twos)
    return all_finite_in(outcome, twos.shape[0] * twos.shape[1])


cdef int pack_in_twos(CorrelationPlan plan, const bfloat[:, :, :, :, :, :] source, const Box *box, Py_ssize_t group,
                      Py_ssize_t two, Py_ssize_t twos, float[::1] target) except -1 nogil:
    # target[pixel of the box, twos] = channels [2 * two, 2 * (two + twos)) of the group; zeros beside the source
    cdef Py_ssize_t group_channels = source.shape[1] // plan.groups
    cdef Py_ssize_t channel = group * group_channels + 2 * two, channels = min(2 * twos, group_channels - 2 * two)
    cdef Py_ssize_t left = min(box.size[3], max(0, -box.start[3])), n, z, y, line = 0
    cdef Py_ssize_t right = max(left, min(box.size[3], source.shape[4] - box.start[3]))     # [left, right) are inside
    cdef Py_ssize_t channel_step = source.strides[1] // <Py_ssize_t>sizeof(bfloat)
    cdef Py_ssize_t pixel_step = source.strides[4] // <Py_ssize_t>sizeof(bfloat)
    cdef const bfloat *pixel
    cdef const bfloat *end
    cdef float *last
    for n in range(box.start[0], box.start[0] + box.size[0]):
        for z in range(box.start[1], box.start[1] + box.size[1]):
            for y in range(box.start[2], box.start[2] + box.size[2]):
                last = &target[line + box.size[3] * twos - 1]
                if not (0 <= z < source.shape[2] and 0 <= y < source.shape[3] and left < right):
                    zero(&target[line], box.size[3] * twos)
                    line += box.size[3] * twos
                    continue
                zero(&target[line], left * twos)
                line += left * twos
                pixel = &source[n, channel, z, y, box.start[3] + left, 0]
                end = &source[n, channel + channels - 1, z, y, box.start[3] + right - 1, 0]
                join_twos(pixel, pixel + channel_step, 2 * channel_step, pixel_step, channels // 2, right - left,
                          &target[line], twos)
                if channels % 2:
                    join_twos(pixel + (channels - 1) * channel_step, NULL, 1, pixel_step, 1, right - left,
                              &target[line + twos - 1], twos)
                line += (right - left) * twos
                zero(&target[line], (box.size[3] - right) * twos)
                line += (box.size[3] - right) * twos
    return 0


cdef int pack_pixels_in_twos(const bfloat[:, :, :, :, :, :] source, const Box *box, Py_ssize_t channel,
                             Py_ssize_t channels, Py_ssize_t width, float[::1] target) except -1 nogil:
    # target[two pixels of a line, width] = channels [channel, channel + channels), then zeros; an odd last pixel of a
    # line has zeros beside it. The box lies in the source.
    cdef Py_ssize_t channel_step = source.strides[1] // <Py_ssize_t>sizeof(bfloat)
    cdef Py_ssize_t pixel_step = source.strides[4] // <Py_ssize_t>sizeof(bfloat)
    cdef Py_ssize_t twos = (box.size[3] + 1) // 2, line, k
    cdef Py_ssize_t at[4]
    cdef const bfloat *pixel
    cdef const bfloat *end
    cdef float *last
    cdef float *row
    for line in range(box.size[0] * box.size[1] * box.size[2]):
        unravel_box(line * box.size[3], box, at)
        pixel = &source[at[0], channel, at[1], at[2], at[3], 0]
        end = &source[at[0], channel + channels - 1, at[1], at[2], at[3] + box.size[3] - 1, 0]
        last = &target[(line + 1) * twos * width - 1]
        row = &target[line * twos * width]
        join_twos(pixel, pixel + pixel_step, channel_step, 2 * pixel_step, channels, box.size[3] // 2, row, width)
        if box.size[3] % 2:
            join_twos(pixel + (box.size[3] - 1) * pixel_step, NULL, channel_step, 1, channels, 1,
                      row + (twos - 1) * width, width)
        for k in range(twos):
            zero(row + k * width + channels, width - channels)
    return 0


cdef int pack_line_in_twos(const bfloat[:, :, :, :, :, :] source, Py_ssize_t n, Py_ssize_t channel,
                           Py_ssize_t channels, Py_ssize_t z, Py_ssize_t y, Py_ssize_t x, Py_ssize_t run,
                           Py_ssize_t apart, float *target, Py_ssize_t channel_step) except -1 nogil:
    # target[c * channel_step + r] = the pixels x + r and x + r + apart of a line, zeros outside, for r < run
    cdef Py_ssize_t source_step = source.strides[1] // <Py_ssize_t>sizeof(bfloat)
    cdef Py_ssize_t pixel_step = source.strides[4] // <Py_ssize_t>sizeof(bfloat)
    cdef Py_ssize_t left = run, right = run, second_left = run, second_right = run, both, c
    cdef const bfloat *first = NULL     # pixels x and x + apart, or where they would be
    cdef const bfloat *second = NULL
    cdef const bfloat *end
    if 0 <= z < source.shape[2] and 0 <= y < source.shape[3]:
        left = min(run, max(0, -x))
        right = max(left, min(run, source.shape[4] - x))
        second_left = min(run, max(0, -x - apart))
        second_right = max(second_left, min(run, source.shape[4] - x - apart))
        end = &source[n, channel + channels - 1, z, y, source.shape[4] - 1, 0]
        first = &source[n, channel, z, y, 0, 0] + x * pixel_step
        second = first + apart * pixel_step
    for c in range(channels):
        zero(target + c * channel_step, left)
        zero(target + c * channel_step + right, run - right)
    both = min(left, second_right)
    join_twos(NULL, second + second_left * pixel_step, pixel_step, source_step, both - second_left, channels,
              target + second_left, channel_step)
    both = max(left, second_right)
    join_twos(first + left * pixel_step, second + left * pixel_step, pixel_step, source_step, both - left, channels,
              target + left, channel_step)
    join_twos(first + both * pixel_step, NULL, pixel_step, source_step, right - both, channels, target + both,
              channel_step)
    return 0
