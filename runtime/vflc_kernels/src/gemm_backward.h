// The backward pass of a dense layer, a slab of rows after another. Included after gemm_driver.h.
//
// First the masked gradient is put into panels and its columns are summed, then both products read
// it from there: dx takes the panels for its rows, dw for its columns. Where rows are many and processors few, each
// thread does all of this for PIECE rows, which stay in its own cache, and what they add to dw waits for its turn.
#pragma once

namespace {

template <class Number>
struct BackwardRun {
  using Vector = typename Number::Vector;
  static constexpr bool NARROW = Number::CELL > 1;  // rows of the gradient and of x need cells of their own

  const DenseBackward& d;
  Size slab = least(up(d.rows, Number::CELL) * Number::CELL, SLAB), cells = slab / Number::CELL;
  Size depth = up(d.columns, Number::CELL), panels = up(d.columns, Number::WIDTH);
  Size mirrored = up(d.inner, Number::WIDTH);
  float *weights = nullptr, *gradient = nullptr, *sums = nullptr, *rows_of_gradient = nullptr, *columns_of_x = nullptr;
  float *parts = nullptr;
  static constexpr Size PIECE = BLOCK * Number::CELL, PIECES = 4;  // a block of dw's sum; and how many run at once
  bool is_piece = false, in_pieces = d.dw && d.rows >= 2 * PIECE && vflc::few_processors();

  void lay(Space& space) {
    if (!is_piece) {
      sums = space.floats((in_pieces ? PIECES * PIECE / CHUNK : up(slab, CHUNK)) * panels * Number::WIDTH);
      if (d.dx) weights = space.floats(mirrored * padded() * Number::WIDTH);
      if (in_pieces) parts = space.floats((PIECES - 1) * d.inner * d.columns);
    }
    if (in_pieces) return;
    gradient = space.floats(panels * cells * Number::WIDTH);
    if (NARROW && d.dx) rows_of_gradient = space.floats(slab * padded());
    if (NARROW && d.dw) columns_of_x = space.floats(cells * up(d.inner, Number::LANES) * Number::LANES);
  }

  Size padded() const { return up(depth, Number::LANES) * Number::LANES; }

  void run(const Threads& threads) {
    const Size work = d.rows * d.inner * d.columns;
    if (in_pieces) return run_pieces(threads, work);
    for (Size start = 0; start < d.rows || start == 0; start += slab) {
      const Size rows = least(d.rows - start, slab), packs = start || !d.dx ? 0 : mirrored, chunks = up(rows, CHUNK);
      each(threads, work, packs + chunks, [&](Size task) {
        if (task < packs) mirror_weights(task);
        else prepare(start, (task - packs) * CHUNK, rows);
      });
      if (d.db) add_sums(chunks, start == 0);
      const auto back = to_x(start, rows), aside = to_w(start, rows, start == 0);
      each(threads, work, back.tasks() + aside.tasks(), [&](Size task) {
        if (task < back.tasks()) back(task);
        else aside(task - back.tasks());
      });
      if (slab == 0) break;
    }
  }

  void run_pieces(const Threads& threads, Size work) {
    each(threads, work, d.dx ? mirrored : 0, [&](Size task) { mirror_weights(task); });
    for (Size start = 0; start < d.rows; start += PIECES * PIECE) {
      const Size rows = least(d.rows - start, PIECES * PIECE), pieces = up(rows, PIECE), size = d.inner * d.columns;
      each(threads, work, pieces, [&](Size index) { piece(start, index); });
      each(threads, size * pieces, up(size, ADDED), [&](Size task) {
        for (Size part = 0; part + 1 < pieces; part++) add_part(part, task * ADDED, least((task + 1) * ADDED, size));
      });
      if (d.db) add_sums(up(rows, CHUNK), start == 0);
    }
  }

  static constexpr Size ADDED = 1 << 13;  // elements of dw that a task adds up

  void add_part(Size part, Size at, Size end) {
    const float* from = parts + part * d.inner * d.columns;
#pragma GCC ivdep
    for (; at < end; at++) d.dw[at] += from[at];
  }

