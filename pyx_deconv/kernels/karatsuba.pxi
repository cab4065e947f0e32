# Outputs in pairs, with three multiplications where two taps take four (Karatsuba). Part of engine.pyx.
#
# Along an axis where two taps g0, g1 of a phase meet neighbouring pixels d0, d1, d2 of the source, two outputs are
#
#     y0 = d0*g0 + d1*g1 = m0 + m1        m0 = (d0 - d1) * g0
#     y1 = d1*g0 + d2*g1 = m1 + m2        m1 =  d1       * (g0 + g1)
#                                         m2 = (d2 - d1) * g1
#
# A tap without a partner has m0 = d0*g, m2 = d1*g; a phase where none has one is not computed in pairs along this axis.
# In two dimensions a unit of 2 x 2 outputs takes 9 products of channels instead of 16, in three 27 instead of 64. The
# differences are made once for all target channels, the sums of weights when they are packed, and the products of all
# source channels and taps are added up before y0 and y1 are.
# Left out are products that are zero, with pixels beside the source, and those of an output that does not exist, the
# second of the last pair.
#
# The sums of weights leave the taps themselves in place, so that a block can be computed anew, tap by tap: where
# something overflows or is not finite (infinity minus infinity would reach outputs that no tap leads to), and where a
# pixel's sums are so much smaller than m0 and m1 that their rounding errors would show (a bright pixel beside it).


cdef struct Reach:
    # The source pixels of one element along an axis: pixel k of the units lies at first + step * k.
    Py_ssize_t first
    Py_ssize_t step
    Py_ssize_t count    # one, or two or three for a pair of outputs
    Py_ssize_t low      # the pixels [low, high) are in the source
    Py_ssize_t high


cdef struct Layout:
    # Where make_values reads and writes: in a workspace that begins with zeros.
    bint in_place       # the source, or packed first
    bint as_sums        # values are sums instead of differences
    Py_ssize_t parts
    Py_ssize_t packed
    Py_ssize_t values
    Py_ssize_t paired[4]


