// float32 products on every processor: 4 rows × 2 vectors of 4, in the 16 registers of SSE2 or the 32 of NEON.
#include "gemm_float.h"

namespace {

struct Generic : Float<4, 2, 4> {
  static void shuffle(Vector one, Vector other, Vector& low, Vector& high) {
#ifdef __clang__
    low = __builtin_shufflevector(one, other, 0, 4, 1, 5);
    high = __builtin_shufflevector(one, other, 2, 6, 3, 7);
#else
    typedef int Order __attribute__((vector_size(16)));
    low = __builtin_shuffle(one, other, Order{0, 4, 1, 5});
    high = __builtin_shuffle(one, other, Order{2, 6, 3, 7});
#endif
  }
};

}  // namespace

#include "gemm_kernels.h"

namespace vflc {
const Products generic_products = products_of<Generic>("generic");
}
