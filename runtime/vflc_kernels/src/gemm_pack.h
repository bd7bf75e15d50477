// Puts matrices into the order in which the micro-kernel reads them: panels of WIDTH columns, cell after cell.
//
// Reading along a panel is reading along memory, whatever the matrix's row length: long rows whose
// lengths are powers of two would otherwise fall on each other in the cache.
#pragma once

namespace {

// A vector from anywhere in memory; beyond `count` it is zero, and is not read.
template <class Number>
inline typename Number::Vector load(const float* from, Size count) {
  return count >= Number::LANES ? *(const typename Number::Loose*)from : Number::load_some(from, count);
}

template <class Number>
inline void store(float* to, typename Number::Vector vector) {
  *(typename Number::Loose*)to = vector;
}

inline Size up(Size size, Size step) { return (size + step - 1) / step; }
inline Size least(Size one, Size other) { return one < other ? one : other; }

// Cells (k, j) of `rows` rows of length `length`: elements that follow each other in the sum are below each other.
template <class Number>
void pack_down(const float* from, Size length, Size rows, Size columns, float* to, Size width) {
  for (Size k = 0; k < rows; k += Number::CELL, to += width, from += Number::CELL * length) {
    for (Size j = 0; j < width; j += Number::LANES) {
      const Size count = j < columns ? columns - j : 0;
      const auto upper = load<Number>(from + j, count);
      if constexpr (Number::CELL == 1) {
        store<Number>(to + j, upper);
      } else {
        const auto lower = load<Number>(from + length + j, k + 1 < rows ? count : 0);
        store<Number>(to + j, Number::below(upper, lower));
      }
    }
  }
}

// Up to LANES cells of one row, whose elements follow each other in the sum.
template <class Number>
inline typename Number::Vector along(const float* from, Size count) {
  const auto first = load<Number>(from, count);
  if constexpr (Number::CELL == 1) return first;
  else return Number::beside(first, load<Number>(from + Number::LANES, count > Number::LANES ? count - Number::LANES : 0));
}

// A block of LANES × LANES cells, mirrored on its diagonal: each round shuffles rows i and i + LANES / 2 like cards.
template <class Number>
inline void mirror(typename Number::Vector (&rows)[Number::LANES]) {
  constexpr Size half = Number::LANES / 2;
#pragma GCC unroll 4
  for (Size round = 1; round < Number::LANES; round *= 2) {
    typename Number::Vector next[Number::LANES];
#pragma GCC unroll 8
    for (Size i = 0; i < half; i++) Number::shuffle(rows[i], rows[i + half], next[2 * i], next[2 * i + 1]);
#pragma GCC unroll 16
    for (Size i = 0; i < Number::LANES; i++) rows[i] = next[i];
  }
}

// Cells (k, j) of a panel from row j of a matrix, `rows` of them: the panel of its transpose.
template <class Number>
void pack_mirrored(const float* from, Size length, Size rows, float* to) {
  for (Size k = 0; k < length; k += Number::LANES * Number::CELL) {
    const Size cells = least(up(length - k, Number::CELL), Number::LANES);
    for (Size j = 0; j < Number::WIDTH; j += Number::LANES) {
      typename Number::Vector block[Number::LANES];
      for (Size i = 0; i < Number::LANES; i++) {
        block[i] = j + i < rows ? along<Number>(from + (j + i) * length + k, length - k) : typename Number::Vector{};
      }
      mirror<Number>(block);
      for (Size i = 0; i < cells; i++) store<Number>(to + i * Number::WIDTH + j, block[i]);
    }
    to += Number::LANES * Number::WIDTH;
  }
}

}  // namespace
