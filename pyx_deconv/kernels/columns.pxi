# Few pixels with a large weight, which is read once and as it lies. Part of engine.pyx.
#
# With the columns of taps col[b, t, i] of a coarse pixel i and a fine channel b,
#
#     gather      col[b, t, i] = fine[b, stride*i + t*dilation - begin], or zero where that lies outside,
#                 coarse[a, i] = bias[a] + sum over b, t of weight[a, b, t] * col[b, t, i]
#     scatter     col[b, t, i] = sum over a of coarse[a, i] * weight[a, b, t],
#                 fine[b, j] = bias[b] + sum of col[b, t, i] over those t, i with stride*i + t*dilation - begin = j
#
# A gather multiplies infinite weights by the zeros: then the caller computes all of it anew, tap by tap.

cdef enum:
    MAX_LANES = 32      # at least those of the tile
    FETCHED = 8         # rows of a weight ahead of those that are copied


cdef class ColumnsPlan:
    """How such a product is cut; filled by ``plan_columns.py``, which explains the fields."""
    cdef Py_ssize_t groups, coarse_channels, fine_channels
    cdef Py_ssize_t kernel[4]
    cdef Py_ssize_t coarse_size[4]
    cdef Py_ssize_t fine_size[4]
    cdef Py_ssize_t stride[4]
    cdef Py_ssize_t dilation[4]
    cdef Py_ssize_t begin[4]
    cdef Py_ssize_t taps, pixels, fine_pixels, width, lanes, depth
    cdef Py_ssize_t channel_block, channel_blocks, first_block, first_blocks, weights_offset, fine_offset
    cdef bint direct                    # vectors are read from the weight where it lies
    cdef readonly Py_ssize_t tasks, work_size, columns_size

    def __init__(self, fields):
        self.groups, self.coarse_channels, self.fine_channels = fields.channels
        self.kernel = fields.kernel
        self.coarse_size = fields.coarse_size
        self.fine_size = fields.fine_size
        self.stride = fields.stride
        self.dilation = fields.dilation
        self.begin = fields.begin
        self.taps = volume_of(self.kernel)
        self.pixels = volume_of(self.coarse_size)
        self.fine_pixels = volume_of(self.fine_size)
        self.width, self.lanes, self.depth = fields.product
        self.channel_block, self.channel_blocks = fields.channel_blocks
        self.first_block, self.first_blocks = fields.first_blocks
        self.weights_offset, self.fine_offset = fields.offsets
        self.direct = fields.direct
        self.tasks, self.work_size, self.columns_size = fields.sizes


cdef inline bint meet(ColumnsPlan plan, const Py_ssize_t *coarse, const Py_ssize_t *tap,
                      Py_ssize_t *fine) noexcept nogil:
    # The fine pixel that a coarse one meets through a tap; whether there is one.
    cdef int axis
    fine[0] = coarse[0]
    for axis in range(1, 4):
        fine[axis] = coarse[axis] * plan.stride[axis] + tap[axis] * plan.dilation[axis] - plan.begin[axis]
        if not 0 <= fine[axis] < plan.fine_size[axis]:
            return False
    return True


