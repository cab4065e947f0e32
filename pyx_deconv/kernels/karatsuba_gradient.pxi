# Weight gradients of two taps at a time, with three multiplications instead of four. Part of engine.pyx.
#
# What karatsuba.pxi saves for two outputs is saved here for two taps t0, t1 that take neighbouring coarse pixels x0, x1
# to neighbouring pixels d0, d1, d2 of the fine map (the same identity, transposed):
#
#     gradient of t0 = sum x0*d0 + x1*d1 = m0 + m1        m0 = sum x0        * (d0 - d1)
#     gradient of t1 = sum x0*d1 + x1*d2 = m1 + m2        m1 = sum (x0 + x1) * d1
#                                                         m2 = sum x1        * (d2 - d1)
#
# along each paired axis; a tap without a partner takes sum x0*d0 + x1*d1. Where something is not finite the caller
# computes all of it anew, tap by tap.


cdef class PairGradientPlan(GradientPlan):
    """How it is cut; filled by ``plan_pair_gradient.py``, which explains the fields."""
    cdef Py_ssize_t paired[4]
    cdef Py_ssize_t element_count[4]
    cdef Py_ssize_t elements, element_block, element_blocks
    cdef Py_ssize_t packed_offset, coarse_offset, fine_offset, products_offset
    cdef bint coarse_in_place, fine_in_place
    # per axis: rows (pixels, taps, first tap, second tap, offset) of an element
    cdef const Py_ssize_t[:, ::1] element_z, element_y, element_x

    def __init__(self, fields):
        GradientPlan.__init__(self, fields)
        self.paired = fields.paired
        self.element_count = fields.element_count
        self.elements, self.element_block, self.element_blocks = fields.elements
        self.packed_offset, self.coarse_offset, self.fine_offset, self.products_offset = fields.offsets
        self.coarse_in_place, self.fine_in_place = fields.in_place
        self.element_z, self.element_y, self.element_x = fields.element_tables


cdef inline Box units_of(PairGradientPlan plan, const Box *box) noexcept nogil:
    cdef Box units = box[0]
    cdef int axis
    for axis in range(1, 4):
        units.size[axis] = (box.size[axis] + plan.paired[axis]) // (1 + plan.paired[axis])
    return units


cdef bint reach_element(PairGradientPlan plan, Py_ssize_t element, const Box *box, const Box *units,
                        Reach *reach) except -1 nogil:
    # The fine pixels that this element meets from a box of coarse ones; returns whether there are any.
    cdef Py_ssize_t e[4]
    unravel(element, plan.element_count, e)
    reach[1] = reach_of(box.start[1], plan.stride[1], plan.fine_size[1], plan.paired[1], units.size[1],
                        plan.element_z[e[1], 0], plan.element_z[e[1], 4])
    reach[2] = reach_of(box.start[2], plan.stride[2], plan.fine_size[2], plan.paired[2], units.size[2],
                        plan.element_y[e[2], 0], plan.element_y[e[2], 4])
    reach[3] = reach_of(box.start[3], plan.stride[3], plan.fine_size[3], plan.paired[3], units.size[3],
                        plan.element_x[e[3], 0], plan.element_x[e[3], 4])
    return reach[1].low < reach[1].high and reach[2].low < reach[2].high and reach[3].low < reach[3].high


