// Rows of a table by their numbers.
#pragma once

#include "operators.h"

// Reads numbers of rows, int32 or int64 [*], where -1 is the last row as in ONNX, and a table [rows, width].
// With `missing`, all below 0 are rows of zeros instead. Gives the rows [*, width]. onnxruntime calls memmove for each row, and waits for those that are not in a cache.
template <class T>
struct GatherRows {
  static constexpr const char* name = sizeof(T) == 4 ? "GatherRows" : "GatherRowsDouble";
  static constexpr Type inputs[] = {Type::any, sizeof(T) == 4 ? Type::float32 : Type::float64};
  static constexpr Type outputs[] = {sizeof(T) == 4 ? Type::float32 : Type::float64};
  static constexpr Arity inputs_are = Arity::one, outputs_are = Arity::one;

  // `wide`: numbers are int64.
  explicit GatherRows(const Info& info) : wide(info.integer("wide")), missing(info.integer("missing")) {}
  void compute(const Context&);

  bool wide, missing;
};
