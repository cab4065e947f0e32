# Scatters, and gathers without a stride, to few target channels by products with all taps. Part of engine.pyx.
#
# Pixels are in the lanes of the tile as in across.pxi, but its rows are target channels and taps, which are many more:
#
#     products[m, t][i] = sum over channels c of source[n, c, i] * weight[m, c, t]
#     sums[m, f][u]     = sum over the taps t of phase f of products[m, t][u + offset[t]]
#
# for phases f of all axes together, which need not have as many taps as each other. A task computes the products of all
# pixels that its outputs meet, those beside its block as well.

cdef int add_phase(CorrelationPlan plan, const Grid *grid, const Box *task, Py_ssize_t channel, Py_ssize_t phase,
                   real_t[::1] work) except -1 nogil:
    # The sums of one phase of a target channel.
    cdef Py_ssize_t lanes = TILE_BYTES // 2 // <Py_ssize_t>sizeof(real_t), taps = volume_of(plan.tap_count)
    cdef Py_ssize_t count = 0, tap, n, size, sums, place
    cdef Py_ssize_t index[4]
    cdef Py_ssize_t at[4]
    cdef Py_ssize_t places[MAX_TAPS]
    cdef real_t ones[MAX_TAPS]
    cdef const real_t *end
    index[1] = phase // plan.fan_sizes[2] // plan.fan_sizes[1]
    index[2] = phase // plan.fan_sizes[2] % plan.fan_sizes[1]
    index[3] = phase % plan.fan_sizes[2]
    for tap in range(taps):
        unravel(tap, plan.tap_count, at)
        if (plan.tap_z[at[1], 1] == index[1] and plan.tap_y[at[2], 1] == index[2]
                and plan.tap_x[at[3], 1] == index[3]):
            ones[count] = 1
            places[count] = (tap * grid.channel + (plan.tap_z[at[1], 0] - plan.low[1]) * grid.pixel[1]
                             + (plan.tap_y[at[2], 0] - plan.low[2]) * grid.pixel[2]
                             + plan.tap_x[at[3], 0] - plan.low[3])
            count += 1
    # Planes and lines are as far apart as in what is packed: one long line of each sample.
    size = ((task.size[1] - 1) * grid.pixel[1] + (task.size[2] - 1) * grid.pixel[2] + task.size[3] + lanes - 1) // lanes
    for n in range(task.size[0]):
        place = plan.products_offset + channel * taps * grid.channel + n * grid.pixel[0]
        sums = plan.sums_offset + (channel * plan.fan + phase) * grid.row + n * plan.block[1] * plan.plane
        for tap in range(count):
            end = &work[place + places[tap] + size * lanes - 1]
        end = &work[sums + size * lanes - 1]
        add_lines(1, count, &work[place], places, ones, 0, size * lanes, False, &work[sums], 0)
    return 0


cdef int across_taps_task(CorrelationPlan plan, Py_ssize_t task, const stored_t[:, :, :, :, :, :] source,
                          const real_t[::1] packed, const real_t[::1] bias, stored_t[:, :, :, :, :, :] target,
                          real_t[::1] work) except -1 nogil:
    # All channels and taps of one block of pixels of one group.
    cdef Py_ssize_t lanes = TILE_BYTES // <Py_ssize_t>sizeof(real_t), unit = TILE_UNIT // <Py_ssize_t>sizeof(real_t)
    cdef Py_ssize_t group = task % plan.groups, c = 0, depth, p, pixels = 1, shift, last_shift, no_offset = 0, i
    cdef Py_ssize_t index[4]
    cdef const real_t *end
    cdef Grid grid
    cdef Box box
    grid_of(plan, sizeof(work[0]), &grid)
    unravel(task // plan.groups, plan.blocks, index)
    box = cut(index, plan.block, plan.target_size)
    for i in range(4):
        pixels += (box.size[i] + plan.high[i] - plan.low[i] - 1) * grid.pixel[i]
    while c < plan.source_channels:
        depth = min(plan.depth_block, plan.source_channels - c)
        pack_across(plan, &grid, &box, source, group * plan.source_channels + c, depth, work[plan.zeros:])
        shift = c * plan.lanes
        last_shift = c * panel_width(plan, plan.panels - 1)
        p = 0
        while p < pixels:
            i = min(lanes, (pixels - p + unit - 1) // unit * unit)
            end = &work[plan.zeros + p + (depth - 1) * grid.channel + i - 1]
            add_rows_across(plan, group, 0, plan.width, 1, depth, packed, &shift, &last_shift, i, &work[plan.zeros + p],
                            &no_offset, grid.channel, work, plan.products_offset + p, grid.channel, c > 0)
            p += lanes
        c += plan.depth_block
    for i in range(plan.target_channels):
        add_phase(plan, &grid, &box, i // plan.fan, i % plan.fan, work)
    store_across(plan, &grid, 0, 1, 1, &box, work, 0, bias, group, 0, plan.target_channels, target)
    return 0
