// Sums along an axis that is not the last.
#pragma once

#include "operators.h"

// An array [*before, n, *after] → [*before, *after], or [*before, 1, *after] if `keep`; n elements are added in order.
// `axis` is that of n. onnxruntime sums each element of the result by itself, where there are few in each sum.
template <class T>
struct SumAxis {
  static constexpr const char* name = sizeof(T) == 4 ? "SumAxis" : "SumAxisDouble";
  static constexpr Type inputs[] = {sizeof(T) == 4 ? Type::float32 : Type::float64};
  static constexpr Type outputs[] = {sizeof(T) == 4 ? Type::float32 : Type::float64};
  static constexpr Arity inputs_are = Arity::one, outputs_are = Arity::one;

  explicit SumAxis(const Info& info) : axis(info.integer("axis")), keep(info.integer("keep")) {}
  void compute(const Context&);

  int64_t axis;
  bool keep;
};
