// A region of elementwise operators as one: a small program, run on blocks that stay in the first cache.
#pragma once

#include <vector>

#include "operators.h"

// `program` has five numbers an instruction: what it does, up to three operands, and its register, which counts
// from 0. Operands below `given` are inputs, others results of instructions; and so are `results`, the outputs.
// Shapes broadcast as in NumPy; each output has the shape of its own operands.
struct Instruction {
  int code, operands[3], slot;
};

struct Program {
  explicit Program(const Info&);

  std::vector<Instruction> instructions;
  std::vector<int> outputs;
  int inputs, slots;
};

template <class T>
struct Fused {
  static constexpr const char* name = sizeof(T) == 4 ? "Fused" : "FusedDouble";
  static constexpr Type inputs[] = {type_of<T>}, outputs[] = {type_of<T>};
  static constexpr Arity inputs_are = Arity::variadic, outputs_are = Arity::variadic;

  explicit Fused(const Info& info) : program(info) {}
  void compute(const Context&);

  Program program;
};

// How many regions ran by a loop of their own so far, see frequent.h.
int64_t runs_of_frequent_programs();
