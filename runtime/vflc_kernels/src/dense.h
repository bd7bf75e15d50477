// Operators of dense layers.
#pragma once

#include "gemm.h"
#include "operators.h"

// X [rows, inner], W [inner, columns], and B [columns] if there is a third → Y [rows, columns].
// Attributes: `relu`; `bfloat16`, which rounds factors where the processor multiplies them faster then.
struct DenseOperator {
  static constexpr const char* name = "Dense";
  static constexpr Type inputs[] = {Type::float32}, outputs[] = {Type::float32};
  static constexpr Arity inputs_are = Arity::variadic, outputs_are = Arity::one;

  explicit DenseOperator(const Info&);
  void compute(const Context&);

  const vflc::Products* products;
  vflc::Activation activation;
};

// X [rows, inner], dY [rows, columns], then Y of dY's shape if `masked`, then W [inner, columns] if `to_x`
// → dW of W's shape, then dX of X's shape if `to_x`, then dB [columns] if `to_b`. See vflc::DenseBackward.
struct DenseBackwardOperator {
  static constexpr const char* name = "DenseBackward";
  static constexpr Type inputs[] = {Type::float32}, outputs[] = {Type::float32};
  static constexpr Arity inputs_are = Arity::variadic, outputs_are = Arity::variadic;

  explicit DenseBackwardOperator(const Info&);
  void compute(const Context&);

  const vflc::Products* products;
  bool masked, to_x, to_b;
};
