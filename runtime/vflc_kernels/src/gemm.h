// Matrix products of training, with what stands before and after them in the same pass.
//
// All matrices are row-major and dense. Every output is one sum in one fixed order: over blocks of
// BLOCK inner elements, and in order within each. Threads share out outputs, never a sum, so that bits
// depend neither on how many there are nor on how many rows come along in the same call. AVX2 and AVX-512 give
// the same bits; the generic kernel rounds each product, where the processor has no fused multiply-add.
#pragma once

#include <cstddef>

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define VFLC_X86  // the processor, and a compiler that can compile for a newer one by #pragma GCC target
#endif

namespace vflc {

using Size = std::size_t;

// Runs task(data, 0) … task(data, tasks - 1), in any order, on any threads, and returns when all are done.
struct Threads {
  void (*run)(void* self, Size tasks, void (*task)(void* data, Size index), void* data);
  void* self;
};

enum class Activation { none, relu };

// y [rows, columns] = activation(x [rows, inner] · w [inner, columns] + b [columns]).
struct Dense {
  const float *x, *w, *b;  // b may be null
  float* y;
  Size rows, inner, columns;
  Activation activation;
};

// With g = dy where y > 0 (or y is no number), else 0; without y, g = dy:
//   dx [rows, inner] = g · wᵀ,   dw [inner, columns] = xᵀ · g,   db [columns] = column sums of g.
// What is not wanted is null, and so may be what only that needs.
struct DenseBackward {
  const float *x, *w, *dy, *y;
  float *dx, *dw, *db;
  Size rows, inner, columns;
};

// The products of one kind of processor and number.
struct Products {
  const char* name;
  Size (*dense_space)(const Dense&);  // bytes that it works in, aligned to 64
  void (*dense)(const Dense&, void* space, const Threads&);
  Size (*backward_space)(const DenseBackward&);
  void (*backward)(const DenseBackward&, void* space, const Threads&);
};

extern const Products generic_products;
#ifdef VFLC_X86
extern const Products avx2_products, avx512_products, bf16_products;
#endif

// The fastest products that this processor has; with `bf16`, those whose factors are rounded to bfloat16
// (sums stay float32), or null where it has none. VFLC_KERNELS=avx2 or =generic in the environment forbids faster ones.
const Products* products(bool bf16);

// Memory that a thread works in while it does a piece of a product, aligned to 64: beside what products are given.
void* piece_space(Size bytes);

// Whether rows are better shared out in large pieces, which stay in a processor's cache, than in many small ones.
bool few_processors();

void dense(const Products&, const Dense&, const Threads&);
void dense_backward(const Products&, const DenseBackward&, const Threads&);

}  // namespace vflc
