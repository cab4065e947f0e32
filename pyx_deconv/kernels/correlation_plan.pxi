# What the two ways to correlate share. Part of engine.pyx.

cdef class CorrelationPlan:
    """How one correlation is cut and which taps each phase has; filled by ``plan.py``, which explains the fields."""
    cdef Py_ssize_t groups, parts, source_channels, target_channels, panels, lanes, taps
    cdef Py_ssize_t kernel[3]
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
    cdef Py_ssize_t phase_count[4]
    cdef Py_ssize_t phases, phase_block, phase_blocks, channel_block, channel_blocks, depth_block
    cdef Py_ssize_t sums_offset        # in a thread's workspace, after the zeros and the packed source
    cdef bint in_place
    cdef readonly bint along_lines     # computed by lines.pxi
    cdef readonly Py_ssize_t tasks, zeros, work_size
    # per axis: rows (first output, outputs, first tap, last tap + 1) of a phase; rows (index, offset) of a tap
    cdef const Py_ssize_t[:, ::1] phase_z, phase_y, phase_x, tap_z, tap_y, tap_x

    def __init__(self, fields):
        self.groups, self.parts, self.source_channels, self.target_channels = fields.channels
        self.panels, self.lanes, self.taps, self.tasks, self.work_size = fields.sizes
        self.kernel = fields.kernel
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
        self.phase_count = fields.phase_count
        self.phases, self.phase_block, self.phase_blocks = fields.phases
        self.channel_block, self.channel_blocks, self.depth_block = fields.channel_blocks
        self.zeros, self.sums_offset = fields.offsets
        self.in_place = fields.in_place
        self.along_lines = fields.along_lines
        self.phase_z, self.phase_y, self.phase_x = fields.phase_tables
        self.tap_z, self.tap_y, self.tap_x = fields.tap_tables
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
