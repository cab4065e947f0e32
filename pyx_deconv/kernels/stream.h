/* Writing past the caches, and reading into them ahead of time.
 *
 *     stream          target = source, bytes of them, where nobody will read them soon
 *     end_of_stream   what was streamed is there for other threads from here on
 *     fetch           asks for the cache line of an address, wherever it is
 *
 * A store to a cache line that is not in the cache reads it first. For a result that is larger than the caches this
 * costs as much again as writing it, and pushes out what the next block needs. Whole cache lines are streamed; the
 * ends of a run, which other runs may share, are stored as usual.
 */
#ifndef PYX_DECONV_STREAM_H
#define PYX_DECONV_STREAM_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>
#if defined(__SSE2__)
#include <immintrin.h>
#endif

static inline void stream(const void *source, ptrdiff_t bytes, void *target)
{
#if defined(__SSE2__)
    enum { LINE = 64 };
    const char *from = source;
    char *to = target;
    const ptrdiff_t head = -(uintptr_t)to % LINE;
    if (bytes >= head + LINE) {
        memcpy(to, from, head);
        for (from += head, to += head, bytes -= head; bytes >= LINE; from += LINE, to += LINE, bytes -= LINE)
#if defined(__AVX512F__)
            _mm512_stream_si512((void *)to, _mm512_loadu_si512((const void *)from));
#else
            for (int i = 0; i < LINE; i += 16)
                _mm_stream_si128((__m128i *)(to + i), _mm_loadu_si128((const __m128i *)(from + i)));
#endif
    }
    memcpy(to, from, bytes);
#else
    memcpy(target, source, bytes);
#endif
}

static inline void fetch(const void *address)
{
    __builtin_prefetch(address, 0, 2);
}

static inline void end_of_stream(void)
{
#if defined(__SSE2__)
    _mm_sfence();
#endif
}

#endif
