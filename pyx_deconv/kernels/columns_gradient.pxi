# Weight gradients as one product of matrices: for each tap and channel of the fine map a column of what it meets from
# the pixels of the coarse map. Columns are not made: the tile's rows read them from a packed region of the fine map, a
# stride apart, and its panels are the coarse channels, in place where they lie side by side. With dots, what is packed
# of pixel x stands for it and for the pixel a stride behind it, and two coarse pixels of a line are one. Part of
# engine.pyx.
#
# Without strides the maps may change places: what is called coarse here is then the fine map, whose pixel i meets the
# coarse pixel i + t' * dilation - begin' through tap t = kernel - 1 - t', begin' = (kernel - 1) * dilation - begin.
#
# Taps that meet nothing are zeros. An infinite coarse pixel would make NaN of them: then the caller computes all of it
# anew, tap by tap.


cdef class ColumnsGradientPlan(GradientPlan):
    """How it is cut; filled by ``plan_columns_gradient.py``, which explains the fields."""
    cdef Py_ssize_t dilation[4]
    cdef Py_ssize_t begin[4]           # padding: tap t of pixel i meets i * stride + t * dilation - begin
    cdef Py_ssize_t tap_block[4]       # taps of a task
    cdef Py_ssize_t tap_blocks[4]
    cdef Py_ssize_t pitch[4]           # from one coarse pixel to the next in the packed region
    cdef Py_ssize_t step[4]            # of the batch and of each axis there
    cdef Py_ssize_t channel_step
    cdef Py_ssize_t lanes              # coarse channels of a panel
    cdef Py_ssize_t coarse_offset, region_offset, sums_offset
    cdef bint coarse_in_place          # panels are read from the coarse map
    cdef bint streams                  # the weight is larger than the caches
    cdef bint dots                     # products of two pixels of a line are added at once

    def __init__(self, fields):
        GradientPlan.__init__(self, fields)
        self.dilation = fields.dilation
        self.begin = fields.begin
        self.tap_block = fields.tap_block
        self.tap_blocks = fields.tap_blocks
        self.pitch = fields.pitch
        self.step = fields.step
        self.channel_step = fields.channel_step
        self.lanes = fields.lanes
        self.coarse_offset, self.region_offset, self.sums_offset = fields.offsets
        self.coarse_in_place = fields.coarse_in_place
        self.streams = fields.streams
        self.swapped = fields.swapped
        self.dots = fields.dots


