# Forward passes and input gradients. Part of engine.pyx.

cdef int pack_panel(CorrelationPlan plan, Py_ssize_t index, const stored_t[:, :, :, :, :, :, :] weight, bint conjugate,
                    real_t[::1] packed) except -1 nogil:
    # packed[group, panel, tap, source channel, lane]; returns 1 where a weight is infinite or NaN.
    cdef Py_ssize_t lanes = plan.lanes, bits = plan.parts - 1
    cdef Py_ssize_t group = index // plan.panels, m = index % plan.panels * lanes
    cdef Py_ssize_t tz, ty, tx, c, lane, part, k, first = index * plan.taps * plan.source_channels * lanes
    cdef real_t sign, value = 0, zero_if_finite = 0
    for c in range(plan.source_channels):
        for lane in range(lanes):
            k = first + c * lanes + lane
            # Parts of a product: re = re*re - im*im, im = re*im + im*re; conj(weight) turns the sign of its im.
            part = (m & bits) ^ (c & bits)
            sign = -1 if part and ((m & bits) == 0) != conjugate else 1
            for tz in range(plan.kernel[0]):
                for ty in range(plan.kernel[1]):
                    for tx in range(plan.kernel[2]):
                        if m < plan.target_channels:
                            load(&weight[group, m >> bits, c >> bits, tz, ty, tx, part], &value)
                            zero_if_finite += value * 0
                            packed[k] = sign * value
                        else:
                            packed[k] = 0
                        k += plan.source_channels * lanes
            m += 1
        m -= lanes
    return zero_if_finite != 0


def pack_weight(CorrelationPlan plan, const stored_t[:, :, :, :, :, :, :] weight, bint conjugate, real_t[::1] packed,
                int threads):
    """Fill ``packed`` from weight (group, target, source, z, y, x, part); return whether all of it is finite."""
    cdef Py_ssize_t index, count = plan.groups * plan.panels
    cdef int infinite = 0
    if stored_t is double and real_t is double or stored_t is not double and real_t is float:
        if threads == 1:
            with nogil:
                for index in range(count):
                    infinite += pack_panel(plan, index, weight, conjugate, packed)
        else:
            for index in prange(count, nogil=True, schedule="static", num_threads=threads):
                infinite += pack_panel(plan, index, weight, conjugate, packed)
        return infinite == 0


cdef inline int add_products(CorrelationPlan plan, Py_ssize_t segments, Py_ssize_t depth, Py_ssize_t used,
                             const real_t **rows, const Py_ssize_t *offsets, const real_t[::1] packed, Py_ssize_t panel,
                             Py_ssize_t panels, real_t[::1] work, Py_ssize_t sums) except -1 nogil:
    # One row of tiles: the same pixels against each panel of channels.
    cdef Py_ssize_t lanes = plan.lanes, p
    cdef const real_t *end
    if segments == 0:
        return 0
    end = &packed[(panel + panels) * plan.taps * plan.source_channels * lanes - 1]
    end = &work[sums + (used - 1) * plan.channel_block + panels * lanes - 1]
    for p in range(panels):
        tile(segments, depth, used, rows, 1, &packed[(panel + p) * plan.taps * plan.source_channels * lanes], offsets,
             lanes, &work[sums + p * lanes], plan.channel_block)
    return 0


cdef inline const real_t *locate(CorrelationPlan plan, Py_ssize_t n, Py_ssize_t z, Py_ssize_t y, Py_ssize_t x,
                                 const stored_t[:, :, :, :, :, :] source, Py_ssize_t channel, Py_ssize_t depth,
                                 const Box *region, real_t[::1] work) except? NULL nogil:
    # The channels [channel, channel + depth) of a source pixel, in place or where they were packed; NULL outside.
    cdef Py_ssize_t bits = plan.parts - 1
    cdef const stored_t *end
    if not (0 <= z < plan.source_size[1] and 0 <= y < plan.source_size[2] and 0 <= x < plan.source_size[3]):
        return NULL
    if plan.in_place:
        end = &source[n, (channel + depth - 1) >> bits, z, y, x, bits]
        return <const real_t *>&source[n, channel >> bits, z, y, x, 0]
    return &work[plan.zeros + depth * ((((n - region.start[0]) * region.size[1] + z - region.start[1]) * region.size[2]
                                        + y - region.start[2]) * region.size[3] + x - region.start[3])]


