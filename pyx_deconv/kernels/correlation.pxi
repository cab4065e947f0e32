# Forward passes and input gradients. Part of engine.pyx.

cdef inline int add_products(CorrelationPlan plan, Py_ssize_t segments, Py_ssize_t depth, Py_ssize_t used,
                             const real_t **rows, Py_ssize_t *slots, Py_ssize_t channel, const real_t[::1] packed,
                             Py_ssize_t group, Py_ssize_t panel, Py_ssize_t panels, real_t[::1] work,
                             Py_ssize_t sums) except -1 nogil:
    # One row of tiles: the same pixels against each panel of channels.
    cdef Py_ssize_t p, i, width
    cdef Py_ssize_t offsets[MAX_SEGMENTS]
    cdef const real_t *end
    if segments == 0:
        return 0
    for p in range(panels):
        width = panel_width(plan, panel + p)
        for i in range(segments):
            offsets[i] = (slots[i] * plan.source_channels + channel) * width
        end = &packed[panel_place(plan, group, panel + p) + plan.slots * plan.source_channels * width - 1]
        end = &work[sums + (used - 1) * plan.channel_block + p * plan.lanes + width - 1]
        tile(width, segments, depth, used, rows, 1, &packed[panel_place(plan, group, panel + p)], offsets, width,
             &work[sums + p * plan.lanes], plan.channel_block)
    return 0


cdef inline bint inside(CorrelationPlan plan, const Py_ssize_t *pixel, Py_ssize_t z, Py_ssize_t y,
                        Py_ssize_t x) noexcept nogil:
    # Whether the tap with these offsets takes the pixel to one of the source.
    return (0 <= pixel[1] * plan.source_step[1] + z < plan.source_size[1]
            and 0 <= pixel[2] * plan.source_step[2] + y < plan.source_size[2]
            and 0 <= pixel[3] * plan.source_step[3] + x < plan.source_size[3])


