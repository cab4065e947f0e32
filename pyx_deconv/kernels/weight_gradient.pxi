# Weight gradients. Part of engine.pyx.

cdef class GradientPlan:
    """How a weight gradient is cut, in any way; filled by ``plan_weight_gradient.py``, which explains the fields."""
    cdef Py_ssize_t groups, parts, coarse_channels, fine_channels
    cdef Py_ssize_t kernel[4]          # (1, z, y, x)
    cdef Py_ssize_t coarse_size[4]
    cdef Py_ssize_t fine_size[4]
    cdef Py_ssize_t stride[4]
    cdef Py_ssize_t block[4]           # coarse pixels at a time
    cdef Py_ssize_t blocks[4]
    cdef Py_ssize_t chunks, chunk_blocks
    cdef Py_ssize_t coarse_block, coarse_blocks, fine_block, fine_blocks
    cdef readonly Py_ssize_t tasks, work_size
    cdef readonly bint swapped         # the maps have changed places

    def __init__(self, fields):
        self.groups, self.parts, self.coarse_channels, self.fine_channels = fields.channels
        self.tasks, self.work_size = fields.sizes
        self.kernel = fields.kernel
        self.coarse_size = fields.coarse_size
        self.fine_size = fields.fine_size
        self.stride = fields.stride
        self.block = fields.block
        self.blocks = fields.blocks
        self.chunks, self.chunk_blocks = fields.chunks
        self.coarse_block, self.coarse_blocks, self.fine_block, self.fine_blocks = fields.channel_blocks


cdef struct Share:
    # What a task sums: channels of a group from a and b on, some taps, and blocks [first, last) of pixels in one chunk.
    Py_ssize_t a, b, coarse_count, fine_count, group, taps, chunk, first, last


cdef inline Share share_of(GradientPlan plan, Py_ssize_t task, Py_ssize_t tap_blocks) noexcept nogil:
    cdef Share share
    share.b = task % plan.fine_blocks * plan.fine_block
    task //= plan.fine_blocks
    share.a = task % plan.coarse_blocks * plan.coarse_block
    task //= plan.coarse_blocks
    share.taps = task % tap_blocks
    task //= tap_blocks
    share.group = task % plan.groups
    share.chunk = task // plan.groups
    share.coarse_count = min(plan.coarse_block, plan.coarse_channels - share.a)
    share.fine_count = min(plan.fine_block, plan.fine_channels - share.b)
    share.first = share.chunk * plan.chunk_blocks
    share.last = min(share.first + plan.chunk_blocks, volume_of(plan.blocks))
    return share


cdef struct Ahead:
    # Runs of memory that the next block reads, asked for a few cache lines at a time while this one is multiplied.
    Box runs            # batch, z, y and pixels, each all channels; or batch, channels, z and y
    Py_ssize_t at[4]
    Py_ssize_t step[4]  # in bytes
    Py_ssize_t size
    Py_ssize_t left     # runs that have not been asked for
    Py_ssize_t share    # cache lines at a time
    const char *origin
    const char *next    # what is left of the first run
    const char *end


cdef inline void begin_run(Ahead *ahead) noexcept nogil:
    cdef int axis
    ahead.next = ahead.origin
    for axis in range(4):
        ahead.next += ahead.at[axis] * ahead.step[axis]
    ahead.end = ahead.next + ahead.size
    ahead.next -= <size_t>ahead.next % 64


