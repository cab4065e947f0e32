# What the ways to correlate share. Part of engine.pyx.

cdef class CorrelationPlan:
    """How one correlation is cut; filled by ``plan_correlation.py``, which explains the fields."""
    cdef Py_ssize_t groups, parts, source_channels, target_channels, panels, width, lanes, slots
    cdef Py_ssize_t slot_count[3]
    cdef Py_ssize_t source_size[4]
    cdef Py_ssize_t target_size[4]     # in pixels of the largest phase
    cdef Py_ssize_t source_step[4]
    cdef Py_ssize_t target_step[4]
    cdef Py_ssize_t tap_block[4]       # taps whose source pixels are packed together
    cdef Py_ssize_t tap_blocks[4]
    cdef Py_ssize_t tap_count[4]
    cdef Py_ssize_t low[4]             # least and greatest offset of any tap
    cdef Py_ssize_t high[4]
    cdef Py_ssize_t block[4]           # pixels of a task
    cdef Py_ssize_t blocks[4]
    cdef Py_ssize_t packed_block[4]    # of a task, whose source pixels are packed together
    cdef Py_ssize_t phase_count[4]
    cdef Py_ssize_t paired[4]          # 1 along an axis whose outputs are computed in pairs
    cdef Py_ssize_t phases, phase_block, phase_blocks, channel_block, channel_blocks, depth_block, pair_depth
    # in a thread's workspace: zeros, the packed source, the sums, and what pairs of taps need
    cdef Py_ssize_t sums_offset, values_offset, products_offset
    cdef Py_ssize_t fan                # phases that are computed side by side, as if they were channels
    cdef Py_ssize_t fan_sizes[3]
    cdef Py_ssize_t fan_bases[3]
    cdef bint in_place, merges, pairs, channels_last
    cdef readonly bint along_lines     # computed by lines.pxi
    cdef readonly bint across          # computed by across.pxi
    cdef bint by_taps                  # and by across_taps.pxi
    cdef bint pixels_first             # the next task has other pixels, with the same weights
    cdef bint streams                  # the target is larger than the caches
    cdef bint direct                   # tiles, or sums along lines, are written to the target itself
    cdef readonly bint dots            # source channels are two of bfloat16 each
    cdef Py_ssize_t line, plane, row   # there, from one line, plane, channel of sums to the next; or lines of a band
    cdef readonly Py_ssize_t group_lanes    # computed by groups.pxi: target channels of a group; else 0
    cdef Py_ssize_t zeros
    cdef readonly Py_ssize_t tasks, work_size, packed_size
    # per axis: rows (first output, outputs, first tap, last + 1, first element, last + 1) of a phase; the offset and
    # slot of a tap; rows (number of slots, three slots, offset) of an element; rows (slot, slot, slot) of a sum of two
    cdef const Py_ssize_t[:, ::1] phase_z, phase_y, phase_x, tap_z, tap_y, tap_x
    cdef const Py_ssize_t[:, ::1] element_z, element_y, element_x, sum_z, sum_y, sum_x
    cdef const Py_ssize_t[::1] tap_slots        # of each tap of the kernel its packed slot
    cdef const Py_ssize_t[:, ::1] fan_taps      # the taps of each slot, in the order of the fan

    def __init__(self, fields):
        self.groups, self.parts, self.source_channels, self.target_channels = fields.channels
        self.panels, self.width, self.lanes, self.slots = fields.packed
        self.tasks, self.work_size = fields.sizes
        self.packed_size = self.groups * self.width * self.slots * self.source_channels
        self.slot_count = fields.slot_count
        self.source_size = fields.source_size
        self.target_size = fields.target_size
        self.source_step = fields.source_step
        self.target_step = fields.target_step
        self.low = fields.low
        self.high = fields.high
        self.tap_block = fields.tap_block
        self.tap_blocks = fields.tap_blocks
        self.block = fields.block
        self.blocks = fields.blocks
        self.packed_block = fields.packed_block
        self.phase_count = fields.phase_count
        self.paired = fields.paired
        self.pairs = any(fields.paired)
        self.phases, self.phase_block, self.phase_blocks = fields.phases
        self.channel_block, self.channel_blocks, self.depth_block, self.pair_depth = fields.channel_blocks
        self.zeros, self.sums_offset, self.values_offset, self.products_offset = fields.offsets
        self.in_place = fields.in_place
        self.along_lines = fields.along_lines
        self.across = fields.across
        self.by_taps = fields.by_taps
        self.pixels_first = fields.pixels_first
        self.streams = fields.streams
        self.direct = fields.direct
        self.dots = fields.dots
        self.line, self.plane, self.row = fields.sums_steps
        self.group_lanes = fields.group_lanes
        self.merges = fields.merges
        self.phase_z, self.phase_y, self.phase_x = fields.phase_tables
        self.tap_z, self.tap_y, self.tap_x = fields.tap_tables
        self.element_z, self.element_y, self.element_x = fields.element_tables
        self.sum_z, self.sum_y, self.sum_x = fields.sum_tables
        self.tap_slots = fields.tap_slots
        self.fan_taps = fields.fan_taps
        self.fan, self.fan_sizes[0], self.fan_sizes[1], self.fan_sizes[2] = fields.fans
        self.fan_bases = fields.fan_bases
        self.channels_last = fields.channels_last
        self.tap_count = [1, len(self.tap_z), len(self.tap_y), len(self.tap_x)]


