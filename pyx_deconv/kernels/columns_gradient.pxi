# Weight gradients as one product of matrices: for each pixel of the coarse map a row of what its taps meet in the fine
# map, all taps and channels side by side, so that few channels fill vectors too. Part of engine.pyx.
#
# Taps that meet nothing are zeros. An infinite coarse pixel would make NaN of them: then the caller computes all of it
# anew, tap by tap.


cdef class ColumnsGradientPlan:
    """How such a weight gradient is cut; filled by ``plan_weight_gradient.py``, which explains the fields."""
    cdef Py_ssize_t groups, coarse_channels, fine_channels
    cdef Py_ssize_t kernel[4]          # (1, z, y, x)
    cdef Py_ssize_t coarse_size[4]
    cdef Py_ssize_t fine_size[4]
    cdef Py_ssize_t stride[4]
    cdef Py_ssize_t dilation[4]
    cdef Py_ssize_t begin[4]           # padding: tap t of pixel i meets i * stride + t * dilation - begin
    cdef Py_ssize_t block[4]           # coarse pixels at a time
    cdef Py_ssize_t blocks[4]
    cdef Py_ssize_t tap_block[4]       # taps of a task
    cdef Py_ssize_t tap_blocks[4]
    cdef Py_ssize_t chunks, chunk_blocks
    cdef Py_ssize_t coarse_block, coarse_blocks, fine_block, fine_blocks
    cdef Py_ssize_t coarse_width, width    # of a pixel of the packed coarse map, of a row of columns
    cdef Py_ssize_t coarse_offset, region_offset, columns_offset, sums_offset
    cdef bint fine_in_place
    cdef readonly Py_ssize_t tasks, work_size

    def __init__(self, fields):
        self.groups, self.coarse_channels, self.fine_channels = fields.channels
        self.tasks, self.work_size = fields.sizes
        self.kernel = fields.kernel
        self.coarse_size = fields.coarse_size
        self.fine_size = fields.fine_size
        self.stride = fields.stride
        self.dilation = fields.dilation
        self.begin = fields.begin
        self.block = fields.block
        self.blocks = fields.blocks
        self.tap_block = fields.tap_block
        self.tap_blocks = fields.tap_blocks
        self.chunks, self.chunk_blocks = fields.chunks
        self.coarse_block, self.coarse_blocks, self.fine_block, self.fine_blocks = fields.channel_blocks
        self.coarse_width, self.width = fields.widths
        self.coarse_offset, self.region_offset, self.columns_offset, self.sums_offset = fields.offsets
        self.fine_in_place = fields.fine_in_place


cdef int make_columns(ColumnsGradientPlan plan, const Box *box, const Box *taps, const Box *region,
                      const stored_t[:, :, :, :, :, :] fine, Py_ssize_t channel, Py_ssize_t channels,
                      real_t[::1] work) except -1 nogil:
    # work[columns_offset + pixel * width + tap * channels + channel] = what the tap of the pixel meets, or zero
    cdef Py_ssize_t step[4]
    cdef Py_ssize_t at[4]
    cdef Py_ssize_t low[4]
    cdef Py_ssize_t high[4]
    cdef Py_ssize_t pixel, axis, tz, ty, tx, z, y, first, last, row = plan.columns_offset
    cdef Py_ssize_t run = taps.size[3] * channels
    cdef const real_t *origin
    cdef const real_t *source
    cdef const real_t *end
    cdef real_t *row_end
    cdef const stored_t *last_of
    cdef bint merges
    if plan.fine_in_place:
        for axis in range(4):
            step[axis] = fine.strides[axis + (axis > 0)] // <Py_ssize_t>sizeof(stored_t)
            low[axis], high[axis] = 0, plan.fine_size[axis]
        origin = <const real_t *>&fine[0, channel, 0, 0, 0, 0]
        last_of = &fine[0, channel + channels - 1, 0, 0, 0, 0]
    else:   # with zeros around it
        step[3] = channels
        origin = &work[plan.region_offset]
        end = &work[plan.region_offset + volume(region) * channels - 1]
        for axis in range(2, -1, -1):
            step[axis] = step[axis + 1] * region.size[axis + 1]
        for axis in range(4):
            origin -= region.start[axis] * step[axis]
            low[axis], high[axis] = region.start[axis], region.start[axis] + region.size[axis]
    merges = plan.dilation[3] == 1 and step[3] == channels
    for axis in range(4):
        at[axis] = box.start[axis]
    for pixel in range(volume(box)):
        row_end = &work[row + plan.width - 1]
        first = row
        for tz in range(taps.start[1], taps.start[1] + taps.size[1]):
            z = at[1] * plan.stride[1] + tz * plan.dilation[1] - plan.begin[1]
            for ty in range(taps.start[2], taps.start[2] + taps.size[2]):
                y = at[2] * plan.stride[2] + ty * plan.dilation[2] - plan.begin[2]
                if not (low[1] <= z < high[1] and low[2] <= y < high[2]):
                    zero(&work[first], run)
                    first += run
                    continue
                source = origin + at[0] * step[0] + z * step[1] + y * step[2]
                tx = at[3] * plan.stride[3] + taps.start[3] * plan.dilation[3] - plan.begin[3]
                last = tx + (taps.size[3] - 1) * plan.dilation[3]
                if merges and low[3] <= tx and last < high[3]:
                    copy_run(source + tx * step[3], run, &work[first])
                    first += run
                    continue
                while tx <= last:
                    if low[3] <= tx < high[3]:
                        copy_run(source + tx * step[3], channels, &work[first])
                    else:
                        zero(&work[first], channels)
                    first += channels
                    tx += plan.dilation[3]
        row += plan.width
        advance(at, box)
    return 0


