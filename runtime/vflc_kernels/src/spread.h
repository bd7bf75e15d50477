// Arrays that are read as if they had the larger shape that they are broadcast to.
#pragma once

#include <algorithm>
#include <stdexcept>

#include "arithmetic.h"
#include "dispatch.h"
#include "operators.h"

namespace {

// The shape that both are broadcast to.
inline Shape broadcast(const Shape& a, const Shape& b) {
  Shape made;
  made.rank = std::max(a.rank, b.rank);
  for (int axis = 1; axis <= made.rank; ++axis) {
    int64_t x = axis <= a.rank ? a.sizes[a.rank - axis] : 1, y = axis <= b.rank ? b.sizes[b.rank - axis] : 1;
    if (x != y && x != 1 && y != 1) throw std::runtime_error("shapes do not fit");
    made.sizes[made.rank - axis] = x == 1 ? y : x;
  }
  return made;
}

// Lines that begin `stride` apart, of elements that lie side by side or else are one, repeated.
template <class T>
INLINE void lines_of(const T* from, int64_t stride, bool beside, int64_t lines, int64_t size, T* into) {
  for (; lines > 0; --lines, from += stride, into += size) {
    const T one = *from;
    if (beside) {
#pragma GCC ivdep
      for (int64_t i = 0; i < size; ++i) into[i] = from[i];
    } else {
#pragma GCC ivdep
      for (int64_t i = 0; i < size; ++i) into[i] = one;
    }
  }
}

FOR_EACH_PROCESSOR void read_lines(const float* from, int64_t stride, bool beside, int64_t lines, int64_t size,
                                   float* into) {
  lines_of(from, stride, beside, lines, size, into);
}
FOR_EACH_PROCESSOR void read_lines(const double* from, int64_t stride, bool beside, int64_t lines, int64_t size,
                                   double* into) {
  lines_of(from, stride, beside, lines, size, into);
}

// Reads an array as if it had the larger shape that it is broadcast to.
template <class T>
class Spread {
 public:
  Spread(const T* from, const Shape& shape, const Shape& whole) : from_(from), rank_(0) {
    int64_t stride = 1, strides[kMostDimensions];
    for (int axis = 1; axis <= whole.rank; ++axis) {
      int64_t size = axis <= shape.rank ? shape.sizes[shape.rank - axis] : 1;
      strides[whole.rank - axis] = size == 1 ? 0 : stride;
      stride *= size;
    }
    for (int axis = 0; axis < whole.rank; ++axis) {  // neighbours that are all read or all repeated are one
      int64_t size = whole.sizes[axis];
      if (size == 1) continue;
      if (rank_ && (strides_[rank_ - 1] == strides[axis] * size)) {
        sizes_[rank_ - 1] *= size;
        strides_[rank_ - 1] = strides[axis];
      } else {
        sizes_[rank_] = size;
        strides_[rank_++] = strides[axis];
      }
    }
  }

  // Elements `start` to `start + size`; rank is at least one.
  void read(int64_t start, int64_t size, T* into) const {
    int64_t at[kMostDimensions], offset = 0, rest = start;
    for (int axis = rank_ - 1; axis >= 0; --axis) {
      at[axis] = rest % sizes_[axis];
      rest /= sizes_[axis];
      offset += at[axis] * strides_[axis];
    }
    const int last = rank_ - 1;
    while (size > 0) {
      if (last > 0 && at[last] == 0 && size >= sizes_[last]) {  // whole lines at once, as most are short
        const int64_t lines = std::min(size / sizes_[last], sizes_[last - 1] - at[last - 1]);
        read_lines(from_ + offset, strides_[last - 1], strides_[last] != 0, lines, sizes_[last], into);
        into += lines * sizes_[last];
        size -= lines * sizes_[last];
        at[last - 1] += lines;
        offset += lines * strides_[last - 1];
        carry(at, &offset, last - 1);
        continue;
      }
      int64_t run = std::min(size, sizes_[last] - at[last]);
      if (strides_[last]) std::copy(from_ + offset, from_ + offset + run, into);
      else std::fill(into, into + run, from_[offset]);
      into += run;
      size -= run;
      at[last] += run;
      offset += run * strides_[last];
      carry(at, &offset, last);
    }
  }

 private:
  // Where an axis is at its end, the one before it goes on.
  void carry(int64_t* at, int64_t* offset, int axis) const {
    for (; axis > 0 && at[axis] == sizes_[axis]; --axis) {
      *offset += strides_[axis - 1] - at[axis] * strides_[axis];
      at[axis] = 0;
      ++at[axis - 1];
    }
  }

  const T* from_;
  int64_t sizes_[kMostDimensions], strides_[kMostDimensions];
  int rank_;
};

}  // namespace
