# Packing the weights of a correlation: [group, panel, slot, source channel, lane]. Part of engine.pyx.

cdef enum:
    PACKED_CHANNELS = 16        # packed at a time, so that whole cache lines go to memory
    PACKED_NUMBERS = 8192       # collected first: lines of slots that are 2**n apart would push each other out of L1


cdef inline bint side_by_side_taps(const stored_t[:, :, :, :, :, :, :] weight) noexcept nogil:
    # Whether the taps of a kernel follow each other in memory.
    cdef Py_ssize_t item = sizeof(stored_t)
    return (weight.shape[6] == 1 and (weight.strides[5] == item or weight.shape[5] == 1)
            and (weight.strides[4] == weight.shape[5] * item or weight.shape[4] == 1)
            and (weight.strides[3] == weight.shape[4] * weight.shape[5] * item or weight.shape[3] == 1))


cdef int pack_channels(CorrelationPlan plan, Py_ssize_t group, Py_ssize_t m, Py_ssize_t c, Py_ssize_t lanes,
                       const stored_t[:, :, :, :, :, :, :] weight, bint conjugate, real_t *target,
                       Py_ssize_t step) except -1 nogil:
    # One source channel of a panel whose first target channel is m. Slot 0 goes to target, slot 1 a step behind it.
    cdef Py_ssize_t bits = plan.parts - 1
    cdef Py_ssize_t taps = weight.shape[3] * weight.shape[4] * weight.shape[5], item = sizeof(stored_t)
    cdef Py_ssize_t used = min(lanes, plan.target_channels - m), lane, tap, tz, ty, tx, part
    cdef real_t sign, value = 0
    cdef const stored_t *end
    if (stored_t is float or stored_t is double) and side_by_side_taps(weight):
        end = &weight[group, m + used - 1, c, weight.shape[3] - 1, weight.shape[4] - 1, weight.shape[5] - 1, 0]
        transpose_to(<const real_t *>&weight[group, m, c, 0, 0, 0, 0], weight.strides[1] // item, used, taps,
                     target, &plan.tap_slots[0], step, 2 * weight.strides[2] // item)   # channel c + 2 is fetched
    else:
        for lane in range(used):
            # Parts of a product: re = re*re - im*im, im = re*im + im*re; conj(weight) turns the sign of its im.
            part = ((m + lane) & bits) ^ (c & bits)
            sign = -1 if part and (((m + lane) & bits) == 0) != conjugate else 1
            tap = 0
            for tz in range(weight.shape[3]):
                for ty in range(weight.shape[4]):
                    for tx in range(weight.shape[5]):
                        load(&weight[group, (m + lane) >> bits, c >> bits, tz, ty, tx, part], &value)
                        target[plan.tap_slots[tap] * step + lane] = sign * value
                        tap += 1
    for tap in range(taps if used < lanes else 0):
        for lane in range(used, lanes):
            target[plan.tap_slots[tap] * step + lane] = 0
    return 0


cdef int pack_fan(CorrelationPlan plan, Py_ssize_t group, Py_ssize_t m, Py_ssize_t c, Py_ssize_t lanes,
                  const stored_t[:, :, :, :, :, :, :] weight, real_t *target, Py_ssize_t step) except -1 nogil:
    # The same where a lane is a target channel and a phase, or a tap.
    cdef Py_ssize_t slots = plan.fan_taps.shape[0], fan = plan.fan_taps.shape[1], channels = weight.shape[1]
    cdef Py_ssize_t used = min(lanes, channels * fan - m)
    cdef Py_ssize_t channel_step = weight.strides[1] // <Py_ssize_t>sizeof(stored_t)
    cdef Py_ssize_t lane, slot, channel, phase, tap, place
    cdef Py_ssize_t rows = weight.shape[4], columns = weight.shape[5]
    cdef bint contiguous = side_by_side_taps(weight)
    cdef const stored_t *first = &weight[group, 0, c, 0, 0, 0, 0]
    cdef const stored_t *end = &weight[group, channels - 1, c, weight.shape[3] - 1, rows - 1, columns - 1, 0]
    for slot in range(slots):
        place = plan.tap_slots[plan.fan_taps[slot, 0]] * step
        if plan.channels_last:
            phase, channel = m // channels, m % channels
        else:
            channel, phase = m // fan, m % fan
        for lane in range(used):
            tap = plan.fan_taps[slot, phase]
            if contiguous:
                load(&first[channel * channel_step + tap], &target[place + lane])
            else:
                load(&weight[group, channel, c, tap // (rows * columns), tap // columns % rows, tap % columns, 0],
                     &target[place + lane])
            if plan.channels_last:
                channel += 1
                if channel == channels:
                    channel = 0
                    phase += 1
            else:
                phase += 1
                if phase == fan:
                    phase = 0
                    channel += 1
    for slot in range(slots if m + lanes > channels * fan else 0):
        for lane in range(channels * fan - m, lanes):
            target[plan.tap_slots[plan.fan_taps[slot, 0]] * step + lane] = 0
    return 0


cdef int add_slots(CorrelationPlan plan, int axis, const Py_ssize_t[:, ::1] sums, Py_ssize_t size, Py_ssize_t step,
                   real_t *target) except -1 nogil:
    # The sums of two slots along one axis, for all slots of the axes behind it and the taps of those before it.
    cdef Py_ssize_t inner = 1, outer = 1, i, j, k, n
    cdef Py_ssize_t count = plan.slot_count[axis]
    cdef real_t *first
    for k in range(axis):
        outer *= plan.slot_count[k]
    for k in range(axis + 1, 3):
        inner *= plan.slot_count[k]
    for i in range(outer):
        for n in range(sums.shape[0]):
            for j in range(inner):
                first = target + (i * count * inner + j) * step
                add_up(first + sums[n, 1] * inner * step, first + sums[n, 2] * inner * step,
                       first + sums[n, 0] * inner * step, size)
    return 0


cdef inline Py_ssize_t channels_at_a_time(CorrelationPlan plan) noexcept nogil:
    cdef Py_ssize_t size = plan.slots * min(plan.lanes, plan.width)     # of one channel
    if 4 * size > PACKED_NUMBERS:   # a large kernel: written where it belongs
        return PACKED_CHANNELS
    return min(<Py_ssize_t>PACKED_CHANNELS, PACKED_NUMBERS // size - 1)


cdef outcome_t pack_panel(CorrelationPlan plan, Py_ssize_t index, const stored_t[:, :, :, :, :, :, :] weight,
                          bint conjugate, real_t[::1] packed) noexcept nogil:
    # Some source channels of one panel.
    cdef Py_ssize_t most = channels_at_a_time(plan), blocks = (plan.source_channels + most - 1) // most
    cdef Py_ssize_t group = index // blocks // plan.panels, panel = index // blocks % plan.panels
    cdef Py_ssize_t first = index % blocks * most, lanes = panel_width(plan, panel)
    cdef Py_ssize_t channels = min(most, plan.source_channels - first)
    cdef Py_ssize_t step = plan.source_channels * lanes, c, slot, size = channels * lanes
    cdef real_t numbers[PACKED_NUMBERS]
    cdef real_t *target = &packed[panel_place(plan, group, panel) + first * lanes]
    cdef real_t *end = &packed[panel_place(plan, group, panel) + plan.slots * step - 1]
    cdef real_t *slots = numbers
    cdef Py_ssize_t slot_step = size + TILE_UNIT // <Py_ssize_t>sizeof(real_t)
    cdef bint finite = True
    if plan.slots * slot_step > PACKED_NUMBERS:
        slots = target
        slot_step = step
    for c in range(channels):
        if plan.fan_taps.shape[1] > 1:
            pack_fan(plan, group, panel * plan.lanes, first + c, lanes, weight, slots + c * lanes, slot_step)
        else:
            pack_channels(plan, group, panel * plan.lanes, first + c, lanes, weight, conjugate, slots + c * lanes,
                          slot_step)
    for slot in range(plan.fan_taps.shape[0]):
        finite &= all_finite(slots + plan.tap_slots[plan.fan_taps[slot, 0]] * slot_step, size)
    if plan.pairs:  # a sum along x for all taps, then one along y for all taps and sums along x, ...
        add_slots(plan, 2, plan.sum_x, size, slot_step, slots)
        add_slots(plan, 1, plan.sum_y, size, slot_step, slots)
        add_slots(plan, 0, plan.sum_z, size, slot_step, slots)
    if slots != target:
        for slot in range(plan.slots):
            copy_run(slots + slot * slot_step, size, target + slot * step)
    return done(finite)


def pack_weight(CorrelationPlan plan, const stored_t[:, :, :, :, :, :, :] weight, bint conjugate, real_t[::1] packed,
                int threads):
    """Fill ``packed`` from weight (group, target, source, z, y, x, part); return whether all of it is finite."""
    cdef Py_ssize_t index
    cdef Py_ssize_t most = channels_at_a_time(plan)
    cdef Py_ssize_t count = (plan.source_channels + most - 1) // most * plan.groups * plan.panels
    cdef outcome_t outcome = 0
    if stored_t is double and real_t is double or stored_t is not double and real_t is float:
        if threads == 1:
            with nogil:
                for index in range(count):
                    outcome += pack_panel(plan, index, weight, conjugate, packed)
        else:
            for index in prange(count, nogil=True, schedule="static", num_threads=threads):
                outcome += pack_panel(plan, index, weight, conjugate, packed)
        return all_finite_in(outcome, count)
