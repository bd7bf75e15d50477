#include "gather_rows.h"

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstring>

namespace {

constexpr int64_t kPart = 512;  // rows that are worth a thread
constexpr int64_t kAhead = 16;  // rows that are asked for before they are read

// Rows of `bytes`, if they are all as long; else of `width` elements.
template <size_t bytes, class T>
void copy(T* to, const T* from, int64_t width) {
  std::memcpy(to, from, bytes ? bytes : static_cast<size_t>(width) * sizeof(T));
}

// Whether all rows are there; of others the first row is taken. Those below 0 may be missing.
template <size_t bytes, class T, class Index>
bool take(const T* table, int64_t rows, int64_t width, bool missing, const Index* numbers, int64_t count, T* to) {
  const uintptr_t start = reinterpret_cast<uintptr_t>(table), size = static_cast<size_t>(width) * sizeof(T);
  bool there = true;
  const auto place = [&](int64_t index) {
    const int64_t number = numbers[index];
    return number < 0 ? number + rows : number;
  };
  for (int64_t index = 0; index < count; ++index, to += width) {
    if (bytes != sizeof(T) && index + kAhead < count) {  // a column is read faster than it is asked for
      const uintptr_t next = start + static_cast<uintptr_t>(place(index + kAhead)) * size;  // anywhere: it is not read
      for (uintptr_t at = next; at < next + size; at += 64) __builtin_prefetch(reinterpret_cast<const void*>(at));
    }
    if (missing && numbers[index] < 0) {
      std::fill(to, to + width, T(0));
      continue;
    }
    int64_t row = place(index);
    if (static_cast<uint64_t>(row) >= static_cast<uint64_t>(rows)) there = false, row = 0;
    copy<bytes>(to, table + row * width, width);
  }
  return there;
}

template <class T, class Index>
bool take_any(const T* table, int64_t rows, int64_t width, bool missing, const Index* numbers, int64_t count, T* to) {
  switch (static_cast<size_t>(width) * sizeof(T)) {
    case sizeof(T): return take<sizeof(T)>(table, rows, width, missing, numbers, count, to);
    case 32: return take<32>(table, rows, width, missing, numbers, count, to);
    case 64: return take<64>(table, rows, width, missing, numbers, count, to);
    case 128: return take<128>(table, rows, width, missing, numbers, count, to);
    default: return take<0>(table, rows, width, missing, numbers, count, to);
  }
}

template <class T, class Index>
void gather(const Context& context, bool missing) {
  Shape shape, made;
  const Index* numbers = context.input<Index>(0, &made);
  const T* table = context.input<T>(1, &shape);
  if (shape.rank != 2 || made.rank == kMostDimensions) throw std::runtime_error("a table has another form");
  const int64_t rows = shape.sizes[0], width = shape.sizes[1], count = made.count();
  made.sizes[made.rank++] = width;
  T* to = context.output<T>(0, made);
  if (made.count() == 0) return;
  if (rows == 0) throw std::runtime_error("a row is none of a table's");
  std::atomic<bool> there{true};
  context.parallel(static_cast<size_t>((count + kPart - 1) / kPart), [&](size_t part) {
    const int64_t start = static_cast<int64_t>(part) * kPart, some = std::min(kPart, count - start);
    if (!take_any(table, rows, width, missing, numbers + start, some, to + start * width)) there = false;
  });
  if (!there) throw std::runtime_error("a row is none of a table's");
}

}  // namespace

template <class T>
void GatherRows<T>::compute(const Context& context) {
  wide ? gather<T, int64_t>(context, missing) : gather<T, int32_t>(context, missing);
}

template struct GatherRows<float>;
template struct GatherRows<double>;
