// Which products this processor runs, and the memory that they work in.
#include "gemm.h"

#include <cstdlib>
#include <cstring>
#include <new>
#include <thread>

namespace vflc {

namespace {

constexpr Size ALIGNED = 64;

// Grows and stays: a step needs the same memory as the last one.
class Workspace {
 public:
  ~Workspace() { release(); }

  void* at_least(Size bytes) {
    if (bytes > size_) {
      release();
      memory_ = ::operator new(bytes, std::align_val_t(ALIGNED));
      size_ = bytes;
    }
    return memory_;
  }

 private:
  void release() {
    if (memory_) ::operator delete(memory_, std::align_val_t(ALIGNED));
    memory_ = nullptr, size_ = 0;
  }

  void* memory_ = nullptr;
  Size size_ = 0;
};

thread_local Workspace workspace, workspace_of_piece;

bool allowed(const char* kind) {
  const char* most = std::getenv("VFLC_KERNELS");
  if (!most || !*most) return true;
  if (!std::strcmp(most, "avx2")) return std::strcmp(kind, "avx512") != 0;
  return std::strcmp(most, "generic") != 0;
}

}  // namespace

const Products* products(bool bf16) {
#ifdef VFLC_X86
  const bool wide = allowed("avx512") && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
                    __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq");
  if (bf16) return wide && __builtin_cpu_supports("avx512bf16") ? &bf16_products : nullptr;
  if (wide) return &avx512_products;
  if (allowed("avx2") && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return &avx2_products;
#endif
  return bf16 ? nullptr : &generic_products;
}

void* piece_space(Size bytes) { return workspace_of_piece.at_least(bytes); }

bool few_processors() {
  static const bool few = std::thread::hardware_concurrency() <= 4;
  return few;
}

void dense(const Products& products, const Dense& dense, const Threads& threads) {
  if (dense.rows && dense.columns) products.dense(dense, workspace.at_least(products.dense_space(dense)), threads);
}

void dense_backward(const Products& products, const DenseBackward& backward, const Threads& threads) {
  products.backward(backward, workspace.at_least(products.backward_space(backward)), threads);
}

}  // namespace vflc
