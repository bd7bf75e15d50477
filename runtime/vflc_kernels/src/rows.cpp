#include "rows.h"

#include <cstring>
#include <numeric>

namespace {

constexpr int64_t kPart = 512;  // rows that are worth a thread
constexpr int64_t kAhead = 8;   // rows that are asked for before they are read

void fit(bool fits) {
  if (!fits) throw std::runtime_error("sizes of rows do not fit");
}

// An array [rows, width], or a value of one.
template <class T>
struct Table {
  T* at;
  int64_t rows, width;
};

template <class T>
Table<const T> table(const Context& context, size_t index, Shape* shape) {
  const T* at = context.input<T>(index, shape);
  fit(shape->rank == 2);
  return {at, shape->sizes[0], shape->sizes[1]};
}

Shape matrix(int64_t rows, int64_t width) {
  Shape shape;
  shape.rank = 2;
  shape.sizes[0] = rows;
  shape.sizes[1] = width;
  return shape;
}

// Columns that lie together both where they come from and where they go.
struct Piece {
  size_t from, to;
  int64_t from_column, to_column, size;
};

std::vector<Piece> pieces(const std::vector<int64_t>& from, const std::vector<int64_t>& to) {
  fit(std::accumulate(from.begin(), from.end(), int64_t{0}) == std::accumulate(to.begin(), to.end(), int64_t{0}));
  std::vector<Piece> made;
  size_t a = 0, b = 0;
  int64_t x = 0, y = 0;
  while (a < from.size() && b < to.size()) {
    const int64_t size = std::min(from[a] - x, to[b] - y);
    if (size > 0) made.push_back({a, b, x, y, size});
    x += size;
    y += size;
    if (x == from[a]) ++a, x = 0;
    if (b < to.size() && y == to[b]) ++b, y = 0;
  }
  return made;
}

// The rows that are meant, all of them below `most`.
const int64_t* indices(const Context& context, size_t index, int64_t most, int64_t* count) {
  Shape shape;
  const int64_t* rows = context.input<int64_t>(index, &shape);
  *count = shape.count();
  for (int64_t row = 0; row < *count; ++row) fit(rows[row] >= 0 && rows[row] < most);
  return rows;
}

template <class T>
std::vector<int64_t> widths_of(const std::vector<Table<T>>& tables) {
  std::vector<int64_t> widths;
  for (const Table<T>& each : tables) widths.push_back(each.width);
  return widths;
}

// A call of memcpy takes longer than a short row itself.
template <class T>
void copy(T* to, const T* from, int64_t size) {
  constexpr int64_t some = 16 / sizeof(T), most = 256 / sizeof(T);
  if (size > most) {
    std::memcpy(to, from, static_cast<size_t>(size) * sizeof(T));
    return;
  }
  for (; size >= some; size -= some, to += some, from += some) std::memcpy(to, from, 16);
  for (; size > 0; --size) *to++ = *from++;
}

// Asks for all of a row that is about to be read or written.
template <class T>
void prefetch(const T* row, int64_t width) {
  constexpr int64_t line = 64 / sizeof(T);
  for (int64_t column = 0; column < width; column += line) __builtin_prefetch(row + column);
}

template <class Row>
void each_row(const Context& context, int64_t count, const Row& row) {
  if (count == 0) return;
  context.parallel(static_cast<size_t>((count + kPart - 1) / kPart), [&](size_t part) {
    const int64_t start = static_cast<int64_t>(part) * kPart, end = std::min(start + kPart, count);
    for (int64_t index = start; index < end; ++index) row(index, end);
  });
}

}  // namespace

