// Rows of tables: taken out, put back, and their gradients summed up, each in one pass.
#pragma once

#include <vector>

#include "operators.h"

template <class T>
struct Rows {
  static constexpr Type kind = sizeof(T) == 4 ? Type::float32 : Type::float64;
  static constexpr Type inputs[] = {Type::any}, outputs[] = {kind};
  static constexpr Arity inputs_are = Arity::variadic, outputs_are = Arity::variadic;
};

// Columns of arrays [rows, …] side by side, divided anew into outputs of `widths`; of the rows that the first input
// [n] names where it is `indexed`, else of all.
template <class T>
struct TakeRows : Rows<T> {
  static constexpr const char* name = sizeof(T) == 4 ? "TakeRows" : "TakeRowsDouble";

  explicit TakeRows(const Info& info) : indexed(info.integer("indexed")), widths(info.integers("widths")) {}
  void compute(const Context&);

  bool indexed;
  std::vector<int64_t> widths;
};

// Reads which rows [n], distinct ones, then so many `arrays` [rows, …], then values [n, …] whose columns side by side
// are those of the arrays. The outputs are the arrays with these rows; an output may lie where its array does.
template <class T>
struct PutRows : Rows<T> {
  static constexpr const char* name = sizeof(T) == 4 ? "PutRows" : "PutRowsDouble";

  explicit PutRows(const Info& info) : arrays(info.integer("arrays")) {}
  void compute(const Context&);

  int64_t arrays;
};

// Reads a count [1] of n + 1, positions [k] of each of `parts`, at most n, then for each table and part the gradients
// [k, width]. Gives the sums [n, all `widths`] of gradients of one position, added in order; those of n are left out.
template <class T>
struct SumRows : Rows<T> {
  static constexpr const char* name = sizeof(T) == 4 ? "SumRows" : "SumRowsDouble";

  explicit SumRows(const Info& info) : parts(info.integer("parts")), widths(info.integers("widths")) {}
  void compute(const Context&);

  int64_t parts;
  std::vector<int64_t> widths;
};