cdef int add_outer_products(PairGradientPlan plan, Py_ssize_t units, const Reach *reach, Py_ssize_t coarse_count,
                            Py_ssize_t fine_count, Ahead *next_coarse, Ahead *next_fine, real_t[::1] work,
                            Py_ssize_t products) except -1 nogil:
    # work[products + (point * coarse_block + a) * fine_block + b] += sum over units of coarse[a] * fine[b]
    cdef Py_ssize_t lanes = TILE_BYTES // sizeof(real_t), size = plan.coarse_block * plan.fine_block
    cdef Py_ssize_t z, y, x, i, a, p, axis, used, point, coarse_point, value = 0
    cdef Py_ssize_t no_offset[1]
    cdef Py_ssize_t at[4]
    cdef const real_t *rows[MAX_ROWS]
    cdef const real_t *coarse
    cdef const real_t *fine
    cdef real_t *end = &work[products + size - 1]
    cdef Py_ssize_t points[4]
    no_offset[0] = 0
    for axis in range(4):
        points[axis] = 1 + 2 * plan.paired[axis]
    for z in range(reach[1].count):
        for y in range(reach[2].count):
            for x in range(reach[3].count):
                at[1], at[2], at[3] = z, y, x
                point = coarse_point = 0
                for axis in range(1, 4):
                    # Two pixels: the first and the last coarse value, summed into one point.
                    coarse_point = coarse_point * points[axis] + at[axis] * (1 + (reach[axis].count == 2))
                    point = point * points[axis] + (at[axis] if reach[axis].count == 3 else 0)
                coarse = &work[plan.coarse_offset + coarse_point * units * plan.coarse_block]
                fine = &work[plan.fine_offset + value * units * plan.fine_block]
                end = &work[products + (point + 1) * size - 1]
                for p in range((fine_count + lanes - 1) // lanes):
                    a = 0
                    while a < coarse_count:
                        used = min(<Py_ssize_t>TILE_ROWS, coarse_count - a)
                        for i in range(TILE_ROWS):
                            rows[i] = coarse + a + (i if i < used else 0)
                        tile(min(lanes, panel_end(fine_count, sizeof(real_t)) - p * lanes), 1, units, used, rows,
                             plan.coarse_block, fine + p * lanes, no_offset, plan.fine_block,
                             &work[products + point * size + a * plan.fine_block + p * lanes], plan.fine_block)
                        a += TILE_ROWS
                    fetch_ahead(next_coarse)
                    fetch_ahead(next_fine)
                value += 1
    return 0


cdef int add_up_element(PairGradientPlan plan, const Py_ssize_t *e, real_t[::1] work, Py_ssize_t products, int taps,
                        Py_ssize_t *tap, Py_ssize_t *place) except -1 nogil:
    # The gradients of one element's taps from its products: work[place[i]:] is that of tap[i], the taps that are
    # there already and these in order; returns how many there are now.
    cdef Py_ssize_t size = plan.coarse_block * plan.fine_block
    cdef Py_ssize_t ny = 1 + 2 * plan.paired[2], nx = 1 + 2 * plan.paired[3]
    cdef Py_ssize_t i, t, z, y, x
    cdef real_t *first = &work[products]
    if plan.element_z[e[1], 1] == 2:
        add_to_outer(first, first + ny * nx * size, first + 2 * ny * nx * size, ny * nx * size, 1)
    for z in range(plan.element_z[e[1], 1]):
        if plan.element_y[e[2], 1] == 2:
            first = &work[products + 2 * z * ny * nx * size]
            add_to_outer(first, first + nx * size, first + 2 * nx * size, nx * size, 1)
        for y in range(plan.element_y[e[2], 1]):
            if plan.element_x[e[3], 1] == 2:
                first = &work[products + (2 * z * ny + 2 * y) * nx * size]
                add_to_outer(first, first + size, first + 2 * size, size, 1)
            for x in range(plan.element_x[e[3], 1]):
                t = plan.element_z[e[1], 2 + z] * plan.kernel[2] + plan.element_y[e[2], 2 + y]
                t = t * plan.kernel[3] + plan.element_x[e[3], 2 + x]
                i = taps
                while i > 0 and tap[i - 1] > t:
                    tap[i], place[i] = tap[i - 1], place[i - 1]
                    i -= 1
                tap[i], place[i] = t, products + ((2 * z * ny + 2 * y) * nx + 2 * x) * size
                taps += 1
    return taps


cdef int store_gradient(PairGradientPlan plan, int taps, const Py_ssize_t *tap, const Py_ssize_t *place,
                        Py_ssize_t group, Py_ssize_t a, Py_ssize_t b, Py_ssize_t coarse_count, Py_ssize_t fine_count,
                        real_t[::1] work, real_t[::1] partial) except -1 nogil:
    # Some taps of the weight from their sums; returns whether all of them are finite.
    cdef Py_ssize_t parts = plan.parts, all_taps = volume_of(plan.kernel)
    cdef Py_ssize_t i, j, k, t, row, run = 0, first = 0
    cdef bint finite = True
    cdef const real_t *rows[MAX_TAPS]
    cdef real_t *end
    while first < taps:
        # Taps that follow each other in the weight.
        run = 1
        while first + run < taps and tap[first + run] == tap[first] + run:
            run += 1
        for t in range(first, first + run):
            finite &= all_finite(&work[place[t]], coarse_count * plan.fine_block)
        for i in range(coarse_count // parts):
            k = (group * plan.coarse_channels + a) // parts + i
            k = (k * plan.fine_channels + b) // parts
            k = parts * (k * all_taps + tap[first])
            end = &partial[k + (fine_count // parts - 1) * parts * all_taps + parts * run - 1]
            if run == all_taps and parts * (i + 1) < coarse_count:      # where the next channel's go
                fetch_run(&partial[k + plan.fine_channels * run], fine_count * run)
            for t in range(run):
                row = place[first + t] + parts * i * plan.fine_block
                rows[t] = &work[row]
                if parts == 2:  # conj(x) * g = (re*re + im*im) + i (re*im - im*re)
                    for j in range(0, fine_count, 2):
                        partial[k + j * all_taps + 2 * t] = work[row + j] + work[row + plan.fine_block + j + 1]
                        partial[k + j * all_taps + 2 * t + 1] = work[row + j + 1] - work[row + plan.fine_block + j]
            if parts == 1:
                transpose_rows(rows, run, fine_count, NULL, &partial[k], all_taps)
        first += run
    return finite


cdef outcome_t pair_gradient_task(PairGradientPlan plan, Py_ssize_t task, const stored_t[:, :, :, :, :, :] coarse,
                                  const stored_t[:, :, :, :, :, :] fine, real_t[:, ::1] partial,
                                  real_t[::1] work) noexcept nogil:
    # Some elements and channels of one group, summed over one chunk of the pixels.
    cdef Share share = share_of(plan, task, plan.element_blocks)
    cdef Py_ssize_t a = share.a, b = share.b, coarse_count = share.coarse_count, fine_count = share.fine_count
    cdef Py_ssize_t group = share.group, chunk = share.chunk
    cdef Py_ssize_t first = share.taps * plan.element_block
    cdef Py_ssize_t last = min(first + plan.element_block, plan.elements)
    cdef Py_ssize_t points = (1 + 2 * plan.paired[1]) * (1 + 2 * plan.paired[2]) * (1 + 2 * plan.paired[3])
    cdef Py_ssize_t size = points * plan.coarse_block * plan.fine_block
    cdef Py_ssize_t block, element, following, tiles, k
    cdef Py_ssize_t index[4]
    cdef Py_ssize_t e[4]
    cdef Layout of_coarse, of_fine
    cdef Reach reach[4]
    cdef Reach next_reach[4]
    cdef Box box, units, ahead, ahead_units
    cdef Ahead next_coarse, next_fine
    cdef int axis, taps
    cdef Py_ssize_t tap[MAX_TAPS]
    cdef Py_ssize_t place[MAX_TAPS]
    next_coarse.left = next_fine.left = 0
    of_coarse.in_place, of_coarse.as_sums, of_coarse.parts = plan.coarse_in_place, True, plan.parts
    of_coarse.packed, of_coarse.values, of_coarse.paired = plan.packed_offset, plan.coarse_offset, plan.paired
    of_fine.in_place, of_fine.as_sums, of_fine.parts = plan.fine_in_place, False, plan.parts
    of_fine.packed, of_fine.values, of_fine.paired = plan.packed_offset, plan.fine_offset, plan.paired
    # The sums; and values of channels that are not there, which are multiplied as well.
    for k in range(plan.fine_offset, plan.products_offset + (last - first) * size):
        work[k] = 0
    for block in range(share.first, share.last):
        unravel(block, plan.blocks, index)
        box = cut(index, plan.block, plan.coarse_size)
        units = units_of(plan, &box)
        for axis in range(1, 4):
            reach[axis] = reach_of(box.start[axis], 1, plan.coarse_size[axis], plan.paired[axis], units.size[axis],
                                   1 + plan.paired[axis], 0)
        make_values(&of_coarse, &units, reach, coarse, group * plan.coarse_channels + a, coarse_count,
                    plan.coarse_block, work)
        for element in range(first, last):
            if not reach_element(plan, element, &box, &units, reach):
                continue
            make_values(&of_fine, &units, reach, fine, group * plan.fine_channels + b, fine_count, plan.fine_block,
                        work)
            # What is read after this element is fetched while it is multiplied.
            following = element + 1
            ahead, ahead_units = box, units
            tiles = reach[1].count * reach[2].count * reach[3].count * (
                (fine_count * <Py_ssize_t>sizeof(real_t) + TILE_BYTES - 1) // TILE_BYTES)
            if following == last and block + 1 < share.last:
                following = first
                unravel(block + 1, plan.blocks, index)
                ahead = cut(index, plan.block, plan.coarse_size)
                look_ahead(&next_coarse, coarse, &ahead, EVERY, group * plan.coarse_channels + a, coarse_count, tiles,
                           volume(&units) * coarse_count // 4)
                ahead_units = units_of(plan, &ahead)
            elif (following % plan.element_count[3] > 0
                  and fine.strides[4] * (plan.stride[3] - 1) < 64):     # the same cache lines
                following = last
            if following < last and reach_element(plan, following, &ahead, &ahead_units, next_reach):
                for axis in range(1, 4):
                    ahead.start[axis] = next_reach[axis].first + next_reach[axis].low * plan.stride[axis]
                    ahead.size[axis] = next_reach[axis].high - next_reach[axis].low
                look_ahead(&next_fine, fine, &ahead, plan.stride, group * plan.fine_channels + b, fine_count, tiles,
                           volume(&units) * coarse_count // 4)
            add_outer_products(plan, volume(&units), reach, coarse_count, fine_count, &next_coarse, &next_fine, work,
                               plan.products_offset + (element - first) * size)
    taps = 0
    for element in range(first, last):
        unravel(element, plan.element_count, e)
        taps = add_up_element(plan, e, work, plan.products_offset + (element - first) * size, taps, tap, place)
    return done(store_gradient(plan, taps, tap, place, group, a, b, coarse_count, fine_count, work, partial[chunk]))


def pair_gradient(PairGradientPlan plan, const stored_t[:, :, :, :, :, :] coarse,
                  const stored_t[:, :, :, :, :, :] fine, real_t[:, ::1] partial, real_t[:, ::1] work, int threads):
    """Fill partial (chunks, elements of the weight) as weight_gradient does; return whether all of it is finite."""
    cdef Py_ssize_t task, row
    cdef outcome_t outcome = 0
    cdef real_t *end
    for row in range(work.shape[0]):
        end = &work[row, plan.packed_offset - 1]
        zero(&work[row, 0], plan.packed_offset)
    if stored_t is double and real_t is double or stored_t is not double and real_t is float:
        if threads == 1:
            with nogil:
                for task in range(plan.tasks):
                    outcome += pair_gradient_task(plan, task, coarse, fine, partial, work[0])
        else:
            for task in prange(plan.tasks, nogil=True, schedule="dynamic", num_threads=threads):
                outcome += pair_gradient_task(plan, task, coarse, fine, partial, work[threadid()])
        return all_finite_in(outcome, plan.tasks)
