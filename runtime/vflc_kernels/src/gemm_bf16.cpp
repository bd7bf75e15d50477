// bfloat16 factors and float32 sums, by AVX512_BF16: each cell is two elements, multiplied and added in one step.
#include "gemm.h"

#ifdef VFLC_X86
#include <immintrin.h>  // before what follows is compiled for this kind of processor alone

#pragma GCC target("avx512bf16,avx512f,avx512vl,avx512bw,avx512dq,avx2,fma,prefer-vector-width=512")

#include "gemm_avx512.h"

namespace {

struct Bfloat16 : Avx512 {
  static constexpr vflc::Size CELL = 2;
  typedef unsigned short Halves __attribute__((vector_size(32)));
  typedef unsigned Cells __attribute__((vector_size(64)));

  static void add(Vector& sum, Vector left, Vector right) {
    sum = _mm512_dpbf16_ps(sum, (__m512bh)left, (__m512bh)right);
  }

  // Cells of two rows below each other: the first is the lower half of a cell.
  static Vector below(Vector upper, Vector lower) {
    const auto first = __builtin_convertvector((Halves)_mm512_cvtneps_pbh(upper), Cells);
    const auto second = __builtin_convertvector((Halves)_mm512_cvtneps_pbh(lower), Cells);
    return (Vector)(first | second << 16);
  }

  // Cells of a row of 32 elements.
  static Vector beside(Vector low, Vector high) { return (Vector)_mm512_cvtne2ps_pbh(high, low); }
};

}  // namespace

#include "gemm_kernels.h"

namespace vflc {
const Products bf16_products = products_of<Bfloat16>("bf16");
}
#endif
