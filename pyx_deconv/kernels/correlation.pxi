# Forward passes and input gradients. Part of engine.pyx.

cdef struct Taps:
    # The taps of a phase, for pixels that all of them take into the source.
    Py_ssize_t count
    Py_ssize_t depth                    # of each: channels, and taps that are one long row
    Py_ssize_t low[4]                   # least and greatest offset along each axis
    Py_ssize_t high[4]
    Py_ssize_t shift[MAX_SEGMENTS]      # from a pixel to what the tap meets, in elements
    Py_ssize_t place[MAX_SEGMENTS]      # of the weights in a whole panel, and in the last one
    Py_ssize_t last_place[MAX_SEGMENTS]


cdef inline int add_products(CorrelationPlan plan, Py_ssize_t segments, Py_ssize_t depth, Py_ssize_t used,
                             const real_t **rows, Py_ssize_t *slots, Py_ssize_t channel, const real_t[::1] packed,
                             Py_ssize_t group, Py_ssize_t panel, Py_ssize_t panels, real_t *sums,
                             const Py_ssize_t *places, const real_t *first_bias, bint adds) except -1 nogil:
    # One row of tiles: the same pixels against each panel of channels.
    cdef Py_ssize_t p, i, width
    cdef Py_ssize_t offsets[MAX_SEGMENTS]
    cdef const real_t *end
    for p in range(panels):
        width = panel_width(plan, panel + p)
        for i in range(segments):
            offsets[i] = (slots[i] * plan.source_channels + channel) * width
        end = &packed[panel_place(plan, group, panel + p) + plan.slots * plan.source_channels * width - 1]
        tile_of(plan.dots, width, segments, depth, used, rows, NULL, 1, &packed[panel_place(plan, group, panel + p)],
                offsets, width, sums + p * plan.lanes, 1 if plan.direct else plan.channel_block, places,
                first_bias + p * plan.lanes if first_bias else NULL, adds)
    return 0


cdef inline void reach_in(const Py_ssize_t[:, ::1] taps, const Box *mine, int axis, Py_ssize_t at, Py_ssize_t size,
                          Py_ssize_t *first, Py_ssize_t *last) noexcept nogil:
    # The taps [first, last) of mine take the source pixel at this place to others of the source.
    first[0], last[0] = mine.start[axis], mine.start[axis] + mine.size[axis]
    taps_inside(taps, at, size, first, last)


