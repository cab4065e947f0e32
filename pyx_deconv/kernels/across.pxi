# Correlation with pixels in the lanes of the tile and target channels in its rows. Part of engine.pyx.
#
# For maps whose channels would leave lanes empty. The source lies packed as
#
#     [channel][z, y, x modulo source_step][batch][z, y, x // source_step]
#
# with zeros beside it, so that pixels side by side meet pixels side by side through every tap: a panel of the tile is
# any run of them, across the ends of lines too (what is computed between two lines is not stored). Maps whose channels
# lie side by side instead are transposed on the way in, and line by line on the way out. Infinite weights,
# which would make NaN of the zeros, are left to correlation.pxi.

cdef struct Grid:
    # Distances in what is packed, and in the sums.
    Py_ssize_t pixel[4]         # from one pixel of a phase to the next along each axis
    Py_ssize_t remainder[4]     # from one remainder to the next
    Py_ssize_t remainders[4]
    Py_ssize_t channel          # from one channel to the next
    Py_ssize_t row              # from the sums of one target channel to those of the next


cdef inline void grid_of(CorrelationPlan plan, Py_ssize_t item, Grid *grid) noexcept nogil:
    cdef Py_ssize_t span, size = 1, line = 64 // item
    cdef int axis
    for axis in range(3, -1, -1):
        span = plan.high[axis] - plan.low[axis]
        grid.pixel[axis] = size
        grid.remainders[axis] = min(plan.source_step[axis], span + 1)
        size *= plan.block[axis] + span // plan.source_step[axis]
    for axis in range(3, -1, -1):
        grid.remainder[axis] = size
        size *= grid.remainders[axis]
    # An odd number of cache lines apart, so that the channels of a panel do not share the sets of L1.
    grid.channel = ((size + line - 1) // line | 1) * line
    grid.row = plan.row


cdef inline void grid_in_place(const stored_t[:, :, :, :, :, :] source, Grid *grid) noexcept nogil:
    # The distances in the source itself.
    cdef int axis
    for axis in range(4):
        grid.pixel[axis] = source.strides[axis + (axis > 0)] // <Py_ssize_t>sizeof(stored_t)
    grid.channel = source.strides[1] // <Py_ssize_t>sizeof(stored_t)


cdef int pack_across(CorrelationPlan plan, const Grid *grid, const Box *task,
                     const stored_t[:, :, :, :, :, :] source, Py_ssize_t channel, Py_ssize_t depth,
                     real_t[::1] packed) except -1 nogil:
    # packed[c * grid.channel + ...] = the channels [channel, channel + depth) of all that the task's pixels meet
    cdef Py_ssize_t item = sizeof(stored_t), step_y = plan.source_step[2], step = plan.source_step[3]
    cdef Py_ssize_t k, c, x, n, z, y, top, bottom, left, right, first_y, first_x, place
    cdef Py_ssize_t height = task.size[2] + (plan.high[2] - plan.low[2]) // step_y
    cdef Py_ssize_t width = task.size[3] + (plan.high[3] - plan.low[3]) // step
    cdef Py_ssize_t index[4]
    cdef Py_ssize_t shape[4]
    cdef Py_ssize_t at[4]
    cdef Py_ssize_t planes[4]
    cdef const stored_t *pixel
    cdef const stored_t *end
    cdef real_t *target
    cdef bint contiguous = source.strides[4] == item and stored_t is real_t
    cdef bint turned = not contiguous and source.strides[1] == item and stored_t is real_t
    cdef int axis
    for axis in range(4):
        shape[axis] = grid.remainders[axis]
        planes[axis] = task.size[axis] + (plan.high[axis] - plan.low[axis]) // plan.source_step[axis]
    planes[2] = planes[3] = 1
    for k in range(volume_of(shape) * volume_of(planes)):
        unravel(k % volume_of(planes), planes, at)
        unravel(k // volume_of(planes), shape, index)
        n = task.start[0] + at[0]
        z = (task.start[1] + at[1]) * plan.source_step[1] + plan.low[1] + index[1]
        # [top, bottom) and [left, right): what is in the source
        first_y = task.start[2] * step_y + plan.low[2] + index[2]
        first_x = task.start[3] * step + plan.low[3] + index[3]
        line_range(first_y, step_y, height, source.shape[3], &top, &bottom)
        line_range(first_x, step, width, source.shape[4], &left, &right)
        if not 0 <= z < source.shape[2]:
            top = bottom = height
        place = at[0] * grid.pixel[0] + at[1] * grid.pixel[1]
        for axis in range(1, 4):
            place += index[axis] * grid.remainder[axis]
        if left == right:
            top = bottom = height
        if top < bottom:
            end = &source[n, channel + depth - 1, z, first_y + (bottom - 1) * step_y, first_x + (right - 1) * step, 0]
        for c in range(depth):
            target = &packed[place + c * grid.channel + (height - 1) * grid.pixel[2] + width - 1]
            target = &packed[place + c * grid.channel]
            zero(target, top * grid.pixel[2])
            zero(target + bottom * grid.pixel[2], (height - bottom) * grid.pixel[2])
            if contiguous and top < bottom:
                pixel = &source[n, channel + c, z, first_y + top * step_y, first_x + left * step, 0]
                padded_lines(<const real_t *>pixel, step_y * source.strides[3] // item, step, bottom - top, left,
                             right - left, width, target + top * grid.pixel[2], grid.pixel[2],
                             source.strides[1] // item)
                continue
            for y in range(top, bottom):
                target = &packed[place + c * grid.channel + y * grid.pixel[2]]
                zero(target, left)
                zero(target + right, width - right)
                for x in range(left, left if turned else right):
                    load(&source[n, channel + c, z, first_y + y * step_y, first_x + x * step, 0], target + x)
        for y in range(top, bottom if turned else top):
            pixel = &source[n, channel, z, first_y + y * step_y, first_x + left * step, 0]
            target = &packed[place + (depth - 1) * grid.channel + y * grid.pixel[2] + right - 1]
            transpose(<const real_t *>pixel, step * (source.strides[4] // item), 1, right - left, depth,
                      &packed[place + y * grid.pixel[2] + left], grid.channel)
    return 0


cdef inline int add_rows_across(CorrelationPlan plan, Py_ssize_t group, Py_ssize_t row, Py_ssize_t rows,
                                Py_ssize_t count, Py_ssize_t depth, const real_t[::1] packed, const Py_ssize_t *shifts,
                                const Py_ssize_t *last_shifts, Py_ssize_t width, const real_t *pixel,
                                const Py_ssize_t *offsets, Py_ssize_t channel_step, real_t[::1] work, Py_ssize_t sums,
                                Py_ssize_t sums_step, bint adds) except -1 nogil:
    # One panel of pixels against all these rows; the last panel of rows has shifts of its own.
    cdef Py_ssize_t lanes = TILE_BYTES // <Py_ssize_t>sizeof(real_t), r = 0, k, i, used, row_step, weight
    cdef const Py_ssize_t *shift
    cdef const real_t *weights[MAX_ROWS]
    cdef const real_t *end
    while r < rows:
        row_step = panel_width(plan, (row + r) // plan.lanes)
        shift = last_shifts if row_step < plan.lanes else shifts
        weight = panel_place(plan, group, (row + r) // plan.lanes)
        end = &work[sums + (r + row_step - 1) * sums_step + width - 1]
        if width == lanes and row_step > TILE_ROWS:
            tall_tile(row_step, count, depth, &packed[weight], shift, row_step, pixel, offsets, channel_step,
                      &work[sums + r * sums_step], sums_step, adds)
        else:
            k = 0
            while k < row_step:
                used = min(row_step - k, <Py_ssize_t>TILE_ROWS)
                for i in range(TILE_ROWS):
                    weights[i] = &packed[weight + k + (i if i < used else 0)]
                tile_at(width, count, depth, used, weights, shift, row_step, pixel, offsets, channel_step,
                        &work[sums + (r + k) * sums_step], sums_step, NULL, NULL, adds)
                k += used
        r += row_step
    return 0


cdef int correlate_across(CorrelationPlan plan, const Grid *grid, Py_ssize_t phase, const Box *task, Py_ssize_t group,
                          Py_ssize_t row, Py_ssize_t rows, Py_ssize_t c, Py_ssize_t depth, const real_t *region,
                          const real_t[::1] packed, real_t[::1] work, Py_ssize_t sums, bint adds) except -1 nogil:
    # work[sums + row * grid.row + plane * plan.plane + line * plan.line + x] += (or =) these source channels; with
    # lines as far apart as in what is packed they are one long line
    cdef Py_ssize_t tap, taps, first_tap, count, n, z, y, p, i, width, place, first
    cdef Py_ssize_t pixels, run, lines
    cdef Py_ssize_t lanes = TILE_BYTES // <Py_ssize_t>sizeof(real_t), unit = TILE_UNIT // <Py_ssize_t>sizeof(real_t)
    cdef Py_ssize_t index[4]
    cdef Py_ssize_t at[4]
    cdef Py_ssize_t shifts[2][MAX_SEGMENTS]     # of the weights in a whole panel, and in the last one
    cdef Py_ssize_t offsets[MAX_SEGMENTS]
    cdef const real_t *pixel
    cdef const real_t *end
    cdef Box box, mine
    if not phase_box(plan, phase, task, index, &box):
        return 0
    mine = box
    mine.start[0], mine.size[0] = 0, 1
    mine.start[1], mine.size[1] = plan.phase_z[index[1], 2], plan.phase_z[index[1], 3] - plan.phase_z[index[1], 2]
    mine.start[2], mine.size[2] = plan.phase_y[index[2], 2], plan.phase_y[index[2], 3] - plan.phase_y[index[2], 2]
    mine.start[3], mine.size[3] = plan.phase_x[index[3], 2], plan.phase_x[index[3], 3] - plan.phase_x[index[3], 2]
    taps = volume(&mine)
    lines = box.size[2] if plan.line == grid.pixel[2] else 1
    pixels = (lines - 1) * grid.pixel[2] + box.size[3]
    if taps == 0 and not adds:
        zero(&work[sums], rows * grid.row)
    first_tap = 0
    while first_tap < taps:
        count = min(taps - first_tap, <Py_ssize_t>MAX_SEGMENTS)
        for tap in range(count):
            unravel_box(first_tap + tap, &mine, at)
            shifts[0][tap] = (slot_of(plan, at[1], at[2], at[3]) * plan.source_channels + c) * plan.lanes
            shifts[1][tap] = shifts[0][tap] // plan.lanes * panel_width(plan, plan.panels - 1)
            at[1] = plan.tap_z[at[1], 0] - plan.low[1]
            at[2] = plan.tap_y[at[2], 0] - plan.low[2]
            at[3] = plan.tap_x[at[3], 0] - plan.low[3]
            offsets[tap] = 0
            for i in range(1, 4):
                offsets[tap] += (at[i] % plan.source_step[i] * grid.remainder[i]
                                 + at[i] // plan.source_step[i] * grid.pixel[i])
        for run in range(box.size[0] * box.size[1] * box.size[2] // lines):
            y = run * lines % box.size[2]
            z = run * lines // box.size[2] % box.size[1]
            n = run * lines // (box.size[2] * box.size[1])
            first = sums + (n * plan.block[1] + z) * plan.plane + y * plan.line
            p = 0
            while p < pixels:
                width = min(lanes, (pixels - p + unit - 1) // unit * unit)
                if plan.in_place:       # nothing is read beyond the end, but some pixels are computed twice
                    width = min(width, pixels // unit * unit)
                    p = min(p, pixels - width)
                pixel = region + n * grid.pixel[0] + z * grid.pixel[1] + y * grid.pixel[2] + p
                place = plan.zeros + (pixel - region)
                for tap in range(0 if plan.in_place else count):
                    end = &work[place + offsets[tap] + (depth - 1) * grid.channel + width - 1]
                add_rows_across(plan, group, row, rows, count, depth, packed, shifts[0], shifts[1], width, pixel,
                                offsets, grid.channel, work, first + p, grid.row, adds)
                p += width
        adds = True
        first_tap += MAX_SEGMENTS
    return 0


cdef int store_across_lines(const real_t *sums, Py_ssize_t count, Py_ssize_t line_step, Py_ssize_t width,
                            Py_ssize_t lines, Py_ssize_t pitch, real_t bias, Py_ssize_t n, Py_ssize_t c, Py_ssize_t z,
                            Py_ssize_t y, Py_ssize_t y_step, Py_ssize_t x, Py_ssize_t step, Py_ssize_t left,
                            Py_ssize_t right, bint streams, stored_t[:, :, :, :, :, :] target) except -1 nogil:
    # target pixel x + step * i + f of line y + y_step * j = sums[f * line_step + j * pitch + i] + bias, as far as there
    # is one: for each f if left <= i < right
    cdef Py_ssize_t size = target.shape[4], item = sizeof(stored_t), i, j, k, f
    cdef Py_ssize_t target_step = target.strides[3] // item * y_step
    cdef stored_t *pixel
    if stored_t is real_t and count == step and left < right and target.strides[4] == item:
        pixel = &target[n, c, z, y + (lines - 1) * y_step, x + right * step - 1, 0]
        pixel = &target[n, c, z, y, x + left * step, 0]
        if streams:
            for j in range(lines):
                store_lines_together(count, sums + j * pitch + left, line_step, right - left, bias, True,
                                     pixel + j * target_step)
        else:
            join(count, sums + left, line_step, right - left, bias, pixel, lines, pitch, target_step)
    else:
        left = right = 0
    for j in range(lines):      # before and behind those
        for k in range(left + width - right):
            i = k if k < left else k - left + right
            for f in range(count):
                if 0 <= x + i * step + f < size:
                    store(sums[f * line_step + j * pitch + i] + bias,
                          &target[n, c, z, y + j * y_step, x + i * step + f, 0])
    return 0


cdef inline void add_to_all(real_t *sums, real_t value, Py_ssize_t size) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(size):
        sums[i] += value


cdef int turn_lines(Py_ssize_t count, const real_t *sums, Py_ssize_t line_step, Py_ssize_t row_step, Py_ssize_t rows,
                    Py_ssize_t width, bint streams, real_t *target) noexcept nogil:
    # target[(x * count + f) * rows + row] = sums[f * line_step + row * row_step + x]
    cdef real_t run[STREAMED]
    cdef Py_ssize_t x = 0, f, size, most = STREAMED // (4 * count * rows) * 4   # blocks of four are transposed together
    if not streams or most == 0:
        for f in range(count):
            transpose(sums + f * line_step, row_step, 1, rows, width, target + f * rows, count * rows)
        return 0
    while x < width:
        size = min(width - x, most)
        for f in range(count):
            transpose(sums + f * line_step + x, row_step, 1, rows, size, run + f * rows, count * rows)
        stream(run, size * count * rows * <Py_ssize_t>sizeof(real_t), target + x * count * rows)
        x += size
    return 0


cdef int store_across_pixels(const real_t *sums, Py_ssize_t count, Py_ssize_t line_step, Py_ssize_t row_step,
                             Py_ssize_t width, Py_ssize_t n, Py_ssize_t c, Py_ssize_t channels, Py_ssize_t z,
                             Py_ssize_t y, const Py_ssize_t *first_x, Py_ssize_t step, bint follow, bint streams,
                             stored_t[:, :, :, :, :, :] target) except -1 nogil:
    # Pixels first_x[f] + step * i of the target, as far as there are, at channels [c, c + channels), which lie side by
    # side = sums[f * line_step + channel * row_step + i]; first_x[f] = first_x[0] + f if the phases follow each other
    cdef Py_ssize_t size = target.shape[4], pixel_step = target.strides[4] // <Py_ssize_t>sizeof(stored_t)
    cdef Py_ssize_t f, i, x, low, high, first, last, left = width, right = width
    cdef stored_t *pixel
    if stored_t is real_t:
        if follow and count == step and pixel_step == channels:
            line_range(first_x[0], step, width, size - count + 1, &left, &right)
        if left < right:
            pixel = &target[n, c + channels - 1, z, y, first_x[0] + right * step - 1, 0]
            pixel = &target[n, c, z, y, first_x[0] + left * step, 0]
            turn_lines(count, sums + left, line_step, row_step, channels, right - left, streams, pixel)
        else:
            left = right = width
        for f in range(count):
            x = first_x[0] + f if follow else first_x[f]
            line_range(x, step, width, size, &low, &high)
            for i in range(2):      # before and behind what is done
                first = low if i == 0 else max(low, right)
                last = min(high, left) if i == 0 else high
                if first < last:
                    pixel = &target[n, c + channels - 1, z, y, x + (last - 1) * step, 0]
                    pixel = &target[n, c, z, y, x + first * step, 0]
                    transpose(sums + f * line_step + first, row_step, 1, channels, last - first, pixel,
                              step * pixel_step)
    return 0


cdef int store_across(CorrelationPlan plan, const Grid *grid, Py_ssize_t phase, Py_ssize_t count, Py_ssize_t lines,
                      const Box *task, real_t[::1] work, Py_ssize_t sums_size, const real_t[::1] bias,
                      Py_ssize_t group, Py_ssize_t row, Py_ssize_t rows,
                      stored_t[:, :, :, :, :, :] target) except -1 nogil:
    # target = sums + bias, line after line, for count phases that follow each other along x on each of some lines, or
    # are side by side in the rows; all channels of a line at a time where those lie side by side
    cdef Py_ssize_t channels = plan.target_channels // plan.fan, fan_x = plan.fan_sizes[2], step = plan.target_step[3]
    cdef Py_ssize_t lane, rest_z, rest_y, n, z, y, c, p, i, k, target_z, target_y, sums, last_lane = row + rows
    cdef Py_ssize_t together = fan_x if fan_x > 1 else count, left, right, first, last, top, bottom
    cdef Py_ssize_t index[4]
    cdef Py_ssize_t first_x[MAX_TOGETHER]
    cdef Py_ssize_t first_y[MAX_TOGETHER]
    cdef Py_ssize_t first_z[MAX_TOGETHER]
    cdef Box box[MAX_TOGETHER]
    cdef const real_t *end
    cdef bint follow = fan_x == 1
    cdef bint turned = side_by_side(target) and target.strides[4] != <Py_ssize_t>sizeof(stored_t)
    for p in range(lines):
        phase_box(plan, phase + p * count, task, index, &box[p])
        first_z[p] = plan.phase_z[index[1], 0] + plan.fan_bases[0] + task.start[1] * plan.target_step[1]
        first_y[p] = plan.phase_y[index[2], 0] + plan.fan_bases[1] + task.start[2] * plan.target_step[2]
    for p in range(count):
        unravel(phase + p, plan.phase_count, index)
        first_x[p] = plan.phase_x[index[3], 0] + plan.fan_bases[2] + task.start[3] * step
        follow = follow and first_x[p] == first_x[0] + p
    if turned:
        last_lane = min(last_lane, row + plan.fan)
        for p in range(lines * count):
            for lane in range(row, row + rows):
                sums = plan.sums_offset + p * sums_size + (lane - row) * grid.row
                end = &work[sums + grid.row - 1]
                add_to_all(&work[sums], bias[group * channels + lane // plan.fan], grid.row)
    # Found once for all lines, because dividing takes as long as storing some pixels.
    line_range(first_x[0], step, task.size[3], target.shape[4] - together + 1, &left, &right)
    lane = row
    while lane < last_lane:
        rest_z = lane % plan.fan // fan_x // plan.fan_sizes[1]
        rest_y = lane % plan.fan // fan_x % plan.fan_sizes[1]
        c = group * channels + lane // plan.fan
        for k in range(task.size[0] * task.size[1] * lines):
            n, z, p = k // lines // task.size[1], k // lines % task.size[1], k % lines
            target_z = first_z[p] + z * plan.target_step[1] + rest_z
            target_y = first_y[p] + rest_y
            line_range(target_y, plan.target_step[2], box[p].size[2], target.shape[3], &top, &bottom)
            if not (z < box[p].size[1] and 0 <= target_z < target.shape[2] and top < bottom):
                continue
            target_y += top * plan.target_step[2]
            sums = (plan.sums_offset + p * count * sums_size + (lane - row) * grid.row
                    + (n * plan.block[1] + z) * plan.plane + top * plan.line)
            end = &work[sums + (count - 1) * sums_size + (fan_x - 1) * grid.row + (bottom - top - 1) * plan.line
                        + task.size[3] - 1]
            for y in range(bottom - top if turned else 0):
                store_across_pixels(&work[sums + y * plan.line], together, grid.row if fan_x > 1 else sums_size,
                                    plan.fan * grid.row, task.size[3], task.start[0] + n, c,
                                    (row + rows - lane + plan.fan - 1) // plan.fan, target_z,
                                    target_y + y * plan.target_step[2], first_x, step, follow or fan_x > 1,
                                    plan.streams, target)
            if turned:
                continue
            if fan_x > 1 or follow:
                store_across_lines(&work[sums], together, grid.row if fan_x > 1 else sums_size, task.size[3],
                                   bottom - top, plan.line, bias[c], task.start[0] + n, c, target_z, target_y,
                                   plan.target_step[2], first_x[0], step, left, right, plan.streams, target)
                continue
            for i in range(count):
                line_range(first_x[i], step, task.size[3], target.shape[4], &first, &last)
                store_across_lines(&work[sums + i * sums_size], 1, sums_size, task.size[3], bottom - top, plan.line,
                                   bias[c], task.start[0] + n, c, target_z, target_y, plan.target_step[2], first_x[i],
                                   step, first, last, plan.streams, target)
        lane += fan_x
    return 0


cdef int across_task(CorrelationPlan plan, Py_ssize_t task, const stored_t[:, :, :, :, :, :] source,
                     const real_t[::1] packed, const real_t[::1] bias, stored_t[:, :, :, :, :, :] target,
                     real_t[::1] work) except -1 nogil:
    # All channels and taps of one block of pixels, phases and target channels of one group.
    cdef Py_ssize_t first_phase = task % plan.phase_blocks * plan.phase_block
    cdef Py_ssize_t last_phase = min(first_phase + plan.phase_block, plan.phases)
    cdef Py_ssize_t row = task // plan.phase_blocks % plan.channel_blocks * plan.channel_block
    cdef Py_ssize_t rows = min(plan.channel_block, plan.target_channels - row)
    cdef Py_ssize_t group = task // (plan.phase_blocks * plan.channel_blocks) % plan.groups
    cdef Py_ssize_t phase, count, c = 0, depth, channel, sums_size
    cdef Py_ssize_t index[4]
    cdef Grid grid
    cdef Box box
    cdef const real_t *region
    cdef const stored_t *end
    grid_of(plan, sizeof(work[0]), &grid)
    sums_size = plan.channel_block * grid.row
    unravel(task // (plan.phase_blocks * plan.channel_blocks * plan.groups), plan.blocks, index)
    box = cut(index, plan.block, plan.target_size)
    region = &work[plan.zeros]
    while c < plan.source_channels:
        depth = min(plan.depth_block, plan.source_channels - c)
        channel = group * plan.source_channels + c
        if plan.in_place:
            end = &source[box.start[0] + box.size[0] - 1, channel + depth - 1,
                          box.start[1] + box.size[1] - 1 + plan.high[1], box.start[2] + box.size[2] - 1 + plan.high[2],
                          box.start[3] + box.size[3] - 1 + plan.high[3], 0]
            region = <const real_t *>&source[box.start[0], channel, box.start[1] + plan.low[1],
                                             box.start[2] + plan.low[2], box.start[3] + plan.low[3], 0]
            grid_in_place(source, &grid)
        else:
            pack_across(plan, &grid, &box, source, channel, depth, work[plan.zeros:])
        for phase in range(first_phase, last_phase):
            correlate_across(plan, &grid, phase, &box, group, row, rows, c, depth, region, packed, work,
                             plan.sums_offset + (phase - first_phase) * sums_size, c > 0)
        c += plan.depth_block
    # The phases that differ along x only follow each other.
    count = min(last_phase - first_phase, plan.phase_count[3])
    store_across(plan, &grid, first_phase, count, (last_phase - first_phase) // count, &box, work, sums_size, bias,
                 group, row, rows, target)
    return 0
