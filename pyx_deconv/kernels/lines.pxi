# Correlation with few target channels: along lines of pixels instead of across channels. Part of engine.pyx.
#
# The source lies packed as pack_lines says, so that the pixels that a band, some lines of the target, meets through one
# tap follow each other, with what lies between the lines. Zeros stand in beside the source: infinite weights, which
# would make NaN of them, are left to correlation.pxi. Sums are whole vectors: those between the lines and behind the
# last one are of whatever lies there, and never stored.


cdef struct Phases:
    # The phases of a task: all those along x and some along z and y, or some of those along x.
    Py_ssize_t lines            # of phases along z and y
    Py_ssize_t first_line
    Py_ssize_t count            # along x
    Py_ssize_t together         # how many of them are interleaved
    Py_ssize_t step             # from one output to the next, of those that are
    Py_ssize_t width[MAX_PHASES]
    Py_ssize_t first[MAX_PHASES]


cdef inline Py_ssize_t whole_vectors(Py_ssize_t width, size_t itemsize) noexcept nogil:
    cdef Py_ssize_t lanes = TILE_BYTES // 2 // itemsize
    return (width + lanes - 1) // lanes * lanes


cdef inline Phases phases_of(CorrelationPlan plan, Py_ssize_t first, const Box *task) noexcept nogil:
    # Those of a task from the first on.
    cdef Phases phases
    cdef Py_ssize_t last = min(first + plan.phase_block, plan.phases), p, k
    cdef bint dense
    phases.count = min(plan.phase_count[3], last - first)
    phases.first_line = first // plan.phase_count[3]
    phases.lines = (last - first) // phases.count
    dense = phases.count == plan.target_step[3]
    for p in range(phases.count):
        k = first % plan.phase_count[3] + p
        phases.width[p] = max(0, min(task.size[3], plan.phase_x[k, 1] - task.start[3]))
        phases.first[p] = plan.phase_x[k, 0] + task.start[3] * plan.target_step[3]
        dense = dense and phases.first[p] == phases.first[0] + p
    phases.together = phases.count if dense else 1
    phases.step = 1 if dense else plan.target_step[3]
    return phases


