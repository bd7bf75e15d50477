// float32 products on AVX2: 6 rows × 2 vectors of 8 are 12 of 16 registers; two hold the right factor and one a cell.
#include "gemm.h"

#ifdef VFLC_X86
#include <immintrin.h>  // before what follows is compiled for this kind of processor alone

#pragma GCC target("avx2,fma")

#include "gemm_float.h"

namespace {

struct Avx2 : Float<8, 2, 6> {
  static void add(Vector& sum, Vector left, Vector right) { sum = _mm256_fmadd_ps(left, right, sum); }

  static __m256i mask(vflc::Size count) {
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)count), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
  }

  static Vector load_some(const float* from, vflc::Size count) { return _mm256_maskload_ps(from, mask(count)); }
  static void store_some(float* to, Vector vector, vflc::Size count) { _mm256_maskstore_ps(to, mask(count), vector); }

  static void shuffle(Vector one, Vector other, Vector& low, Vector& high) {
    const __m256 even = _mm256_unpacklo_ps(one, other), odd = _mm256_unpackhi_ps(one, other);
    low = _mm256_permute2f128_ps(even, odd, 0x20);
    high = _mm256_permute2f128_ps(even, odd, 0x31);
  }
};

}  // namespace

#include "gemm_kernels.h"

namespace vflc {
const Products avx2_products = products_of<Avx2>("avx2");
}
#endif
