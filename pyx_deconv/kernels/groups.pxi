# Correlation with one source channel and few target channels in each group, where those of all groups lie side by side:
# vectors across groups. Part of engine.pyx.
#
# A lane is a target channel of any group. Where a group has one, the source is read in place if it can be; else it is
# packed as [pixel][lane], so that each lane finds the channel of its group. Each output meets just the taps that lead
# it into the source: no zeros stand in.


cdef inline void taps_inside(const Py_ssize_t[:, ::1] taps, Py_ssize_t at, Py_ssize_t size, Py_ssize_t *first,
                             Py_ssize_t *last) noexcept nogil:
    # Those of the taps [first, last), by ascending offset, that lead from this place into the source.
    while first[0] < last[0] and at + taps[first[0], 0] < 0:
        first[0] += 1
    while first[0] < last[0] and at + taps[last[0] - 1, 0] >= size:
        last[0] -= 1


cdef int pack_groups(CorrelationPlan plan, const stored_t[:, :, :, :, :, :] source, const Box *region,
                     Py_ssize_t channel, Py_ssize_t channels, real_t[::1] work) except -1 nogil:
    # The pixels of the region for the lanes [channel, channel + channels).
    cdef Py_ssize_t k = plan.zeros, n, z, y, x, lane, rest, group
    cdef const stored_t *pixel
    cdef const stored_t *end
    for n in range(region.start[0], region.start[0] + region.size[0]):
        for z in range(region.start[1], region.start[1] + region.size[1]):
            for y in range(region.start[2], region.start[2] + region.size[2]):
                for x in range(region.start[3], region.start[3] + region.size[3]):
                    group = channel // plan.group_lanes
                    if plan.group_lanes == 1 and side_by_side(source):
                        pixel = &source[n, channel, z, y, x, 0]
                        end = &source[n, channel + channels - 1, z, y, x, 0]
                        for lane in range(channels):
                            load(&pixel[lane], &work[k + lane])
                    else:
                        rest = (group + 1) * plan.group_lanes - channel
                        for lane in range(channels):
                            load(&source[n, group, z, y, x, 0], &work[k + lane])
                            rest -= 1
                            if rest == 0:
                                rest = plan.group_lanes
                                group += 1
                    k += channels
    return 0


cdef inline int look_up_groups(CorrelationPlan plan, const stored_t[:, :, :, :, :, :] source, Py_ssize_t channel,
                               Py_ssize_t channels, const Box *region, real_t[::1] work, Py_ssize_t n, Py_ssize_t z,
                               Py_ssize_t y, Py_ssize_t x, Py_ssize_t run) except -1 nogil:
    # For a build with bounds checks: the pixels of a line from x to x + run are where source_place says.
    cdef const stored_t *end
    cdef const real_t *packed_end
    if plan.in_place:
        end = &source[n, channel, z, y, x, 0]
        end = &source[n, channel + channels - 1, z, y, x + run, 0]
    else:
        x -= region.start[3]
        z = ((n - region.start[0]) * region.size[1] + z - region.start[1]) * region.size[2] + y - region.start[2]
        packed_end = &work[plan.zeros + channels * (z * region.size[3] + x)]
        packed_end = &work[plan.zeros + channels * (z * region.size[3] + x + run + 1) - 1]
    return 0