cdef int look_ahead(Ahead *ahead, const stored_t[:, :, :, :, :, :] source, const Box *box, const Py_ssize_t *step,
                    Py_ssize_t channel, Py_ssize_t channels, Py_ssize_t times, Py_ssize_t most) except -1 nogil:
    # Begins to fetch what pack_pixels would read, that many times a part of it: at most so many cache lines, where
    # more would take longer than what they wait for. The box lies in the source.
    cdef Py_ssize_t bits = source.shape[5] - 1
    cdef int axis
    ahead.left = 0
    if volume(box) == 0:
        return 0
    ahead.origin = <const char *>&source[box.start[0], channel >> bits, box.start[1], box.start[2], box.start[3], 0]
    ahead.runs.size = box.size
    ahead.step = [source.strides[0], source.strides[2] * step[1], source.strides[3] * step[2],
                  source.strides[4] * step[3]]
    ahead.size = (channels >> bits) * source.strides[1]
    if source.strides[4] == <Py_ssize_t>sizeof(stored_t):
        ahead.runs.size = [box.size[0], channels, box.size[1], box.size[2]]
        ahead.step = [source.strides[0], source.strides[1], source.strides[2] * step[1], source.strides[3] * step[2]]
        ahead.size = box.size[3] * step[3] * source.strides[4]
    # Runs less than a cache line apart are one.
    for axis in range(3, 0, -1):
        if ahead.runs.size[axis] > 1 and not 0 <= ahead.step[axis] - ahead.size < 64:
            break
        ahead.size += (ahead.runs.size[axis] - 1) * ahead.step[axis]
        ahead.runs.size[axis] = 1
    ahead.share = (volume(&ahead.runs) * (ahead.size // 64 + 1) + times - 1) // times
    if ahead.share <= most:
        ahead.left = volume(&ahead.runs)
    for axis in range(4):
        ahead.runs.start[axis] = ahead.at[axis] = 0
    begin_run(ahead)
    return 0


cdef inline void fetch_ahead(Ahead *ahead) noexcept nogil:
    cdef Py_ssize_t line, count, wanted = ahead.share
    while ahead.left > 0 and wanted > 0:
        count = min(wanted, (ahead.end - ahead.next + 63) // 64)
        for line in range(count):
            fetch(ahead.next + 64 * line)
        ahead.next += 64 * count
        wanted -= count
        if ahead.next >= ahead.end:
            ahead.left -= 1
            advance(ahead.at, &ahead.runs)
            begin_run(ahead)


cdef inline void fetch_run(const real_t *run, Py_ssize_t size) noexcept nogil:
    # What will be written soon.
    cdef Py_ssize_t k, line = CACHE_LINE // sizeof(real_t)
    for k in range((size + line - 1) // line):
        fetch(run + k * line)


cdef class WeightGradientPlan(GradientPlan):
    """The same, tap by tap."""
    cdef Py_ssize_t tap_block[4]       # taps of a task
    cdef Py_ssize_t tap_blocks[4]
    cdef Py_ssize_t coarse_offset, fine_offset, sums_offset
    cdef bint coarse_in_place, fine_in_place, by_tap, across_groups
    # per axis: rows (offset, first coarse index, last + 1) of a tap: where i * stride + offset lies inside the fine map
    cdef const Py_ssize_t[:, ::1] tap_z, tap_y, tap_x

    def __init__(self, fields):
        GradientPlan.__init__(self, fields)
        self.tap_block = fields.tap_block
        self.tap_blocks = fields.tap_blocks
        self.coarse_offset, self.fine_offset, self.sums_offset = fields.offsets
        self.coarse_in_place, self.fine_in_place = fields.in_place
        self.by_tap = fields.by_tap
        self.across_groups = fields.across_groups
        self.tap_z, self.tap_y, self.tap_x = fields.tap_tables


cdef inline int clip_to_tap(WeightGradientPlan plan, const Py_ssize_t *t, Box *box) except -1 nogil:
    # The coarse pixels of the box that this tap takes to pixels of the fine map: whether there are any.
    clip(box, 1, plan.tap_z[t[1], 1], plan.tap_z[t[1], 2])
    clip(box, 2, plan.tap_y[t[2], 1], plan.tap_y[t[2], 2])
    clip(box, 3, plan.tap_x[t[3], 1], plan.tap_x[t[3], 2])
    return volume(box) > 0


cdef inline Py_ssize_t panel_end(Py_ssize_t channels, Py_ssize_t itemsize) noexcept nogil:
    # So many lanes do panels for these channels have.
    cdef Py_ssize_t unit = TILE_UNIT // itemsize
    return (channels + unit - 1) // unit * unit


cdef int add_tap(WeightGradientPlan plan, const Py_ssize_t *t, const Box *box, const Box *region,
                 const stored_t[:, :, :, :, :, :] coarse, Py_ssize_t coarse_channel, Py_ssize_t coarse_count,
                 const stored_t[:, :, :, :, :, :] fine, Py_ssize_t fine_channel, Py_ssize_t fine_count,
                 real_t[::1] work, Py_ssize_t sums) except -1 nogil:
    # work[sums + a * fine_block + b] += sum over the box's pixels i of coarse[a, i] * fine[b, stride*i + offset[t]]
    cdef Py_ssize_t lanes = TILE_BYTES // sizeof(real_t), bits = plan.parts - 1
    cdef Py_ssize_t coarse_step = plan.coarse_block, fine_step = plan.stride[3] * plan.fine_block
    cdef Py_ssize_t a, b, i, j, k, n, z, y, x, fine_z, fine_y, fine_x, line, lines, segments, segment, used, block
    cdef Py_ssize_t at[4]
    cdef Py_ssize_t offsets[MAX_SEGMENTS]
    cdef const real_t *coarse_line[MAX_SEGMENTS]
    cdef const real_t *fine_line
    cdef const real_t *fine_base = NULL
    cdef const stored_t *end
    cdef const real_t *last
    cdef const real_t *rows[MAX_SEGMENTS * MAX_ROWS]
    cdef Box shifted, valid = box[0]
    cdef int axis
    if not clip_to_tap(plan, t, &valid):
        return 0
    if plan.coarse_in_place:
        coarse_step = coarse.strides[4] // <Py_ssize_t>sizeof(stored_t)
    if plan.fine_in_place:
        fine_step = plan.stride[3] * (fine.strides[4] // <Py_ssize_t>sizeof(stored_t))
    if plan.by_tap:
        shifted = valid
        for axis in range(1, 4):
            shifted.start[axis] = valid.start[axis] * plan.stride[axis]
        shifted.start[1] += plan.tap_z[t[1], 0]
        shifted.start[2] += plan.tap_y[t[2], 0]
        shifted.start[3] += plan.tap_x[t[3], 0]
        pack_pixels(fine, &shifted, plan.stride, fine_channel, fine_count, plan.fine_block, work[plan.fine_offset:])
        fine_step = plan.fine_block
    x = valid.start[3]
    fine_x = x * plan.stride[3] + plan.tap_x[t[3], 0]
    lines = valid.size[0] * valid.size[1] * valid.size[2]
    for block in range((lines + MAX_SEGMENTS - 1) // MAX_SEGMENTS):
        line = block * MAX_SEGMENTS
        segments = min(MAX_SEGMENTS, lines - line)
        for segment in range(segments):
            unravel_box((line + segment) * valid.size[3], &valid, at)
            n, z, y = at[0], at[1], at[2]
            fine_z = z * plan.stride[1] + plan.tap_z[t[1], 0]
            fine_y = y * plan.stride[2] + plan.tap_y[t[2], 0]
            if plan.coarse_in_place:
                coarse_line[segment] = <const real_t *>&coarse[n, coarse_channel >> bits, z, y, x, 0]
                end = &coarse[n, (coarse_channel + coarse_count - 1) >> bits, z, y, x + valid.size[3] - 1, bits]
            else:
                coarse_line[segment] = &work[plan.coarse_offset + plan.coarse_block * (
                    (((n - box.start[0]) * box.size[1] + z - box.start[1]) * box.size[2] + y - box.start[2])
                    * box.size[3] + x - box.start[3])]
            if plan.fine_in_place:
                fine_line = <const real_t *>&fine[n, fine_channel >> bits, fine_z, fine_y, fine_x, 0]
                end = &fine[n, (fine_channel + fine_count - 1) >> bits, fine_z, fine_y,
                            fine_x + plan.stride[3] * (valid.size[3] - 1), bits]
            elif plan.by_tap:
                fine_line = &work[plan.fine_offset + plan.fine_block * valid.size[3] * (line + segment)]
            else:
                fine_line = &work[plan.fine_offset + plan.fine_block * (
                    (((n - region.start[0]) * region.size[1] + fine_z - region.start[1]) * region.size[2]
                     + fine_y - region.start[2]) * region.size[3] + fine_x - region.start[3])]
            if segment == 0:
                fine_base = fine_line
            offsets[segment] = fine_line - fine_base
        last = &work[sums + (coarse_count - 1) * plan.fine_block + panel_end(fine_count, sizeof(real_t)) - 1]
        for k in range((coarse_count + TILE_ROWS - 1) // TILE_ROWS):
            a = k * TILE_ROWS
            used = min(TILE_ROWS, coarse_count - a)
            for segment in range(segments):
                for i in range(TILE_ROWS):
                    rows[segment * TILE_ROWS + i] = coarse_line[segment] + a + (i if i < used else 0)
            for j in range((fine_count + lanes - 1) // lanes):
                b = j * lanes
                tile(min(lanes, panel_end(fine_count, sizeof(real_t)) - b), segments, valid.size[3], used, rows,
                     coarse_step, fine_base + b, offsets, fine_step,
                     &work[sums + a * plan.fine_block + b], plan.fine_block)
    return 0


cdef int add_taps_across_groups(WeightGradientPlan plan, const Box *taps, const Box *box,
                                const stored_t[:, :, :, :, :, :] coarse, const stored_t[:, :, :, :, :, :] fine,
                                Py_ssize_t channel, Py_ssize_t channels, Py_ssize_t sums_size,
                                real_t[::1] work) except -1 nogil:
    # As add_tap for all taps, where each channel is a group of its own and meets only itself: the sums of tap t
    # += sum over the box's pixels i of coarse[c, i] * fine[c, stride*i + offset[t]], as dot_groups lays them out
    cdef Py_ssize_t coarse_step = coarse.strides[4] // <Py_ssize_t>sizeof(stored_t)
    cdef Py_ssize_t fine_step = fine.strides[4] // <Py_ssize_t>sizeof(stored_t)
    cdef Py_ssize_t line_step = fine.strides[3] // <Py_ssize_t>sizeof(stored_t)
    cdef Py_ssize_t plane_step = fine.strides[2] // <Py_ssize_t>sizeof(stored_t)
    cdef Py_ssize_t line, x, end_x, run, z, y, tz, ty, tx, fine_z, fine_y, fine_x, count
    cdef Py_ssize_t first_z, last_z, first_y, last_y, first_x, last_x
    cdef Py_ssize_t at[4]
    cdef Py_ssize_t offsets[MAX_TAPS]
    cdef Py_ssize_t places[MAX_TAPS]
    cdef const stored_t *pixel
    cdef const stored_t *origin
    cdef const stored_t *end
    cdef real_t *last = &work[plan.sums_offset + volume(taps) * sums_size - 1]
    for line in range(box.size[0] * box.size[1] * box.size[2]):
        unravel_box(line * box.size[3], box, at)
        first_z, last_z = taps.start[1], taps.start[1] + taps.size[1]
        first_y, last_y = taps.start[2], taps.start[2] + taps.size[2]
        taps_inside(plan.tap_z, at[1] * plan.stride[1], plan.fine_size[1], &first_z, &last_z)
        taps_inside(plan.tap_y, at[2] * plan.stride[2], plan.fine_size[2], &first_y, &last_y)
        if first_z == last_z or first_y == last_y:
            continue
        fine_z = at[1] * plan.stride[1] + plan.tap_z[first_z, 0]
        fine_y = at[2] * plan.stride[2] + plan.tap_y[first_y, 0]
        x, end_x = box.start[3], box.start[3] + box.size[3]
        while x < end_x:
            # The pixels from x on that the same taps lead into the fine map, as in correlate_groups.
            first_x, last_x = taps.start[3], taps.start[3] + taps.size[3]
            taps_inside(plan.tap_x, x * plan.stride[3], plan.fine_size[3], &first_x, &last_x)
            run = 1
            if last_x - first_x == taps.size[3]:
                run = (plan.fine_size[3] - 1 - plan.tap_x[last_x - 1, 0]) // plan.stride[3] + 1 - x
                run = min(run, end_x - x)
            count = 0
            for tz in range(first_z, last_z):
                z = plan.tap_z[tz, 0] - plan.tap_z[first_z, 0]
                for ty in range(first_y, last_y):
                    y = plan.tap_y[ty, 0] - plan.tap_y[first_y, 0]
                    for tx in range(first_x, last_x):
                        offsets[count] = (z * plane_step + y * line_step
                                          + (plan.tap_x[tx, 0] - plan.tap_x[first_x, 0]) * fine_step)
                        places[count] = sums_size * (((tz - taps.start[1]) * taps.size[2] + ty - taps.start[2])
                                                     * taps.size[3] + tx - taps.start[3])
                        count += 1
            if count:
                fine_x = x * plan.stride[3] + plan.tap_x[first_x, 0]
                pixel = &coarse[at[0], channel, at[1], at[2], x, 0]
                end = &coarse[at[0], channel + channels - 1, at[1], at[2], x + run - 1, 0]
                origin = &fine[at[0], channel, fine_z, fine_y, fine_x, 0]
                end = &fine[at[0], channel + channels - 1, at[1] * plan.stride[1] + plan.tap_z[last_z - 1, 0],
                            at[2] * plan.stride[2] + plan.tap_y[last_y - 1, 0],
                            (x + run - 1) * plan.stride[3] + plan.tap_x[last_x - 1, 0], 0]
                dot_groups(count, offsets, places, <const real_t *>pixel, coarse_step, <const real_t *>origin,
                           plan.stride[3] * fine_step, run, channels, &work[plan.sums_offset])
            x += run
    return 0


cdef outcome_t weight_gradient_task(WeightGradientPlan plan, Py_ssize_t task, const stored_t[:, :, :, :, :, :] coarse,
                                    const stored_t[:, :, :, :, :, :] fine, real_t[:, ::1] partial,
                                    real_t[::1] work) noexcept nogil:
    # One block of taps and channels of one group, summed over one chunk of the pixels.
    cdef Share share = share_of(plan, task, volume_of(plan.tap_blocks))
    cdef Py_ssize_t a = share.a, b = share.b, coarse_count = share.coarse_count, fine_count = share.fine_count
    cdef Py_ssize_t group = share.group, chunk = share.chunk
    cdef Py_ssize_t all_taps = volume_of(plan.kernel)
    cdef Py_ssize_t sums_size = plan.coarse_block * plan.fine_block, parts = plan.parts
    cdef Py_ssize_t block, k, tap, i, j, row, last = fine_count, shift = 0
    cdef Py_ssize_t index[4]
    cdef Py_ssize_t t[4]
    cdef Box box, region, taps
    if plan.across_groups:  # the last of a row of sums are those of a vector
        sums_size = whole_vectors(plan.fine_block, sizeof(real_t))
        k = (TILE_UNIT if fine_count * <Py_ssize_t>sizeof(real_t) < TILE_BYTES // 2 else TILE_BYTES // 2)
        k //= <Py_ssize_t>sizeof(real_t)
        last = fine_count // k * k
        shift = last + k - fine_count
    unravel(share.taps, plan.tap_blocks, index)
    taps = cut(index, plan.tap_block, plan.kernel)
    for k in range(plan.sums_offset, plan.sums_offset + volume(&taps) * sums_size):
        work[k] = 0
    for block in range(share.first, share.last):
        unravel(block, plan.blocks, index)
        box = cut(index, plan.block, plan.coarse_size)
        region = box
        scale(&region, 1, plan.stride[1], plan.tap_z[taps.start[1], 0],
              plan.tap_z[taps.start[1] + taps.size[1] - 1, 0], plan.fine_size[1])
        scale(&region, 2, plan.stride[2], plan.tap_y[taps.start[2], 0],
              plan.tap_y[taps.start[2] + taps.size[2] - 1, 0], plan.fine_size[2])
        scale(&region, 3, plan.stride[3], plan.tap_x[taps.start[3], 0],
              plan.tap_x[taps.start[3] + taps.size[3] - 1, 0], plan.fine_size[3])
        if volume(&region) == 0:
            continue
        if plan.across_groups:
            add_taps_across_groups(plan, &taps, &box, coarse, fine, b, fine_count, sums_size, work)
            continue
        if not plan.coarse_in_place:
            pack_pixels(coarse, &box, EVERY, group * plan.coarse_channels + a, coarse_count, plan.coarse_block,
                        work[plan.coarse_offset:])
        if not plan.fine_in_place and not plan.by_tap:
            pack_pixels(fine, &region, EVERY, group * plan.fine_channels + b, fine_count, plan.fine_block,
                        work[plan.fine_offset:])
        for tap in range(volume(&taps)):
            unravel_box(tap, &taps, t)
            add_tap(plan, t, &box, &region, coarse, group * plan.coarse_channels + a, coarse_count,
                    fine, group * plan.fine_channels + b, fine_count, work, plan.sums_offset + tap * sums_size)
    for tap in range(volume(&taps)):
        unravel_box(tap, &taps, t)
        row = plan.sums_offset + tap * sums_size
        for i in range(coarse_count // parts):
            for j in range(fine_count // parts):
                k = (((group * plan.coarse_channels + a) // parts + i) * (plan.fine_channels // parts) + b // parts + j)
                k = parts * (k * all_taps + (t[1] * plan.kernel[2] + t[2]) * plan.kernel[3] + t[3])
                if parts == 1:
                    partial[chunk, k] = work[row + (j if j < last else j + shift)]
                else:   # conj(x) * g = (re*re + im*im) + i (re*im - im*re)
                    partial[chunk, k] = work[row + 2 * j] + work[row + plan.fine_block + 2 * j + 1]
                    partial[chunk, k + 1] = work[row + 2 * j + 1] - work[row + plan.fine_block + 2 * j]
            row += parts * plan.fine_block
    return done(True)


def weight_gradient(WeightGradientPlan plan, const stored_t[:, :, :, :, :, :] coarse,
                    const stored_t[:, :, :, :, :, :] fine, real_t[:, ::1] partial, real_t[:, ::1] work, int threads):
    """Fill partial (chunks, elements of the weight): each chunk's sum over its pixels. Return True: it is right."""
    cdef Py_ssize_t task
    cdef outcome_t outcome = 0
    if stored_t is double and real_t is double or stored_t is not double and real_t is float:
        if threads == 1:
            with nogil:
                for task in range(plan.tasks):
                    outcome += weight_gradient_task(plan, task, coarse, fine, partial, work[0])
        else:
            for task in prange(plan.tasks, nogil=True, schedule="dynamic", num_threads=threads):
                outcome += weight_gradient_task(plan, task, coarse, fine, partial, work[threadid()])
        all_finite_in(outcome, plan.tasks)
        return True


cdef outcome_t sum_column(real_t[:, ::1] partial, Py_ssize_t first, Py_ssize_t last,
                          stored_t[::1] target) noexcept nogil:
    # target = the sum of the chunks, pairwise: (0 + 1) + (2 + 3) ...
    cdef Py_ssize_t step = 1, chunk, k
    while step < partial.shape[0]:
        chunk = 0
        while chunk + step < partial.shape[0]:
            for k in range(first, last):
                partial[chunk, k] += partial[chunk + step, k]
            chunk += 2 * step
        step *= 2
    for k in range(first, last):
        store(partial[0, k], &target[k])
    return done(True)


def sum_chunks(real_t[:, ::1] partial, stored_t[::1] target, int threads):
    """Sum the chunks of a weight gradient into target, rounding once; partial is used up."""
    cdef Py_ssize_t block, size = 4096, blocks = (target.shape[0] + size - 1) // size
    cdef outcome_t outcome = 0
    if stored_t is double and real_t is double or stored_t is not double and real_t is float:
        if threads == 1:
            with nogil:
                for block in range(blocks):
                    outcome += sum_column(partial, block * size, min((block + 1) * size, target.shape[0]), target)
        else:
            for block in prange(blocks, nogil=True, schedule="static", num_threads=threads):
                outcome += sum_column(partial, block * size, min((block + 1) * size, target.shape[0]), target)
        all_finite_in(outcome, blocks)
