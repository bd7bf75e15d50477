// How an operator is written: a class with a name and types, made for a node and called for every run of it.
#pragma once

#include <algorithm>
#include <atomic>
#include <exception>
#include <type_traits>
#include <vector>

#include "ort.h"
#include "pool.h"

constexpr int kMostDimensions = 8;

// How many threads of this process's pool share out operators that the calling thread makes; 0 where it is those of
// the operator's session.
inline thread_local size_t threads_of_new = 0;

// How many threads share out an operator, of those that it has, where it is the calling thread that runs it; 0 for all.
inline thread_local size_t threads_at_most = 0;

struct Shape {
  int64_t sizes[kMostDimensions];
  int rank = 0;

  int64_t count() const {
    int64_t count = 1;
    for (int axis = 0; axis < rank; ++axis) count *= sizes[axis];
    return count;
  }
  bool operator==(const Shape& other) const {
    return rank == other.rank && std::equal(sizes, sizes + rank, other.sizes);
  }
};

template <class T>
constexpr Type type_of = std::is_same_v<T, int64_t>   ? Type::int64
                         : std::is_same_v<T, int32_t> ? Type::int32
                         : sizeof(T) == 4             ? Type::float32
                                                      : Type::float64;

// What a node says of itself.
class Info {
 public:
  Info(Ort ort, const OrtKernelInfo* info) : ort_(ort), info_(info) {}

  int64_t integer(const char* name) const {
    int64_t found = 0;
    ort_.call(Ort::int_attribute, info_, name, &found);
    return found;
  }
  std::vector<int64_t> integers(const char* name) const {
    size_t count = 0;
    ort_.call(Ort::ints_attribute, info_, name, static_cast<int64_t*>(nullptr), &count);
    std::vector<int64_t> found(count);
    if (count) ort_.call(Ort::ints_attribute, info_, name, found.data(), &count);
    return found;
  }

 private:
  Ort ort_;
  const OrtKernelInfo* info_;
};

// One run of a node.
class Context {
 public:
  Context(Ort ort, OrtKernelContext* context, size_t threads) : ort_(ort), context_(context), threads_(threads) {}

  size_t inputs() const { return count(Ort::input_count); }
  size_t outputs() const { return count(Ort::output_count); }

  // The elements of an input, and its shape where that is asked for. Then the type is looked at, too, as onnxruntime
  // lets any through for Type::any.
  template <class T>
  const T* input(size_t index, Shape* shape = nullptr) const {
    const OrtValue* value = nullptr;
    ort_.call(Ort::input, static_cast<const OrtKernelContext*>(context_), index, &value);
    if (shape && read_shape(value, shape) != type_of<T>)
      throw std::runtime_error("a tensor has elements of another type");
    return static_cast<const T*>(data(const_cast<OrtValue*>(value)));
  }

  template <class T>
  T* output(size_t index, const Shape& shape) const {
    OrtValue* value = nullptr;
    ort_.call(Ort::output, context_, index, shape.sizes, static_cast<size_t>(shape.rank), &value);
    return static_cast<T*>(data(value));
  }

  // Calls `part(i)`, which throws nothing, for i in 0..parts, by the threads that the operator has, in any order.
  template <class Part>
  void parallel(size_t parts, const Part& part) const {
    const size_t most = threads_at_most ? threads_at_most : SIZE_MAX;
    if (parts == 1 || most == 1 || threads_ == 1) {
      for (size_t index = 0; index < parts; ++index) part(index);
    } else if (threads_) {
      in_pool(std::min(threads_, most), parts, call<Part>, erased(part));
    } else if (most >= parts) {
      by_session(parts, part);
    } else {
      std::atomic<size_t> next{0};
      by_session(most, [&](size_t) {
        for (size_t index; (index = next.fetch_add(1, std::memory_order_relaxed)) < parts;) part(index);
      });
    }
  }

