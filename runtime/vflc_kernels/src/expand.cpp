#include "expand.h"

#include "spread.h"

namespace {

constexpr int64_t kPart = 1 << 14;  // elements that are worth a thread

}  // namespace

template <class T>
void Expand<T>::compute(const Context& context) {
  Shape axes, shape, wanted;
  const int64_t* sizes = context.input<int64_t>(0, &axes);
  const T* from = context.input<T>(1, &shape);
  if (axes.rank != 1 || axes.sizes[0] > kMostDimensions) throw std::runtime_error("a shape has another form");
  for (; wanted.rank < axes.sizes[0]; ++wanted.rank) {
    if (sizes[wanted.rank] < 0) throw std::runtime_error("a shape has another form");
    wanted.sizes[wanted.rank] = sizes[wanted.rank];
  }
  const Shape whole = broadcast(shape, wanted);
  T* to = context.output<T>(0, whole);
  const int64_t size = whole.count();
  if (size == 0) return;
  if (shape.count() == 1) return std::fill(to, to + size, *from), void();
  const Spread<T> spread(from, shape, whole);
  context.parallel(static_cast<size_t>((size + kPart - 1) / kPart), [&](size_t part) {
    const int64_t start = static_cast<int64_t>(part) * kPart;
    spread.read(start, std::min(kPart, size - start), to + start);
  });
}

template struct Expand<float>;
template struct Expand<double>;