template <class T>
void TakeRows<T>::compute(const Context& context) {
  std::vector<Table<const T>> from;
  Shape shape;
  for (size_t input = indexed; input < context.inputs(); ++input) from.push_back(table<T>(context, input, &shape));
  fit(!from.empty() && context.outputs() == widths.size());
  for (const auto& each : from) fit(each.rows == from[0].rows);
  const std::vector<Piece> plan = pieces(widths_of(from), widths);
  int64_t count = from[0].rows;
  const int64_t* rows = indexed ? indices(context, 0, from[0].rows, &count) : nullptr;
  std::vector<T*> to;
  for (size_t output = 0; output < widths.size(); ++output)
    to.push_back(context.output<T>(output, matrix(count, widths[output])));
  each_row(context, count, [&](int64_t index, int64_t end) {
    const int64_t row = rows ? rows[index] : index;
    if (rows && index + kAhead < end)
      for (const auto& each : from) prefetch(each.at + rows[index + kAhead] * each.width, each.width);
    for (const Piece& each : plan)
      copy(to[each.to] + index * widths[each.to] + each.to_column,
           from[each.from].at + row * from[each.from].width + each.from_column, each.size);
  });
}

template <class T>
void PutRows<T>::compute(const Context& context) {
  fit(arrays > 0 && context.inputs() > static_cast<size_t>(arrays) + 1);
  fit(context.outputs() == static_cast<size_t>(arrays));
  std::vector<Table<T>> to;
  std::vector<Table<const T>> from;
  for (int64_t array = 0; array < arrays; ++array) {
    Shape shape;
    const Table<const T> before = table<T>(context, static_cast<size_t>(array) + 1, &shape);
    T* at = context.output<T>(static_cast<size_t>(array), shape);
    if (at != before.at && shape.count()) std::memcpy(at, before.at, static_cast<size_t>(shape.count()) * sizeof(T));
    to.push_back({at, before.rows, before.width});
  }
  int64_t most = to[0].rows, count = 0;
  for (const auto& each : to) fit(each.rows == most);
  const int64_t* rows = indices(context, 0, most, &count);
  for (size_t input = static_cast<size_t>(arrays) + 1; input < context.inputs(); ++input) {
    Shape shape;
    from.push_back(table<T>(context, input, &shape));
    fit(from.back().rows == count);
  }
  const std::vector<Piece> plan = pieces(widths_of(from), widths_of(to));
  each_row(context, count, [&](int64_t index, int64_t end) {
    if (index + kAhead < end)
      for (const auto& each : to) prefetch(each.at + rows[index + kAhead] * each.width, each.width);
    for (const Piece& each : plan)
      copy(to[each.to].at + rows[index] * to[each.to].width + each.to_column,
           from[each.from].at + index * from[each.from].width + each.from_column, each.size);
  });
}

template <class T>
void SumRows<T>::compute(const Context& context) {
  const size_t tables = widths.size();
  fit(parts > 0 && context.inputs() == 1 + static_cast<size_t>(parts) * (1 + tables));
  Shape shape;
  const int64_t* given = context.input<int64_t>(0, &shape);
  fit(shape.count() == 1 && *given > 0);
  const int64_t count = *given - 1, width = std::accumulate(widths.begin(), widths.end(), int64_t{0});
  T* sums = context.output<T>(0, matrix(count, width));
  std::fill(sums, sums + count * width, T(0));
  for (int64_t part = 0; part < parts; ++part) {
    int64_t size = 0;
    const int64_t* at = indices(context, static_cast<size_t>(part) + 1, count + 1, &size);
    int64_t column = 0;
    for (size_t table = 0; table < tables; ++table) {
      const size_t input = 1 + static_cast<size_t>(parts) * (1 + table) + static_cast<size_t>(part);
      const T* gradient = context.input<T>(input, &shape);
      const int64_t own = widths[table];
      fit(shape.count() == size * own);
      for (int64_t row = 0; row < size; ++row, gradient += own) {
        if (at[row] == count) continue;
        T* sum = sums + at[row] * width + column;
#pragma GCC ivdep
        for (int64_t index = 0; index < own; ++index) sum[index] += gradient[index];
      }
      column += own;
    }
  }
}

template struct TakeRows<float>;
template struct TakeRows<double>;
template struct PutRows<float>;
template struct PutRows<double>;
template struct SumRows<float>;
template struct SumRows<double>;