 private:
  template <class Part>
  static void call(void* part, size_t index) {
    (*static_cast<const Part*>(part))(index);
  }
  template <class Part>
  static void* erased(const Part& part) {
    return const_cast<void*>(static_cast<const void*>(&part));
  }
  template <class Part>
  void by_session(size_t parts, const Part& part) const {
    ort_.call(Ort::parallel_for, static_cast<const OrtKernelContext*>(context_), &call<Part>, parts, parts,
              erased(part));
  }
  size_t count(Ort::Place place) const {
    size_t count = 0;
    ort_.call(place, static_cast<const OrtKernelContext*>(context_), &count);
    return count;
  }
  void* data(OrtValue* value) const {
    void* found = nullptr;
    ort_.call(Ort::tensor_data, value, &found);
    return found;
  }
  Type read_shape(const OrtValue* value, Shape* shape) const {
    OrtShapeInfo* info = nullptr;
    size_t rank = 0;
    Type type = Type::any;
    ort_.call(Ort::type_and_shape, value, &info);
    ort_.call(Ort::element_type, static_cast<const OrtShapeInfo*>(info), &type);
    ort_.call(Ort::dimensions_count, static_cast<const OrtShapeInfo*>(info), &rank);
    if (rank <= kMostDimensions)
      ort_.call(Ort::dimensions, static_cast<const OrtShapeInfo*>(info), &shape->sizes[0], rank);
    ort_.release(Ort::release_shape, info);
    if (rank > kMostDimensions) throw std::runtime_error("a tensor has too many dimensions");
    shape->rank = static_cast<int>(rank);
    return type;
  }

  Ort ort_;
  OrtKernelContext* context_;
  size_t threads_;
};

// What onnxruntime calls where an operator runs; nothing for the processor.
template <class Kernel, class = void>
struct ProviderOf {
  static constexpr const char* value = nullptr;
};
template <class Kernel>
struct ProviderOf<Kernel, std::void_t<decltype(Kernel::provider)>> {
  static constexpr const char* value = Kernel::provider;
};

// Hands a class of this form to onnxruntime:
//
//   struct Name {
//     static constexpr const char* name = "Name";   // and `provider`, where it runs elsewhere than on the processor
//     static constexpr Type inputs[] = {…}, outputs[] = {…};   // the last stands for all further ones
//     static constexpr Arity inputs_are = Arity::variadic, outputs_are = Arity::one;   // of the last
//     explicit Name(const Info&);
//     void compute(const Context&);
//   };
template <class Kernel>
class Operator : public OrtOperator {
 public:
  Operator() : OrtOperator{} {
    version = kVersion;
    name = [](const OrtOperator*) { return Kernel::name; };
    provider = [](const OrtOperator*) { return ProviderOf<Kernel>::value; };
    input_type = [](const OrtOperator*, size_t index) { return Kernel::inputs[index]; };
    input_count = [](const OrtOperator*) { return std::size(Kernel::inputs); };
    output_type = [](const OrtOperator*, size_t index) { return Kernel::outputs[index]; };
    output_count = [](const OrtOperator*) { return std::size(Kernel::outputs); };
    destroy = [](void* made) { delete static_cast<Made*>(made); };
    input_arity = [](const OrtOperator*, size_t index) {
      return index + 1 == std::size(Kernel::inputs) ? Kernel::inputs_are : Arity::one;
    };
    output_arity = [](const OrtOperator*, size_t index) {
      return index + 1 == std::size(Kernel::outputs) ? Kernel::outputs_are : Arity::one;
    };
    input_memory = [](const OrtOperator*, size_t) { return 0; };
    least_inputs = least_outputs = [](const OrtOperator*) { return 1; };
    inputs_alike = [](const OrtOperator*) { return int{Kernel::inputs[std::size(Kernel::inputs) - 1] != Type::any}; };
    outputs_alike = [](const OrtOperator*) { return 1; };
    first_version = [](const OrtOperator*) { return 1; };
    last_version = [](const OrtOperator*) { return INT32_MAX; };
    create_safely = [](const OrtOperator*, OrtTable table, const OrtKernelInfo* info, void** made) {
      return safely(Ort(table), [&] { *made = new Made{Ort(table), threads_of_new, Kernel(Info(Ort(table), info))}; });
    };
    compute_safely = [](void* made, OrtKernelContext* context) {
      auto& here = *static_cast<Made*>(made);
      return safely(here.ort, [&] { here.kernel.compute(Context(here.ort, context, here.threads)); });
    };
  }

 private:
  struct Made {
    Ort ort;
    size_t threads;
    Kernel kernel;
  };

  template <class Action>
  static OrtStatus* safely(Ort ort, const Action& action) {
    try {
      action();
      return nullptr;
    } catch (const std::exception& error) {
      return ort.failed(error.what());
    }
  }
};
