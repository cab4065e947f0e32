/* How numbers lie in memory: float16 and bfloat16 are stored as 16 bits and computed in float32. */
#ifndef PYX_DECONV_STORAGE_H
#define PYX_DECONV_STORAGE_H

#include <stdint.h>
#include <string.h>
#if defined(__F16C__)
#include <immintrin.h>
#endif

static inline uint32_t bits_of(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static inline float float_of(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static inline float float_from_half(unsigned short half)
{
#if defined(__F16C__)
    return _cvtsh_ss(half);
#else
    const uint32_t sign = (uint32_t)(half & 0x8000u) << 16, magnitude = half & 0x7fffu;
    if (magnitude >= 0x7c00u) /* infinity and NaN: all exponent bits set */
        return float_of(sign | 0x7f800000u | (magnitude & 0x3ffu) << 13);
    /* Bits read as a float hold value * 2**-112; the product restores the exponent, subnormals included. */
    const float value = float_of(magnitude << 13) * 0x1p112f;
    return float_of(sign | bits_of(value));
#endif
}

static inline unsigned short half_from_float(float value)
{
#if defined(__F16C__)
    return _cvtss_sh(value, _MM_FROUND_TO_NEAREST_INT);
#else
    const uint32_t bits = bits_of(value), magnitude = bits & 0x7fffffffu;
    const unsigned short sign = (unsigned short)(bits >> 16 & 0x8000u);
    if (magnitude > 0x7f800000u) /* NaN stays NaN */
        return sign | 0x7e00u | (unsigned short)(magnitude >> 13 & 0x3ffu);
    if (magnitude >= 0x477ff000u) /* from halfway between 65504 and 65536 on: infinity */
        return sign | 0x7c00u;
    if (magnitude < 0x38800000u) /* below 2**-14: adding 1/2 leaves the rounded subnormal in the low bits */
        return sign | (unsigned short)(bits_of(float_of(magnitude) + 0.5f) - 0x3f000000u);
    /* Round to nearest even, then move the exponent from bias 127 to 15. */
    return sign | (unsigned short)((magnitude + 0xfffu + (magnitude >> 13 & 1u) - 0x38000000u) >> 13);
#endif
}

static inline float float_from_bfloat(short bfloat)
{
    return float_of((uint32_t)(unsigned short)bfloat << 16);
}

static inline short bfloat_from_float(float value)
{
    const uint32_t bits = bits_of(value);
    if ((bits & 0x7fffffffu) > 0x7f800000u) /* NaN stays NaN, quiet */
        return (short)(bits >> 16 | 0x40u);
    return (short)((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16); /* to nearest even */
}

#endif