cdef int make_lines_of(ColumnsPlan plan, Py_ssize_t task, const real_t[:, :, :, :, :, :] fine, real_t[::1] columns,
                       real_t[::1] work) except -1 nogil:
    # columns[group, pixel, channel, tap] for a block of channels
    cdef Py_ssize_t first = task % plan.first_blocks * plan.first_block, group = task // plan.first_blocks
    cdef Py_ssize_t channels = min(plan.first_block, plan.fine_channels - first), step = plan.fine_pixels + 1
    cdef Py_ssize_t item = sizeof(real_t), channel = group * plan.fine_channels + first, size = plan.fine_size[3]
    cdef Py_ssize_t n, z, y, x, b, p, t, taps, begin, k = 0
    cdef Py_ssize_t at[4]
    cdef Py_ssize_t place[MAX_SEGMENTS]
    cdef const real_t *map = &work[0]
    cdef const real_t *end
    cdef real_t *target
    # A copy of the channels, one after the other, each with a zero behind it.
    for n in range(plan.fine_size[0]):
        for z in range(plan.fine_size[1]):
            for y in range(plan.fine_size[2]):
                if fine.strides[1] == item and fine.strides[4] != item:
                    end = &fine[n, channel + channels - 1, z, y, size - 1, 0]
                    target = &work[(channels - 1) * step + k + size - 1]
                    transpose(&fine[n, channel, z, y, 0, 0], fine.strides[4] // item, 1, size, channels, &work[k], step)
                else:
                    for b in range(channels):
                        for x in range(size):
                            work[b * step + k + x] = fine[n, channel + b, z, y, x, 0]
                k += size
    for b in range(channels):
        work[b * step + k] = 0
    for p in range(plan.pixels):
        unravel(p, plan.coarse_size, at)
        begin = 0
        while begin < plan.taps:
            taps = min(<Py_ssize_t>MAX_SEGMENTS, plan.taps - begin)
            list_places(plan, at, begin, taps, place)
            k = ((group * plan.pixels + p) * plan.fine_channels + first) * plan.taps + begin
            end = &columns[k + (channels - 1) * plan.taps + taps - 1]
            target = &columns[k]
            for b in range(channels):
                for t in range(taps):
                    target[b * plan.taps + t] = map[b * step + place[t]]
            begin += taps
    return 0


cdef inline void list_places(ColumnsPlan plan, const Py_ssize_t *coarse, Py_ssize_t first, Py_ssize_t taps,
                             Py_ssize_t *place) noexcept nogil:
    # Where in a fine map a coarse pixel's taps [first, first + taps) land; behind its end those that land outside.
    cdef Py_ssize_t t
    cdef Py_ssize_t tap[4]
    cdef Py_ssize_t met[4]
    cdef Box every
    for t in range(4):
        every.start[t], every.size[t] = 0, plan.kernel[t]
    unravel(first, plan.kernel, tap)
    for t in range(taps):
        place[t] = plan.fine_pixels
        if meet(plan, coarse, tap, met):
            place[t] = ((met[0] * plan.fine_size[1] + met[1]) * plan.fine_size[2] + met[2]) * plan.fine_size[3] + met[3]
        advance(tap, &every)


cdef int make_columns_of(ColumnsPlan plan, Py_ssize_t task, const real_t[:, :, :, :, :, :] fine, real_t[::1] columns,
                         real_t[::1] work) except -1 nogil:
    # columns[group, panel of pixels, channel, tap, pixel] for a block of channels
    cdef Py_ssize_t first = task % plan.first_blocks * plan.first_block, group = task // plan.first_blocks
    cdef Py_ssize_t channels = min(plan.first_block, plan.fine_channels - first), channel, n, z, y, p, t, i, b, k
    cdef Py_ssize_t item = sizeof(real_t), step = fine.strides[1] // item, width, place, size = plan.fine_size[3]
    cdef bint turned = step == 1 and fine.strides[4] != item
    cdef Py_ssize_t at[4]
    cdef Py_ssize_t tap[4]
    cdef Py_ssize_t met[4]
    cdef const real_t *sources[MAX_LANES]
    cdef Py_ssize_t steps[MAX_LANES]
    cdef const real_t *end
    cdef real_t *target
    cdef real_t nothing = 0
    channel = group * plan.fine_channels + first
    if turned:  # what is read below are lines of pixels
        step, k = plan.fine_pixels, 0
        for n in range(plan.fine_size[0]):
            for z in range(plan.fine_size[1]):
                for y in range(plan.fine_size[2]):
                    end = &fine[n, channel + channels - 1, z, y, size - 1, 0]
                    target = &work[(channels - 1) * step + k + size - 1]
                    transpose(&fine[n, channel, z, y, 0, 0], fine.strides[4] // item, 1, size, channels, &work[k], step)
                    k += size
    for p in range((plan.width + plan.lanes - 1) // plan.lanes):
        width = min(plan.lanes, plan.width - p * plan.lanes)
        place = ((group * plan.width + p * plan.lanes) * plan.fine_channels + first * width) * plan.taps
        for t in range(plan.taps):
            unravel(t, plan.kernel, tap)
            for i in range(width):
                sources[i], steps[i] = &nothing, 0
                unravel(p * plan.lanes + i, plan.coarse_size, at)
                if p * plan.lanes + i < plan.pixels and meet(plan, at, tap, met):
                    steps[i] = step
                    end = &fine[met[0], channel + channels - 1, met[1], met[2], met[3], 0]
                    if turned:
                        k = ((met[0] * plan.fine_size[1] + met[1]) * plan.fine_size[2] + met[2]) * size + met[3]
                        sources[i] = &work[k]
                    else:
                        sources[i] = &fine[met[0], channel, met[1], met[2], met[3], 0]
            end = &columns[place + ((channels - 1) * plan.taps + t) * width + width - 1]
            target = &columns[place + t * width]
            for b in range(channels):
                for i in range(width):
                    target[i] = sources[i][b * steps[i]]
                target += plan.taps * width
    return 0


cdef outcome_t make_task(ColumnsPlan plan, Py_ssize_t task, const real_t[:, :, :, :, :, :] fine,
                         real_t[::1] columns, real_t[::1] work) noexcept nogil:
    if plan.direct:
        make_lines_of(plan, task, fine, columns, work)
    else:
        make_columns_of(plan, task, fine, columns, work)
    return done(True)


cdef int add_dots_of(ColumnsPlan plan, Py_ssize_t group, Py_ssize_t channel, Py_ssize_t channels, Py_ssize_t k,
                     Py_ssize_t depth, const real_t[::1] columns, const real_t[::1] weight,
                     real_t[::1] work) except -1 nogil:
    # The products [k, k + depth) of each channel: vectors run along the weight, once for all pixels.
    cdef Py_ssize_t size = plan.fine_channels * plan.taps, place = group * plan.pixels * size + k, a = 0
    cdef const real_t *end = &columns[place + (plan.pixels - 1) * size + depth - 1]
    while a < channels:
        add_dots(plan.pixels, min(<Py_ssize_t>DOT_ROWS, channels - a), depth, &weight[(channel + a) * size + k], size,
                 &columns[place], size, &work[a * plan.width], plan.width)
        a += DOT_ROWS
    return 0


cdef int add_tiles_of(ColumnsPlan plan, Py_ssize_t group, Py_ssize_t channel, Py_ssize_t channels, Py_ssize_t k,
                      Py_ssize_t depth, const real_t[::1] columns, const real_t[::1] weight,
                      real_t[::1] work) except -1 nogil:
    # The same with channels in the rows of the tile and pixels in its lanes.
    cdef Py_ssize_t size = plan.fine_channels * plan.taps, p, width, place, row, i, used, no_offset = 0
    cdef const real_t *rows[MAX_ROWS]
    cdef const real_t *end
    for p in range((plan.width + plan.lanes - 1) // plan.lanes):
        width = min(plan.lanes, plan.width - p * plan.lanes)
        place = (group * plan.width + p * plan.lanes) * size + k * width
        end = &columns[place + depth * width - 1]
        for row in range((channels + TILE_ROWS - 1) // TILE_ROWS):
            used = min(<Py_ssize_t>TILE_ROWS, channels - row * TILE_ROWS)
            for i in range(TILE_ROWS):
                rows[i] = &weight[(channel + row * TILE_ROWS + min(i, used - 1)) * size + k]
            tile(width, 1, depth, used, rows, 1, &columns[place], &no_offset, width,
                 &work[row * TILE_ROWS * plan.width + p * plan.lanes], plan.width)
    return 0


cdef outcome_t gather_task(ColumnsPlan plan, Py_ssize_t task, const real_t[::1] columns, const real_t[::1] weight,
                           const real_t[::1] bias, real_t[:, :, :, :, :, :] coarse, real_t[::1] work) noexcept nogil:
    # A block of coarse channels of one group.
    cdef Py_ssize_t first = task % plan.channel_blocks * plan.channel_block, group = task // plan.channel_blocks
    cdef Py_ssize_t channels = min(plan.channel_block, plan.coarse_channels - first)
    cdef Py_ssize_t channel = group * plan.coarse_channels + first, size = plan.fine_channels * plan.taps
    cdef Py_ssize_t k = 0, depth, p, a
    cdef Py_ssize_t at[4]
    cdef const real_t *end = &weight[(channel + channels) * size - 1]
    cdef real_t *sums_end = &work[channels * plan.width - 1]
    zero(&work[0], channels * plan.width)
    while k < size:
        depth = min(plan.depth, size - k)
        if plan.direct:
            add_dots_of(plan, group, channel, channels, k, depth, columns, weight, work)
        else:
            add_tiles_of(plan, group, channel, channels, k, depth, columns, weight, work)
        k += plan.depth
    if not all_finite(&work[0], channels * plan.width):
        return done(False)
    for p in range(plan.pixels):
        unravel(p, plan.coarse_size, at)
        for a in range(channels):
            coarse[at[0], channel + a, at[1], at[2], at[3], 0] = work[a * plan.width + p] + bias[channel + a]
    return done(True)


def gather_columns(ColumnsPlan plan, const real_t[:, :, :, :, :, :] fine, const real_t[::1] weight,
                   const real_t[::1] bias, real_t[:, :, :, :, :, :] coarse, real_t[::1] columns, real_t[:, ::1] work,
                   int threads):
    """Fill coarse from fine and the C-contiguous weight; return whether all sums are finite."""
    cdef Py_ssize_t task, first_tasks = plan.groups * plan.first_blocks
    cdef outcome_t outcome = 0
    if threads == 1:
        with nogil:
            for task in range(first_tasks):
                outcome += make_task(plan, task, fine, columns, work[0])
            for task in range(plan.tasks):
                outcome += gather_task(plan, task, columns, weight, bias, coarse, work[0])
    else:
        for task in prange(first_tasks, nogil=True, schedule="dynamic", num_threads=threads):
            outcome += make_task(plan, task, fine, columns, work[threadid()])
        for task in prange(plan.tasks, nogil=True, schedule="dynamic", num_threads=threads):
            outcome += gather_task(plan, task, columns, weight, bias, coarse, work[threadid()])
    return all_finite_in(outcome, first_tasks + plan.tasks)


cdef outcome_t pack_samples(ColumnsPlan plan, Py_ssize_t sample, const real_t[:, :, :, :, :, :] coarse,
                            real_t[::1] packed) noexcept nogil:
    # packed[pixel, channel] of one sample
    cdef Py_ssize_t channels = plan.groups * plan.coarse_channels, size
    cdef Box box
    cdef int axis
    for axis in range(4):
        box.start[axis], box.size[axis] = 0, plan.coarse_size[axis]
    box.start[0], box.size[0] = sample, 1
    size = volume(&box) * channels
    pack_pixels(coarse, &box, EVERY, 0, channels, channels, packed[sample * size:])
    return done(True)


cdef int add_columns(ColumnsPlan plan, Py_ssize_t channels, real_t[::1] work) except -1 nogil:
    # work[fine_offset + channel * (fine_pixels + 1) + fine pixel] = sum of the columns that meet it
    cdef Py_ssize_t step = plan.fine_pixels + 1, p, t, first, taps, b
    cdef Py_ssize_t at[4]
    cdef Py_ssize_t place[MAX_SEGMENTS]
    cdef const real_t *column
    cdef const real_t *end = &work[(plan.pixels - 1) * plan.width + channels * plan.taps - 1]
    cdef real_t *sums = &work[plan.fine_offset]
    cdef real_t *sums_end = &work[plan.fine_offset + channels * step - 1]
    zero(sums, channels * step)
    for p in range(plan.pixels):
        unravel(p, plan.coarse_size, at)
        first = 0
        while first < plan.taps:
            taps = min(<Py_ssize_t>MAX_SEGMENTS, plan.taps - first)
            list_places(plan, at, first, taps, place)   # outside: where nobody looks
            column = &work[p * plan.width + first]
            for b in range(channels):
                for t in range(taps):
                    sums[b * step + place[t]] += column[b * plan.taps + t]
            first += taps
    return 0


cdef int add_multiples_of(ColumnsPlan plan, const real_t *coarse, Py_ssize_t place, Py_ssize_t depth, Py_ssize_t size,
                          const real_t[::1] weight, real_t[::1] work) except -1 nogil:
    # The products of some coarse channels, whose weights begin at this place: vectors run along the weight.
    cdef Py_ssize_t pixel = plan.groups * plan.coarse_channels, row_step = plan.fine_channels * plan.taps, p = 0
    cdef const real_t *end = &weight[place + (depth - 1) * row_step + size - 1]
    while p < plan.pixels:
        add_multiples(min(<Py_ssize_t>TILE_ROWS, plan.pixels - p), depth, size, coarse + p * pixel, pixel,
                      &weight[place], row_step, &work[p * plan.width], plan.width)
        p += TILE_ROWS
    return 0


cdef int add_panels_of(ColumnsPlan plan, const real_t *coarse, Py_ssize_t place, Py_ssize_t depth, Py_ssize_t size,
                       const real_t[::1] weight, real_t[::1] work) except -1 nogil:
    # The same from a copy of the weights in panels, with pixels in the rows of the tile.
    cdef Py_ssize_t pixel = plan.groups * plan.coarse_channels, row_step = plan.fine_channels * plan.taps
    cdef Py_ssize_t whole = size // plan.lanes, panels = (size + plan.lanes - 1) // plan.lanes
    cdef Py_ssize_t panel_step = plan.lanes * (plan.depth + 1)  # not 2**n: lines so far apart push each other out
    cdef Py_ssize_t c, p, width, used, row, i, no_offset = 0
    cdef const real_t *rows[MAX_ROWS]
    cdef const real_t *source
    cdef const real_t *end = &work[plan.weights_offset + (plan.depth + 1) * plan.width - 1]
    cdef real_t *rest
    for c in range(depth):
        source = &weight[place + c * row_step]
        end = &weight[place + c * row_step + size - 1]
        if whole:
            cut_into_panels(source, whole, FETCHED * row_step, &work[plan.weights_offset + c * plan.lanes], panel_step)
        if whole < panels:
            width = min(plan.lanes, plan.width - whole * plan.lanes)
            used = size - whole * plan.lanes
            rest = &work[plan.weights_offset + whole * panel_step + c * width]
            copy_run(source + whole * plan.lanes, used, rest)
            zero(rest + used, width - used)
    for p in range(panels):
        width = min(plan.lanes, plan.width - p * plan.lanes)
        for row in range((plan.pixels + TILE_ROWS - 1) // TILE_ROWS):
            used = min(<Py_ssize_t>TILE_ROWS, plan.pixels - row * TILE_ROWS)
            for i in range(TILE_ROWS):
                rows[i] = coarse + (row * TILE_ROWS + min(i, used - 1)) * pixel
            tile(width, 1, depth, used, rows, 1, &work[plan.weights_offset + p * panel_step], &no_offset, width,
                 &work[row * TILE_ROWS * plan.width + p * plan.lanes], plan.width)
    return 0


cdef outcome_t scatter_task(ColumnsPlan plan, Py_ssize_t task, const real_t *coarse, const real_t[::1] weight,
                            const real_t[::1] bias, real_t[:, :, :, :, :, :] fine, real_t[::1] work) noexcept nogil:
    # A block of fine channels of one group: rows are pixels, lanes are channels and taps.
    cdef Py_ssize_t first = task % plan.channel_blocks * plan.channel_block, group = task // plan.channel_blocks
    cdef Py_ssize_t channels = min(plan.channel_block, plan.fine_channels - first)
    cdef Py_ssize_t channel = group * plan.fine_channels + first, start = group * plan.coarse_channels
    cdef Py_ssize_t k = 0, depth, place, n, z, y, x, b, step
    cdef real_t *sums = &work[plan.pixels * plan.width - 1]
    zero(&work[0], plan.pixels * plan.width)
    while k < plan.coarse_channels:
        depth = min(plan.depth, plan.coarse_channels - k)
        place = ((start + k) * plan.fine_channels + first) * plan.taps
        if plan.direct:
            add_multiples_of(plan, coarse + start + k, place, depth, channels * plan.taps, weight, work)
        else:
            add_panels_of(plan, coarse + start + k, place, depth, channels * plan.taps, weight, work)
        k += plan.depth
    add_columns(plan, channels, work)
    step = plan.fine_pixels + 1
    sums = &work[plan.fine_offset]
    for n in range(plan.fine_size[0]):
        for z in range(plan.fine_size[1]):
            for y in range(plan.fine_size[2]):
                if side_by_side(fine):
                    for x in range(plan.fine_size[3]):
                        for b in range(channels):
                            fine[n, channel + b, z, y, x, 0] = sums[b * step + x] + bias[channel + b]
                else:
                    for b in range(channels):
                        for x in range(plan.fine_size[3]):
                            fine[n, channel + b, z, y, x, 0] = sums[b * step + x] + bias[channel + b]
                sums += plan.fine_size[3]
    return done(True)


def scatter_columns(ColumnsPlan plan, const real_t[:, :, :, :, :, :] coarse, bint in_place, const real_t[::1] weight,
                    const real_t[::1] bias, real_t[:, :, :, :, :, :] fine, real_t[::1] columns, real_t[:, ::1] work,
                    int threads):
    """Fill fine from coarse and the C-contiguous weight; in_place: coarse lies as [pixel, channel]."""
    cdef Py_ssize_t task, samples = 0 if in_place else plan.coarse_size[0]
    cdef outcome_t outcome = 0
    cdef const real_t *pixels = &coarse[0, 0, 0, 0, 0, 0] if in_place else &columns[0]
    if threads == 1:
        with nogil:
            for task in range(samples):
                outcome += pack_samples(plan, task, coarse, columns)
            for task in range(plan.tasks):
                outcome += scatter_task(plan, task, pixels, weight, bias, fine, work[0])
    else:
        for task in prange(samples, nogil=True, schedule="dynamic", num_threads=threads):
            outcome += pack_samples(plan, task, coarse, columns)
        for task in prange(plan.tasks, nogil=True, schedule="dynamic", num_threads=threads):
            outcome += scatter_task(plan, task, pixels, weight, bias, fine, work[threadid()])
    all_finite_in(outcome, samples + plan.tasks)
