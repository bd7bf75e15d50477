// The micro-kernel: a tile of outputs in registers, over all of a block's inner elements.
//
// Included by the file of each kind of processor after its #pragma GCC target, so all here is local to it.
#pragma once

namespace {

// A tile's inputs are cells of four bytes: one float32, or two bfloat16 that follow each other in the sum.
struct Tile {
  const float* a;  // cell (i, k) at a + i · row + k · step, where k < chunk; cell k + chunk lies `jump` cells on
  Size row, step, chunk, jump;
  const float* b;  // cell (k, j) at b + k · width
  Size width, depth;
  float* c;  // output (i, j) at c + i · stride
  Size stride, columns;
  bool first, last;   // of the blocks of the sum
  const float* bias;  // of the tile's columns, or null
  bool relu;
};

// One vector of outputs, `start` columns on.
template <class Number>
inline void finish(const Tile& t, float* c, Size start, typename Number::Vector sum) {
  using Vector = typename Number::Vector;
  const Size count = t.columns > start ? t.columns - start : 0;
  if (!t.first) sum += load<Number>(c + start, count);
  if (t.last) {
    if (t.bias) sum += load<Number>(t.bias + start, count);
    if (t.relu) sum = sum < 0.0f ? Vector{} : sum;  // what is no number stays so
  }
  if (count >= Number::LANES) store<Number>(c + start, sum);
  else Number::store_some(c + start, sum, count);
}

template <class Number, int ROWS, int VECTORS>
__attribute__((noinline)) void tile(const Tile& t) {
  using Vector = typename Number::Vector;
  Vector sums[ROWS][VECTORS];
#pragma GCC unroll 16
  for (int i = 0; i < ROWS; i++) {
#pragma GCC unroll 4
    for (int v = 0; v < VECTORS; v++) sums[i][v] = Vector{};
  }
  const float *a = t.a, *b = t.b;
  for (Size depth = t.depth; depth > 0;) {
    const Size chunk = depth < t.chunk ? depth : t.chunk;
    const float* cell = a;
    for (Size k = 0; k < chunk; k++, cell += t.step, b += t.width) {
      Vector right[VECTORS];
#pragma GCC unroll 4
      for (int v = 0; v < VECTORS; v++) right[v] = load<Number>(b + v * Number::LANES, Number::LANES);
#pragma GCC unroll 16
      for (int i = 0; i < ROWS; i++) {
        const Vector left = Number::spread(cell + i * t.row);
#pragma GCC unroll 4
        for (int v = 0; v < VECTORS; v++) Number::add(sums[i][v], left, right[v]);
      }
    }
    depth -= chunk;
    a += t.jump;
  }
#pragma GCC unroll 16
  for (int i = 0; i < ROWS; i++) {
#pragma GCC unroll 4
    for (int v = 0; v < VECTORS; v++) finish<Number>(t, t.c + i * t.stride, v * Number::LANES, sums[i][v]);
  }
}

template <class Number, int ROWS>
void tile_of(const Tile& t, Size rows) {
  if (rows < ROWS) {
    if constexpr (ROWS > 1) tile_of<Number, ROWS - 1>(t, rows);
  } else if (t.columns > Number::LANES) {
    tile<Number, ROWS, Number::VECTORS>(t);
  } else {
    tile<Number, ROWS, 1>(t);
  }
}

// Any number of rows: as even tiles as there can be, since a low one waits for its own sums.
template <class Number>
void tiles(Tile t, Size rows) {
  for (Size left = (rows + Number::ROWS - 1) / Number::ROWS; left > 0; left--) {
    const Size some = (rows + left - 1) / left;
    tile_of<Number, Number::ROWS>(t, some);
    t.a += some * t.row;
    t.c += some * t.stride;
    rows -= some;
  }
}

}  // namespace
