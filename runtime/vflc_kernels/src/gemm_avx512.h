// float32 in AVX-512: 14 rows × 2 vectors of 16 are 28 of 32 registers; two hold the right factor and one a cell.
// Included after #pragma GCC target.
#pragma once

#include "gemm_float.h"

namespace {

struct Avx512 : Float<16, 2, 14> {
  static void add(Vector& sum, Vector left, Vector right) { sum = _mm512_fmadd_ps(left, right, sum); }
  static __mmask16 mask(vflc::Size count) { return (__mmask16)((1u << count) - 1); }
  static Vector load_some(const float* from, vflc::Size count) { return _mm512_maskz_loadu_ps(mask(count), from); }
  static void store_some(float* to, Vector vector, vflc::Size count) { _mm512_mask_storeu_ps(to, mask(count), vector); }

  static void shuffle(Vector one, Vector other, Vector& low, Vector& high) {
    const __m512i lower = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
    const __m512i upper = _mm512_setr_epi32(8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
    low = _mm512_permutex2var_ps(one, lower, other);
    high = _mm512_permutex2var_ps(one, upper, other);
  }
};

}  // namespace