cdef int gather_taps(CorrelationPlan plan, const Box *mine, const Py_ssize_t *place, bint merges, Py_ssize_t channel,
                     Py_ssize_t depth, Py_ssize_t last_width, Taps *taps) except -1 nogil:
    # All taps of a phase, unless they are too many to be listed: then none. place: from one source pixel to the next.
    cdef Py_ssize_t tz, ty, tx, slot, tx_step = mine.size[3] if merges else 1
    taps.count = 0
    taps.depth = depth * tx_step
    if mine.size[1] * mine.size[2] * (mine.size[3] // tx_step) > MAX_SEGMENTS:
        return 0
    offsets_of(plan.tap_z, mine, 1, taps)
    offsets_of(plan.tap_y, mine, 2, taps)
    offsets_of(plan.tap_x, mine, 3, taps)
    for tz in range(mine.start[1], mine.start[1] + mine.size[1]):
        for ty in range(mine.start[2], mine.start[2] + mine.size[2]):
            tx = mine.start[3]
            while tx < mine.start[3] + mine.size[3]:
                slot = slot_of_taps(plan, tz, ty, tx) * plan.source_channels + channel
                taps.shift[taps.count] = (plan.tap_z[tz, 0] * place[1] + plan.tap_y[ty, 0] * place[2]
                                          + plan.tap_x[tx, 0] * place[3])
                taps.place[taps.count] = slot * plan.lanes
                taps.last_place[taps.count] = slot * last_width
                taps.count += 1
                tx += tx_step
    return 0


cdef inline int offsets_of(const Py_ssize_t[:, ::1] table, const Box *mine, int axis, Taps *taps) except -1 nogil:
    cdef Py_ssize_t t
    taps.low[axis] = taps.high[axis] = table[mine.start[axis], 0]
    for t in range(mine.start[axis] + 1, mine.start[axis] + mine.size[axis]):
        taps.low[axis] = min(taps.low[axis], table[t, 0])
        taps.high[axis] = max(taps.high[axis], table[t, 0])
    return 0


cdef int add_edge(CorrelationPlan plan, const Box *mine, const Py_ssize_t *place, const Box *box, Py_ssize_t first,
                  Py_ssize_t used, const real_t **base, const Box *region, const stored_t[:, :, :, :, :, :] source,
                  Py_ssize_t group, Py_ssize_t c, Py_ssize_t depth, const real_t[::1] packed, Py_ssize_t panel,
                  Py_ssize_t panels, real_t[::1] work, real_t *sums, const Py_ssize_t *places, const real_t *first_bias,
                  bint adds) except -1 nogil:
    # Some of these pixels have taps that reach beside the source: zeros stand in, or the tap is left out.
    cdef Py_ssize_t segments = 0, tz, ty, tx, z, y, x, i, shift
    cdef Py_ssize_t pixel[MAX_ROWS][4]
    cdef Py_ssize_t firsts[3][MAX_ROWS]     # the taps [first, last) along each axis keep the pixel inside
    cdef Py_ssize_t lasts[3][MAX_ROWS]
    cdef Py_ssize_t last[MAX_ROWS]          # along x, those of one line of taps
    cdef bint met
    cdef const real_t *rows[MAX_SEGMENTS * MAX_ROWS]
    cdef const real_t *zeros = &work[0]
    cdef Py_ssize_t slots[MAX_SEGMENTS]
    unravel_box(first, box, pixel[0])
    for i in range(TILE_ROWS):
        if i > 0:
            pixel[i] = pixel[i - 1]
        if 0 < i < used:
            advance(pixel[i], box)
        reach_in(plan.tap_z, mine, 1, pixel[i][1] * plan.source_step[1], plan.source_size[1], &firsts[0][i],
                 &lasts[0][i])
        reach_in(plan.tap_y, mine, 2, pixel[i][2] * plan.source_step[2], plan.source_size[2], &firsts[1][i],
                 &lasts[1][i])
        reach_in(plan.tap_x, mine, 3, pixel[i][3] * plan.source_step[3], plan.source_size[3], &firsts[2][i],
                 &lasts[2][i])
    for tz in range(mine.start[1], mine.start[1] + mine.size[1]):
        z = plan.tap_z[tz, 0]
        for ty in range(mine.start[2], mine.start[2] + mine.size[2]):
            y = plan.tap_y[ty, 0]
            for i in range(TILE_ROWS):
                met = ((firsts[0][i] <= tz) & (tz < lasts[0][i]) & (firsts[1][i] <= ty) & (ty < lasts[1][i]))
                last[i] = lasts[2][i] if met else 0
            for tx in range(mine.start[3], mine.start[3] + mine.size[3]):
                x = plan.tap_x[tx, 0]
                shift = z * place[1] + y * place[2] + x * place[3]
                if not rows_of_tap(base, shift, firsts[2], last, tx, zeros, &rows[segments * TILE_ROWS]):
                    continue
                for i in range(used):
                    if rows[segments * TILE_ROWS + i] != zeros:
                        look_up(plan, source, group * plan.source_channels + c, depth, region, work, pixel[i], z, y, x)
                slots[segments] = slot_of_taps(plan, tz, ty, tx)
                segments += 1
                if segments == MAX_SEGMENTS:
                    add_products(plan, segments, depth, used, rows, slots, c, packed, group, panel, panels, sums,
                                 places, first_bias, adds)
                    adds = True
                    segments = 0
    if segments or not adds:    # without a segment the sums are zero
        add_products(plan, segments, depth, used, rows, slots, c, packed, group, panel, panels, sums, places,
                     first_bias, adds)
    return 0


cdef inline int look_up_target(CorrelationPlan plan, const Py_ssize_t *phase, const Py_ssize_t *at, Py_ssize_t run,
                               Py_ssize_t group, Py_ssize_t panel, Py_ssize_t panels,
                               stored_t[:, :, :, :, :, :] target) except -1 nogil:
    # For a build with bounds checks: the pixels from at on that a row of tiles is written to.
    cdef Py_ssize_t last_panel = panel + panels - 1, z, y, x
    cdef const stored_t *end
    z = plan.phase_z[phase[1], 0] + at[1] * plan.target_step[1]
    y = plan.phase_y[phase[2], 0] + at[2] * plan.target_step[2]
    x = plan.phase_x[phase[3], 0] + at[3] * plan.target_step[3]
    end = &target[at[0], group * plan.target_channels + panel * plan.lanes, z, y, x, 0]
    end = &target[at[0], group * plan.target_channels + last_panel * plan.lanes + panel_width(plan, last_panel) - 1,
                  z, y, x + (run - 1) * plan.target_step[3], 0]
    return 0


cdef inline void part_of(const Box *box, const Py_ssize_t (*cuts)[4], Py_ssize_t k, Box *part) noexcept nogil:
    # The k-th of the 27 parts before, between and behind the two cuts along each axis.
    cdef Py_ssize_t i
    cdef int axis
    part[0] = box[0]
    for axis in range(3, 0, -1):
        i = k % 3
        k //= 3
        part.start[axis] = cuts[axis][i]
        part.size[axis] = cuts[axis][i + 1] - cuts[axis][i]


cdef inline void cut_axis(CorrelationPlan plan, const Py_ssize_t[:, ::1] table, int axis, const Taps *taps,
                          const Box *box, const Box *mine, Py_ssize_t *cuts, Py_ssize_t *counts) noexcept nogil:
    # Where pixels begin and end that all taps take into the source along this axis; how many taps those before,
    # between and behind the cuts have, by the first of them.
    cdef Py_ssize_t step = plan.source_step[axis], i, first, last
    cuts[0] = box.start[axis]
    cuts[3] = box.start[axis] + box.size[axis]
    first = (max(0, -taps.low[axis]) + step - 1) // step
    last = (max(0, plan.source_size[axis] - taps.high[axis]) + step - 1) // step
    cuts[1] = min(cuts[3], max(cuts[0], first))
    cuts[2] = max(cuts[1], min(cuts[3], last))
    for i in range(3):
        reach_in(table, mine, axis, cuts[i] * step, plan.source_size[axis], &first, &last)
        counts[i] = last - first


cdef bint cut_borders(CorrelationPlan plan, const Taps *taps, const Box *box, const Box *mine,
                      Py_ssize_t (*cuts)[4]) noexcept nogil:
    # Cut what some tap takes beside the source from the rest, unless the rests of tiles outweigh what is left out.
    cdef Py_ssize_t tiles = 0, k
    cdef Py_ssize_t counts[4][3]
    cdef Box part
    cut_axis(plan, plan.tap_z, 1, taps, box, mine, cuts[1], counts[1])
    cut_axis(plan, plan.tap_y, 2, taps, box, mine, cuts[2], counts[2])
    cut_axis(plan, plan.tap_x, 3, taps, box, mine, cuts[3], counts[3])
    part_of(box, cuts, 13, &part)
    if volume(&part) == volume(box):
        return False
    for k in range(27):
        part_of(box, cuts, k, &part)
        tiles += ((volume(&part) + TILE_ROWS - 1) // TILE_ROWS * counts[1][k // 9] * counts[2][k // 3 % 3]
                  * counts[3][k % 3])
    return 20 * tiles <= 21 * ((volume(box) + TILE_ROWS - 1) // TILE_ROWS * volume(mine))


cdef bint same_taps(CorrelationPlan plan, const Py_ssize_t[:, ::1] table, int axis, const Box *pixels,
                    Box *mine) noexcept nogil:
    # Whether the same taps take all pixels into the source along this axis: they are left of mine.
    cdef Py_ssize_t place = pixels.start[axis] * plan.source_step[axis], first, last, other_first, other_last
    reach_in(table, mine, axis, place, plan.source_size[axis], &first, &last)
    place += (pixels.size[axis] - 1) * plan.source_step[axis]
    reach_in(table, mine, axis, place, plan.source_size[axis], &other_first, &other_last)
    clip(mine, axis, first, last)
    return first == other_first and last == other_last


cdef int correlate_phase(CorrelationPlan plan, Py_ssize_t phase, const Box *task, const Box *tap_block,
                         const Box *region, bint finite, const stored_t[:, :, :, :, :, :] source, Py_ssize_t group,
                         Py_ssize_t c, Py_ssize_t depth, const real_t[::1] packed, Py_ssize_t panel, Py_ssize_t panels,
                         real_t[::1] work, Py_ssize_t sums, bint adds, const real_t[::1] bias,
                         stored_t[:, :, :, :, :, :] target) except -1 nogil:
    # work[sums + pixel * channel_block + lane] += (or =) the group's channels [c, c + depth) of this phase's taps; or
    # the target itself, with the bias
    cdef Py_ssize_t channel = group * plan.source_channels + c
    cdef Py_ssize_t step, part, tile_index, first, used, i, j, run, p, width, line_end, line_place, c_step
    cdef Py_ssize_t index[4]
    cdef Py_ssize_t at[4]
    cdef Py_ssize_t place[4]                # from one pixel of the source to the next
    cdef Py_ssize_t source_step[4]          # between those of neighbouring pixels of the box
    cdef Py_ssize_t places[MAX_ROWS]        # in the target, or in the sums where parts of the box are apart
    cdef Py_ssize_t[4] place_step = [0, 0, 0, 0]    # from one pixel of the box to the next there
    cdef Py_ssize_t first_place = 0
    cdef const Py_ssize_t *listed = NULL
    cdef const real_t *base[MAX_ROWS]
    cdef const real_t *line
    cdef const real_t *origin
    cdef const real_t *first_bias = NULL
    cdef real_t *row
    cdef const real_t *end
    cdef Taps taps
    cdef Box box, pixels, met, mine = tap_block[0]
    cdef Py_ssize_t cuts[4][4]
    cdef int axis
    cdef bint merges, apart, inside, by_tile, whole
    if not phase_box(plan, phase, task, index, &box):
        return 0
    clip(&mine, 1, plan.phase_z[index[1], 2], plan.phase_z[index[1], 3])
    clip(&mine, 2, plan.phase_y[index[2], 2], plan.phase_y[index[2], 3])
    clip(&mine, 3, plan.phase_x[index[3], 2], plan.phase_x[index[3], 3])
    if volume(&mine) == 0:
        if not adds:
            end = &work[sums + volume(&box) * plan.channel_block - 1]
            zero(&work[sums], volume(&box) * plan.channel_block)
        return 0
    origin = source_place(plan, source, channel, depth, region, work, place)
    # Neighbouring pixels with all their channels side by side are one long row, as their weights are.
    merges = plan.merges and place[3] == depth and depth == plan.source_channels
    gather_taps(plan, &mine, place, merges, c, depth, panel_width(plan, plan.panels - 1), &taps)
    # Pixels at a border of a source that is read in place have fewer taps: cut off, or told apart tile by tile.
    apart = finite and plan.in_place and taps.count > 0 and cut_borders(plan, &taps, &box, &mine, cuts)
    row = &work[sums]
    c_step = plan.channel_block
    end = &work[sums + volume(&box) * c_step - 1]
    if apart:
        listed = places
        place_step[3] = 1
        for axis in range(3, -1, -1):
            if axis < 3:
                place_step[axis] = place_step[axis + 1] * box.size[axis + 1]
            first_place -= box.start[axis] * place_step[axis]
    if stored_t is real_t:
        if plan.direct:
            width = group * plan.target_channels + panel * plan.lanes
            row = &target[0, width, plan.phase_z[index[1], 0], plan.phase_y[index[2], 0], plan.phase_x[index[3], 0], 0]
            c_step = 1
            listed = places
            first_place = 0
            first_bias = &bias[width]
            for axis in range(4):
                place_step[axis] = (target.strides[axis + (axis > 0)] // <Py_ssize_t>sizeof(stored_t)
                                    * plan.target_step[axis])
    for axis in range(4):
        source_step[axis] = plan.source_step[axis] * place[axis]
    for part in range(27 if apart else 1):
        pixels = box
        if apart:
            part_of(&box, cuts, part, &pixels)
            if volume(&pixels) == 0:
                continue
        met = mine
        inside = finite
        if finite and plan.in_place:
            inside = (same_taps(plan, plan.tap_z, 1, &pixels, &met) and same_taps(plan, plan.tap_y, 2, &pixels, &met)
                      and same_taps(plan, plan.tap_x, 3, &pixels, &met))
            if inside and volume(&met) == 0:
                taps.count = 0
            elif inside:
                gather_taps(plan, &met, place, merges, c, depth, panel_width(plan, plan.panels - 1), &taps)
        by_tile = finite and not inside and not apart and taps.count > 0
        inside = inside and (taps.count > 0 or volume(&met) == 0)
        if inside and volume(&met) > 0:
            look_up(plan, source, channel, depth, region, work, pixels.start, taps.low[1], taps.low[2], taps.low[3])
            for axis in range(4):
                at[axis] = pixels.start[axis] + pixels.size[axis] - 1
            look_up(plan, source, channel, depth, region, work, at, taps.high[1], taps.high[2], taps.high[3])
        line_end = pixels.start[3] + pixels.size[3]
        for axis in range(4):
            at[axis] = pixels.start[axis]
        # Zeros stand in for pixels outside the source. An infinite weight would make NaN of them: then every pixel
        # takes a tile of its own, with just the taps that reach it.
        step = rows_of_tiles(volume(&pixels)) if finite else 1
        for tile_index in range((volume(&pixels) + step - 1) // step):
            first = tile_index * step
            used = min(step, volume(&pixels) - first)
            whole = inside or by_tile
            i = 0
            while i < used:
                run = min(used - i, line_end - at[3])
                line = origin
                line_place = first_place
                for axis in range(4):
                    line += at[axis] * source_step[axis]
                    line_place += at[axis] * place_step[axis]
                if by_tile:
                    whole = (whole and cuts[1][1] <= at[1] < cuts[1][2] and cuts[2][1] <= at[2] < cuts[2][2]
                             and cuts[3][1] <= at[3] and at[3] + run <= cuts[3][2])
                if plan.direct:
                    look_up_target(plan, index, at, run, group, panel, panels, target)
                for j in range(run):
                    base[i + j] = line
                    places[i + j] = line_place
                    line += source_step[3]
                    line_place += place_step[3]
                if by_tile and whole:
                    look_up(plan, source, channel, depth, region, work, at, taps.low[1], taps.low[2], taps.low[3])
                i += run
                at[3] += run - 1
                if by_tile and whole:
                    look_up(plan, source, channel, depth, region, work, at, taps.high[1], taps.high[2], taps.high[3])
                advance(at, &pixels)
            for i in range(used, TILE_ROWS):
                base[i] = base[0]
            if not whole:
                add_edge(plan, &mine, place, &pixels, first, used, base, region, source, group, c, depth, packed, panel,
                         panels, work, row, listed, first_bias, adds)
            for p in range(panels if whole else 0):
                width = panel_width(plan, panel + p)
                end = &packed[panel_place(plan, group, panel + p) + plan.slots * plan.source_channels * width - 1]
                tile_of(plan.dots, width, taps.count, taps.depth, used, base, taps.shift, 1,
                        &packed[panel_place(plan, group, panel + p)],
                        &taps.place[0] if width == plan.lanes else &taps.last_place[0], width,
                        row + p * plan.lanes, c_step, listed, first_bias + p * plan.lanes if first_bias else NULL,
                        adds)
            if listed == NULL:
                row += step * c_step
    return 0


cdef inline int scale_by_taps(Box *box, int axis, Py_ssize_t step, const Py_ssize_t[:, ::1] table,
                              const Box *taps) except -1 nogil:
    # What the box reaches through these taps, in the source and beside it.
    cdef Py_ssize_t t, low, high
    low = high = table[taps.start[axis], 0]
    for t in range(taps.start[axis] + 1, taps.start[axis] + taps.size[axis]):
        low = min(low, table[t, 0])
        high = max(high, table[t, 0])
    box.size[axis] = (box.size[axis] - 1) * step + high - low + 1
    box.start[axis] = box.start[axis] * step + low
    return 0


cdef int add_all_taps(CorrelationPlan plan, const Box *task, Py_ssize_t first_phase, Py_ssize_t last_phase,
                      Py_ssize_t sums_size, Py_ssize_t group, Py_ssize_t channel, Py_ssize_t channels, bint finite,
                      const stored_t[:, :, :, :, :, :] source, const real_t[::1] packed, const real_t[::1] bias,
                      stored_t[:, :, :, :, :, :] target, real_t[::1] work) except -1 nogil:
    # The sums of each phase, over all channels and taps.
    cdef Py_ssize_t lanes = plan.lanes, phase, c, depth, k, part, place, sums
    cdef Py_ssize_t index[4]
    cdef Py_ssize_t parts[4]    # of the task's pixels, one behind the other
    cdef Box pixels, region, taps
    cdef bint adds = False      # the first products are written
    cdef int axis
    for axis in range(4):
        parts[axis] = (task.size[axis] + plan.packed_block[axis] - 1) // plan.packed_block[axis]
    for k in range((plan.source_channels + plan.depth_block - 1) // plan.depth_block * volume_of(plan.tap_blocks)):
        unravel(k, plan.tap_blocks, index)
        taps = cut(index, plan.tap_block, plan.tap_count)
        c = k // volume_of(plan.tap_blocks) * plan.depth_block
        depth = min(plan.depth_block, plan.source_channels - c)
        if volume(&taps) == 0:
            continue
        place = plan.sums_offset
        for part in range(volume_of(parts)):
            unravel(part, parts, index)
            pixels = cut(index, plan.packed_block, task.size)
            for axis in range(4):
                pixels.start[axis] += task.start[axis]
            region = pixels
            if not plan.in_place:
                scale_by_taps(&region, 1, plan.source_step[1], plan.tap_z, &taps)
                scale_by_taps(&region, 2, plan.source_step[2], plan.tap_y, &taps)
                scale_by_taps(&region, 3, plan.source_step[3], plan.tap_x, &taps)
                if stored_t is bfloat and real_t is float and plan.dots:
                    pack_in_twos(plan, source, &region, group, c, depth, work[plan.zeros:])
                else:
                    pack_pixels(source, &region, EVERY, group * plan.source_channels + c, depth, depth,
                                work[plan.zeros:])
            sums = place
            for phase in range(first_phase, last_phase):
                correlate_phase(plan, phase, &pixels, &taps, &region, finite, source, group, c, depth, packed,
                                channel // lanes, (channels + lanes - 1) // lanes, work, sums, adds, bias, target)
                sums += sums_size
            place += volume(&pixels) * plan.channel_block
        adds = True
    if not adds:
        zero(&work[plan.sums_offset], (last_phase - first_phase) * sums_size)
    return 0


cdef int tiles_task(CorrelationPlan plan, Py_ssize_t task, const stored_t[:, :, :, :, :, :] source,
                    const real_t[::1] packed, bint finite, const real_t[::1] bias,
                    stored_t[:, :, :, :, :, :] target, real_t[::1] work) except -1 nogil:
    # One block of pixels, phases and target channels of one group.
    cdef Py_ssize_t pixels = volume_of(plan.blocks), weights = plan.phase_blocks * plan.channel_blocks * plan.groups
    cdef Py_ssize_t pixel = task % pixels if plan.pixels_first else task // weights
    cdef Py_ssize_t weight = task // pixels if plan.pixels_first else task % weights
    cdef Py_ssize_t phase_block = weight % plan.phase_blocks
    cdef Py_ssize_t channel = weight // plan.phase_blocks % plan.channel_blocks * plan.channel_block
    cdef Py_ssize_t group = weight // (plan.phase_blocks * plan.channel_blocks)
    cdef Py_ssize_t channels = min(plan.channel_block, plan.target_channels - channel)
    cdef Py_ssize_t phase, first_phase = phase_block * plan.phase_block
    cdef Py_ssize_t last_phase = min(first_phase + plan.phase_block, plan.phases)
    cdef Py_ssize_t sums, sums_size
    cdef Py_ssize_t index[4]
    cdef Box box
    cdef bint done = plan.pairs and finite
    unravel(pixel, plan.blocks, index)
    box = cut(index, plan.block, plan.target_size)
    sums_size = volume(&box) * plan.channel_block
    sums = plan.sums_offset
    for phase in range(first_phase, last_phase if done else first_phase):
        done &= multiply_pairs(plan, phase, &box, source, group, channel, channels, packed, work, sums)
        sums += sums_size
    if not done:
        add_all_taps(plan, &box, first_phase, last_phase, sums_size, group, channel, channels, finite, source, packed,
                     bias, target, work)
    if plan.direct:
        return 0
    if plan.fan > 1:
        for phase in range(first_phase, last_phase):
            store_fan(plan, phase, &box, work, plan.sums_offset + (phase - first_phase) * sums_size, bias, group,
                      channel, channels, target)
        return 0
    store_phases(plan, first_phase, last_phase, &box, work, sums_size, bias, group * plan.target_channels + channel,
                 channels, target)
    return 0


cdef outcome_t correlate_task(CorrelationPlan plan, Py_ssize_t task, const stored_t[:, :, :, :, :, :] source,
                              const real_t[::1] packed, bint finite, const real_t[::1] bias,
                              stored_t[:, :, :, :, :, :] target, real_t[::1] work) noexcept nogil:
    if plan.along_lines:
        lines_task(plan, task, source, packed, bias, target, work)
    elif plan.group_lanes:
        groups_task(plan, task, source, packed, bias, target, work)
    elif plan.by_taps:
        across_taps_task(plan, task, source, packed, bias, target, work)
    elif plan.across:
        across_task(plan, task, source, packed, bias, target, work)
    else:
        tiles_task(plan, task, source, packed, finite, bias, target, work)
    if plan.streams:
        end_of_stream()
    return done(True)


def correlate(CorrelationPlan plan, const stored_t[:, :, :, :, :, :] source, const real_t[::1] packed, bint finite,
              const real_t[::1] bias, stored_t[:, :, :, :, :, :] target, real_t[:, ::1] work, int threads):
    """Fill target from source and packed weights; each thread has a row of work."""
    cdef Py_ssize_t task, row
    cdef outcome_t outcome = 0
    cdef real_t *end
    for row in range(work.shape[0] if plan.zeros else 0):
        end = &work[row, plan.zeros - 1]
        zero(&work[row, 0], plan.zeros)
    if stored_t is double and real_t is double or stored_t is not double and real_t is float:
        if threads == 1:    # not prange: a forked child must not touch the OpenMP runtime
            with nogil:
                for task in range(plan.tasks):
                    outcome += correlate_task(plan, task, source, packed, finite, bias, target, work[0])
        else:
            for task in prange(plan.tasks, nogil=True, schedule="dynamic", num_threads=threads):
                outcome += correlate_task(plan, task, source, packed, finite, bias, target, work[threadid()])
        all_finite_in(outcome, plan.tasks)
