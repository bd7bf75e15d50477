// A kernel of a GPU that an engine has compiled, as an operator.
#pragma once

#include <vector>

#include "operators.h"

// `function` is the kernel, `launch` the address of CUDA's cuLaunchKernel, `stream` where it runs, in `blocks` blocks of
// `threads`. The kernel takes the addresses of all inputs and then of all outputs, which have the shape `shape`.
template <class T>
struct Launch {
  static constexpr const char* name = sizeof(T) == 4 ? "Launch" : "LaunchDouble";
  static constexpr const char* provider = "CUDAExecutionProvider";
  static constexpr Type inputs[] = {sizeof(T) == 4 ? Type::float32 : Type::float64};
  static constexpr Type outputs[] = {sizeof(T) == 4 ? Type::float32 : Type::float64};
  static constexpr Arity inputs_are = Arity::variadic, outputs_are = Arity::variadic;

  explicit Launch(const Info&);
  void compute(const Context&);

  void *function, *stream;
  int (*launch)(void*, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, void*, void**, void**);
  unsigned blocks, threads;
  Shape shape;
};