cdef int correlate_phase(CorrelationPlan plan, Py_ssize_t phase, const Box *task, const Box *taps, const Box *region,
                         bint finite, const stored_t[:, :, :, :, :, :] source, Py_ssize_t channel, Py_ssize_t depth,
                         const real_t[::1] packed, Py_ssize_t panel, Py_ssize_t panels, real_t[::1] work,
                         Py_ssize_t sums) except -1 nogil:
    # work[sums + pixel * channel_block + lane] += the channels [channel, channel + depth) of this phase's taps
    cdef Py_ssize_t lanes = plan.lanes, group_channel = channel % plan.source_channels
    # Zeros stand in for pixels outside the source. An infinite weight would make NaN of them: then every pixel
    # takes a tile of its own, with just the taps that reach it.
    cdef Py_ssize_t step = TILE_ROWS if finite else 1
    cdef Py_ssize_t tile_index, first, used, segments, reached, tz, ty, tx, i
    cdef Py_ssize_t index[4]
    cdef Py_ssize_t next_pixel[4]
    cdef Py_ssize_t pixel[MAX_ROWS][4]
    cdef Py_ssize_t low[4]
    cdef Py_ssize_t high[4]
    cdef const real_t *row
    cdef const real_t *rows[MAX_SEGMENTS * MAX_ROWS]
    cdef Py_ssize_t offsets[MAX_SEGMENTS]
    cdef Box box, mine = taps[0]
    cdef int axis
    if not phase_box(plan, phase, task, index, &box):
        return 0
    clip(&mine, 1, plan.phase_z[index[1], 2], plan.phase_z[index[1], 3])
    clip(&mine, 2, plan.phase_y[index[2], 2], plan.phase_y[index[2], 3])
    clip(&mine, 3, plan.phase_x[index[3], 2], plan.phase_x[index[3], 3])
    for axis in range(4):
        next_pixel[axis] = box.start[axis]
    for tile_index in range((volume(&box) + step - 1) // step):
        first = tile_index * step
        used = min(step, volume(&box) - first)
        for i in range(used):
            for axis in range(4):
                pixel[i][axis] = next_pixel[axis] * plan.source_step[axis]
                low[axis] = pixel[i][axis] if i == 0 else min(low[axis], pixel[i][axis])
                high[axis] = pixel[i][axis] if i == 0 else max(high[axis], pixel[i][axis])
            advance(next_pixel, &box)
        segments = 0
        for tz in range(mine.start[1], mine.start[1] + mine.size[1]):
            if high[1] + plan.tap_z[tz, 1] < 0 or low[1] + plan.tap_z[tz, 1] >= plan.source_size[1]:
                continue
            for ty in range(mine.start[2], mine.start[2] + mine.size[2]):
                if high[2] + plan.tap_y[ty, 1] < 0 or low[2] + plan.tap_y[ty, 1] >= plan.source_size[2]:
                    continue
                for tx in range(mine.start[3], mine.start[3] + mine.size[3]):
                    if high[3] + plan.tap_x[tx, 1] < 0 or low[3] + plan.tap_x[tx, 1] >= plan.source_size[3]:
                        continue
                    reached = 0
                    for i in range(used):
                        row = locate(plan, pixel[i][0], pixel[i][1] + plan.tap_z[tz, 1],
                                     pixel[i][2] + plan.tap_y[ty, 1], pixel[i][3] + plan.tap_x[tx, 1],
                                     source, channel, depth, region, work)
                        reached += row != NULL
                        rows[segments * TILE_ROWS + i] = row if row != NULL else &work[0]
                    if reached == 0:
                        continue
                    for i in range(used, TILE_ROWS):
                        rows[segments * TILE_ROWS + i] = rows[segments * TILE_ROWS]
                    offsets[segments] = lanes * (group_channel + plan.source_channels * (
                        (plan.tap_z[tz, 0] * plan.kernel[1] + plan.tap_y[ty, 0]) * plan.kernel[2] + plan.tap_x[tx, 0]))
                    segments += 1
                    if segments == MAX_SEGMENTS:
                        add_products(plan, segments, depth, used, rows, offsets, packed, panel, panels, work,
                                     sums + first * plan.channel_block)
                        segments = 0
        add_products(plan, segments, depth, used, rows, offsets, packed, panel, panels, work,
                     sums + first * plan.channel_block)
    return 0


cdef int store_phase(CorrelationPlan plan, Py_ssize_t phase, const Box *task, real_t[::1] work, Py_ssize_t sums,
                     const real_t[::1] bias, Py_ssize_t channel, Py_ssize_t channels,
                     stored_t[:, :, :, :, :, :] target) except -1 nogil:
    # target at channels [channel, channel + channels) = sums + bias, along whichever axis is contiguous
    cdef Py_ssize_t bits = plan.parts - 1, step = plan.target_step[3], line = sums
    cdef Py_ssize_t n, z, y, x, c, i, j, k, xs, cs, first_x, first_c, target_z, target_y, first
    cdef Py_ssize_t index[4]
    cdef real_t turned[TURNED * TURNED]
    cdef Box box
    cdef stored_t *pixel
    cdef bint channels_contiguous = side_by_side(target)
    if not phase_box(plan, phase, task, index, &box):
        return 0
    first = plan.phase_x[index[3], 0] + box.start[3] * step
    for n in range(box.start[0], box.start[0] + box.size[0]):
        for z in range(box.start[1], box.start[1] + box.size[1]):
            target_z = plan.phase_z[index[1], 0] + z * plan.target_step[1]
            for y in range(box.start[2], box.start[2] + box.size[2]):
                target_y = plan.phase_y[index[2], 0] + y * plan.target_step[2]
                if channels_contiguous:
                    for x in range(box.size[3]):
                        pixel = &target[n, channel >> bits, target_z, target_y, first + x * step, 0]
                        for c in range(channels):
                            store(work[line + x * plan.channel_block + c] + bias[channel + c], &pixel[c])
                else:
                    for i in range((box.size[3] + TURNED - 1) // TURNED):
                        first_x = i * TURNED
                        xs = min(TURNED, box.size[3] - first_x)
                        for j in range((channels + TURNED - 1) // TURNED):
                            first_c = j * TURNED
                            cs = min(TURNED, channels - first_c)
                            transpose(&work[line + first_x * plan.channel_block + first_c], plan.channel_block, xs, cs,
                                      turned, TURNED)
                            for c in range(cs):
                                k = channel + first_c + c
                                for x in range(xs):
                                    store(turned[c * TURNED + x] + bias[k],
                                          &target[n, k >> bits, target_z, target_y, first + (first_x + x) * step,
                                                  k & bits])
                line += box.size[3] * plan.channel_block
    return 0


cdef inline int scale_by_taps(Box *box, int axis, Py_ssize_t step, const Py_ssize_t[:, ::1] table, const Box *taps,
                              Py_ssize_t size) except -1 nogil:
    # What the box reaches in the source through these taps.
    cdef Py_ssize_t t, low, high
    if volume(taps) == 0:
        box.size[axis] = 0
        return 0
    low = high = table[taps.start[axis], 1]
    for t in range(taps.start[axis] + 1, taps.start[axis] + taps.size[axis]):
        low = min(low, table[t, 1])
        high = max(high, table[t, 1])
    scale(box, axis, step, low, high, size)
    return 0


cdef int tiles_task(CorrelationPlan plan, Py_ssize_t task, const stored_t[:, :, :, :, :, :] source,
                    const real_t[::1] packed, bint finite, const real_t[::1] bias,
                    stored_t[:, :, :, :, :, :] target, real_t[::1] work) except -1 nogil:
    # All channels and taps of one block of pixels, phases and target channels of one group.
    cdef Py_ssize_t lanes = plan.lanes
    cdef Py_ssize_t phase_block = task % plan.phase_blocks
    cdef Py_ssize_t channel_block = task // plan.phase_blocks % plan.channel_blocks
    cdef Py_ssize_t group = task // (plan.phase_blocks * plan.channel_blocks) % plan.groups
    cdef Py_ssize_t channel = channel_block * plan.channel_block
    cdef Py_ssize_t channels = min(plan.channel_block, plan.target_channels - channel)
    cdef Py_ssize_t phase, first_phase = phase_block * plan.phase_block
    cdef Py_ssize_t last_phase = min(first_phase + plan.phase_block, plan.phases)
    cdef Py_ssize_t c, depth, k, sums, sums_size
    cdef Py_ssize_t index[4]
    cdef Box box, region, taps
    unravel(task // (plan.phase_blocks * plan.channel_blocks * plan.groups), plan.blocks, index)
    box = cut(index, plan.block, plan.target_size)
    sums_size = volume(&box) * plan.channel_block
    for k in range(plan.sums_offset, plan.sums_offset + (last_phase - first_phase) * sums_size):
        work[k] = 0
    for k in range((plan.source_channels + plan.depth_block - 1) // plan.depth_block * volume_of(plan.tap_blocks)):
        unravel(k, plan.tap_blocks, index)
        taps = cut(index, plan.tap_block, plan.tap_count)
        c = k // volume_of(plan.tap_blocks) * plan.depth_block
        depth = min(plan.depth_block, plan.source_channels - c)
        if not plan.in_place:
            region = box
            scale_by_taps(&region, 1, plan.source_step[1], plan.tap_z, &taps, plan.source_size[1])
            scale_by_taps(&region, 2, plan.source_step[2], plan.tap_y, &taps, plan.source_size[2])
            scale_by_taps(&region, 3, plan.source_step[3], plan.tap_x, &taps, plan.source_size[3])
            if volume(&region) == 0:
                continue
            pack_pixels(source, &region, EVERY, group * plan.source_channels + c, depth, depth, work[plan.zeros:])
        sums = plan.sums_offset
        for phase in range(first_phase, last_phase):
            correlate_phase(plan, phase, &box, &taps, &region, finite, source, group * plan.source_channels + c, depth,
                            packed, group * plan.panels + channel // lanes, (channels + lanes - 1) // lanes, work, sums)
            sums += sums_size
    sums = plan.sums_offset
    for phase in range(first_phase, last_phase):
        store_phase(plan, phase, &box, work, sums, bias, group * plan.target_channels + channel, channels, target)
        sums += sums_size
    return 0


cdef int correlate_task(CorrelationPlan plan, Py_ssize_t task, const stored_t[:, :, :, :, :, :] source,
                        const real_t[::1] packed, bint finite, const real_t[::1] bias,
                        stored_t[:, :, :, :, :, :] target, real_t[::1] work) except -1 nogil:
    if plan.along_lines:
        return lines_task(plan, task, source, packed, bias, target, work)
    return tiles_task(plan, task, source, packed, finite, bias, target, work)


def correlate(CorrelationPlan plan, const stored_t[:, :, :, :, :, :] source, const real_t[::1] packed, bint finite,
              const real_t[::1] bias, stored_t[:, :, :, :, :, :] target, real_t[:, ::1] work, int threads):
    """Fill target from source and packed weights; each thread has a row of work, which starts with zeros."""
    cdef Py_ssize_t task
    if stored_t is double and real_t is double or stored_t is not double and real_t is float:
        if threads == 1:    # not prange: a forked child must not touch the OpenMP runtime
            with nogil:
                for task in range(plan.tasks):
                    correlate_task(plan, task, source, packed, finite, bias, target, work[0])
        else:
            for task in prange(plan.tasks, nogil=True, schedule="dynamic", num_threads=threads):
                correlate_task(plan, task, source, packed, finite, bias, target, work[threadid()])
