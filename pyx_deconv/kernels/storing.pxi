# From the sums of a task to the target: bias, phases side by side, rounding. Part of engine.pyx.
#
# A target that is larger than the caches is streamed past them, a run of neighbours at a time (stream.h).

cdef inline void store_run(const real_t *sums, const real_t *shift, Py_ssize_t size, stored_t *target) noexcept nogil:
    # target = sums + shift, rounded to what is stored
    cdef Py_ssize_t i
    if stored_t is real_t:
        add_up(sums, shift, target, size)
    else:
        for i in range(size):
            store(sums[i] + shift[i], &target[i])


cdef inline void store_lines_together(Py_ssize_t count, const real_t *lines, Py_ssize_t line_step, Py_ssize_t width,
                                      real_t shift, bint streams, real_t *target) noexcept nogil:
    # target[x * count + i] = lines[i * line_step + x] + shift
    cdef real_t run[STREAMED]
    cdef Py_ssize_t x = 0, size
    if not streams or count > STREAMED:
        interleave(count, lines, line_step, width, shift, target)
        return
    while x < width:
        size = min(width - x, STREAMED // count)
        interleave(count, lines + x, line_step, size, shift, run)
        stream(run, size * count * <Py_ssize_t>sizeof(real_t), target + x * count)
        x += size


cdef int store_pixels(CorrelationPlan plan, Py_ssize_t phase, Py_ssize_t count, const Box *task, real_t[::1] work,
                      Py_ssize_t sums, Py_ssize_t sums_size, const real_t[::1] bias, Py_ssize_t channel,
                      Py_ssize_t channels, stored_t[:, :, :, :, :, :] target) except -1 nogil:
    # target at channels [channel, channel + channels) = sums + bias, where channels lie side by side, for phases that
    # follow each other along x
    cdef Py_ssize_t bits = plan.parts - 1, step = plan.target_step[3]
    cdef Py_ssize_t pixel_step = step * (target.strides[4] // <Py_ssize_t>sizeof(stored_t))
    cdef Py_ssize_t n, z, y, x, p, target_z, target_y, k, line = 0
    cdef Py_ssize_t index[4]
    cdef Py_ssize_t width[MAX_TOGETHER]
    cdef Py_ssize_t first[MAX_TOGETHER]
    cdef stored_t *pixel[MAX_TOGETHER]      # the first of each phase on a line, and its sums
    cdef const real_t *row[MAX_TOGETHER]
    cdef const stored_t *last
    cdef const real_t *shift = &bias[channel]
    cdef const real_t *end = &bias[channel + channels - 1]
    cdef Box box
    for p in range(count):
        phase_box(plan, phase + p, task, index, &box)
        width[p] = box.size[3]
        first[p] = plan.phase_x[index[3], 0] + box.start[3] * step
    phase_box(plan, phase, task, index, &box)
    for n in range(box.start[0], box.start[0] + box.size[0]):
        for z in range(box.start[1], box.start[1] + box.size[1]):
            target_z = plan.phase_z[index[1], 0] + z * plan.target_step[1]
            for y in range(box.start[2], box.start[2] + box.size[2]):
                target_y = plan.phase_y[index[2], 0] + y * plan.target_step[2]
                for p in range(count):
                    if width[p] > 0:
                        k = sums + p * sums_size + line * width[p] * plan.channel_block
                        row[p] = &work[k]
                        end = &work[k + (width[p] - 1) * plan.channel_block + channels - 1]
                        pixel[p] = &target[n, channel >> bits, target_z, target_y, first[p], 0]
                        last = &target[n, (channel + channels - 1) >> bits, target_z, target_y,
                                       first[p] + (width[p] - 1) * step, bits]
                for x in range(width[0]):
                    for p in range(count):
                        if x < width[p]:
                            store_run(row[p] + x * plan.channel_block, shift, channels, pixel[p] + x * pixel_step)
                line += 1
    return 0


cdef int stream_pixels(CorrelationPlan plan, Py_ssize_t phase, Py_ssize_t count, const Box *task, real_t[::1] work,
                       Py_ssize_t sums, Py_ssize_t sums_size, const real_t[::1] bias, Py_ssize_t channel,
                       Py_ssize_t channels, stored_t[:, :, :, :, :, :] target) except -1 nogil:
    # The same past the caches.
    cdef Py_ssize_t bits = plan.parts - 1, step = plan.target_step[3]
    cdef Py_ssize_t n, z, y, x, p, target_z, target_y, k, line = 0, assembled = 0
    cdef Py_ssize_t index[4]
    cdef Py_ssize_t width[MAX_TOGETHER]
    cdef Py_ssize_t first[MAX_TOGETHER]
    cdef stored_t run[STREAMED]
    cdef Box box
    cdef stored_t *pixel
    cdef stored_t *run_target = NULL
    cdef const real_t *shift = &bias[channel]
    cdef const real_t *end = &bias[channel + channels - 1]
    for p in range(count):
        phase_box(plan, phase + p, task, index, &box)
        width[p] = box.size[3]
        first[p] = plan.phase_x[index[3], 0] + box.start[3] * step
    phase_box(plan, phase, task, index, &box)
    for n in range(box.start[0], box.start[0] + box.size[0]):
        for z in range(box.start[1], box.start[1] + box.size[1]):
            target_z = plan.phase_z[index[1], 0] + z * plan.target_step[1]
            for y in range(box.start[2], box.start[2] + box.size[2]):
                target_y = plan.phase_y[index[2], 0] + y * plan.target_step[2]
                for x in range(width[0]):
                    for p in range(count):
                        if x >= width[p]:
                            continue
                        k = sums + p * sums_size + (line * width[p] + x) * plan.channel_block
                        pixel = &target[n, channel >> bits, target_z, target_y, first[p] + x * step, 0]
                        end = &work[k + channels - 1]
                        if assembled and (pixel != run_target + assembled or assembled + channels > STREAMED):
                            stream(run, assembled * <Py_ssize_t>sizeof(stored_t), run_target)
                            assembled = 0
                        if assembled == 0:
                            run_target = pixel
                        store_run(&work[k], shift, channels, &run[assembled])
                        assembled += channels
                line += 1
    if assembled:
        stream(run, assembled * <Py_ssize_t>sizeof(stored_t), run_target)
    return 0


cdef int store_lines_of(CorrelationPlan plan, Py_ssize_t phase, Py_ssize_t count, const Box *task, real_t[::1] work,
                        Py_ssize_t sums, Py_ssize_t sums_size, const real_t[::1] bias, Py_ssize_t channel,
                        Py_ssize_t channels, stored_t[:, :, :, :, :, :] target) except -1 nogil:
    # The same along lines of pixels, for phases that follow each other along x: their outputs are interleaved. Past the
    # caches only where lines begin with cache lines: others would be shared by the ends of two short runs.
    cdef bint streams = plan.streams and target.strides[3] % CACHE_LINE == 0
    cdef Py_ssize_t bits = plan.parts - 1, step = plan.target_step[3]
    cdef Py_ssize_t n, z, y, x, c, i, j, k, p, xs, cs, first_x, first_c, target_z, target_y, line
    cdef Py_ssize_t longest, common, together
    cdef Py_ssize_t index[4]
    cdef Py_ssize_t width[MAX_TOGETHER]
    cdef Py_ssize_t first[MAX_TOGETHER]
    cdef bint in_place
    cdef const real_t *outputs[MAX_TOGETHER * TURNED]
    cdef const real_t *end = &bias[channel + channels - 1]
    cdef real_t turned[MAX_TOGETHER * TURNED * TURNED]
    cdef Box box
    cdef stored_t *pixel
    cdef bint dense = count == step and target.strides[4] == <Py_ssize_t>sizeof(stored_t) and bits == 0
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
                    longest = min(TURNED, width[0] - first_x)
                    common = longest    # pixels that every phase has
                    for p in range(count):
                        xs = max(0, min(TURNED, width[p] - first_x))
                        common = min(common, xs)
                        k = sums + p * sums_size + (line * width[p] + first_x) * plan.channel_block
                        if xs > 0:
                            end = &work[k + (xs - 1) * plan.channel_block + channels - 1]
                        for x in range(longest):    # any row where there is none
                            outputs[x * count + p] = (&work[k] + x * plan.channel_block if x < xs
                                                      else outputs[x * count])
                    if not dense:
                        common = 0
                    together = common * count
                    in_place = stored_t is real_t and common == longest and not streams
                    if in_place:
                        pixel = &target[n, channel + channels - 1, target_z, target_y,
                                        first[0] + (first_x + common) * step - 1, 0]
                        pixel = &target[n, channel, target_z, target_y, first[0] + first_x * step, 0]
                        transpose_rows(outputs, together, channels, &bias[channel], <real_t *>pixel,
                                       target.strides[1] // <Py_ssize_t>sizeof(stored_t))
                    for j in range(0 if in_place else (channels + TURNED - 1) // TURNED):
                        first_c = channel + j * TURNED
                        cs = min(TURNED, channels - j * TURNED)
                        for k in range(longest * count if j > 0 else 0):
                            outputs[k] += TURNED
                        transpose_rows(outputs, longest * count, cs, &bias[first_c], turned, longest * count)
                        for c in range(cs):
                            k = c * longest * count
                            if common > 0:
                                pixel = &target[n, first_c + c, target_z, target_y,
                                                first[0] + (first_x + common) * step - 1, 0]
                                pixel = &target[n, first_c + c, target_z, target_y, first[0] + first_x * step, 0]
                                if stored_t is real_t and streams:
                                    stream(&turned[k], together * <Py_ssize_t>sizeof(real_t), pixel)
                                else:
                                    for x in range(together):
                                        store(turned[k + x], &pixel[x])
                            for p in range(count):
                                for x in range(common, min(TURNED, width[p] - first_x)):
                                    store(turned[k + x * count + p],
                                          &target[n, (first_c + c) >> bits, target_z, target_y,
                                                  first[p] + (first_x + x) * step, (first_c + c) & bits])
                line += 1
    return 0


cdef int store_phases(CorrelationPlan plan, Py_ssize_t first_phase, Py_ssize_t last_phase, const Box *task,
                      real_t[::1] work, Py_ssize_t sums_size, const real_t[::1] bias, Py_ssize_t channel,
                      Py_ssize_t channels, stored_t[:, :, :, :, :, :] target) except -1 nogil:
    # target at channels [channel, channel + channels) = sums + bias, along whichever axis is contiguous
    cdef Py_ssize_t phase = first_phase, count, sums
    cdef Py_ssize_t index[4]
    cdef Box box
    while phase < last_phase:
        # The phases of a task that differ along x only; the first of them has the most outputs.
        count = min(last_phase - phase, plan.phase_count[3] - phase % plan.phase_count[3])
        sums = plan.sums_offset + (phase - first_phase) * sums_size
        if not phase_box(plan, phase, task, index, &box):
            pass
        elif side_by_side(target) and plan.streams:
            stream_pixels(plan, phase, count, task, work, sums, sums_size, bias, channel, channels, target)
        elif side_by_side(target):
            store_pixels(plan, phase, count, task, work, sums, sums_size, bias, channel, channels, target)
        else:
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