cdef int correlate_phase(CorrelationPlan plan, Py_ssize_t phase, const Box *task, const Box *taps, const Box *region,
                         bint finite, const stored_t[:, :, :, :, :, :] source, Py_ssize_t group, Py_ssize_t c,
                         Py_ssize_t depth, const real_t[::1] packed, Py_ssize_t panel, Py_ssize_t panels,
                         real_t[::1] work, Py_ssize_t sums) except -1 nogil:
    # work[sums + pixel * channel_block + lane] += the group's channels [c, c + depth) of this phase's taps
    cdef Py_ssize_t channel = group * plan.source_channels + c
    # Zeros stand in for pixels outside the source. An infinite weight would make NaN of them: then every pixel
    # takes a tile of its own, with just the taps that reach it.
    cdef Py_ssize_t step = TILE_ROWS if finite else 1
    cdef Py_ssize_t tile_index, first, used, segments, reached, tz, ty, tx, tx_step, i, z, y, x, delta, offset
    cdef Py_ssize_t index[4]
    cdef Py_ssize_t at[4]
    cdef Py_ssize_t pixel[MAX_ROWS][4]
    cdef Py_ssize_t low[4]
    cdef Py_ssize_t high[4]
    cdef Py_ssize_t place[4]
    cdef const real_t *base[MAX_ROWS]
    cdef const real_t *origin
    cdef const real_t *rows[MAX_SEGMENTS * MAX_ROWS]
    cdef Py_ssize_t slots[MAX_SEGMENTS]
    cdef Box box, mine = taps[0]
    cdef int axis
    cdef bint merges, whole, same
    # What is packed has zeros around it.
    cdef bint padded = finite and not plan.in_place
    if not phase_box(plan, phase, task, index, &box):
        return 0
    clip(&mine, 1, plan.phase_z[index[1], 2], plan.phase_z[index[1], 3])
    clip(&mine, 2, plan.phase_y[index[2], 2], plan.phase_y[index[2], 3])
    clip(&mine, 3, plan.phase_x[index[3], 2], plan.phase_x[index[3], 3])
    if volume(&mine) == 0:
        return 0
    origin = source_place(plan, source, channel, depth, region, work, place)
    # Neighbouring pixels with all their channels side by side are one long row, as their weights are.
    merges = plan.merges and place[3] == depth and depth == plan.source_channels
    for axis in range(4):
        place[axis] *= plan.source_step[axis]
        at[axis] = box.start[axis]
    offset = at[0] * place[0] + at[1] * place[1] + at[2] * place[2] + at[3] * place[3]
    for tile_index in range((volume(&box) + step - 1) // step):
        first = tile_index * step
        used = min(step, volume(&box) - first)
        for axis in range(4):
            low[axis] = at[axis]
        for i in range(used):
            base[i] = origin + offset
            for axis in range(4):
                pixel[i][axis] = high[axis] = at[axis]
            at[3] += 1
            offset += place[3]
            if at[3] == box.start[3] + box.size[3]:
                at[3] -= 1
                advance(at, &box)
                offset = at[0] * place[0] + at[1] * place[1] + at[2] * place[2] + at[3] * place[3]
        # From the first pixel to the last, along the first axis that they differ in; any along those after it.
        same = low[0] == high[0]
        for axis in range(1, 4):
            if not same:
                low[axis] = box.start[axis]
                high[axis] = box.start[axis] + box.size[axis] - 1
            same = same and low[axis] == high[axis]
            low[axis] *= plan.source_step[axis]
            high[axis] *= plan.source_step[axis]
        tx_step = 1
        if merges and (padded or low[3] + plan.tap_x[mine.start[3], 0] >= 0
                       and high[3] + plan.tap_x[mine.start[3] + mine.size[3] - 1, 0] < plan.source_size[3]):
            tx_step = mine.size[3]
        segments = 0
        for tz in range(mine.start[1], mine.start[1] + mine.size[1]):
            z = plan.tap_z[tz, 0]
            if high[1] + z < 0 or low[1] + z >= plan.source_size[1]:
                continue
            for ty in range(mine.start[2], mine.start[2] + mine.size[2]):
                y = plan.tap_y[ty, 0]
                if high[2] + y < 0 or low[2] + y >= plan.source_size[2]:
                    continue
                tx = mine.start[3] - tx_step
                while tx + tx_step < mine.start[3] + mine.size[3]:
                    tx += tx_step
                    x = plan.tap_x[tx, 0]
                    if tx_step == 1 and (high[3] + x < 0 or low[3] + x >= plan.source_size[3]):
                        continue
                    delta = (z * (place[1] // plan.source_step[1]) + y * (place[2] // plan.source_step[2])
                             + x * (place[3] // plan.source_step[3]))
                    whole = padded or (
                        low[1] + z >= 0 and high[1] + z < plan.source_size[1] and low[2] + y >= 0
                        and high[2] + y < plan.source_size[2] and low[3] + x >= 0
                        and high[3] + x < plan.source_size[3])
                    reached = 0
                    for i in range(used):
                        if whole or inside(plan, pixel[i], z, y, x):
                            rows[segments * TILE_ROWS + i] = base[i] + delta
                            look_up(plan, source, channel, depth, region, work, pixel[i], z, y, x)
                            reached += 1
                        else:
                            rows[segments * TILE_ROWS + i] = &work[0]
                    if reached == 0:
                        continue
                    for i in range(used, TILE_ROWS):
                        rows[segments * TILE_ROWS + i] = rows[segments * TILE_ROWS]
                    slots[segments] = slot_of(plan, tz, ty, tx)
                    segments += 1
                    if segments == MAX_SEGMENTS:
                        add_products(plan, segments, depth * tx_step, used, rows, slots, c, packed, group, panel,
                                     panels, work, sums + first * plan.channel_block)
                        segments = 0
        add_products(plan, segments, depth * tx_step, used, rows, slots, c, packed, group, panel, panels, work,
                     sums + first * plan.channel_block)
    return 0


cdef int store_pixels(CorrelationPlan plan, Py_ssize_t phase, const Box *task, real_t[::1] work, Py_ssize_t sums,
                      const real_t[::1] bias, Py_ssize_t channel, Py_ssize_t channels,
                      stored_t[:, :, :, :, :, :] target) except -1 nogil:
    # target at channels [channel, channel + channels) = sums + bias, where channels lie side by side
    cdef Py_ssize_t bits = plan.parts - 1, step = plan.target_step[3], line = sums
    cdef Py_ssize_t n, z, y, x, c, target_z, target_y, first
    cdef Py_ssize_t index[4]
    cdef Box box
    cdef stored_t *pixel
    if not phase_box(plan, phase, task, index, &box):
        return 0
    first = plan.phase_x[index[3], 0] + box.start[3] * step
    for n in range(box.start[0], box.start[0] + box.size[0]):
        for z in range(box.start[1], box.start[1] + box.size[1]):
            target_z = plan.phase_z[index[1], 0] + z * plan.target_step[1]
            for y in range(box.start[2], box.start[2] + box.size[2]):
                target_y = plan.phase_y[index[2], 0] + y * plan.target_step[2]
                for x in range(box.size[3]):
                    pixel = &target[n, channel >> bits, target_z, target_y, first + x * step, 0]
                    for c in range(channels):
                        store(work[line + x * plan.channel_block + c] + bias[channel + c], &pixel[c])
                line += box.size[3] * plan.channel_block
    return 0


cdef int store_lines_of(CorrelationPlan plan, Py_ssize_t phase, Py_ssize_t count, const Box *task, real_t[::1] work,
                        Py_ssize_t sums, Py_ssize_t sums_size, const real_t[::1] bias, Py_ssize_t channel,
                        Py_ssize_t channels, stored_t[:, :, :, :, :, :] target) except -1 nogil:
    # The same along lines of pixels, for phases that follow each other along x: their outputs are interleaved.
    cdef Py_ssize_t bits = plan.parts - 1, step = plan.target_step[3]
    cdef Py_ssize_t n, z, y, x, c, i, j, k, p, xs, cs, first_x, first_c, target_z, target_y, line, common
    cdef Py_ssize_t index[4]
    cdef Py_ssize_t width[MAX_TOGETHER]
    cdef Py_ssize_t first[MAX_TOGETHER]
    cdef real_t turned[MAX_TOGETHER * TURNED * TURNED]
    cdef Box box
    cdef stored_t *pixel
    cdef bint dense = count == step and target.strides[4] == <Py_ssize_t>sizeof(stored_t)
    for p in range(count):
        phase_box(plan, phase + p, task, index, &box)
        width[p] = box.size[3]
        first[p] = plan.phase_x[index[3], 0] + box.start[3] * step
        dense = dense and first[p] == first[0] + p
    phase_box(plan, phase, task, index, &box)
    line = 0
    for n in range(box.start[0], box.start[0] + box.size[0]):
        for z in range(box.start[1], box.start[1] + box.size[1]):
            target_z = plan.phase_z[index[1], 0] + z * plan.target_step[1]
            for y in range(box.start[2], box.start[2] + box.size[2]):
                target_y = plan.phase_y[index[2], 0] + y * plan.target_step[2]
                for i in range((box.size[3] + TURNED - 1) // TURNED):
                    first_x = i * TURNED
                    for j in range((channels + TURNED - 1) // TURNED):
                        first_c = j * TURNED
                        cs = min(TURNED, channels - first_c)
                        common = TURNED
                        for p in range(count):
                            xs = max(0, min(TURNED, width[p] - first_x))
                            common = min(common, xs)
                            k = sums + p * sums_size + (line * width[p] + first_x) * plan.channel_block + first_c
                            if xs > 0:
                                transpose(&work[k], plan.channel_block, 1, xs, cs, &turned[p * TURNED * TURNED], TURNED)
                        if not (dense and (stored_t is float or stored_t is double)):
                            common = 0
                        for c in range(cs):
                            k = channel + first_c + c
                            if common > 0:
                                pixel = &target[n, k >> bits, target_z, target_y, first[0] + first_x * step, k & bits]
                                interleave(count, &turned[c * TURNED], TURNED * TURNED, common, bias[k],
                                           <real_t *>pixel)
                            for p in range(count):
                                for x in range(common, min(TURNED, width[p] - first_x)):
                                    store(turned[(p * TURNED + c) * TURNED + x] + bias[k],
                                          &target[n, k >> bits, target_z, target_y, first[p] + (first_x + x) * step,
                                                  k & bits])
                line += 1
    return 0


cdef int store_phases(CorrelationPlan plan, Py_ssize_t first_phase, Py_ssize_t last_phase, const Box *task,
                      real_t[::1] work, Py_ssize_t sums_size, const real_t[::1] bias, Py_ssize_t channel,
                      Py_ssize_t channels, stored_t[:, :, :, :, :, :] target) except -1 nogil:
    # target at channels [channel, channel + channels) = sums + bias, along whichever axis is contiguous
    cdef Py_ssize_t phase = first_phase, count, p, sums
    cdef Py_ssize_t index[4]
    cdef Box box
    while phase < last_phase:
        # The phases of a task that differ along x only; the first of them has the most outputs.
        count = min(last_phase - phase, plan.phase_count[3] - phase % plan.phase_count[3])
        sums = plan.sums_offset + (phase - first_phase) * sums_size
        if side_by_side(target):
            for p in range(count):
                store_pixels(plan, phase + p, task, work, sums + p * sums_size, bias, channel, channels, target)
        elif phase_box(plan, phase, task, index, &box):
            store_lines_of(plan, phase, count, task, work, sums, sums_size, bias, channel, channels, target)
        phase += count
    return 0


cdef int store_fan(CorrelationPlan plan, Py_ssize_t phase, const Box *task, real_t[::1] work, Py_ssize_t sums,
                   const real_t[::1] bias, Py_ssize_t group, Py_ssize_t first_lane, Py_ssize_t lanes,
                   stored_t[:, :, :, :, :, :] target) except -1 nogil:
    # target = sums + bias where a lane is a channel and a phase: a row of lanes is a run of outputs along x
    cdef Py_ssize_t channels = plan.target_channels // plan.fan, fan_x = plan.fan_sizes[2]
    cdef Py_ssize_t run = fan_x * (channels if plan.channels_last else 1), rows = plan.target_channels // run
    cdef Py_ssize_t n, z, y, x, row, rest, low, high, first, last, k, f, c, target_z, target_y, target_x, line, step
    cdef Py_ssize_t rest_lane
    cdef Py_ssize_t index[4]
    cdef Box box
    cdef stored_t *pixel
    if not phase_box(plan, phase, task, index, &box):
        return 0
    step = target.strides[4] // <Py_ssize_t>sizeof(stored_t)
    for row in range(first_lane // run, min(rows, (first_lane + lanes + run - 1) // run)):
        # The lanes [low, high) of this row are the task's.
        low, high = max(row * run, first_lane), min((row + 1) * run, first_lane + lanes)
        rest = row if plan.channels_last else row % (plan.fan // fan_x)
        c = group * channels + (0 if plan.channels_last else row // (plan.fan // fan_x))
        line = sums + low - first_lane
        for n in range(box.start[0], box.start[0] + box.size[0]):
            for z in range(box.start[1], box.start[1] + box.size[1]):
                target_z = (plan.phase_z[index[1], 0] + plan.fan_bases[0] + z * plan.target_step[1]
                            + rest // plan.fan_sizes[1])
                for y in range(box.start[2], box.start[2] + box.size[2]):
                    target_y = (plan.phase_y[index[2], 0] + plan.fan_bases[1] + y * plan.target_step[2]
                                + rest % plan.fan_sizes[1])
                    if not (0 <= target_z < target.shape[2] and 0 <= target_y < target.shape[3]):
                        line += box.size[3] * plan.channel_block
                        continue
                    for x in range(box.start[3], box.start[3] + box.size[3]):
                        target_x = plan.phase_x[index[3], 0] + plan.fan_bases[2] + x * plan.target_step[3]
                        if plan.channels_last:
                            k = low - row * run
                            while k < high - row * run:
                                f = k // channels
                                last = min((f + 1) * channels, high - row * run)
                                if 0 <= target_x + f < target.shape[4]:
                                    pixel = &target[n, c, target_z, target_y, target_x + f, 0]
                                    first = line + k - (low - row * run)
                                    for rest_lane in range(last - k):
                                        store(work[first + rest_lane] + bias[c + k - f * channels + rest_lane],
                                              &pixel[k - f * channels + rest_lane])
                                k = last
                        else:
                            first = max(low - row * run, -target_x)
                            last = min(high - row * run, target.shape[4] - target_x)
                            if first < last:
                                pixel = &target[n, c, target_z, target_y, target_x + first, 0]
                                k = line + first - (low - row * run)
                                for f in range(last - first):
                                    store(work[k + f] + bias[c], &pixel[f * step])
                        line += plan.channel_block
    return 0


cdef inline int scale_by_taps(Box *box, int axis, Py_ssize_t step, const Py_ssize_t[:, ::1] table,
                              const Box *taps) except -1 nogil:
    # What the box reaches through these taps, in the source and beside it.
    cdef Py_ssize_t t, low, high
    if volume(taps) == 0:
        box.size[axis] = 0
        return 0
    low = high = table[taps.start[axis], 0]
    for t in range(taps.start[axis] + 1, taps.start[axis] + taps.size[axis]):
        low = min(low, table[t, 0])
        high = max(high, table[t, 0])
    box.size[axis] = (box.size[axis] - 1) * step + high - low + 1
    box.start[axis] = box.start[axis] * step + low
    return 0


cdef int add_all_taps(CorrelationPlan plan, const Box *task, Py_ssize_t first_phase, Py_ssize_t last_phase,
                      Py_ssize_t sums_size, Py_ssize_t group, Py_ssize_t channel, Py_ssize_t channels, bint finite,
                      const stored_t[:, :, :, :, :, :] source, const real_t[::1] packed,
                      real_t[::1] work) except -1 nogil:
    # The sums of each phase, over all channels and taps.
    cdef Py_ssize_t lanes = plan.lanes, phase, c, depth, k, sums
    cdef Py_ssize_t index[4]
    cdef Box region, taps
    for k in range(plan.sums_offset, plan.sums_offset + (last_phase - first_phase) * sums_size):
        work[k] = 0
    for k in range((plan.source_channels + plan.depth_block - 1) // plan.depth_block * volume_of(plan.tap_blocks)):
        unravel(k, plan.tap_blocks, index)
        taps = cut(index, plan.tap_block, plan.tap_count)
        c = k // volume_of(plan.tap_blocks) * plan.depth_block
        depth = min(plan.depth_block, plan.source_channels - c)
        region = task[0]
        if not plan.in_place:
            scale_by_taps(&region, 1, plan.source_step[1], plan.tap_z, &taps)
            scale_by_taps(&region, 2, plan.source_step[2], plan.tap_y, &taps)
            scale_by_taps(&region, 3, plan.source_step[3], plan.tap_x, &taps)
            if volume(&region) == 0:
                continue
            pack_pixels(source, &region, EVERY, group * plan.source_channels + c, depth, depth, work[plan.zeros:])
        sums = plan.sums_offset
        for phase in range(first_phase, last_phase):
            correlate_phase(plan, phase, task, &taps, &region, finite, source, group, c, depth, packed,
                            channel // lanes, (channels + lanes - 1) // lanes, work, sums)
            sums += sums_size
    return 0


cdef int tiles_task(CorrelationPlan plan, Py_ssize_t task, const stored_t[:, :, :, :, :, :] source,
                    const real_t[::1] packed, bint finite, const real_t[::1] bias,
                    stored_t[:, :, :, :, :, :] target, real_t[::1] work) except -1 nogil:
    # One block of pixels, phases and target channels of one group.
    cdef Py_ssize_t phase_block = task % plan.phase_blocks
    cdef Py_ssize_t channel = task // plan.phase_blocks % plan.channel_blocks * plan.channel_block
    cdef Py_ssize_t group = task // (plan.phase_blocks * plan.channel_blocks) % plan.groups
    cdef Py_ssize_t channels = min(plan.channel_block, plan.target_channels - channel)
    cdef Py_ssize_t phase, first_phase = phase_block * plan.phase_block
    cdef Py_ssize_t last_phase = min(first_phase + plan.phase_block, plan.phases)
    cdef Py_ssize_t sums, sums_size
    cdef Py_ssize_t index[4]
    cdef Box box
    cdef bint done = plan.pairs and finite
    unravel(task // (plan.phase_blocks * plan.channel_blocks * plan.groups), plan.blocks, index)
    box = cut(index, plan.block, plan.target_size)
    sums_size = volume(&box) * plan.channel_block
    sums = plan.sums_offset
    for phase in range(first_phase, last_phase if done else first_phase):
        done &= multiply_pairs(plan, phase, &box, source, group, channel, channels, packed, work, sums)
        sums += sums_size
    if not done:
        add_all_taps(plan, &box, first_phase, last_phase, sums_size, group, channel, channels, finite, source, packed,
                     work)
    if plan.fan > 1:
        for phase in range(first_phase, last_phase):
            store_fan(plan, phase, &box, work, plan.sums_offset + (phase - first_phase) * sums_size, bias, group,
                      channel, channels, target)
        return 0
    store_phases(plan, first_phase, last_phase, &box, work, sums_size, bias, group * plan.target_channels + channel,
                 channels, target)
    return 0


cdef int correlate_task(CorrelationPlan plan, Py_ssize_t task, const stored_t[:, :, :, :, :, :] source,
                        const real_t[::1] packed, bint finite, const real_t[::1] bias,
                        stored_t[:, :, :, :, :, :] target, real_t[::1] work) except -1 nogil:
    if plan.along_lines:
        return lines_task(plan, task, source, packed, bias, target, work)
    if plan.group_lanes:
        return groups_task(plan, task, source, packed, bias, target, work)
    return tiles_task(plan, task, source, packed, finite, bias, target, work)


def correlate(CorrelationPlan plan, const stored_t[:, :, :, :, :, :] source, const real_t[::1] packed, bint finite,
              const real_t[::1] bias, stored_t[:, :, :, :, :, :] target, real_t[:, ::1] work, int threads):
    """Fill target from source and packed weights; each thread has a row of work."""
    cdef Py_ssize_t task, row
    cdef real_t *end
    for row in range(work.shape[0] if plan.zeros else 0):
        end = &work[row, plan.zeros - 1]
        zero(&work[row, 0], plan.zeros)
    if stored_t is double and real_t is double or stored_t is not double and real_t is float:
        if threads == 1:    # not prange: a forked child must not touch the OpenMP runtime
            with nogil:
                for task in range(plan.tasks):
                    correlate_task(plan, task, source, packed, finite, bias, target, work[0])
        else:
            for task in prange(plan.tasks, nogil=True, schedule="dynamic", num_threads=threads):
                correlate_task(plan, task, source, packed, finite, bias, target, work[threadid()])