cdef int list_lines(CorrelationPlan plan, Py_ssize_t first_phase, Py_ssize_t phases, const Box *region,
                    Py_ssize_t group, Py_ssize_t channel, Py_ssize_t depth, const real_t[::1] packed,
                    real_t[::1] work, Py_ssize_t *starts) except -1 nogil:
    # What a band of the target sums: where lines of the source lie, seen from the first that it reaches, at
    # values_offset; their weights, for one target channel after the other, at products_offset. Those of a phase begin
    # at starts[phase].
    cdef Py_ssize_t step = plan.source_step[3], lines_step = plan.source_step[2]
    cdef Py_ssize_t remainder = region.size[2] * region.size[3], plane = remainder * lines_step * step
    cdef Py_ssize_t channel_size = region.size[0] * region.size[1] * plane
    cdef Py_ssize_t panel = plan.slots * plan.source_channels, total = plan.slots * plan.depth_block
    cdef Py_ssize_t i, tz, ty, tx, c, m, shift, lines_shift, line, run, size, first, count = 0
    cdef Py_ssize_t index[4]
    cdef Py_ssize_t *offsets = <Py_ssize_t *>&work[plan.values_offset]
    cdef real_t *weights = &work[plan.products_offset]
    cdef const real_t *row
    cdef const real_t *end
    for i in range(phases):
        starts[i] = count
        unravel(first_phase + i, plan.phase_count, index)
        for tz in range(plan.phase_z[index[1], 2], plan.phase_z[index[1], 3]):
            for ty in range(plan.phase_y[index[2], 2], plan.phase_y[index[2], 3]):
                lines_shift = plan.tap_y[ty, 0] - plan.low[2]
                tx = plan.phase_x[index[3], 2]
                # The weights of all channels and of the taps along x follow each other.
                run = plan.phase_x[index[3], 3] - tx if depth == plan.source_channels else 1
                size = run * depth
                while tx < plan.phase_x[index[3], 3]:
                    end = &work[plan.values_offset + (count + size) * (sizeof(Py_ssize_t) // sizeof(real_t)) - 1]
                    first = slot_of(plan, tz, ty, tx) * plan.source_channels + channel
                    for m in range(plan.target_channels):
                        row = &packed[(group * plan.target_channels + m) * panel + first + size - 1]
                        row = &packed[(group * plan.target_channels + m) * panel + first]
                        end = &work[plan.products_offset + m * total + count + size - 1]
                        for c in range(size):
                            weights[m * total + count + c] = row[c]
                    for tx in range(tx, tx + run):
                        shift = plan.tap_x[tx, 0] - plan.low[3]
                        line = ((plan.tap_z[tz, 0] - plan.low[1]) * plane
                                + (lines_shift % lines_step * step + shift % step) * remainder
                                + lines_shift // lines_step * region.size[3] + shift // step)
                        for c in range(depth):
                            offsets[count + c] = line + c * channel_size
                        count += depth
                    tx += 1
    starts[phases] = count
    return 0


cdef int store_outputs(const real_t *sums, real_t shift, Py_ssize_t count, stored_t *target,
                       Py_ssize_t step) noexcept nogil:
    # target[x * step] = sums[x] + shift
    cdef Py_ssize_t x
    for x in range(count):
        store(sums[x] + shift, &target[x * step])
    return 0


cdef int store_lines(CorrelationPlan plan, const Phases *phases, real_t[::1] work, Py_ssize_t sums, Py_ssize_t size,
                     Py_ssize_t lines, Py_ssize_t pitch, real_t shift, Py_ssize_t m, Py_ssize_t n, Py_ssize_t z,
                     Py_ssize_t y, stored_t[:, :, :, :, :, :] target) except -1 nogil:
    # Lines of the target from y on = sums + shift. Those of a phase lie a pitch apart, those of the next one a size.
    # Phases that follow each other are interleaved, up to the end of the last one, which can be shorter.
    cdef Py_ssize_t bits = plan.parts - 1, together = phases.together, p = 0, k, i, rest, common
    cdef Py_ssize_t step = target.strides[4] // <Py_ssize_t>sizeof(stored_t)
    cdef Py_ssize_t line_step = target.strides[3] // <Py_ssize_t>sizeof(stored_t) * plan.target_step[2]
    cdef Py_ssize_t last_y = y + (lines - 1) * plan.target_step[2]
    cdef bint direct = (stored_t is float or stored_t is double) and step * phases.step == 1
    cdef stored_t *pixel
    cdef const stored_t *last
    cdef const real_t *end
    while p < phases.count:
        common = phases.width[p + together - 1]
        if common > 0:
            pixel = &target[n, m >> bits, z, y, phases.first[p], m & bits]
            last = &target[n, m >> bits, z, last_y, phases.first[p] + (together * common - 1) * phases.step, m & bits]
            end = &work[sums + (p + together - 1) * size + (lines - 1) * pitch + common - 1]
            if direct and not plan.streams:
                join(together, &work[sums + p * size], size, common, shift, <real_t *>pixel, lines, pitch, line_step)
            elif together == 1 and not direct:
                for i in range(lines):
                    store_outputs(&work[sums + p * size + i * pitch], shift, common, pixel + i * line_step,
                                  step * phases.step)
            else:
                end = &work[together * common - 1]
                for i in range(lines):
                    join(together, &work[sums + p * size + i * pitch], size, common, shift, &work[0], 1, 0, 0)
                    if direct:
                        stream(&work[0], together * common * <Py_ssize_t>sizeof(stored_t), pixel + i * line_step)
                    else:
                        store_outputs(&work[0], <real_t>0, together * common, pixel + i * line_step, step)
        for k in range(p, p + together - 1):
            rest = phases.width[k] - common
            if rest > 0:
                pixel = &target[n, m >> bits, z, y, phases.first[k] + common * plan.target_step[3], m & bits]
                last = &target[n, m >> bits, z, last_y, phases.first[k] + (phases.width[k] - 1) * plan.target_step[3],
                               m & bits]
                for i in range(lines):
                    store_outputs(&work[sums + k * size + i * pitch + common], shift, rest, pixel + i * line_step,
                                  step * plan.target_step[3])
        p += together
    return 0


cdef int correlate_lines(CorrelationPlan plan, const Phases *phases, const Py_ssize_t *starts, const Box *task,
                         const Box *region, Py_ssize_t group, Py_ssize_t channel, Py_ssize_t depth,
                         const real_t[::1] bias, stored_t[:, :, :, :, :, :] target, real_t[::1] work) except -1 nogil:
    # The lines of the target that meet the channels [channel, channel + depth): sums, stored where these are the last.
    cdef Py_ssize_t pitch = region.size[3], total = plan.slots * plan.depth_block, sums = plan.sums_offset
    cdef Py_ssize_t plane = plan.source_step[2] * plan.source_step[3] * region.size[2] * pitch
    cdef Py_ssize_t n, z, y, i, j, k, m, p, count, line, phase_z, phase_y, first, last, lines, size, channel_size
    cdef Py_ssize_t origin, target_z
    cdef const Py_ssize_t *offsets = <const Py_ssize_t *>&work[plan.values_offset]
    cdef const real_t *end
    cdef bint whole = depth == plan.source_channels, stores = channel + depth == plan.source_channels
    # Channels that lie side by side are stored together.
    cdef bint turned = stored_t is real_t and plan.parts == 1 and plan.target_channels > 1 and side_by_side(target)
    for i in range(task.size[0] * task.size[1] * plan.phase_count[1]):
        n, z = i // (task.size[1] * plan.phase_count[1]), i // plan.phase_count[1] % task.size[1]
        phase_z = i % plan.phase_count[1]
        # Those of the phases along y that are the task's.
        first = max(0, phases.first_line - phase_z * plan.phase_count[2])
        last = min(plan.phase_count[2], phases.first_line + phases.lines - phase_z * plan.phase_count[2])
        if first >= last or task.start[1] + z >= plan.phase_z[phase_z, 1]:
            continue
        target_z = plan.phase_z[phase_z, 0] + (task.start[1] + z) * plan.target_step[1]
        for j in range((task.size[2] + plan.line - 1) // plan.line):
            lines = min(plan.line, task.size[2] - j * plan.line)
            size = whole_vectors((lines - 1) * pitch + task.size[3], sizeof(real_t))
            channel_size = (last - first) * phases.count * size
            origin = plan.zeros + (n * region.size[1] + z * plan.source_step[1]) * plane + j * plan.line * pitch
            for p in range((last - first) * phases.count):
                m = (phase_z * plan.phase_count[2] + first - phases.first_line) * phases.count + p
                count = starts[m + 1] - starts[m]
                if count:
                    look_up_lines(work, origin, offsets + starts[m], count, size)
                end = &work[sums + (plan.target_channels - 1) * channel_size + (p + 1) * size - 1]
                add_lines(plan.target_channels, count, &work[origin], offsets + starts[m],
                          &work[plan.products_offset] + starts[m], total, size, channel > 0, &work[sums + p * size],
                          channel_size)
            y = task.start[2] + j * plan.line
            for m in range(plan.target_channels if stores and turned else 0):
                add_to_all(&work[sums + m * channel_size], bias[group * plan.target_channels + m], channel_size)
            for phase_y in range(first, last if stores and turned else first):
                k = sums + (phase_y - first) * phases.count * size
                for line in range(min(lines, plan.phase_y[phase_y, 1] - y)):
                    store_across_pixels(&work[k + line * pitch], phases.count, size, channel_size, task.size[3],
                                        task.start[0] + n, group * plan.target_channels, plan.target_channels,
                                        target_z, plan.phase_y[phase_y, 0] + (y + line) * plan.target_step[2],
                                        phases.first, plan.target_step[3], phases.together == phases.count,
                                        plan.streams, target)
            for m in range(plan.target_channels if stores and not turned else 0):
                for phase_y in range(first, last):
                    if y < plan.phase_y[phase_y, 1]:
                        store_lines(plan, phases, work,
                                    sums + m * channel_size + (phase_y - first) * phases.count * size, size,
                                    min(lines, plan.phase_y[phase_y, 1] - y), pitch,
                                    bias[group * plan.target_channels + m], group * plan.target_channels + m,
                                    task.start[0] + n, target_z,
                                    plan.phase_y[phase_y, 0] + y * plan.target_step[2], target)
            if not whole:
                sums += plan.target_channels * channel_size
    return 0


cdef int list_stacks(CorrelationPlan plan, Py_ssize_t first_phase, Py_ssize_t phases, const Box *region,
                     Py_ssize_t group, const real_t[::1] packed, real_t[::1] work, Py_ssize_t *counts,
                     Py_ssize_t *starts, Py_ssize_t *weight_starts) except -1 nogil:
    # As list_lines for a single channel, but taps that meet lines one below the other are stacks of up to four. Those
    # of phase p begin at starts[p]: counts[4 * p + 3] of four taps first, then counts[4 * p + 2] of three ...
    cdef Py_ssize_t step = plan.source_step[3], lines_step = plan.source_step[2]
    cdef Py_ssize_t remainder = region.size[2] * region.size[3], plane = remainder * lines_step * step
    cdef Py_ssize_t i, j, k, p, t, tz, ty, tx, shift, height, stacks, run, first, last
    cdef Py_ssize_t place = 0, count = 0
    cdef Py_ssize_t index[4]
    cdef Py_ssize_t stack_first[MAX_SEGMENTS]   # its taps along y, from the first on, every lines_step-th
    cdef Py_ssize_t stack_height[MAX_SEGMENTS]
    cdef Py_ssize_t stack_step[MAX_SEGMENTS]
    cdef Py_ssize_t *offsets = <Py_ssize_t *>&work[plan.values_offset]
    cdef real_t *weights = &work[plan.products_offset]
    cdef const real_t *end
    for p in range(phases):
        starts[p], weight_starts[p] = count, place
        unravel(first_phase + p, plan.phase_count, index)
        first, last = plan.phase_y[index[2], 2], plan.phase_y[index[2], 3]
        stacks = 0
        for ty in range(first, last):
            # As far as the run goes that this tap begins.
            for j in range(first, ty):
                if plan.tap_y[j, 0] + lines_step == plan.tap_y[ty, 0]:
                    break
            else:
                run, k = 1, ty
                for j in range(ty + 1, last):
                    if plan.tap_y[j, 0] == plan.tap_y[ty, 0] + run * lines_step:
                        if run == 1:
                            k = j
                        run += 1
                j = ty
                i = (run + 3) // 4
                while i > 0:
                    stack_first[stacks], stack_height[stacks], stack_step[stacks] = j, (run + i - 1) // i, k - ty
                    run -= stack_height[stacks]
                    j += stack_height[stacks] * (k - ty)
                    i -= 1
                    stacks += 1
        for height in range(4, 0, -1):
            counts[4 * p + height - 1] = 0
            for k in range(stacks):
                if stack_height[k] != height:
                    continue
                shift = plan.tap_y[stack_first[k], 0] - plan.low[2]
                for tz in range(plan.phase_z[index[1], 2], plan.phase_z[index[1], 3]):
                    for tx in range(plan.phase_x[index[3], 2], plan.phase_x[index[3], 3]):
                        i = plan.tap_x[tx, 0] - plan.low[3]
                        i = ((plan.tap_z[tz, 0] - plan.low[1]) * plane
                             + (shift % lines_step * step + i % step) * remainder
                             + shift // lines_step * region.size[3] + i // step)
                        end = &work[plan.values_offset + (count + 1) * (sizeof(Py_ssize_t) // sizeof(real_t)) - 1]
                        end = &work[plan.products_offset + place + height - 1]
                        offsets[count] = i
                        for t in range(height):
                            weights[place + t] = packed[group * plan.slots
                                                        + slot_of(plan, tz, stack_first[k] + t * stack_step[k], tx)]
                        place += height
                        count += 1
                        counts[4 * p + height - 1] += 1
    return 0


cdef inline int look_up_stacks(const real_t[::1] work, Py_ssize_t origin, const Py_ssize_t *offsets,
                               const Py_ssize_t *counts, Py_ssize_t phases, Py_ssize_t pitch, Py_ssize_t height,
                               Py_ssize_t width) except -1 nogil:
    # For a build with bounds checks: what the lines of a phase along y meet.
    cdef Py_ssize_t i, k = 0, p, taps
    cdef const real_t *end
    for p in range(phases if c_bounds_checked else 0):
        for taps in range(4, 0, -1):
            for i in range(counts[4 * p + taps - 1]):
                end = &work[origin + offsets[k]]
                end = &work[origin + offsets[k] + (height + taps - 2) * pitch + width - 1]
                k += 1
    return 0


cdef int sum_stacks(CorrelationPlan plan, const Phases *phases, const Py_ssize_t *counts, const Py_ssize_t *starts,
                    const Py_ssize_t *weight_starts, const Box *task, const Box *region, Py_ssize_t origin,
                    Py_ssize_t group, const real_t[::1] bias, stored_t[:, :, :, :, :, :] target,
                    real_t[::1] work) except -1 nogil:
    # The lines of the target, of all phases along x at a time, from the packed source to where they are stored.
    cdef Py_ssize_t plane = plan.source_step[2] * plan.source_step[3] * region.size[2] * region.size[3]
    cdef Py_ssize_t n, z, i, k, p, phase_z, phase_y, height, width = 0, line_step
    cdef Py_ssize_t y, target_z, block, first, line, lines
    # What is streamed is assembled first, eight lines at a time.
    cdef Py_ssize_t most = 8 if plan.streams else task.size[2], room = plan.zeros // 8
    cdef const Py_ssize_t *offsets = <const Py_ssize_t *>&work[plan.values_offset]
    cdef stored_t *pixel
    cdef const stored_t *last
    cdef const real_t *end
    for p in range(phases.count):
        width += phases.width[p]
    line_step = target.strides[3] // <Py_ssize_t>sizeof(stored_t) * plan.target_step[2]
    for i in range(task.size[0] * task.size[1] * phases.lines):
        n, z, p = i // (task.size[1] * phases.lines), i // phases.lines % task.size[1], i % phases.lines
        phase_z = (phases.first_line + p) // plan.phase_count[2]
        phase_y = (phases.first_line + p) % plan.phase_count[2]
        height = min(task.size[2], plan.phase_y[phase_y, 1] - task.start[2])
        if task.start[1] + z >= plan.phase_z[phase_z, 1] or height <= 0 or width <= 0:
            continue
        p *= phases.count
        target_z = plan.phase_z[phase_z, 0] + (task.start[1] + z) * plan.target_step[1]
        y = plan.phase_y[phase_y, 0] + task.start[2] * plan.target_step[2]
        pixel = &target[task.start[0] + n, group, target_z, y, phases.first[0], 0]
        last = &target[task.start[0] + n, group, target_z, y + (height - 1) * plan.target_step[2],
                       phases.first[0] + width - 1, 0]
        k = origin + (n * region.size[1] + z * plan.source_step[1]) * plane
        look_up_stacks(work, k, offsets + starts[p], counts + 4 * p, phases.count, region.size[3], height,
                       whole_vectors(phases.width[0], sizeof(real_t)))
        end = &work[plan.products_offset + plan.slots - 1]
        for block in range((height + most - 1) // most):
            first = block * most
            lines = min(most, height - first)
            if stored_t is real_t:
                add_stacks(phases.count, counts + 4 * p, &work[k + first * region.size[3]], region.size[3],
                           offsets + starts[p], &work[plan.products_offset + weight_starts[p]], lines, width,
                           bias[group], &work[0] if plan.streams else pixel, room if plan.streams else line_step)
            if plan.streams:
                end = &work[(lines - 1) * room + width - 1]
                for line in range(lines):
                    stream(&work[line * room], width * <Py_ssize_t>sizeof(stored_t), pixel + (first + line) * line_step)
    return 0


cdef inline int look_up_lines(const real_t[::1] work, Py_ssize_t origin, const Py_ssize_t *offsets, Py_ssize_t count,
                              Py_ssize_t width) except -1 nogil:
    # For a build with bounds checks: the lines of a sum.
    cdef Py_ssize_t i
    cdef const real_t *end
    for i in range(count if c_bounds_checked else 0):
        end = &work[origin + offsets[i] + width - 1]
    return 0


cdef int lines_task(CorrelationPlan plan, Py_ssize_t task, const stored_t[:, :, :, :, :, :] source,
                    const real_t[::1] packed, const real_t[::1] bias, stored_t[:, :, :, :, :, :] target,
                    real_t[::1] work) except -1 nogil:
    # All channels and taps of one block of pixels and phases of one group.
    cdef Py_ssize_t first_phase = task % plan.phase_blocks * plan.phase_block, rest = task // plan.phase_blocks
    # The blocks of one map of one sample follow each other.
    cdef Py_ssize_t maps = plan.blocks[1] * plan.blocks[2] * plan.blocks[3], group = rest // maps % plan.groups
    cdef Py_ssize_t c, k, depth, axis
    cdef Py_ssize_t index[4]
    cdef Py_ssize_t starts[MAX_PHASES + 1]
    cdef Py_ssize_t weight_starts[MAX_PHASES]
    cdef Py_ssize_t counts[4 * MAX_PHASES]
    cdef Phases phases
    cdef Box box, region
    unravel(rest // (maps * plan.groups) * maps + rest % maps, plan.blocks, index)
    box = region = cut(index, plan.block, plan.target_size)
    phases = phases_of(plan, first_phase, &box)
    for axis in range(1, 4):    # what the pixels reach, in the source and beside it
        region.start[axis] = box.start[axis] * plan.source_step[axis] + plan.low[axis]
        region.size[axis] = (box.size[axis] - 1) * plan.source_step[axis] + plan.high[axis] - plan.low[axis] + 1
    for axis in range(2, 4):    # of each remainder
        region.size[axis] = box.size[axis] + (plan.high[axis] - plan.low[axis]) // plan.source_step[axis]
    if plan.direct:
        k = plan.zeros + whole_lines(&region, plan.source_step[3], sizeof(real_t))
        pack_lines(source, &region, plan.source_step[2], plan.source_step[3], group, 1, work[k:])
        list_stacks(plan, first_phase, phases.lines * phases.count, &region, group, packed, work, counts, starts,
                    weight_starts)
        sum_stacks(plan, &phases, counts, starts, weight_starts, &box, &region, k, group, bias, target, work)
        return 0
    for k in range((plan.source_channels + plan.depth_block - 1) // plan.depth_block):
        c = k * plan.depth_block
        depth = min(plan.depth_block, plan.source_channels - c)
        pack_lines(source, &region, plan.source_step[2], plan.source_step[3], group * plan.source_channels + c, depth,
                   work[plan.zeros:])
        list_lines(plan, first_phase, phases.lines * phases.count, &region, group, c, depth, packed, work, starts)
        correlate_lines(plan, &phases, starts, &box, &region, group, c, depth, bias, target, work)
    return 0