cdef int columns_gradient_task(ColumnsGradientPlan plan, Py_ssize_t task, const stored_t[:, :, :, :, :, :] coarse,
                               const stored_t[:, :, :, :, :, :] fine, real_t[:, ::1] partial,
                               real_t[::1] work) except -1 nogil:
    # One block of taps and channels of one group, summed over one chunk of the pixels; returns whether all is finite.
    cdef Py_ssize_t b = task % plan.fine_blocks * plan.fine_block
    cdef Py_ssize_t a = task // plan.fine_blocks % plan.coarse_blocks * plan.coarse_block
    cdef Py_ssize_t rest = task // (plan.fine_blocks * plan.coarse_blocks), tap_blocks = volume_of(plan.tap_blocks)
    cdef Py_ssize_t group = rest // tap_blocks % plan.groups
    cdef Py_ssize_t chunk = rest // (tap_blocks * plan.groups)
    cdef Py_ssize_t coarse_count = min(plan.coarse_block, plan.coarse_channels - a)
    cdef Py_ssize_t fine_count = min(plan.fine_block, plan.fine_channels - b)
    cdef Py_ssize_t lanes = TILE_BYTES // sizeof(real_t), all_taps = volume_of(plan.kernel)
    cdef Py_ssize_t block, i, j, k, used, pixels, row, p, tap, tz, ty, tx, width
    cdef Py_ssize_t index[4]
    cdef Py_ssize_t no_offset[1]
    cdef const real_t *rows[MAX_ROWS]
    cdef real_t *end
    cdef Box box, region, taps
    cdef int axis
    cdef bint finite = True
    no_offset[0] = 0
    unravel(rest % tap_blocks, plan.tap_blocks, index)
    taps = cut(index, plan.tap_block, plan.kernel)
    width = panel_end(volume(&taps) * fine_count, sizeof(real_t))
    # The sums; and lanes beyond the last tap, which are multiplied as well.
    end = &work[plan.sums_offset + plan.coarse_block * plan.width - 1]
    zero(&work[plan.columns_offset], plan.sums_offset - plan.columns_offset + plan.coarse_block * plan.width)
    for block in range(chunk * plan.chunk_blocks, min((chunk + 1) * plan.chunk_blocks, volume_of(plan.blocks))):
        unravel(block, plan.blocks, index)
        box = region = cut(index, plan.block, plan.coarse_size)
        pixels = volume(&box)
        for axis in range(1, 4):
            region.start[axis] = (box.start[axis] * plan.stride[axis] + taps.start[axis] * plan.dilation[axis]
                                  - plan.begin[axis])
            region.size[axis] = ((box.size[axis] - 1) * plan.stride[axis] + (taps.size[axis] - 1) * plan.dilation[axis]
                                 + 1)
            # No more than there is, and one zero beside it.
            clip(&region, axis, -1, plan.fine_size[axis] + 1)
        if volume(&region) == 0:
            continue
        pack_pixels(coarse, &box, EVERY, group * plan.coarse_channels + a, coarse_count, plan.coarse_width,
                    work[plan.coarse_offset:])
        if not plan.fine_in_place:
            pack_pixels(fine, &region, EVERY, group * plan.fine_channels + b, fine_count, fine_count,
                        work[plan.region_offset:])
        make_columns(plan, &box, &taps, &region, fine, group * plan.fine_channels + b, fine_count, work)
        end = &work[plan.coarse_offset + pixels * plan.coarse_width - 1]
        end = &work[plan.columns_offset + pixels * plan.width - 1]
        end = &work[plan.sums_offset + coarse_count * plan.width - 1]
        p = 0
        while p < width:
            i = 0
            while i < coarse_count:
                used = min(<Py_ssize_t>TILE_ROWS, coarse_count - i)
                for j in range(TILE_ROWS):
                    rows[j] = &work[plan.coarse_offset + i + (j if j < used else 0)]
                tile(min(lanes, width - p), 1, pixels, used, rows, plan.coarse_width, &work[plan.columns_offset + p],
                     no_offset, plan.width, &work[plan.sums_offset + i * plan.width + p], plan.width)
                i += TILE_ROWS
            p += lanes
    for i in range(coarse_count):
        finite &= all_finite(&work[plan.sums_offset + i * plan.width], volume(&taps) * fine_count)
        for j in range(fine_count):
            row = plan.sums_offset + i * plan.width + j
            k = ((group * plan.coarse_channels + a + i) * plan.fine_channels + b + j) * all_taps
            for tz in range(taps.start[1], taps.start[1] + taps.size[1]):
                for ty in range(taps.start[2], taps.start[2] + taps.size[2]):
                    tap = k + (tz * plan.kernel[2] + ty) * plan.kernel[3] + taps.start[3]
                    for tx in range(taps.size[3]):
                        partial[chunk, tap + tx] = work[row]
                        row += fine_count
    return finite


def columns_gradient(ColumnsGradientPlan plan, const stored_t[:, :, :, :, :, :] coarse,
                     const stored_t[:, :, :, :, :, :] fine, real_t[:, ::1] partial, real_t[:, ::1] work, int threads):
    """Fill partial (chunks, elements of the weight) as weight_gradient does; return whether all of it is finite."""
    cdef Py_ssize_t task
    cdef int infinite = 0
    if stored_t is double and real_t is double or stored_t is not double and real_t is float:
        if threads == 1:
            with nogil:
                for task in range(plan.tasks):
                    infinite += not columns_gradient_task(plan, task, coarse, fine, partial, work[0])
        else:
            for task in prange(plan.tasks, nogil=True, schedule="dynamic", num_threads=threads):
                infinite += not columns_gradient_task(plan, task, coarse, fine, partial, work[threadid()])
        return infinite == 0
