// Programs that take much of a training step have a loop of their own, compiled from a table of their instructions: one
// pass over memory, with all that comes between in registers. Others go through blocks, an instruction at a time.
//
// A program is looked up by what it does, so that a table of one that no graph has any more is of no use, and does no
// harm; a test sees to it that these are those of the optimizer that most specs have. Bits are those of the blocks.
#pragma once

#include <utility>
#include <vector>

#include "block.h"
#include "dispatch.h"

namespace {

// An instruction and what it reads: lines before it by number, or what is given, all of it or one element, numbered in
// the order in which it is first read. What is `kept` is an output.
struct Line {
  int code, operands[kMostOperands];
  bool kept;
};

constexpr int kMostRead = 16, kMostLines = 16;
constexpr int whole(int number) { return 100 + number; }
constexpr int one(int number) { return 200 + number; }

// Adam on weights, gradients and slots: of all numbers at once, where the step's size is known; and of rows, apart.
constexpr Line kAdam[] = {
    {MulAdd, {one(0), whole(1), whole(2)}, true}, {Mul, {whole(2), whole(2)}, false},
    {MulAdd, {one(3), whole(4), 1}, true},        {Sqrt, {2}, false},
    {Add, {3, one(5)}, false},                    {Div, {0, 4}, false},
    {SubMul, {5, one(6), whole(7)}, true},
};
constexpr Line kAdamRows[] = {
    {MulAdd, {one(0), whole(1), whole(2)}, true}, {Mul, {whole(2), whole(2)}, false},
    {MulAdd, {one(3), whole(4), 1}, true},        {Sqrt, {2}, false},
    {Add, {3, one(5)}, false},                    {Div, {0, 4}, true},
};
// Rows that catch up with the steps of Adam that they missed.
constexpr Line kAdamMissed[] = {
    {Sqrt, {whole(0)}, false},         {Add, {0, one(1)}, false},           {Div, {one(1), 1}, false},
    {MulAdd, {2, whole(2), whole(3)}, false}, {MulAdd, {2, 3, whole(4)}, false}, {Div, {whole(5), 1}, false},
    {SubMul, {5, 4, whole(6)}, true},
};

template <int code, class T>
INLINE T value_of(T x, T y, T z) {
  (void)y, (void)z;
#define VALUE(name, operands, value) \
  if constexpr (code == name) return value;
  ARITHMETIC(VALUE)
#undef VALUE
}

template <int operand, class T>
INLINE T read(const T* values, const T* const* given, const T* ones, int64_t at) {
  if constexpr (operand >= one(0)) return ones[operand - one(0)];
  else if constexpr (operand >= whole(0)) return given[operand - whole(0)][at];
  else return values[operand];
}

template <const auto& program, class T, size_t... lines>
INLINE void run_lines(const T* const* given, T* const* made, int64_t size, std::index_sequence<lines...>) {
  T ones[kMostRead];
  for (const Line& line : program)
    for (int operand : line.operands)
      if (operand >= one(0)) ones[operand - one(0)] = *given[operand - one(0)];
#pragma GCC ivdep
  for (int64_t at = 0; at < size; ++at) {
    T values[sizeof...(lines)] = {};
    ((values[lines] = value_of<program[lines].code>(read<program[lines].operands[0]>(values, given, ones, at),
                                                    read<program[lines].operands[1]>(values, given, ones, at),
                                                    read<program[lines].operands[2]>(values, given, ones, at))),
     ...);
    ((program[lines].kept ? void(made[lines][at] = values[lines]) : void()), ...);
  }
}

template <const auto& program, class T>
INLINE void run_lines(const T* const* given, T* const* made, int64_t size) {
  run_lines<program>(given, made, size, std::make_index_sequence<std::size(program)>());
}

template <class T>
INLINE void run_number(int number, const T* const* given, T* const* made, int64_t size) {
  if (number == 0) run_lines<kAdam>(given, made, size);
  if (number == 1) run_lines<kAdamRows>(given, made, size);
  if (number == 2) run_lines<kAdamMissed>(given, made, size);
}

FOR_EACH_PROCESSOR void run_frequent(int number, const float* const* given, float* const* made, int64_t size) {
  run_number(number, given, made, size);
}
FOR_EACH_PROCESSOR void run_frequent(int number, const double* const* given, double* const* made, int64_t size) {
  run_number(number, given, made, size);
}

template <size_t size>
bool same(const std::vector<Line>& lines, const Line (&program)[size]) {
  if (lines.size() != size) return false;
  for (size_t index = 0; index < size; ++index) {
    const Line &a = lines[index], &b = program[index];
    if (a.code != b.code || a.kept != b.kept) return false;
    for (int operand = 0; operand < kOperands[a.code]; ++operand)
      if (a.operands[operand] != b.operands[operand]) return false;
  }
  return true;
}

// The number of the loop that does what these instructions do; -1 where there is none.
int frequent(const std::vector<Line>& lines) {
  return same(lines, kAdam) ? 0 : same(lines, kAdamRows) ? 1 : same(lines, kAdamMissed) ? 2 : -1;
}

}  // namespace
