#include "sum_axis.h"

#include "dispatch.h"

namespace {

constexpr int64_t kPart = 1 << 15;  // elements that are worth a thread

constexpr int kSome = 16;           // columns that are added up in registers

// Sums of `size` rows, each `width` elements after the one before, in some of their columns.
template <int columns, class T>
__attribute__((always_inline)) inline void sum_some(const T* from, T* to, int64_t size, int64_t width) {
  T sums[columns] = {};
  for (int64_t row = 0; row < size; ++row, from += width) {
#pragma GCC unroll 16
    for (int index = 0; index < columns; ++index) sums[index] += from[index];
  }
#pragma GCC unroll 16
  for (int index = 0; index < columns; ++index) to[index] = sums[index];
}

// `count` sums of `size` rows of `width` elements each.
template <class T>
__attribute__((always_inline)) inline void sum_rows(const T* from, T* to, int64_t count, int64_t size, int64_t width) {
  for (int64_t one = 0; one < count; ++one, from += size * width, to += width) {
    int64_t column = 0;
    for (; column + kSome <= width; column += kSome) sum_some<kSome>(from + column, to + column, size, width);
    for (; column < width; ++column) sum_some<1>(from + column, to + column, size, width);
  }
}

FOR_EACH_PROCESSOR void sums(const float* from, float* to, int64_t count, int64_t size, int64_t width) {
  sum_rows(from, to, count, size, width);
}
FOR_EACH_PROCESSOR void sums(const double* from, double* to, int64_t count, int64_t size, int64_t width) {
  sum_rows(from, to, count, size, width);
}

}  // namespace

template <class T>
void SumAxis<T>::compute(const Context& context) {
  Shape shape, made;
  const T* from = context.input<T>(0, &shape);
  if (axis < 0 || axis >= shape.rank) throw std::runtime_error("a sum is along an axis that is not there");
  int64_t before = 1, width = 1;
  const int64_t size = shape.sizes[axis];
  for (int each = 0; each < shape.rank; ++each) {
    if (each != axis || keep) made.sizes[made.rank++] = each == axis ? 1 : shape.sizes[each];
    if (each < axis) before *= shape.sizes[each];
    if (each > axis) width *= shape.sizes[each];
  }
  T* to = context.output<T>(0, made);
  if (before * width == 0) return;
  const int64_t some = std::max<int64_t>(1, kPart / std::max<int64_t>(1, size * width));
  context.parallel(static_cast<size_t>((before + some - 1) / some), [&](size_t part) {
    const int64_t start = static_cast<int64_t>(part) * some, count = std::min(some, before - start);
    sums(from + start * size * width, to + start * width, count, size, width);
  });
}

template struct SumAxis<float>;
template struct SumAxis<double>;