  // All that follows from some of the rows, in this thread and its own memory.
  void piece(Size start, Size index) const {
    const Size row = start + index * PIECE, x = row * d.inner, y = row * d.columns;
    const DenseBackward own{d.x + x, d.w, d.dy + y, d.y ? d.y + y : nullptr, d.dx ? d.dx + x : nullptr,
                            index ? parts + (index - 1) * d.inner * d.columns : d.dw, nullptr,
                            least(d.rows - row, PIECE), d.inner, d.columns};
    BackwardRun run{own};
    run.is_piece = true;
    run.weights = weights;
    run.sums = sums + index * (PIECE / CHUNK) * panels * Number::WIDTH;
    Space space{nullptr};
    run.lay(space);
    space = {(char*)vflc::piece_space(space.used)};
    run.lay(space);
    for (Size chunk = 0; chunk < own.rows; chunk += CHUNK) run.prepare(0, chunk, own.rows);
    const auto back = run.to_x(0, own.rows), aside = run.to_w(0, own.rows, index || start == 0);
    for (Size task = 0; task < back.tasks(); task++) back(task);
    for (Size task = 0; task < aside.tasks(); task++) aside(task);
  }

  void mirror_weights(Size index) {
    const Size row = index * Number::WIDTH;
    pack_mirrored<Number>(d.w + row * d.columns, d.columns, d.inner - row, weights + index * padded() * Number::WIDTH);
  }

  Vector masked(Size row, Size column) const {
    const Size at = row * d.columns + column, count = d.columns - column;
    const Vector gradient = load<Number>(d.dy + at, count);
    if (!d.y) return gradient;
    return load<Number>(d.y + at, count) <= 0.0f ? Vector{} : gradient;
  }

  // Rows chunk … of the slab: their gradient into panels, their sums, and, narrow, the rows themselves and those of x.
  void prepare(Size start, Size chunk, Size rows) {
    const Size end = least(chunk + CHUNK, rows), width = panels * Number::WIDTH;
    float* sum = sums + chunk / CHUNK * width;
    for (Size column = 0; column < width; column += Number::LANES) {
      float* panel = gradient + column / Number::WIDTH * cells * Number::WIDTH + column % Number::WIDTH;
      Vector total = {};
      for (Size row = chunk; row < end && column < d.columns; row += Number::CELL) {
        const Vector upper = masked(start + row, column);
        total += upper;
        if constexpr (!NARROW) {
          store<Number>(panel + row * Number::WIDTH, upper);
        } else {
          const Vector lower = row + 1 < end ? masked(start + row + 1, column) : Vector{};
          total += lower;
          store<Number>(panel + row / Number::CELL * Number::WIDTH, Number::below(upper, lower));
        }
      }
      for (Size row = chunk; row < end && column >= d.columns; row += Number::CELL) {
        store<Number>(panel + row / Number::CELL * Number::WIDTH, Vector{});
      }
      store<Number>(sum + column, total);
    }
    if constexpr (NARROW) {
      for (Size row = chunk; d.dx && row < end; row++) {
        for (Size k = 0; k < padded(); k += Number::LANES) {
          const Size column = k * Number::CELL;
          const Vector low = column < d.columns ? masked(start + row, column) : Vector{};
          const Vector high = column + Number::LANES < d.columns ? masked(start + row, column + Number::LANES) : Vector{};
          store<Number>(rows_of_gradient + row * padded() + k, Number::beside(low, high));
        }
      }
      if (d.dw) {
        const Size width = up(d.inner, Number::LANES) * Number::LANES;
        pack_down<Number>(d.x + (start + chunk) * d.inner, d.inner, end - chunk, d.inner,
                          columns_of_x + chunk / Number::CELL * width, width);
      }
    }
  }

  void add_sums(Size chunks, bool first) {
    for (Size column = 0; column < d.columns; column++) {
      float total = first ? 0.0f : d.db[column];
      for (Size chunk = 0; chunk < chunks; chunk++) total += sums[chunk * panels * Number::WIDTH + column];
      d.db[column] = total;
    }
  }

  Product<Number> to_x(Size start, Size rows) const {
    const Left wide{gradient, Number::WIDTH, 1, Number::WIDTH, cells * Number::WIDTH};
    const Left narrow{rows_of_gradient, padded(), 1};
    float* dx = d.dx ? d.dx + start * d.inner : nullptr;
    return {NARROW ? narrow : wide, {weights, padded() * Number::WIDTH, Number::WIDTH, nullptr},
            {dx, rows, d.inner, depth, true, true, nullptr, false}};
  }

  Product<Number> to_w(Size start, Size rows, bool first) const {
    const Left wide{d.x + start * d.inner, 1, d.inner};
    const Left narrow{columns_of_x, 1, up(d.inner, Number::LANES) * Number::LANES};
    return {NARROW ? narrow : wide, {gradient, cells * Number::WIDTH, Number::WIDTH, nullptr},
            {d.dw, d.inner, d.columns, up(rows, Number::CELL), first, true, nullptr, false}};
  }
};

}  // namespace
