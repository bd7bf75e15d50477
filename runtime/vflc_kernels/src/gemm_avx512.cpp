// float32 products on AVX-512.
#include "gemm.h"

#ifdef VFLC_X86
#include <immintrin.h>  // before what follows is compiled for this kind of processor alone

#pragma GCC target("avx512f,avx512vl,avx512bw,avx512dq,avx2,fma,prefer-vector-width=512")

#include "gemm_avx512.h"
#include "gemm_kernels.h"

namespace vflc {
const Products avx512_products = products_of<Avx512>("avx512");
}
#endif
