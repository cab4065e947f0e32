# Blocks of pixels, and packing them. Part of engine.pyx.

cdef Py_ssize_t[4] EVERY = [1, 1, 1, 1]     # step of packing every pixel


cdef struct Box:
    # A block of pixels (batch, z, y, x): start, and size of each axis.
    Py_ssize_t start[4]
    Py_ssize_t size[4]


cdef inline Box cut(const Py_ssize_t *index, const Py_ssize_t *block, const Py_ssize_t *total) noexcept nogil:
    # The index-th block of each axis, cut off at the total.
    cdef Box box
    cdef int axis
    for axis in range(4):
        box.start[axis] = index[axis] * block[axis]
        box.size[axis] = min(block[axis], total[axis] - box.start[axis])
    return box


cdef inline Py_ssize_t volume_of(const Py_ssize_t *shape) noexcept nogil:
    return shape[0] * shape[1] * shape[2] * shape[3]


cdef inline Py_ssize_t volume(const Box *box) noexcept nogil:
    return volume_of(box.size)


cdef inline void unravel(Py_ssize_t flat, const Py_ssize_t *shape, Py_ssize_t *index) noexcept nogil:
    cdef int axis
    for axis in range(3, -1, -1):
        index[axis] = flat % shape[axis]
        flat //= shape[axis]


cdef inline void unravel_box(Py_ssize_t flat, const Box *box, Py_ssize_t *index) noexcept nogil:
    cdef int axis
    unravel(flat, box.size, index)
    for axis in range(4):
        index[axis] += box.start[axis]


cdef inline void advance(Py_ssize_t *pixel, const Box *box) noexcept nogil:
    # The next pixel of the box; after the last, the first.
    cdef int axis
    for axis in range(3, -1, -1):
        pixel[axis] += 1
        if pixel[axis] < box.start[axis] + box.size[axis]:
            return
        pixel[axis] = box.start[axis]


cdef inline void clip(Box *box, int axis, Py_ssize_t low, Py_ssize_t high) noexcept nogil:
    # The part of the box within [low, high) along one axis.
    cdef Py_ssize_t start = max(box.start[axis], low)
    box.size[axis] = max(0, min(box.start[axis] + box.size[axis], high) - start)
    box.start[axis] = start


cdef inline void scale(Box *box, int axis, Py_ssize_t step, Py_ssize_t low, Py_ssize_t high,
                       Py_ssize_t size) noexcept nogil:
    # What the box reaches in another map of this size, through offsets from low to high.
    cdef Py_ssize_t last = (box.start[axis] + box.size[axis] - 1) * step + high
    box.start[axis] = box.start[axis] * step + low
    box.size[axis] = last + 1 - box.start[axis]
    clip(box, axis, 0, size)


cdef inline Py_ssize_t rows_of_tiles(Py_ssize_t rows) noexcept nogil:
    # Of each of as few tiles as hold so many: the last one has about as many.
    cdef Py_ssize_t tiles = (rows + TILE_ROWS - 1) // TILE_ROWS
    return (rows + tiles - 1) // tiles


cdef inline bint side_by_side(const stored_t[:, :, :, :, :, :] map) noexcept nogil:
    # Whether the parts of a pixel's channels follow each other in memory.
    return (map.strides[1] == map.shape[5] * <Py_ssize_t>sizeof(stored_t)
            and (map.shape[5] == 1 or map.strides[5] == <Py_ssize_t>sizeof(stored_t)))


cdef inline void zero(real_t *target, Py_ssize_t size) noexcept nogil:
    cdef Py_ssize_t k
    for k in range(size):
        target[k] = 0


cdef inline void copy_pixels(const stored_t *source, Py_ssize_t pixel_step, Py_ssize_t pixels, Py_ssize_t channels,
                             real_t *target, Py_ssize_t width) noexcept nogil:
    # Runs of channels that lie side by side.
    cdef Py_ssize_t x, c
    if (stored_t is float or stored_t is double) and pixel_step == channels == width:
        copy_run(<const real_t *>source, pixels * channels, target)
    elif (stored_t is float or stored_t is double) and channels > 1:
        padded_lines(<const real_t *>source, pixel_step, 1, pixels, 0, channels, channels, target, width,
                     8 * pixel_step)
    else:
        for x in range(pixels):
            for c in range(channels):
                load(&source[x * pixel_step + c], &target[x * width + c])