cdef int correlate_groups(CorrelationPlan plan, const Box *task, const Box *region,
                          const stored_t[:, :, :, :, :, :] source, Py_ssize_t channel, Py_ssize_t channels,
                          const real_t[::1] packed, const real_t[::1] bias, stored_t[:, :, :, :, :, :] target,
                          real_t[::1] work) except -1 nogil:
    # The outputs of all phases, line by line.
    cdef Py_ssize_t panel = panel_place(plan, 0, channel // plan.lanes)
    cdef Py_ssize_t n, z, y, x, k, c, i, j, phase, tz, ty, tx, slot, count, run, every, first_z, last_z, first_y
    cdef Py_ssize_t last_y, first_x, last_x, end_x, source_z, source_y, source_x, target_z, target_y, target_x
    cdef Py_ssize_t target_step, taps, parts
    cdef Py_ssize_t place[4]
    cdef Py_ssize_t counts[4]
    cdef const real_t *rows[MAX_SEGMENTS]
    cdef const real_t *weights[MAX_SEGMENTS]
    cdef const real_t *origin = source_place(plan, source, channel, channels, region, work, place)
    cdef const real_t *end
    cdef const stored_t *last
    cdef real_t *sums
    cdef stored_t *pixel
    cdef bint direct = stored_t is float or stored_t is double
    # Whole cache lines can be streamed.
    cdef bint streams = direct and plan.streams and channels * <Py_ssize_t>sizeof(stored_t) % 64 == 0
    for i in range(6):
        streams = streams and (i == 1 or i == 5 or target.strides[i] % 64 == 0)
    streams = streams and <size_t>&target[0, channel, 0, 0, 0, 0] % 64 == 0
    direct = direct and not streams
    target_step = target.strides[4] // <Py_ssize_t>sizeof(stored_t) * plan.target_step[3] if direct else channels
    for i in range(task.size[0] * task.size[1] * plan.phase_count[1]):
        n = task.start[0] + i // (task.size[1] * plan.phase_count[1])
        z = task.start[1] + i // plan.phase_count[1] % task.size[1]
        phase = i % plan.phase_count[1]
        if z >= plan.phase_z[phase, 1]:
            continue
        first_z, last_z = plan.phase_z[phase, 2], plan.phase_z[phase, 3]
        taps_inside(plan.tap_z, z * plan.source_step[1], plan.source_size[1], &first_z, &last_z)
        target_z = plan.phase_z[phase, 0] + z * plan.target_step[1]
        for j in range(task.size[2] * plan.phase_count[2]):
            y = task.start[2] + j // plan.phase_count[2]
            phase = j % plan.phase_count[2]
            if y >= plan.phase_y[phase, 1]:
                continue
            first_y, last_y = plan.phase_y[phase, 2], plan.phase_y[phase, 3]
            taps_inside(plan.tap_y, y * plan.source_step[2], plan.source_size[2], &first_y, &last_y)
            target_y = plan.phase_y[phase, 0] + y * plan.target_step[2]
            for phase in range(plan.phase_count[3]):
                x = task.start[3]
                end_x = min(x + task.size[3], plan.phase_x[phase, 1])
                every = plan.phase_x[phase, 3] - plan.phase_x[phase, 2]
                while x < end_x:
                    # The pixels from x on that the same taps lead into the source: one near its borders, or all those
                    # that every tap does.
                    first_x, last_x = plan.phase_x[phase, 2], plan.phase_x[phase, 3]
                    taps_inside(plan.tap_x, x * plan.source_step[3], plan.source_size[3], &first_x, &last_x)
                    run = 1
                    if last_x - first_x == every and every > 0:
                        run = (plan.source_size[3] - 1 - plan.tap_x[last_x - 1, 0]) // plan.source_step[3] + 1 - x
                        run = min(run, end_x - x)
                    # Taps side by side in the source share its pixels: as even parts of them as there can be.
                    count = 0
                    counts[0] = counts[1] = counts[2] = counts[3] = 0
                    taps = last_x - first_x
                    parts = taps
                    if plan.source_step[3] <= 2 and (
                            taps == 0 or plan.tap_x[last_x - 1, 0] - plan.tap_x[first_x, 0] == taps - 1):
                        parts = (taps + 3) // 4
                    tx = first_x
                    while tx < last_x:
                        taps = (last_x - tx + parts - 1) // parts
                        parts -= 1
                        counts[taps - 1] += (last_z - first_z) * (last_y - first_y)
                        source_x = x * plan.source_step[3] + plan.tap_x[tx, 0]
                        for tz in range(first_z, last_z):
                            source_z = z * plan.source_step[1] + plan.tap_z[tz, 0]
                            for ty in range(first_y, last_y):
                                source_y = y * plan.source_step[2] + plan.tap_y[ty, 0]
                                slot = panel + slot_of(plan, tz, ty, tx) * channels
                                end = &packed[slot + taps * channels - 1]
                                look_up_groups(plan, source, channel, channels, region, work, n, source_z, source_y,
                                               source_x, (run - 1) * plan.source_step[3] + taps - 1)
                                rows[count] = (origin + n * place[0] + source_z * place[1] + source_y * place[2]
                                               + source_x * place[3])
                                weights[count] = &packed[slot]
                                count += 1
                        tx += taps
                    target_x = plan.phase_x[phase, 0] + x * plan.target_step[3]
                    pixel = &target[n, channel, target_z, target_y, target_x, 0]
                    last = &target[n, channel + channels - 1, target_z, target_y,
                                   target_x + (run - 1) * plan.target_step[3], 0]
                    end = &bias[channel + channels - 1]
                    if direct:
                        sums = <real_t *>pixel
                    else:
                        sums = &work[plan.sums_offset]
                        end = &work[plan.sums_offset + run * channels - 1]
                    add_groups(counts, rows, plan.source_step[3], place[3], weights, channels, run, channels,
                               &bias[channel], sums, target_step)
                    for k in range(0 if direct else run):
                        pixel = &target[n, channel, target_z, target_y, target_x + k * plan.target_step[3], 0]
                        if streams:
                            stream(&sums[k * channels], channels * <Py_ssize_t>sizeof(stored_t), pixel)
                        else:
                            for c in range(channels):
                                store(sums[k * channels + c], &pixel[c])
                    x += run
    return 0


cdef int groups_task(CorrelationPlan plan, Py_ssize_t task, const stored_t[:, :, :, :, :, :] source,
                     const real_t[::1] packed, const real_t[::1] bias, stored_t[:, :, :, :, :, :] target,
                     real_t[::1] work) except -1 nogil:
    # All phases of one block of pixels and lanes.
    cdef Py_ssize_t channel = task % plan.channel_blocks * plan.channel_block
    cdef Py_ssize_t channels = min(plan.channel_block, plan.target_channels - channel)
    cdef Py_ssize_t index[4]
    cdef Box box, region
    cdef int axis
    unravel(task // plan.channel_blocks, plan.blocks, index)
    box = region = cut(index, plan.block, plan.target_size)
    if not plan.in_place:
        for axis in range(1, 4):
            scale(&region, axis, plan.source_step[axis], plan.low[axis], plan.high[axis], plan.source_size[axis])
        pack_groups(plan, source, &region, channel, channels, work)
    return correlate_groups(plan, &box, &region, source, channel, channels, packed, bias, target, work)
