// An array repeated along axes.
#pragma once

#include "operators.h"

// Reads a shape, int64 [axes], and an array. Gives the array in the shape that both are broadcast to, as `Expand` of
// ONNX. onnxruntime copies what is repeated piece by piece, in one thread.
template <class T>
struct Expand {
  static constexpr const char* name = sizeof(T) == 4 ? "Expand" : "ExpandDouble";
  static constexpr Type inputs[] = {Type::int64, sizeof(T) == 4 ? Type::float32 : Type::float64};
  static constexpr Type outputs[] = {sizeof(T) == 4 ? Type::float32 : Type::float64};
  static constexpr Arity inputs_are = Arity::one, outputs_are = Arity::one;

  explicit Expand(const Info&) {}
  void compute(const Context&);
};