cdef inline Reach reach_of(Py_ssize_t start, Py_ssize_t step, Py_ssize_t size, bint paired, Py_ssize_t units,
                           Py_ssize_t count, Py_ssize_t offset) noexcept nogil:
    cdef Reach reach
    cdef Py_ssize_t pixels = 2 * units + count - 2 if paired else units
    reach.first = start * step + offset
    reach.step = step
    reach.count = count
    reach.low = 0 if reach.first >= 0 else min(pixels, (step - 1 - reach.first) // step)
    reach.high = 0 if reach.first >= size else min(pixels, (size - 1 - reach.first) // step + 1)
    reach.high = max(reach.low, reach.high)
    return reach


cdef int make_values(const Layout *layout, const Box *units, const Reach *reach,
                     const stored_t[:, :, :, :, :, :] source, Py_ssize_t channel, Py_ssize_t depth, Py_ssize_t width,
                     real_t[::1] work) except -1 nogil:
    # work[values + (point * units + unit) * width + channel] for the points of one element
    cdef Py_ssize_t step[4]
    cdef Py_ssize_t factor[4]
    cdef Py_ssize_t points[4]   # along each axis: 2 where two pixels make three values
    cdef Py_ssize_t unit, j, k, z, y, x, axis, ahead, slice_size, count = volume(units)
    cdef Py_ssize_t at[4]
    cdef const real_t *pixels[9]
    cdef const real_t *origin
    cdef const real_t *base
    cdef real_t *values
    cdef real_t *values_end
    cdef const stored_t *end
    cdef Box box, grid
    cdef bint whole
    slice_size = count
    for axis in range(4):
        factor[axis] = 1 + layout.paired[axis]
        points[axis] = 1 + (layout.as_sums and axis > 0 and reach[axis].count == 2)
        if axis > 1:
            slice_size *= 3 if points[axis] == 2 else reach[axis].count
    box.start[0] = units.start[0]
    box.size[0] = units.size[0]
    for axis in range(1, 4):
        box.start[axis] = reach[axis].first + reach[axis].low * reach[axis].step
        box.size[axis] = reach[axis].high - reach[axis].low
    if layout.in_place:
        origin = <const real_t *>&source[box.start[0], channel >> (layout.parts - 1), box.start[1], box.start[2],
                                         box.start[3], 0]
        end = &source[box.start[0] + box.size[0] - 1, (channel + depth - 1) >> (layout.parts - 1),
                      box.start[1] + (box.size[1] - 1) * reach[1].step,
                      box.start[2] + (box.size[2] - 1) * reach[2].step,
                      box.start[3] + (box.size[3] - 1) * reach[3].step, layout.parts - 1]
        step[0] = source.strides[0] // <Py_ssize_t>sizeof(stored_t)
        for axis in range(1, 4):
            step[axis] = source.strides[axis + 1] // <Py_ssize_t>sizeof(stored_t) * reach[axis].step
    else:
        for axis in range(4):
            step[axis] = reach[axis].step if axis else 1
        pack_pixels(source, &box, step, channel, depth, depth, work[layout.packed:])
        origin = &work[layout.packed]
        step[3] = depth
        for axis in range(2, -1, -1):
            step[axis] = step[axis + 1] * box.size[axis + 1]
    ahead = factor[3] * step[3] if layout.in_place else 0   # what is packed is at hand
    # From here on pixels are counted from that of the first unit.
    for axis in range(1, 4):
        origin -= reach[axis].low * step[axis]
    grid = units[0]
    for axis in range(4):
        grid.start[axis] = at[axis] = 0
    values_end = &work[layout.values + slice_size * (3 if points[1] == 2 else reach[1].count) * width - 1]
    for unit in range(count):
        base = origin + at[0] * step[0]
        whole = True
        for axis in range(1, 4):
            k = at[axis] * factor[axis]
            base += k * step[axis]
            whole &= k >= reach[axis].low and k + reach[axis].count <= reach[axis].high
        for z in range(reach[1].count):
            k = at[1] * factor[1] + z
            j = 0
            for y in range(reach[2].count):
                for x in range(reach[3].count):
                    if whole or (reach[1].low <= k < reach[1].high
                                 and reach[2].low <= at[2] * factor[2] + y < reach[2].high
                                 and reach[3].low <= at[3] * factor[3] + x < reach[3].high):
                        pixels[j] = base + z * step[1] + y * step[2] + x * step[3]
                    else:
                        pixels[j] = &work[0]
                    j += 1
            values = &work[layout.values + (z * points[1] * slice_size + unit) * width]
            if layout.as_sums:
                sums(reach[2].count, reach[3].count, pixels, depth, ahead, values, count * width)
            else:
                differences(reach[2].count, reach[3].count, pixels, depth, ahead, values, count * width)
        advance(at, &grid)
    values = &work[layout.values]
    if reach[1].count == 3:
        add_to_outer(values, values + slice_size * width, values + 2 * slice_size * width, slice_size * width, -1)
    elif points[1] == 2:
        add_up(values, values + 2 * slice_size * width, values + slice_size * width, slice_size * width)
    return 0


cdef inline void tile_to(Py_ssize_t width, Py_ssize_t depth, Py_ssize_t used_rows, const real_t **rows,
                         const real_t *panel, real_t *c, Py_ssize_t c_step, const Py_ssize_t *places) noexcept nogil:
    # One segment of rows side by side, added to some rows of c.
    cdef Py_ssize_t no_offset = 0
    tile_at(width, 1, depth, used_rows, rows, NULL, 1, panel, &no_offset, width, c, c_step, places, NULL, True)


cdef inline void narrow(Reach *reach, bint paired, int axis, const Box *units, Box *part) noexcept nogil:
    # Only the units that meet a pixel of the source: part says which, and reach is counted from their first.
    cdef Py_ssize_t first = max(0, (reach.low - reach.count + 1 + paired) >> paired)
    part.start[axis] = first
    part.size[axis] = min(units.size[axis], (reach.high + paired) >> paired) - first
    first <<= paired
    reach.first += first * reach.step
    reach.low -= first
    reach.high -= first


cdef inline void clip_to_point(const Reach *reach, bint paired, Py_ssize_t index, Py_ssize_t outputs, int axis,
                               const Box *part, Box *met) noexcept nogil:
    # Of a part of the units, those where this point's value is not zero and its product is added to one of so many
    # outputs: the last pair can be half of one.
    cdef Py_ssize_t first = min(index, 1)   # of the pixels that make the value
    cdef Py_ssize_t last = first + (reach.count == 3 and index != 1)
    met.start[axis] = 0
    met.size[axis] = part.size[axis]
    clip(met, axis, (reach.low - last + paired) >> paired, (reach.high - first + paired) >> paired)
    if paired and index == reach.count - 1:
        clip(met, axis, 0, (outputs >> 1) - part.start[axis])


cdef inline Py_ssize_t list_units(const Box *met, const Box *part, const Box *units, Py_ssize_t width,
                                  Py_ssize_t *rows, Py_ssize_t *places) noexcept nogil:
    # Where those that are met lie in the values of a part of the units, and in all units; returns how many there are.
    cdef Py_ssize_t n, z, y, x, row, place, count = 0
    for n in range(met.size[0]):
        for z in range(met.start[1], met.start[1] + met.size[1]):
            for y in range(met.start[2], met.start[2] + met.size[2]):
                row = ((n * part.size[1] + z) * part.size[2] + y) * part.size[3]
                place = (((n * units.size[1] + part.start[1] + z) * units.size[2] + part.start[2] + y) * units.size[3]
                         + part.start[3])
                for x in range(met.start[3], met.start[3] + met.size[3]):
                    rows[count] = (row + x) * width
                    places[count] = place + x
                    count += 1
    return count


cdef inline bint same_pixels(const Box *a, const Box *b) noexcept nogil:
    return (a.start[1] == b.start[1] and a.size[1] == b.size[1] and a.start[2] == b.start[2]
            and a.size[2] == b.size[2] and a.start[3] == b.start[3] and a.size[3] == b.size[3])


cdef int add_element(CorrelationPlan plan, const Py_ssize_t *paired, const Box *box, const Box *units, const Box *part,
                     const Reach *reach, const Py_ssize_t *slots, Py_ssize_t depth, Py_ssize_t width,
                     Py_ssize_t channel, const real_t[::1] packed, Py_ssize_t group, Py_ssize_t panel,
                     Py_ssize_t panels, real_t[::1] work) except -1 nogil:
    # work[products_offset + (point * units + unit) * channel_block + lane] += values times weights, point by point,
    # for part of the units
    cdef Py_ssize_t z, y, x, p, i, first, used, point, slot, lanes, place, value = 0, count = 0, most = 1
    cdef Py_ssize_t all_units = volume(units), size = volume(part) * width
    cdef Py_ssize_t row_of[MAX_UNITS]
    cdef Py_ssize_t places[MAX_UNITS]
    cdef const real_t *rows[MAX_ROWS]
    cdef const real_t *values
    cdef const real_t *end
    cdef real_t *products
    cdef Box met = part[0], listed = part[0]
    listed.size = [0, 0, 0, 0]
    for z in range(reach[1].count):
        clip_to_point(&reach[1], paired[1], z, box.size[1], 1, part, &met)
        for y in range(reach[2].count):
            clip_to_point(&reach[2], paired[2], y, box.size[2], 2, part, &met)
            for x in range(reach[3].count):
                clip_to_point(&reach[3], paired[3], x, box.size[3], 3, part, &met)
                if not same_pixels(&met, &listed):
                    count = list_units(&met, part, units, width, row_of, places)
                    most = rows_of_tiles(max(1, count))
                    listed = met
                # Two pixels of a pair are its first and its last point.
                point = z * (1 + (reach[1].count == 2))
                point = point * (1 + 2 * paired[2]) + y * (1 + (reach[2].count == 2))
                point = point * (1 + 2 * paired[3]) + x * (1 + (reach[3].count == 2))
                values = &work[plan.values_offset + value * size]
                products = &work[plan.products_offset + point * all_units * plan.channel_block]
                end = &work[plan.products_offset + (point + 1) * all_units * plan.channel_block - 1]
                slot = slot_of(plan, slots[z], slots[3 + y], slots[6 + x])
                for p in range(panels):
                    lanes = panel_width(plan, panel + p)
                    place = panel_place(plan, group, panel + p) + (slot * plan.source_channels + channel) * lanes
                    end = &packed[place + depth * lanes - 1]
                    first = 0
                    while first < count:
                        used = min(most, count - first)
                        for i in range(TILE_ROWS):
                            rows[i] = values + row_of[first + (i if i < used else 0)]
                        if count == all_units:
                            tile_to(lanes, depth, used, rows, &packed[place],
                                    products + first * plan.channel_block + p * plan.lanes, plan.channel_block, NULL)
                        else:
                            tile_to(lanes, depth, used, rows, &packed[place], products + p * plan.lanes,
                                    plan.channel_block, &places[first])
                        first += used
                value += 1
    return 0


cdef int add_points(CorrelationPlan plan, const Py_ssize_t *paired, const Box *box, const Box *units, real_t[::1] work,
                    Py_ssize_t sums) except -1 nogil:
    # The sums of the box's pixels from the products of its units; returns whether they are to be trusted.
    cdef Py_ssize_t count = volume(units) * plan.channel_block
    cdef Py_ssize_t ny = 1 + 2 * paired[2], nx = 1 + 2 * paired[3], width = plan.channel_block
    cdef Py_ssize_t z, y, unit, pz, py, first, line
    cdef Py_ssize_t at[4]
    cdef real_t *products = &work[plan.products_offset]
    cdef real_t *pixel
    cdef real_t *end = &work[plan.products_offset + count * (1 + 2 * paired[1]) * ny * nx - 1]
    cdef Box grid = units[0]
    cdef int axis
    cdef bint good = True, last
    if paired[1]:
        good &= add_rows(products, products + ny * nx * count, products + 2 * ny * nx * count, ny * nx * volume(units),
                         width)
    if paired[2]:
        for z in range(1 + paired[1]):
            first = 2 * z * ny * nx * count
            good &= add_rows(products + first, products + first + nx * count, products + first + 2 * nx * count,
                             nx * volume(units), width)
    for axis in range(4):
        grid.start[axis] = at[axis] = 0
    for unit in range(volume(units)):
        for pz in range(1 + paired[1]):
            z = at[1] * (1 + paired[1]) + pz
            for py in range(1 + paired[2]):
                y = at[2] * (1 + paired[2]) + py
                if z >= box.size[1] or y >= box.size[2]:
                    continue
                first = (2 * pz * ny + 2 * py) * nx * count + unit * width
                line = sums + ((at[0] * box.size[1] + z) * box.size[2] + y) * box.size[3] * width
                if paired[3]:
                    last = 2 * at[3] + 1 == box.size[3]
                    pixel = &work[line + 2 * at[3] * width]
                    end = &work[line + (2 * at[3] + 2 - last) * width - 1]
                    good &= add_pairs(products + first, products + first + count, products + first + 2 * count, width,
                                      pixel, NULL if last else pixel + width)
                else:
                    end = &work[line + (at[3] + 1) * width - 1]
                    good &= move(products + first, width, &work[line + at[3] * width])
        advance(at, &grid)
    return good


cdef int multiply_pairs(CorrelationPlan plan, Py_ssize_t phase, const Box *task,
                        const stored_t[:, :, :, :, :, :] source, Py_ssize_t group, Py_ssize_t channel,
                        Py_ssize_t channels, const real_t[::1] packed, real_t[::1] work,
                        Py_ssize_t sums) except -1 nogil:
    # work[sums + pixel * channel_block + lane] = the sums of one phase; returns whether they are to be trusted.
    cdef Py_ssize_t c, depth, width, ez, ey, ex, i, lanes = plan.lanes
    cdef Py_ssize_t index[4]
    cdef Py_ssize_t slots[9]
    cdef Py_ssize_t paired[4]
    cdef Reach reach[4]
    cdef Layout layout
    cdef Box box, units, part
    cdef int axis
    if not phase_box(plan, phase, task, index, &box):
        return 1
    layout.in_place, layout.as_sums, layout.parts = plan.in_place, False, plan.parts
    paired[0] = 0
    paired[1] = plan.paired[1] and plan.element_z[plan.phase_z[index[1], 4], 0] > 1
    paired[2] = plan.paired[2] and plan.element_y[plan.phase_y[index[2], 4], 0] > 1
    paired[3] = plan.paired[3] and plan.element_x[plan.phase_x[index[3], 4], 0] > 1
    layout.packed, layout.values, layout.paired = plan.zeros, plan.values_offset, paired
    units = box
    for axis in range(1, 4):
        units.size[axis] = (box.size[axis] + paired[axis]) // (1 + paired[axis])
    part = units
    i = volume(&units) * plan.channel_block
    for axis in range(1, 4):
        i *= 1 + 2 * paired[axis]
    for c in range(plan.products_offset, plan.products_offset + i):
        work[c] = 0
    c = 0
    while c < plan.source_channels:
        depth = min(plan.pair_depth, plan.source_channels - c)
        width = (depth + 15) // 16 * 16
        for ez in range(plan.phase_z[index[1], 4], plan.phase_z[index[1], 5]):
            reach[1] = reach_of(box.start[1], plan.source_step[1], plan.source_size[1], paired[1], units.size[1],
                                plan.element_z[ez, 0], plan.element_z[ez, 4])
            narrow(&reach[1], paired[1], 1, &units, &part)
            for ey in range(plan.phase_y[index[2], 4], plan.phase_y[index[2], 5]):
                reach[2] = reach_of(box.start[2], plan.source_step[2], plan.source_size[2], paired[2], units.size[2],
                                    plan.element_y[ey, 0], plan.element_y[ey, 4])
                narrow(&reach[2], paired[2], 2, &units, &part)
                for ex in range(plan.phase_x[index[3], 4], plan.phase_x[index[3], 5]):
                    reach[3] = reach_of(box.start[3], plan.source_step[3], plan.source_size[3], paired[3],
                                        units.size[3], plan.element_x[ex, 0], plan.element_x[ex, 4])
                    narrow(&reach[3], paired[3], 3, &units, &part)
                    if reach[1].low == reach[1].high or reach[2].low == reach[2].high or reach[3].low == reach[3].high:
                        continue
                    for i in range(3):
                        slots[i] = plan.element_z[ez, 1 + i]
                        slots[3 + i] = plan.element_y[ey, 1 + i]
                        slots[6 + i] = plan.element_x[ex, 1 + i]
                    make_values(&layout, &part, reach, source, group * plan.source_channels + c, depth, width, work)
                    add_element(plan, paired, &box, &units, &part, reach, slots, depth, width, c, packed, group,
                                channel // lanes, (channels + lanes - 1) // lanes, work)
        c += plan.pair_depth
    return add_points(plan, paired, &box, &units, work, sums)
