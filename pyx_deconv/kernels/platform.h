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

/* The x86-64 microarchitecture level, operating system support included; 0 on other processors. */
static inline int x86_64_level(void)
{
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (!(__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi")
          && __builtin_cpu_supports("bmi2")))
        return 1;
    if (!(__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw")
          && __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq")
          && __builtin_cpu_supports("avx512vl")))
        return 3;
    return 4;
#else
    return 0;
#endif
}

#endif
