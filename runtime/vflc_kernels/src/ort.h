// The part of onnxruntime's C interface that operators of our own need, and no more of it.
//
// The interface is a table of functions. A release only ever appends to it, so that a function is known by
// its place for good; those below are in every release since 1.17.
#pragma once

#include <cstddef>
#include <cstdint>
#include <stdexcept>

struct OrtStatus;
struct OrtKernelInfo;
struct OrtKernelContext;
struct OrtValue;
struct OrtShapeInfo;
struct OrtDomain;
struct OrtSessionOptions;

using OrtFunction = void (*)();
using OrtTable = const OrtFunction*;

struct OrtBase {
  OrtTable (*table)(uint32_t version);
  const char* (*release)();
};

constexpr uint32_t kVersion = 17;

// Of a tensor's elements.
enum class Type : int { any = 0, float32 = 1, int32 = 6, int64 = 7, boolean = 9, float64 = 11 };

enum class Arity : int { one = 0, optional = 1, variadic = 2 };

// What onnxruntime asks of an operator, in its order.
struct OrtOperator {
  uint32_t version;
  void* (*create)(const OrtOperator*, OrtTable, const OrtKernelInfo*);
  const char* (*name)(const OrtOperator*);
  const char* (*provider)(const OrtOperator*);
  Type (*input_type)(const OrtOperator*, size_t);
  size_t (*input_count)(const OrtOperator*);
  Type (*output_type)(const OrtOperator*, size_t);
  size_t (*output_count)(const OrtOperator*);
  void (*compute)(void*, OrtKernelContext*);
  void (*destroy)(void*);
  Arity (*input_arity)(const OrtOperator*, size_t);
  Arity (*output_arity)(const OrtOperator*, size_t);
  int (*input_memory)(const OrtOperator*, size_t);
  int (*least_inputs)(const OrtOperator*);
  int (*inputs_alike)(const OrtOperator*);
  int (*least_outputs)(const OrtOperator*);
  int (*outputs_alike)(const OrtOperator*);
  OrtStatus* (*create_safely)(const OrtOperator*, OrtTable, const OrtKernelInfo*, void**);
  OrtStatus* (*compute_safely)(void*, OrtKernelContext*);
  void* infer_shapes;
  int (*first_version)(const OrtOperator*);
  int (*last_version)(const OrtOperator*);
};

// Calls the function at a place of the table that takes `Given`, and throws what it complains about.
class Ort {
 public:
  explicit Ort(OrtTable table) : table_(table) {}

  enum Place : size_t {
    create_status = 0,
    error_message = 2,
    create_domain = 26,
    add_operator = 27,
    add_domain = 28,
    tensor_data = 51,
    element_type = 60,
    dimensions_count = 61,
    dimensions = 62,
    type_and_shape = 65,
    float_attribute = 85,
    int_attribute = 86,
    input_count = 88,
    output_count = 89,
    input = 90,
    output = 91,
    release_status = 93,
    release_shape = 99,
    ints_attribute = 163,
    parallel_for = 274,
  };

  template <class... Given>
  void call(Place place, Given... given) const {
    auto function = reinterpret_cast<OrtStatus* (*)(Given...)>(table_[place]);
    if (OrtStatus* status = function(given...)) {
      auto message = reinterpret_cast<const char* (*)(const OrtStatus*)>(table_[error_message]);
      std::runtime_error error(message(status));
      release<OrtStatus>(release_status, status);
      throw error;
    }
  }

  template <class Thing>
  void release(Place place, Thing* thing) const {
    reinterpret_cast<void (*)(Thing*)>(table_[place])(thing);
  }

  OrtStatus* failed(const char* message) const {
    return reinterpret_cast<OrtStatus* (*)(int, const char*)>(table_[create_status])(1, message);
  }

 private:
  OrtTable table_;
};
