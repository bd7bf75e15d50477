// Cuts products into tasks and tiles. Included like gemm_tile.h, after it and gemm_pack.h.
#pragma once

namespace {

constexpr Size BLOCK = 256;   // cells of a sum at once: a panel's 32 KiB lie in the first cache with the rows they meet
constexpr Size SLAB = 1024;   // rows whose gradient is put into panels at once: 1 MiB at 256 columns, in the second cache
constexpr Size CHUNK = 64;    // rows that a task packs; a multiple of each CELL
constexpr Size ALONE = 1 << 18;  // multiplications up to which waking another thread takes longer

// Memory that is handed out piece by piece; without a start it only counts.
struct Space {
  char* start;
  Size used = 0;

  float* floats(Size count) {
    float* piece = start ? (float*)(start + used) : nullptr;
    used += up(count * sizeof(float), 64) * 64;
    return piece;
  }
};

template <class Task>
void each(const Threads& threads, Size work, Size tasks, Task task) {
  if (tasks <= 1 || work <= ALONE) {
    for (Size index = 0; index < tasks; index++) task(index);
  } else {
    threads.run(threads.self, tasks, [](void* data, Size index) { (*(Task*)data)(index); }, &task);
  }
}

struct Left {
  const float* at;
  Size row, step, chunk = ~Size{0}, jump = 0;  // as of Tile
};

struct Right {
  const float* at;
  Size panel, width;  // panel p starts at at + p · panel, rows of a panel lie `width` apart
  const float* tail;  // the last panel, where it lies elsewhere
};

struct Output {
  float* at;
  Size rows, columns, depth;
  bool first, last;
  const float* bias;
  bool relu;
};

// left · right, cut into blocks of four tiles' rows and, where rows are few, into groups of panels.
template <class Number>
struct Product {
  Left left;
  Right right;
  Output output;

  static constexpr Size ROWS = 4 * Number::ROWS, MANY = 16;

  Size panels() const { return up(output.columns, Number::WIDTH); }
  Size row_blocks() const { return up(output.rows, ROWS); }
  Size groups() const { return row_blocks() >= MANY ? 1 : least(panels(), up(MANY, row_blocks())); }
  Size tasks() const { return output.at ? row_blocks() * groups() : 0; }

  void operator()(Size task) const {
    const Size row = task / groups() * ROWS, group = task % groups();
    const Size start = panels() * group / groups(), end = panels() * (group + 1) / groups();
    for (Size panel = start; panel < end; panel++) {
      for (Size k = 0; k < output.depth || k == 0; k += BLOCK) run(row, panel, k);
    }
  }

  void run(Size row, Size panel, Size k) const {
    const Size column = panel * Number::WIDTH, depth = least(output.depth - k, BLOCK);
    const bool last = k + BLOCK >= output.depth, tail = right.tail && panel + 1 == panels();
    const float* a = left.at + row * left.row + k / left.chunk * left.jump + k % left.chunk * left.step;
    const Size width = tail ? Number::WIDTH : right.width;
    const float* b = (tail ? right.tail : right.at + panel * right.panel) + k * width;
    tiles<Number>({a, left.row, left.step, left.chunk, left.jump, b, width, depth,
                   output.at + row * output.columns + column, output.columns,
                   least(output.columns - column, Number::WIDTH), output.first && k == 0, output.last && last,
                   output.bias ? output.bias + column : nullptr, output.relu},
                  least(output.rows - row, ROWS));
  }
};

template <class Number>
struct DenseRun {
  const Dense& d;
  Size depth = up(d.inner, Number::CELL), panels = up(d.columns, Number::WIDTH), panel = depth * Number::WIDTH;
  // A panel is not worth its packing for a few rows, which read all but a last narrow one where it lies.
  bool in_place = Number::CELL == 1 && d.rows <= 4 * Number::ROWS;
  Size packed_from = in_place ? d.columns / Number::WIDTH : 0;
  float *weights = nullptr, *cells = nullptr;

  void lay(Space& space) {
    weights = space.floats((panels - packed_from) * panel);
    if constexpr (Number::CELL > 1) cells = space.floats(least(d.rows, SLAB) * depth);
  }

  void run(const Threads& threads) {
    const Size work = d.rows * d.inner * d.columns;
    for (Size start = 0; start < d.rows; start += slab()) {
      const Size rows = least(d.rows - start, slab()), packs = start ? 0 : panels - packed_from;
      const Size chunks = Number::CELL > 1 ? up(rows, CHUNK) : 0;
      each(threads, work, packs + chunks, [&](Size task) {
        if (task < packs) pack(packed_from + task);
        else narrow(start + (task - packs) * CHUNK, start + rows, start);
      });
      const Product<Number> product{left(start), right(), {d.y + start * d.columns, rows, d.columns, depth, true, true,
                                                          d.b, d.activation == Activation::relu}};
      each(threads, work, product.tasks(), product);
    }
  }

  Size slab() const { return Number::CELL > 1 ? SLAB : d.rows; }

  void pack(Size index) {
    const Size column = index * Number::WIDTH;
    pack_down<Number>(d.w + column, d.columns, d.inner, d.columns - column, weights + (index - packed_from) * panel,
                      Number::WIDTH);
  }

  void narrow(Size row, Size end, Size start) {
    for (Size stop = least(row + CHUNK, end); row < stop; row++) {
      const float* from = d.x + row * d.inner;
      float* to = cells + (row - start) * depth;
      for (Size k = 0; k < depth; k += Number::LANES) {
        const auto some = along<Number>(from + k * Number::CELL, d.inner - k * Number::CELL);
        __builtin_memcpy(to + k, &some, least(depth - k, Number::LANES) * sizeof(float));
      }
    }
  }

  Left left(Size start) const {
    if (Number::CELL > 1) return {cells, depth, 1};
    return {d.x + start * d.inner, d.inner, 1};
  }

  Right right() const {
    if (!in_place) return {weights, panel, Number::WIDTH, nullptr};
    return {d.w, Number::WIDTH, d.columns, packed_from < panels ? weights : nullptr};
  }
};

}  // namespace
