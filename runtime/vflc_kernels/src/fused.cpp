#include "fused.h"

#include <algorithm>
#include <atomic>
#include <cstring>

#include "block.h"
#include "frequent.h"
#include "spread.h"

namespace {

std::atomic<int64_t> frequent_runs{0};
constexpr int64_t kBlock = 1024;       // elements of a register
constexpr int64_t kPart = 16 * kBlock;  // elements that are worth a thread

// All outputs of one shape, and what they are made of.
template <class T>
class Region {
 public:
  Region(const Program& program, const std::vector<const T*>& given, const std::vector<Shape>& shapes,
         const Shape& whole)
      : program_(program), given_(given), shapes_(shapes), whole_(whole), size_(whole.count()),
        single_(shapes.size()), kinds_(program.inputs, kOne), needed_(shapes.size()) {
    for (size_t value = 0; value < shapes.size(); ++value) single_[value] = shapes[value].count() == 1;
  }

  void add_output(int value, T* into) {
    outputs_.push_back({value, into, false});
    needed_[value] = true;
  }

  void compute(const Context& context) {
    if (size_ == 0) return;
    prepare();
    if (frequent_ >= 0) frequent_runs.fetch_add(1, std::memory_order_relaxed);
    context.parallel(static_cast<size_t>((size_ + kPart - 1) / kPart), [&](size_t part) {
      const int64_t start = static_cast<int64_t>(part) * kPart, end = std::min(start + kPart, size_);
      std::vector<T>& memory = registers();
      for (int64_t at = start; at < end; at += kBlock) block(memory.data(), at, std::min(kBlock, end - at));
    });
  }

 private:
  enum Kind : int { kOne = -1, kWhole = -2 };

  struct Output {
    int value;
    T* into;
    bool late;  // would overwrite what a later instruction reads
  };

  // Each thread keeps its own from run to run.
  std::vector<T>& registers() const {
    static thread_local std::vector<T> memory;
    const size_t size = (program_.slots + spread_.size()) * kBlock;
    if (memory.size() < size) memory.resize(size);
    return memory;
  }

  // What is the same for all blocks.
  void prepare() {
    const int inputs = program_.inputs, count = static_cast<int>(program_.instructions.size());
    std::vector<int> last_read(inputs, -1);
    for (const Output& output : outputs_)
      if (output.value < inputs) last_read[output.value] = count;
    for (int index = count - 1; index >= 0; --index) {
      if (!needed_[inputs + index]) continue;
      const Instruction& each = program_.instructions[index];
      for (int operand = 0; operand < kOperands[each.code]; ++operand) {
        const int value = each.operands[operand];
        needed_[value] = true;
        if (value < inputs) last_read[value] = std::max(last_read[value], index);
      }
    }
    for (int input = 0; input < inputs; ++input) {
      if (!needed_[input] || single_[input]) continue;
      kinds_[input] = shapes_[input].count() == size_ ? kWhole : static_cast<int>(spread_.size());
      if (kinds_[input] != kWhole) spread_.emplace_back(given_[input], shapes_[input], whole_);
    }
    singles_.resize(count);
    for (int index = 0; index < count; ++index)
      if (needed_[inputs + index]) {
        if (!single_[inputs + index]) {
          steps_.push_back(index);
          continue;
        }
        Operand<T> operands[kMostOperands] = {};
        read_operands(program_.instructions[index], nullptr, 0, operands);
        block_of(program_.instructions[index].code, operands, &singles_[index], 1);
      }
    direct_.assign(count, nullptr);
    bool any_late = false;
    for (Output& output : outputs_) {
      const int index = output.value - inputs;
      output.late = index < 0 || single_[output.value] || direct_[index];
      for (int input = 0; input < inputs; ++input)
        if (given_[input] == output.into && last_read[input] > index) output.late = true;
      if (!output.late) direct_[index] = output.into;
      any_late |= output.late;
    }
    if (!any_late) frequent_ = frequent(lines());
  }

  // The instructions that go through blocks, as they are compared with those that have a loop of their own.
  std::vector<Line> lines() {
    std::vector<int> found(shapes_.size(), -1);
    std::vector<Line> made;
    for (size_t step = 0; step < steps_.size(); ++step) {
      const int index = steps_[step];
      const Instruction& each = program_.instructions[index];
      Line line{each.code, {}, direct_[index] != nullptr};
      for (int operand = 0; operand < kOperands[each.code]; ++operand) {
        const int value = each.operands[operand];
        if (found[value] < 0) {
          const int number = static_cast<int>(read_.size());
          found[value] = kind_of(value) == kOne ? one(number) : whole(number);
          read_.push_back(value);
        }
        line.operands[operand] = found[value];
      }
      found[program_.inputs + index] = static_cast<int>(step);
      made.push_back(line);
    }
    return made;
  }

  int kind_of(int value) const {
    return value < program_.inputs ? kinds_[value] : single_[value] ? kOne : kWhole;
  }