cdef int pack_region(ColumnsGradientPlan plan, const Box *box, const Box *taps,
                     const stored_t[:, :, :, :, :, :] fine, Py_ssize_t channel, Py_ssize_t channels,
                     real_t[::1] target) except -1 nogil:
    # target[channel * channel_step + n * step[0] + the sum over axes of (i * pitch + t * dilation) * step] = what tap t
    # of pixel i meets, zeros outside. Along an axis whose pitch is the stride all pixels are one run, otherwise each
    # has one of its own. Returns whether any of it lies in the fine map.
    cdef Py_ssize_t count[4]
    cdef Py_ssize_t run[4]
    cdef Py_ssize_t start[4]
    cdef Py_ssize_t n, i, j, k, z, y, x, c, r, left, right, line, at
    cdef Py_ssize_t pixel_step = fine.strides[4] // <Py_ssize_t>sizeof(stored_t)
    cdef bint across = (stored_t is float or stored_t is double) and fine.strides[1] == <Py_ssize_t>sizeof(stored_t)
    cdef bint turned
    cdef const stored_t *pixel
    cdef const stored_t *end
    cdef real_t *last
    cdef int axis
    for axis in range(1, 4):
        start[axis] = (box.start[axis] * plan.stride[axis] + taps.start[axis] * plan.dilation[axis]
                       - plan.begin[axis])
        run[axis] = (taps.size[axis] - 1) * plan.dilation[axis] + 1
        count[axis] = box.size[axis]
        if plan.pitch[axis] == plan.stride[axis]:
            run[axis] += (box.size[axis] - 1) * plan.stride[axis]
            count[axis] = 1
        if start[axis] >= plan.fine_size[axis] or start[axis] + (count[axis] - 1) * plan.stride[axis] + run[axis] <= 0:
            return False
    for n in range(box.size[0]):
        for i in range(count[1] * run[1]):
            z = start[1] + i // run[1] * plan.stride[1] + i % run[1]
            for j in range(count[2] * run[2]):
                y = start[2] + j // run[2] * plan.stride[2] + j % run[2]
                line = (n * plan.step[0] + (i // run[1] * plan.pitch[1] + i % run[1]) * plan.step[1]
                        + (j // run[2] * plan.pitch[2] + j % run[2]) * plan.step[2])
                for k in range(count[3]):
                    x = start[3] + k * plan.stride[3]
                    at = line + k * plan.pitch[3]
                    last = &target[at + (channels - 1) * plan.channel_step + run[3] - 1]
                    if stored_t is bfloat and real_t is float:
                        if plan.dots:
                            pack_line_in_twos(fine, box.start[0] + n, channel, channels, z, y, x, run[3],
                                              plan.stride[3], &target[at], plan.channel_step)
                            continue
                    left = right = run[3]
                    if 0 <= z < plan.fine_size[1] and 0 <= y < plan.fine_size[2]:
                        left = min(run[3], max(0, -x))
                        right = max(left, min(run[3], plan.fine_size[3] - x))
                    turned = left < right and across
                    if turned:
                        pixel = &fine[box.start[0] + n, channel, z, y, x + left, 0]
                        end = &fine[box.start[0] + n, channel + channels - 1, z, y, x + right - 1, 0]
                        transpose(<const real_t *>pixel, pixel_step, 1, right - left, channels, &target[at + left],
                                  plan.channel_step)
                    for c in range(channels):
                        if left > 0:
                            zero(&target[at], left)
                        if right < run[3]:
                            zero(&target[at + right], run[3] - right)
                        if left < right and not turned:
                            pixel = &fine[box.start[0] + n, channel + c, z, y, x + left, 0]
                            end = &fine[box.start[0] + n, channel + c, z, y, x + right - 1, 0]
                            if pixel_step == 1 and (stored_t is float or stored_t is double):
                                copy_run(<const real_t *>pixel, right - left, &target[at + left])
                            else:
                                for r in range(right - left):
                                    load(&pixel[r * pixel_step], &target[at + left + r])
                        at += plan.channel_step
    return True


cdef outcome_t columns_gradient_task(ColumnsGradientPlan plan, Py_ssize_t task, const stored_t[:, :, :, :, :, :] coarse,
                                     const stored_t[:, :, :, :, :, :] fine, real_t[:, ::1] partial,
                                     real_t[::1] work) noexcept nogil:
    # One block of taps and channels of one group, summed over one chunk of the pixels.
    cdef Share share = share_of(plan, task, volume_of(plan.tap_blocks))
    cdef Py_ssize_t a = share.a, b = share.b, coarse_count = share.coarse_count, fine_count = share.fine_count
    cdef Py_ssize_t group = share.group, chunk = share.chunk
    cdef Py_ssize_t lanes = plan.lanes, all_taps = volume_of(plan.kernel)
    cdef Py_ssize_t block, i, j, k, p, used, pixels, depth, row, tap, count, width, lines, line, run, c, column_step
    cdef Py_ssize_t weight_step = (1 if plan.swapped else plan.fine_channels) * all_taps    # between coarse channels
    cdef Py_ssize_t together = 1 + plan.dots    # pixels of a line
    cdef Py_ssize_t index[4]
    cdef Py_ssize_t line_at[MAX_SEGMENTS]       # of each line of pixels in the packed region, and in the panel
    cdef Py_ssize_t panel_at[MAX_SEGMENTS]
    cdef Py_ssize_t columns[MAX_COLUMNS]        # where the columns begin in the packed region: channel, z, y, x
    cdef const real_t *first[MAX_ROWS]
    cdef const real_t *panel
    cdef Py_ssize_t panel_step = lanes
    cdef const stored_t *last
    cdef real_t turned[4 * MAX_COLUMNS]         # runs of the weight, to be streamed
    cdef real_t *weight
    cdef real_t *end
    cdef Box box, region, taps
    cdef Ahead of_coarse, of_fine
    cdef int axis
    cdef bint finite = True, adds = False       # the first products are written
    of_coarse.left = of_fine.left = 0
    unravel(share.taps, plan.tap_blocks, index)
    taps = cut(index, plan.tap_block, plan.kernel)
    count = 0
    for c in range(fine_count):
        for axis in range(4):
            index[axis] = taps.start[axis]
        for tap in range(volume(&taps)):
            columns[count] = c * plan.channel_step
            for axis in range(1, 4):
                columns[count] += (index[axis] - taps.start[axis]) * plan.dilation[axis] * plan.step[axis]
            count += 1
            advance(index, &taps)
    # The sums lie panel by panel: work[sums_offset + panel * count * lanes + column * width of the panel + channel]
    end = &work[plan.sums_offset + (coarse_count + lanes - 1) // lanes * count * lanes - 1]
    for block in range(share.first, share.last):
        unravel(block, plan.blocks, index)
        box = cut(index, plan.block, plan.coarse_size)
        pixels = volume(&box)
        if not pack_region(plan, &box, &taps, fine, group * plan.fine_channels + b, fine_count,
                           work[plan.region_offset:]):
            continue
        end = &work[plan.region_offset + fine_count * plan.channel_step - 1]
        lines = pixels // box.size[3]
        depth = (box.size[3] + together - 1) // together
        if block + 1 < share.last:
            unravel(block + 1, plan.blocks, index)
            region = cut(index, plan.block, plan.coarse_size)
            i = (coarse_count + lanes - 1) // lanes * ((count + TILE_ROWS - 1) // TILE_ROWS)
            look_ahead(&of_coarse, coarse, &region, EVERY, group * plan.coarse_channels + a, coarse_count, i,
                       pixels // 4)
            for axis in range(1, 4):
                tap = taps.start[axis] * plan.dilation[axis] - plan.begin[axis]
                scale(&region, axis, plan.stride[axis], tap, tap + (taps.size[axis] - 1) * plan.dilation[axis],
                      plan.fine_size[axis])
            look_ahead(&of_fine, fine, &region, EVERY, group * plan.fine_channels + b, fine_count, i, pixels // 2)
        for line in range(lines):
            unravel(line * box.size[3], box.size, index)
            panel_at[line] = line * depth * lanes
            if plan.coarse_in_place:
                panel_at[line] = (index[0] * coarse.strides[0] + index[1] * coarse.strides[2]
                                  + index[2] * coarse.strides[3]) // <Py_ssize_t>sizeof(stored_t)
            line_at[line] = (index[0] * plan.step[0] + index[1] * plan.pitch[1] * plan.step[1]
                             + index[2] * plan.pitch[2] * plan.step[2])
        for p in range((coarse_count + lanes - 1) // lanes):
            used = min(lanes, coarse_count - p * lanes)
            width = panel_end(used, sizeof(real_t))
            c = group * plan.coarse_channels + a + p * lanes
            if plan.coarse_in_place:
                panel = <const real_t *>&coarse[box.start[0], c, box.start[1], box.start[2], box.start[3], 0]
                panel_step = coarse.strides[4] // <Py_ssize_t>sizeof(stored_t)
                last = &coarse[box.start[0] + box.size[0] - 1, c + used - 1, box.start[1] + box.size[1] - 1,
                               box.start[2] + box.size[2] - 1, box.start[3] + box.size[3] - 1, 0]
            else:
                if stored_t is bfloat and real_t is float and plan.dots:
                    pack_pixels_in_twos(coarse, &box, c, used, lanes, work[plan.coarse_offset:])
                else:
                    pack_pixels(coarse, &box, EVERY, c, used, lanes, work[plan.coarse_offset:])
                panel = &work[plan.coarse_offset]
            row = plan.sums_offset + p * count * lanes
            i = 0
            while i < count:
                used = min(<Py_ssize_t>TILE_ROWS, count - i)
                for j in range(TILE_ROWS):
                    first[j] = &work[plan.region_offset + columns[i + (j if j < used else 0)]]
                tile_of(plan.dots, width, lines, depth, used, first, line_at, together * plan.pitch[3], panel, panel_at,
                        panel_step, &work[row + i * width], width, NULL, NULL, adds)
                fetch_ahead(&of_coarse)
                fetch_ahead(&of_fine)
                i += TILE_ROWS
        adds = True
    if not adds:
        zero(&work[plan.sums_offset], (coarse_count + lanes - 1) // lanes * count * lanes)
    # Taps of a line follow each other in the weight; so do whole lines, whole planes and whole kernels.
    run = taps.size[3]
    if run == plan.kernel[3]:
        run *= taps.size[2]
        if taps.size[2] == plan.kernel[2]:
            run *= taps.size[1]
            if run == all_taps and not plan.swapped:
                run = count
    for p in range((coarse_count + lanes - 1) // lanes):
        used = min(lanes, coarse_count - p * lanes)
        width = panel_end(used, sizeof(real_t))
        row = plan.sums_offset + p * count * lanes
        column_step = -width if plan.swapped else width
        finite &= all_finite(&work[row], count * width)
        for j in range(count // run):
            i = j * run
            unravel_box(i % volume(&taps), &taps, index)
            tap = (index[1] * plan.kernel[2] + index[2]) * plan.kernel[3] + index[3]
            k = (group * plan.coarse_channels + a + p * lanes) * plan.fine_channels + b + i // volume(&taps)
            if plan.swapped:    # taps are in reverse, and so are columns
                tap = all_taps - run - tap
                k = (group * plan.fine_channels + b + i // volume(&taps)) * plan.coarse_channels + a + p * lanes
                i += run - 1
            k = k * all_taps + tap
            end = &partial[chunk, k + (used - 1) * weight_step + run - 1]
            for c in range((used + 3) // 4):
                weight = &partial[chunk, k + 4 * c * weight_step]
                if not plan.streams:
                    for line in range(4 * c + 4, min(4 * c + 8, used)):     # where the next four go
                        fetch_run(&partial[chunk, k + line * weight_step], run)
                    transpose(&work[row + i * width + 4 * c], column_step, 1, run, min(4, used - 4 * c), weight,
                              weight_step)
                else:
                    transpose(&work[row + i * width + 4 * c], column_step, 1, run, min(4, used - 4 * c), turned,
                              run)
                    for line in range(min(4, used - 4 * c)):
                        stream(&turned[line * run], run * <Py_ssize_t>sizeof(real_t),
                               weight + line * weight_step)
    if plan.streams:
        end_of_stream()
    return done(finite)


def columns_gradient(ColumnsGradientPlan plan, const stored_t[:, :, :, :, :, :] coarse,
                     const stored_t[:, :, :, :, :, :] fine, real_t[:, ::1] partial, real_t[:, ::1] work, int threads):
    """Fill partial (chunks, elements of the weight) as weight_gradient does; return whether all of it is finite."""
    cdef Py_ssize_t task
    cdef outcome_t outcome = 0
    if stored_t is double and real_t is double or stored_t is not double and real_t is float:
        if threads == 1:
            with nogil:
                for task in range(plan.tasks):
                    outcome += columns_gradient_task(plan, task, coarse, fine, partial, work[0])
        else:
            for task in prange(plan.tasks, nogil=True, schedule="dynamic", num_threads=threads):
                outcome += columns_gradient_task(plan, task, coarse, fine, partial, work[threadid()])
        return all_finite_in(outcome, plan.tasks)
