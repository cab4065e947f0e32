# Weight gradients of few channels: each sum is a product of lines of pixels, several taps at a time.
# Part of engine.pyx.
#
# Both maps lie packed as pack_lines says, the lines of the coarse one as far apart as those of a remainder of the fine
# one: so a plane of them is one run, of which each tap meets another run, with zeros between the coarse lines. An
# infinite fine pixel would make NaN of them: then the caller computes all of it anew, tap by tap.


cdef class LinesGradientPlan(GradientPlan):
    """How it is cut; filled by ``plan_lines_gradient.py``, which explains the fields."""
    cdef Py_ssize_t dilation[4]
    cdef Py_ssize_t begin[4]           # padding: tap t of pixel i meets i * stride + t * dilation - begin
    cdef Py_ssize_t tap_block[4]       # taps of a task
    cdef Py_ssize_t tap_blocks[4]
    cdef Py_ssize_t coarse_offset, fine_offset, sums_offset

    def __init__(self, fields):
        GradientPlan.__init__(self, fields)
        self.dilation = fields.dilation
        self.begin = fields.begin
        self.tap_block = fields.tap_block
        self.tap_blocks = fields.tap_blocks
        self.coarse_offset, self.fine_offset, self.sums_offset = fields.offsets


cdef int add_products_of_lines(LinesGradientPlan plan, const Box *box, const Box *region, const Box *lines,
                               Py_ssize_t fine_offset, Py_ssize_t coarse_count, Py_ssize_t fine_count, Py_ssize_t taps,
                               const Py_ssize_t *offsets, real_t[::1] work) except -1 nogil:
    # The vectors of sums += those of this block: plane by plane, for each pair of channels.
    cdef Py_ssize_t lanes = whole_vectors(1, sizeof(real_t)), width = lines.size[3]
    cdef Py_ssize_t coarse_plane = box.size[2] * width
    cdef Py_ssize_t fine_plane = plan.stride[2] * plan.stride[3] * region.size[2] * width
    cdef Py_ssize_t size = coarse_plane - width + box.size[3], n, z, a, b, i, x, y, sums
    cdef const real_t *end
    for n in range(box.size[0]):
        for z in range(box.size[1]):
            for a in range(coarse_count):
                x = plan.coarse_offset + ((a * box.size[0] + n) * box.size[1] + z) * coarse_plane
                for b in range(fine_count):
                    y = fine_offset + fine_plane * (
                        (b * box.size[0] + n) * region.size[1] + z * plan.stride[1])
                    sums = plan.sums_offset + (a * fine_count + b) * taps * lanes
                    end = &work[sums + taps * lanes - 1]
                    end = &work[x + size + lanes - 1]
                    for i in range(taps if c_bounds_checked else 0):
                        end = &work[y + offsets[i] + size + lanes - 1]
                    dot_taps(taps, &work[x], &work[y], offsets, size, &work[sums])
    return 0