  void block(T* memory, int64_t start, int64_t size) const {
    T* spread = memory + program_.slots * kBlock;
    for (size_t index = 0; index < spread_.size(); ++index)
      spread_[index].read(start, size, spread + index * kBlock);
    if (frequent_ >= 0) {
      const T* given[kMostRead];
      T* made[kMostLines];
      for (size_t number = 0; number < read_.size(); ++number) given[number] = operand(read_[number], memory, start).at;
      for (size_t step = 0; step < steps_.size(); ++step)
        made[step] = direct_[steps_[step]] ? direct_[steps_[step]] + start : nullptr;
      return run_frequent(frequent_, given, made, size);
    }
    for (int index : steps_) {
      const Instruction& each = program_.instructions[index];
      Operand<T> operands[kMostOperands] = {};
      read_operands(each, memory, start, operands);
      block_of(each.code, operands, result(memory, index, start), size);
    }
    for (const Output& output : outputs_)
      if (output.late) {
        Operand<T> from = operand(output.value, memory, start);
        if (from.whole) std::memmove(output.into + start, from.at, static_cast<size_t>(size) * sizeof(T));
        else std::fill(output.into + start, output.into + start + size, *from.at);
      }
  }

  T* result(T* memory, int index, int64_t start) const {
    return direct_[index] ? direct_[index] + start : memory + program_.instructions[index].slot * kBlock;
  }

  Operand<T> operand(int value, T* memory, int64_t start) const {
    const int index = value - program_.inputs;
    if (index >= 0)
      return single_[value] ? Operand<T>{&singles_[index], false} : Operand<T>{result(memory, index, start), true};
    if (kinds_[value] == kOne) return {given_[value], false};
    if (kinds_[value] == kWhole) return {given_[value] + start, true};
    return {memory + (program_.slots + kinds_[value]) * kBlock, true};
  }

  void read_operands(const Instruction& each, T* memory, int64_t start, Operand<T>* operands) const {
    for (int index = 0; index < kOperands[each.code]; ++index)
      operands[index] = operand(each.operands[index], memory, start);
  }

  const Program& program_;
  const std::vector<const T*>& given_;
  const std::vector<Shape>& shapes_;
  Shape whole_;
  int64_t size_;
  std::vector<char> single_;        // by value: it has one element
  std::vector<int> kinds_;          // by input: one element, all of them, or the index of its spread
  std::vector<Spread<T>> spread_;
  std::vector<char> needed_;        // by value
  std::vector<int> steps_;          // instructions that go through blocks
  std::vector<T> singles_;          // by instruction
  std::vector<T*> direct_;          // by instruction: the output that it writes itself
  std::vector<Output> outputs_;
  std::vector<int> read_;           // values that are read from outside of the steps, in order
  int frequent_ = -1;               // which of the loops of frequent.h does all of this
};

}  // namespace

Program::Program(const Info& info) : inputs(static_cast<int>(info.integer("given"))), slots(0) {
  std::vector<int64_t> numbers = info.integers("program");
  if (inputs < 0 || numbers.size() % 5) throw std::runtime_error("a fused operator has no program");
  for (size_t at = 0; at < numbers.size(); at += 5) {
    Instruction made;
    const int64_t values = inputs + static_cast<int64_t>(instructions.size());
    const int64_t code = numbers[at], slot = numbers[at + 4];
    if (code < 0 || code >= codes || slot < 0 || slot > values)
      throw std::runtime_error("a fused operator has an unknown instruction");
    made.code = static_cast<int>(code);
    made.slot = static_cast<int>(slot);
    for (int operand = 0; operand < kMostOperands; ++operand) {
      const int64_t value = numbers[at + 1 + operand];
      if (operand < kOperands[code] && (value < 0 || value >= values))
        throw std::runtime_error("a fused operator reads what is not there yet");
      made.operands[operand] = static_cast<int>(value);
    }
    slots = std::max(slots, made.slot + 1);
    instructions.push_back(made);
  }
  for (int64_t value : info.integers("results")) {
    if (value < 0 || value >= inputs + static_cast<int64_t>(instructions.size()))
      throw std::runtime_error("a fused operator gives what is not there");
    outputs.push_back(static_cast<int>(value));
  }
}

template <class T>
void Fused<T>::compute(const Context& context) {
  if (context.inputs() != static_cast<size_t>(program.inputs) || context.outputs() != program.outputs.size())
    throw std::runtime_error("a fused operator has other inputs or outputs than its program");
  std::vector<Shape> shapes(program.inputs);
  std::vector<const T*> given(program.inputs);
  for (int input = 0; input < program.inputs; ++input) given[input] = context.input<T>(input, &shapes[input]);
  for (const Instruction& each : program.instructions) {
    Shape shape = shapes[each.operands[0]];
    for (int operand = 1; operand < kOperands[each.code]; ++operand)
      shape = broadcast(shape, shapes[each.operands[operand]]);
    shapes.push_back(shape);
  }
  // Larger outputs first: smaller ones read nothing that these may be written over.
  std::vector<size_t> rest(program.outputs.size());
  for (size_t index = 0; index < rest.size(); ++index) rest[index] = index;
  auto shape_of = [&](size_t output) -> const Shape& { return shapes[program.outputs[output]]; };
  std::stable_sort(rest.begin(), rest.end(),
                   [&](size_t a, size_t b) { return shape_of(a).count() > shape_of(b).count(); });
  while (!rest.empty()) {
    const Shape whole = shape_of(rest.front());
    Region<T> region(program, given, shapes, whole);
    std::vector<size_t> others;
    for (size_t output : rest)
      if (shape_of(output) == whole) region.add_output(program.outputs[output], context.output<T>(output, whole));
      else others.push_back(output);
    region.compute(context);
    rest = others;
  }
}

int64_t runs_of_frequent_programs() { return frequent_runs.load(std::memory_order_relaxed); }

template struct Fused<float>;
template struct Fused<double>;