cdef int pack_pixels(const stored_t[:, :, :, :, :, :] source, const Box *box, const Py_ssize_t *step,
                     Py_ssize_t channel, Py_ssize_t channels, Py_ssize_t width,
                     real_t[::1] target) except -1 nogil:
    # target[pixel of the box, width] = channels [channel, channel + channels) of every step-th pixel, then zeros, and
    # zeros for pixels beside the source
    cdef Py_ssize_t bits = source.shape[5] - 1     # parts are 1 or 2: shift and mask instead of divide
    cdef Py_ssize_t n, z, y, x, source_z, source_y, first_x, c, k, i, left, right, lines, pixels, line = 0
    cdef bint pixels_contiguous = bits == 0 and source.strides[4] == <Py_ssize_t>sizeof(stored_t)
    cdef bint channels_contiguous = side_by_side(source) or (bits == 0 and source.shape[1] == 1)
    cdef const stored_t *pixel
    cdef const stored_t *end
    cdef real_t *last
    # The pixels [left, right) of a line are in the source.
    left = min(box.size[3], (max(0, -box.start[3]) + step[3] - 1) // step[3])
    right = max(left, min(box.size[3], (max(0, source.shape[4] - box.start[3]) + step[3] - 1) // step[3]))
    first_x = box.start[3] + left * step[3]
    # Whole lines one behind the other are as good as one line.
    lines = 1
    if (pixels_contiguous and not channels_contiguous and step[2] == step[3] == 1 and 0 <= box.start[2]
            and box.start[2] + box.size[2] <= source.shape[3] and box.start[3] == 0
            and box.size[3] == source.shape[4] and source.strides[3] == source.shape[4] * source.strides[4]):
        lines = max(1, box.size[2])
    for n in range(box.start[0], box.start[0] + box.size[0]):
        for z in range(box.size[1]):
            source_z = box.start[1] + z * step[1]
            for y in range(box.size[2] // lines):
                source_y = box.start[2] + y * step[2]
                last = &target[line + lines * box.size[3] * width - 1]
                if not (0 <= source_z < source.shape[2] and 0 <= source_y < source.shape[3] and left < right):
                    zero(&target[line], lines * box.size[3] * width)
                    line += lines * box.size[3] * width
                    continue
                zero(&target[line], left * width)
                line += left * width
                pixels = lines * (right - left)
                if channels_contiguous:
                    pixel = &source[n, channel >> bits, source_z, source_y, first_x, 0]
                    end = &source[n, (channel + channels - 1) >> bits, source_z, source_y,
                                  first_x + (right - left - 1) * step[3], bits]
                    copy_pixels(pixel, step[3] * (source.strides[4] // <Py_ssize_t>sizeof(stored_t)), right - left,
                                channels, &target[line], width)
                elif pixels_contiguous and (stored_t is float or stored_t is double):
                    pixel = &source[n, channel, source_z, source_y, first_x, 0]
                    end = &source[n, channel + channels - 1, source_z, source_y + lines - 1,
                                  first_x + (right - left - 1) * step[3], 0]
                    transpose(<const real_t *>pixel, source.strides[1] // <Py_ssize_t>sizeof(stored_t), step[3],
                              channels, pixels, &target[line], width)
                else:
                    for c in range(channels):
                        k = line + c
                        for i in range(lines):
                            for x in range(right - left):
                                load(&source[n, (channel + c) >> bits, source_z, source_y + i, first_x + x * step[3],
                                             (channel + c) & bits], &target[k])
                                k += width
                for c in range(channels, width):
                    k = line + c
                    for x in range(pixels):
                        target[k] = 0
                        k += width
                line += pixels * width
                zero(&target[line], (box.size[3] - right) * width)
                line += (box.size[3] - right) * width
    return 0


cdef inline void line_range(Py_ssize_t origin, Py_ssize_t step, Py_ssize_t width, Py_ssize_t size, Py_ssize_t *first,
                            Py_ssize_t *last) noexcept nogil:
    # [first, last): where origin + step * x is in the source, x < width
    first[0] = min(width, (max(0, -origin) + step - 1) // step)
    last[0] = max(first[0], min(width, (max(0, size - origin) + step - 1) // step))


cdef inline Py_ssize_t whole_lines(Box *region, Py_ssize_t step, size_t itemsize) noexcept nogil:
    # Makes lines of a region as long as some cache lines; returns how far from the beginning of one to pack it, so that
    # the first pixel in the source begins one.
    cdef Py_ssize_t line = CACHE_LINE // itemsize, left = max(0, step - 1 - region.start[3]) // step
    region.size[3] = (region.size[3] + line - 1) // line * line
    return line - 1 - (left + line - 1) % line


cdef int pack_lines(const stored_t[:, :, :, :, :, :] source, const Box *region, Py_ssize_t lines_step, Py_ssize_t step,
                    Py_ssize_t channel, Py_ssize_t channels, real_t[::1] target) except -1 nogil:
    # target[channel, n, z, y modulo lines_step, x modulo step, y // lines_step, x // step], seen from where the region
    # starts, with zeros beside the source; the region has size[2] lines and size[3] pixels of each remainder
    cdef Py_ssize_t bits = source.shape[5] - 1, width = region.size[3], start = region.start[3]
    cdef Py_ssize_t plane = region.size[2] * width, line_step = source.strides[3] // <Py_ssize_t>sizeof(stored_t)
    cdef Py_ssize_t c, n, z, y, y_line, line, first_line, last_line, x, phase, origin, first, last, remainder, k
    cdef Py_ssize_t first_y = max(0, -region.start[2])
    cdef Py_ssize_t last_y = min(region.size[2] * lines_step, source.shape[3] - region.start[2])
    cdef Py_ssize_t pixel_step = source.strides[4] // <Py_ssize_t>sizeof(stored_t)
    cdef Py_ssize_t channel_size = region.size[0] * region.size[1] * lines_step * step * plane
    cdef bint direct = source.strides[4] == <Py_ssize_t>sizeof(stored_t) and (stored_t is float or stored_t is double)
    # Channels that lie side by side are packed together.
    cdef bint turned = stored_t is real_t and bits == 0 and not direct and side_by_side(source)
    cdef const stored_t *pixel
    cdef const stored_t *end
    cdef real_t *last_target
    # [left, right): where the pixels of every remainder are in the source, to be moved together
    cdef Py_ssize_t left = min(width, (max(0, -start) + step - 1) // step)
    cdef Py_ssize_t right = max(left, min(width, max(0, source.shape[4] - start) // step))
    cdef Py_ssize_t firsts[MAX_PHASES]
    cdef Py_ssize_t lasts[MAX_PHASES]
    direct = direct and step <= MAX_PHASES
    for phase in range(min(step, MAX_PHASES)):
        line_range(start + phase, step, width, source.shape[4], &firsts[phase], &lasts[phase])
    for c in range(channels):
        for n in range(region.size[0]):
            for z in range(region.size[1]):
                k = ((c * region.size[0] + n) * region.size[1] + z) * lines_step * step * plane
                last_target = &target[k + lines_step * step * plane - 1]
                if not 0 <= region.start[1] + z < source.shape[2] or first_y >= last_y:
                    zero(&target[k], lines_step * step * plane)
                    continue
                for remainder in range(lines_step):
                    y = region.start[2] + remainder
                    line_range(y, lines_step, region.size[2], source.shape[3], &first_line, &last_line)
                    for phase in range(step):
                        zero(&target[k + phase * plane],
                             first_line * width + (left if direct and first_line < last_line else 0))
                        zero(&target[k + phase * plane + last_line * width], (region.size[2] - last_line) * width)
                    for line in range(first_line, first_line if direct else last_line):
                        y_line = y + line * lines_step
                        for phase in range(step):
                            origin = start + phase
                            if phase < MAX_PHASES:      # dividing takes longer
                                first, last = firsts[phase], lasts[phase]
                            else:
                                line_range(origin, step, width, source.shape[4], &first, &last)
                            last_target = &target[k + phase * plane + line * width]
                            zero(last_target, first)
                            if turned and c == 0 and first < last:
                                pixel = &source[region.start[0] + n, channel, region.start[1] + z, y_line,
                                                origin + step * first, 0]
                                end = &source[region.start[0] + n, channel + channels - 1, region.start[1] + z, y_line,
                                              origin + step * (last - 1), 0]
                                transpose(<const real_t *>pixel, step * pixel_step, 1, last - first, channels,
                                          last_target + first, channel_size)
                            for x in range(first, first if turned else last):
                                load(&source[region.start[0] + n, (channel + c) >> bits, region.start[1] + z, y_line,
                                             origin + step * x, (channel + c) & bits], &last_target[x])
                            zero(last_target + last, width - last)
                    k += step * plane
                if direct:
                    pixel = &source[region.start[0] + n, (channel + c) >> bits, region.start[1] + z,
                                    region.start[2] + first_y, 0, (channel + c) & bits]
                    end = &source[region.start[0] + n, (channel + c) >> bits, region.start[1] + z,
                                  region.start[2] + last_y - 1, source.shape[4] - 1, (channel + c) & bits]
                    separate(step, lines_step, <const real_t *>pixel, first_y, last_y, line_step, start, firsts, lasts,
                             left, right, width, &target[k - lines_step * step * plane], plane)
    return 0