cdef outcome_t lines_gradient_task(LinesGradientPlan plan, Py_ssize_t task, const stored_t[:, :, :, :, :, :] coarse,
                                   const stored_t[:, :, :, :, :, :] fine, real_t[:, ::1] partial,
                                   real_t[::1] work) noexcept nogil:
    # One block of taps of one group, summed over one chunk of the pixels.
    cdef Share share = share_of(plan, task, volume_of(plan.tap_blocks))
    cdef Py_ssize_t lanes = whole_vectors(1, sizeof(real_t)), all_taps = volume_of(plan.kernel), parts = plan.parts
    cdef Py_ssize_t coarse_count = share.coarse_count, fine_count = share.fine_count, taps_of_a_task
    cdef Py_ssize_t block, tap, i, j, k, z, y, x, row, column, shift_y, shift_x, width = 0, height = 0
    cdef Py_ssize_t first_x, fine_offset
    cdef Py_ssize_t index[4]
    cdef Py_ssize_t reach[4]
    cdef Py_ssize_t offsets[MAX_TAPS]
    cdef real_t *sums
    cdef Box box, region, lines, taps
    cdef int axis
    cdef bint meets, finite = True
    unravel(share.taps, plan.tap_blocks, index)
    taps = cut(index, plan.tap_block, plan.kernel)
    taps_of_a_task = volume(&taps)
    for axis in range(1, 4):
        reach[axis] = (taps.size[axis] - 1) * plan.dilation[axis]
    k = coarse_count * fine_count * taps_of_a_task
    sums = &work[plan.sums_offset + k * lanes - 1]
    sums = &work[plan.sums_offset]
    zero(sums, k * lanes)
    for block in range(share.first, share.last):
        unravel(block, plan.blocks, index)
        box = lines = region = cut(index, plan.block, plan.coarse_size)
        meets = True
        for axis in range(1, 4):
            region.start[axis] = (box.start[axis] * plan.stride[axis] + taps.start[axis] * plan.dilation[axis]
                                  - plan.begin[axis])
            region.size[axis] = (box.size[axis] - 1) * plan.stride[axis] + 1 + reach[axis]
            meets = meets and region.start[axis] < plan.fine_size[axis] and region.start[axis] + region.size[axis] > 0
        if not meets:
            continue
        # A pixel of each remainder along x in turn.
        first_x = region.start[3] % plan.stride[3]
        first_x += plan.stride[3] if first_x < 0 else 0
        region.start[3] -= first_x
        region.size[2] = box.size[2] + reach[2] // plan.stride[2]
        region.size[3] = box.size[3] + (first_x + reach[3]) // plan.stride[3]
        fine_offset = plan.fine_offset + whole_lines(&region, plan.stride[3], sizeof(real_t))
        lines.size[3] = region.size[3]
        if region.size[2] != height or region.size[3] != width:
            height, width = region.size[2], region.size[3]
            tap = 0
            for z in range(taps.size[1]):
                for y in range(taps.size[2]):
                    shift_y = y * plan.dilation[2]
                    row = (z * plan.dilation[1] * plan.stride[2] + shift_y % plan.stride[2]) * plan.stride[3]
                    column = shift_y // plan.stride[2] * width
                    for x in range(taps.size[3]):
                        shift_x = first_x + x * plan.dilation[3]
                        offsets[tap] = ((row + shift_x % plan.stride[3]) * height * width
                                        + column + shift_x // plan.stride[3])
                        tap += 1
        pack_lines(coarse, &lines, 1, 1, share.group * plan.coarse_channels + share.a, coarse_count,
                   work[plan.coarse_offset:])
        if box.start[3] + box.size[3] < plan.coarse_size[3] and width > box.size[3]:    # not those of the next block
            for i in range(coarse_count * box.size[0] * box.size[1] * box.size[2]):
                zero(&work[plan.coarse_offset + i * width + box.size[3]], width - box.size[3])
        pack_lines(fine, &region, plan.stride[2], plan.stride[3], share.group * plan.fine_channels + share.b,
                   fine_count, work[fine_offset:])
        add_products_of_lines(plan, &box, &region, &lines, fine_offset, coarse_count, fine_count, taps_of_a_task,
                              offsets, work)
    for tap in range(k):
        sums[tap] = sum_lanes(&sums[tap * lanes])
    finite = all_finite(sums, k)
    row, column = fine_count * taps_of_a_task, taps_of_a_task
    for i in range(coarse_count // parts):
        for j in range(fine_count // parts):
            sums = &work[plan.sums_offset + parts * (i * row + j * column)]
            for z in range(taps.start[1], taps.start[1] + taps.size[1]):
                for y in range(taps.start[2], taps.start[2] + taps.size[2]):
                    k = (((share.group * plan.coarse_channels + share.a) // parts + i) * (plan.fine_channels // parts)
                         + share.b // parts + j)
                    k = k * all_taps + (z * plan.kernel[2] + y) * plan.kernel[3] + taps.start[3]
                    for x in range(taps.size[3]):
                        if parts == 1:
                            partial[share.chunk, k + x] = sums[x]
                        else:   # conj(x) * g = (re*re + im*im) + i (re*im - im*re)
                            partial[share.chunk, 2 * (k + x)] = sums[x] + sums[row + column + x]
                            partial[share.chunk, 2 * (k + x) + 1] = sums[column + x] - sums[row + x]
                    sums += taps.size[3]
    return done(finite)


def lines_gradient(LinesGradientPlan plan, const stored_t[:, :, :, :, :, :] coarse,
                   const stored_t[:, :, :, :, :, :] fine, real_t[:, ::1] partial, real_t[:, ::1] work, int threads):
    """Fill partial (chunks, elements of the weight) as weight_gradient does; return whether all of it is finite."""
    cdef Py_ssize_t task
    cdef outcome_t outcome = 0
    if stored_t is double and real_t is double or stored_t is not double and real_t is float:
        if threads == 1:
            with nogil:
                for task in range(plan.tasks):
                    outcome += lines_gradient_task(plan, task, coarse, fine, partial, work[0])
        else:
            for task in prange(plan.tasks, nogil=True, schedule="dynamic", num_threads=threads):
                outcome += lines_gradient_task(plan, task, coarse, fine, partial, work[threadid()])
        return all_finite_in(outcome, plan.tasks)
