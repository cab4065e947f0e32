/* What this processor and this build can do. */
#ifndef PYX_DECONV_PLATFORM_H
#define PYX_DECONV_PLATFORM_H

#if !defined(PYX_DECONV_CHECKED) /* setup.py sets it together with Cython's boundscheck */
#define PYX_DECONV_CHECKED 0
#endif

#if defined(_OPENMP)
#include <omp.h>
static inline int openmp_version(void) { return _OPENMP; }
static inline int openmp_max_threads(void) { return omp_get_max_threads(); }
#else
static inline int openmp_version(void) { return 0; }
static inline int openmp_max_threads(void) { return 1; }
#endif

/* The file that the loader took OpenMP from: several runtimes may be loaded, and this is the one that is called. */
#if defined(_OPENMP) && !defined(_WIN32)
#include <dlfcn.h>
static inline const char *openmp_library(void)
{
    Dl_info found;
    return dladdr((void *)omp_get_max_threads, &found) && found.dli_fname ? found.dli_fname : "";
}
#else
static inline const char *openmp_library(void) { return ""; }
#endif

/* The x86-64 microarchitecture level, operating system support included; 5: level 4 and products of bfloat16 in twos
 * (AVX512_BF16); 0 on other processors.
 *
 * Everything that the compiler may use at a level is asked for, because a virtual machine can hide any of it. Not
 * every compiler knows the levels, or all of these features, by name; the operating system's part, saving the wide
 * registers, is in its answers for AVX2 and AVX-512. */
#if defined(__x86_64__)
#include <cpuid.h>
static inline int x86_64_level(void)
{
    const unsigned v2 = bit_SSE3 | bit_SSSE3 | bit_SSE4_1 | bit_SSE4_2 | bit_POPCNT | bit_CMPXCHG16B;
    const unsigned v3 = bit_FMA | bit_F16C | bit_MOVBE | bit_OSXSAVE;
    unsigned a, b, c, d, basic, extended;
    basic = __get_cpuid(1, &a, &b, &c, &d) ? c : 0;
    extended = __get_cpuid(0x80000001, &a, &b, &c, &d) ? c : 0;
    __builtin_cpu_init();
    if ((basic & v2) != v2 || !(extended & bit_LAHF_LM))
        return 1;
    if ((basic & v3) != v3 || !(extended & bit_LZCNT)
        || !(__builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2")))
        return 2;
    if (!(__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw")
          && __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq")
          && __builtin_cpu_supports("avx512vl")))
        return 3;
    return 4 + (__builtin_cpu_supports("avx512bf16") != 0);
}
#else
static inline int x86_64_level(void) { return 0; }
#endif

#endif
