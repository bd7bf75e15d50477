// One instruction on a block of elements.
#pragma once

#include <cstdint>

#include "arithmetic.h"

constexpr int kMostOperands = 3;

enum Code : int {
#define NUMBER(name, operands, value) name,
  ARITHMETIC(NUMBER)
#undef NUMBER
      codes
};

constexpr int kOperands[] = {
#define COUNT(name, operands, value) operands,
    ARITHMETIC(COUNT)
#undef COUNT
};

// What an instruction reads: a block, or one element for all of it.
template <class T>
struct Operand {
  const T* at;
  bool whole;
};

// Computes `made` [size], which may be one of the operands itself. One for each type, as a template is not compiled
// for several processors.
void block_of(int code, const Operand<float>* given, float* made, int64_t size);
void block_of(int code, const Operand<double>* given, double* made, int64_t size);
