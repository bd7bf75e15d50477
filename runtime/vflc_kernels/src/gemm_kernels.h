// All that makes products of one kind of number. Included after its definition.
#pragma once

#include "gemm.h"

namespace {

using vflc::Activation;
using vflc::Dense;
using vflc::DenseBackward;
using vflc::Products;
using vflc::Size;
using vflc::Threads;

}  // namespace

#include "gemm_pack.h"
#include "gemm_tile.h"
#include "gemm_driver.h"
#include "gemm_backward.h"

namespace {

template <class Problem, class Run>
Size space_of(const Problem& problem) {
  Space space{nullptr};
  Run{problem}.lay(space);
  return space.used;
}

template <class Problem, class Run>
void run_in(const Problem& problem, void* memory, const Threads& threads) {
  Space space{(char*)memory};
  Run run{problem};
  run.lay(space);
  run.run(threads);
}

template <class Number>
constexpr Products products_of(const char* name) {
  return {name, space_of<Dense, DenseRun<Number>>, run_in<Dense, DenseRun<Number>>,
          space_of<DenseBackward, BackwardRun<Number>>, run_in<DenseBackward, BackwardRun<Number>>};
}

}  // namespace
