// float32 in vectors of any length. What a processor has instructions for, its own number has beside this or instead.
#pragma once

#include "gemm.h"

namespace {

template <int lanes, int vectors, int rows>
struct Float {
  static constexpr vflc::Size CELL = 1, LANES = lanes, WIDTH = lanes * vectors;
  static constexpr int VECTORS = vectors, ROWS = rows;
  typedef float Vector __attribute__((vector_size(lanes * 4)));
  typedef float Loose __attribute__((vector_size(lanes * 4), aligned(4), may_alias));  // anywhere in memory

  static Vector spread(const float* cell) { return *cell - Vector{}; }
  static void add(Vector& sum, Vector left, Vector right) { sum += left * right; }

  static Vector load_some(const float* from, vflc::Size count) {
    Vector vector = {};
    for (vflc::Size i = 0; i < count; i++) ((float*)&vector)[i] = from[i];
    return vector;
  }

  static void store_some(float* to, Vector vector, vflc::Size count) {
    for (vflc::Size i = 0; i < count; i++) to[i] = ((const float*)&vector)[i];
  }
};

}  // namespace
