// All steps of many users as one operator: each user's graph and optimizer, step after step, in memory that stays in
// the first cache. Users depend on no other, so no bit depends on how they are shared out among threads.
#pragma once

#include <vector>

#include "block.h"
#include "operators.h"

constexpr int kMostAxes = 6;

// An array that is read as if it had a larger shape: where it lies, and how far it is to the next element of an axis.
struct Part {
  int64_t place, offset, strides[kMostAxes];
};

// What `place` of a part means: own memory, constants, the number of the step, then feeds, then arrays.
enum Place : int64_t { kOwn, kConstants, kNumber, kFeeds };

struct UserInstruction {
  enum Kind : int64_t {
    map,      // `code` of operands, element by element
    sum,      // of one operand, or of products of two, along axes in which `to` does not move
    rows,     // of the table `array` by the ids `ids`
    merge,    // adds up the rows [count, width] at `to` whose ids are equal, into the first of them
    put,      // rows or a whole array at `to` in place of what they were made of
    give,     // output `array` [width] of the step
    numbers,  // ids as numbers
  };
  Kind kind;
  int64_t code, array, ids, count, width;
  int axes, operands;
  int64_t sizes[kMostAxes];
  Part given[kMostOperands], to;
};

struct UserProgram {
  explicit UserProgram(const Info&);

  std::vector<UserInstruction> instructions;
  std::vector<int64_t> feeds, ids, widths, tables, changed, results;  // sizes; of arrays their number
  int64_t memory, constants;

 private:
  bool inside(const Part&, const UserInstruction&) const;
  bool valid(const UserInstruction&) const;
};

// Inputs: steps [user], batches [user], the place of each step's first user among results [step], constants, feeds
// [batch, user, …], ids [batch, user, …], arrays [user, …] or [rows, width]. Outputs: arrays that change, which may
// be bound to the memory of what they were, and results [place, …]. A user's batches come again after the last one.
template <class T>
struct UserSteps {
  static constexpr const char* name = sizeof(T) == 4 ? "UserSteps" : "UserStepsDouble";
  static constexpr Type inputs[] = {Type::any}, outputs[] = {type_of<T>};
  static constexpr Arity inputs_are = Arity::variadic, outputs_are = Arity::variadic;

  explicit UserSteps(const Info& info) : program(info) {}
  void compute(const Context&);

  UserProgram program;
};
