# Correlation with few target channels: along lines of pixels instead of across channels. Part of engine.pyx.
#
# The source lies packed as [channel][line of the region][x modulo source_step][x // source_step], so that the
# pixels that a line of the target meets through one tap follow each other. Zeros stand in beside the source:
# infinite weights, which would make NaN of them, are left to correlation.pxi.


cdef inline void line_region(CorrelationPlan plan, const Box *task, Box *region) noexcept nogil:
    # What the task's pixels reach: along z and y within the source, along x also beside it.
    cdef int axis
    region[0] = task[0]
    for axis in range(1, 3):
        scale(region, axis, plan.source_step[axis], plan.low[axis], plan.high[axis], plan.source_size[axis])
    region.start[3] = task.start[3] * plan.source_step[3] + plan.low[3]
    region.size[3] = task.size[3] + (plan.high[3] - plan.low[3]) // plan.source_step[3]


cdef inline int flush_lines(CorrelationPlan plan, Py_ssize_t count, const real_t **lines, const Py_ssize_t *offsets,
                            const real_t[::1] packed, Py_ssize_t group, Py_ssize_t width, real_t[::1] work,
                            Py_ssize_t sums, Py_ssize_t pixels) except -1 nogil:
    # The gathered lines, weighted for each target channel in turn.
    cdef Py_ssize_t m, i, panel_size = plan.slots * plan.source_channels
    cdef real_t weights[MAX_SEGMENTS]
    cdef const real_t *end
    for m in range(plan.target_channels if count else 0):
        for i in range(count):
            weights[i] = packed[(group * plan.target_channels + m) * panel_size + offsets[i]]
        end = &work[sums + m * pixels + width - 1]
        add_lines(count, lines, weights, width, &work[sums + m * pixels])
    return 0


cdef int correlate_lines(CorrelationPlan plan, Py_ssize_t phase, const Box *task, const Box *region,
                         Py_ssize_t group, Py_ssize_t channel, Py_ssize_t depth, const real_t[::1] packed,
                         real_t[::1] work, Py_ssize_t sums) except -1 nogil:
    # work[sums + (m * pixels of the phase + pixel)] += the channels [channel, channel + depth) of this phase's taps
    cdef Py_ssize_t step = plan.source_step[3], width = region.size[3]
    cdef Py_ssize_t line_size = width * step
    cdef Py_ssize_t channel_size = region.size[0] * region.size[1] * region.size[2] * line_size
    cdef Py_ssize_t n, z, y, source_z, source_y, tz, ty, tx, c, count, tap, shift, first, line = sums
    cdef Py_ssize_t index[4]
    cdef Py_ssize_t offsets[MAX_SEGMENTS]
    cdef const real_t *lines[MAX_SEGMENTS]
    cdef const real_t *end
    cdef Box box
    if not phase_box(plan, phase, task, index, &box):
        return 0
    for n in range(box.size[0]):
        for z in range(box.start[1], box.start[1] + box.size[1]):
            for y in range(box.start[2], box.start[2] + box.size[2]):
                count = 0
                for tz in range(plan.phase_z[index[1], 2], plan.phase_z[index[1], 3]):
                    source_z = z * plan.source_step[1] + plan.tap_z[tz, 0]
                    if not 0 <= source_z < plan.source_size[1]:
                        continue
                    for ty in range(plan.phase_y[index[2], 2], plan.phase_y[index[2], 3]):
                        source_y = y * plan.source_step[2] + plan.tap_y[ty, 0]
                        if not 0 <= source_y < plan.source_size[2]:
                            continue
                        for tx in range(plan.phase_x[index[3], 2], plan.phase_x[index[3], 3]):
                            shift = plan.tap_x[tx, 0] - plan.low[3]
                            tap = slot_of(plan, tz, ty, tx)
                            first = plan.zeros + shift % step * width + shift // step + line_size * (
                                (n * region.size[1] + source_z - region.start[1]) * region.size[2]
                                + source_y - region.start[2])
                            for c in range(depth):
                                lines[count] = &work[first + c * channel_size]
                                end = &work[first + c * channel_size + box.size[3] - 1]
                                offsets[count] = tap * plan.source_channels + channel + c
                                count += 1
                                if count == MAX_SEGMENTS:
                                    flush_lines(plan, count, lines, offsets, packed, group, box.size[3], work, line,
                                                volume(&box))
                                    count = 0
                flush_lines(plan, count, lines, offsets, packed, group, box.size[3], work, line, volume(&box))
                line += box.size[3]
    return 0