cdef inline int phase_box(CorrelationPlan plan, Py_ssize_t phase, const Box *task, Py_ssize_t *index,
                          Box *box) except -1 nogil:
    # The task's pixels that this phase has: later phases can have one output less along an axis.
    unravel(phase, plan.phase_count, index)
    box[0] = task[0]
    clip(box, 1, 0, plan.phase_z[index[1], 1])
    clip(box, 2, 0, plan.phase_y[index[2], 1])
    clip(box, 3, 0, plan.phase_x[index[3], 1])
    return volume(box) > 0


cdef inline Py_ssize_t panel_width(CorrelationPlan plan, Py_ssize_t panel) noexcept nogil:
    # The last panel of a group has just the lanes that it needs.
    return min(plan.lanes, plan.width - panel * plan.lanes)


cdef inline Py_ssize_t panel_place(CorrelationPlan plan, Py_ssize_t group, Py_ssize_t panel) noexcept nogil:
    # Where a panel's packed weights begin.
    return (group * plan.width + panel * plan.lanes) * plan.slots * plan.source_channels


cdef inline Py_ssize_t slot_of(CorrelationPlan plan, Py_ssize_t z, Py_ssize_t y, Py_ssize_t x) noexcept nogil:
    return (z * plan.slot_count[1] + y) * plan.slot_count[2] + x


cdef inline Py_ssize_t slot_of_taps(CorrelationPlan plan, Py_ssize_t z, Py_ssize_t y, Py_ssize_t x) noexcept nogil:
    # Of rows of the tap tables: phases of dilated taps share their weights.
    return slot_of(plan, plan.tap_z[z, 1], plan.tap_y[y, 1], plan.tap_x[x, 1])


cdef inline const real_t *source_place(CorrelationPlan plan, const stored_t[:, :, :, :, :, :] source,
                                       Py_ssize_t channel, Py_ssize_t depth, const Box *region,
                                       real_t[::1] work, Py_ssize_t *step) noexcept nogil:
    # Where the channels of source pixel 0 lie or would lie, in place or where they were packed, and how far it is from
    # one pixel to the next along each axis.
    cdef Py_ssize_t axis
    cdef const real_t *origin
    if plan.in_place:
        for axis in range(4):
            step[axis] = source.strides[axis + (axis > 0)] // <Py_ssize_t>sizeof(real_t)
        return <const real_t *>&source[0, channel << plan.dots >> (plan.parts - 1), 0, 0, 0, 0]
    step[3] = depth
    origin = &work[plan.zeros]
    for axis in range(2, -1, -1):
        step[axis] = step[axis + 1] * region.size[axis + 1]
    for axis in range(4):
        origin -= region.start[axis] * step[axis]
    return origin


cdef inline int look_up(CorrelationPlan plan, const stored_t[:, :, :, :, :, :] source, Py_ssize_t channel,
                        Py_ssize_t depth, const Box *region, real_t[::1] work, const Py_ssize_t *pixel, Py_ssize_t z,
                        Py_ssize_t y, Py_ssize_t x) except -1 nogil:
    # For a build with bounds checks: what a pixel reaches through a tap is where source_place says.
    cdef const stored_t *end
    cdef const real_t *packed_end
    z += pixel[1] * plan.source_step[1]
    y += pixel[2] * plan.source_step[2]
    x += pixel[3] * plan.source_step[3]
    if plan.in_place:
        channel = ((channel + depth) << plan.dots) - 1
        end = &source[pixel[0], channel >> (plan.parts - 1), z, y, x, plan.parts - 1]
    else:
        packed_end = &work[plan.zeros + depth * ((((pixel[0] - region.start[0]) * region.size[1] + z - region.start[1])
                                                  * region.size[2] + y - region.start[2]) * region.size[3]
                                                 + x - region.start[3] + 1) - 1]
    return 0
