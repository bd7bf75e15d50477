// Functions that are compiled once for each kind of processor; which one runs is decided when the library loads.
// By what a processor has: `arch=skylake-avx512` would be that of one maker alone, and all others had the slowest.
#pragma once

#if defined(__x86_64__) && defined(__GLIBC__) && defined(__GNUC__) && !defined(__clang__)
#define FOR_EACH_PROCESSOR __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define FOR_EACH_PROCESSOR
#endif