cdef int store_lines(CorrelationPlan plan, Py_ssize_t phase, const Box *task, real_t[::1] work, Py_ssize_t sums,
                     const real_t[::1] bias, Py_ssize_t group, stored_t[:, :, :, :, :, :] target) except -1 nogil:
    # target = sums + bias, the group's channels one after the other
    cdef Py_ssize_t bits = plan.parts - 1, step = plan.target_step[3], line = sums
    cdef Py_ssize_t m, n, z, y, x, target_z, target_y, first
    cdef Py_ssize_t index[4]
    cdef Box box
    if not phase_box(plan, phase, task, index, &box):
        return 0
    first = plan.phase_x[index[3], 0] + box.start[3] * step
    for m in range(group * plan.target_channels, (group + 1) * plan.target_channels):
        for n in range(box.start[0], box.start[0] + box.size[0]):
            for z in range(box.start[1], box.start[1] + box.size[1]):
                target_z = plan.phase_z[index[1], 0] + z * plan.target_step[1]
                for y in range(box.start[2], box.start[2] + box.size[2]):
                    target_y = plan.phase_y[index[2], 0] + y * plan.target_step[2]
                    for x in range(box.size[3]):
                        store(work[line + x] + bias[m],
                              &target[n, m >> bits, target_z, target_y, first + x * step, m & bits])
                    line += box.size[3]
    return 0


cdef int lines_task(CorrelationPlan plan, Py_ssize_t task, const stored_t[:, :, :, :, :, :] source,
                    const real_t[::1] packed, const real_t[::1] bias, stored_t[:, :, :, :, :, :] target,
                    real_t[::1] work) except -1 nogil:
    # All channels and taps of one block of pixels and phases of one group.
    cdef Py_ssize_t first_phase = task % plan.phase_blocks * plan.phase_block
    cdef Py_ssize_t last_phase = min(first_phase + plan.phase_block, plan.phases)
    cdef Py_ssize_t group = task // plan.phase_blocks % plan.groups
    cdef Py_ssize_t phase, c, k, depth, sums_size
    cdef Py_ssize_t index[4]
    cdef Box box, region
    unravel(task // (plan.phase_blocks * plan.groups), plan.blocks, index)
    box = cut(index, plan.block, plan.target_size)
    line_region(plan, &box, &region)
    sums_size = volume(&box) * plan.target_channels
    for k in range(plan.sums_offset, plan.sums_offset + (last_phase - first_phase) * sums_size):
        work[k] = 0
    for k in range((plan.source_channels + plan.depth_block - 1) // plan.depth_block):
        if volume_of(plan.tap_count) == 0 or volume(&region) == 0:
            break
        c = k * plan.depth_block
        depth = min(plan.depth_block, plan.source_channels - c)
        pack_lines(source, &region, plan.source_step[3], group * plan.source_channels + c, depth, work[plan.zeros:])
        for phase in range(first_phase, last_phase):
            correlate_lines(plan, phase, &box, &region, group, c, depth, packed, work,
                            plan.sums_offset + (phase - first_phase) * sums_size)
    for phase in range(first_phase, last_phase):
        store_lines(plan, phase, &box, work, plan.sums_offset + (phase - first_phase) * sums_size, bias, group, target)
    return 0
