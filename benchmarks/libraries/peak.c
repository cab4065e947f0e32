/* The peak of fused multiply-adds: sums that do not wait for each other and never leave the registers.
 * Compiled with -DREAL=float or double, and -DBYTES= the size of a vector. */

typedef REAL vector __attribute__((vector_size(BYTES)));

enum { SUMS = 12 }; /* latency * pipes is 8 to 10 on x86, and 16 of half the width on ARM */

/* s = s * factor + term: the product changes with s, so that it cannot be taken out of the loop. */
double multiply_add(long turns, double factor, double term)
{
    vector sums[SUMS], f = (vector){0} + (REAL)factor, t = (vector){0} + (REAL)term;
    for (int i = 0; i < SUMS; i++)
        sums[i] = (vector){0} + (REAL)i;
    for (long turn = 0; turn < turns; turn++)
#pragma GCC unroll 12
        for (int i = 0; i < SUMS; i++)
            sums[i] = sums[i] * f + t;
    for (int i = 1; i < SUMS; i++)
        sums[0] += sums[i];
    return sums[0][0];
}

long flop_per_turn(void) { return 2 * SUMS * (BYTES / sizeof(REAL)); }
