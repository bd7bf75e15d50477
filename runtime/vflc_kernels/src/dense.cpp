#include "dense.h"

namespace {

using vflc::Size;

// What the node asks for, or else what this processor has.
const vflc::Products* products_for(const Info& info) {
  const vflc::Products* narrow = info.integer("bfloat16") ? vflc::products(true) : nullptr;
  return narrow ? narrow : vflc::products(false);
}

vflc::Threads threads_of(const Context& context) {
  const auto run = [](void* self, Size tasks, void (*task)(void*, Size), void* data) {
    static_cast<const Context*>(self)->parallel(tasks, [&](size_t index) { task(data, index); });
  };
  return {run, const_cast<Context*>(&context)};
}

struct Matrix {
  const float* at;
  Size rows, columns;
};

Matrix matrix(const Context& context, size_t index) {
  Shape shape;
  const float* at = context.input<float>(index, &shape);
  if (shape.rank != 2) throw std::runtime_error("a dense layer has an input that is no matrix");
  return {at, static_cast<Size>(shape.sizes[0]), static_cast<Size>(shape.sizes[1])};
}

void alike(Size one, Size other) {
  if (one != other) throw std::runtime_error("a dense layer has inputs of sizes that do not fit");
}

Shape sizes(std::initializer_list<Size> sizes) {
  Shape shape;
  for (Size size : sizes) shape.sizes[shape.rank++] = static_cast<int64_t>(size);
  return shape;
}

}  // namespace

DenseOperator::DenseOperator(const Info& info)
    : products(products_for(info)),
      activation(info.integer("relu") ? vflc::Activation::relu : vflc::Activation::none) {}

void DenseOperator::compute(const Context& context) {
  const Matrix x = matrix(context, 0), w = matrix(context, 1);
  const float* b = nullptr;
  alike(x.columns, w.rows);
  if (context.inputs() > 2) {
    Shape shape;
    b = context.input<float>(2, &shape);
    alike(static_cast<Size>(shape.count()), w.columns);
  }
  float* y = context.output<float>(0, sizes({x.rows, w.columns}));
  vflc::dense(*products, {x.at, w.at, b, y, x.rows, x.columns, w.columns, activation}, threads_of(context));
}

DenseBackwardOperator::DenseBackwardOperator(const Info& info)
    : products(products_for(info)),
      masked(info.integer("masked")),
      to_x(info.integer("to_x")),
      to_b(info.integer("to_b")) {}

void DenseBackwardOperator::compute(const Context& context) {
  const size_t given = 2 + masked + to_x, made = 1 + to_x + to_b;
  if (context.inputs() != given || context.outputs() != made) {
    throw std::runtime_error("a dense layer's gradient has other inputs or outputs than it says");
  }
  const Matrix x = matrix(context, 0), dy = matrix(context, 1);
  alike(x.rows, dy.rows);
  vflc::DenseBackward backward{x.at, nullptr, dy.at, nullptr, nullptr, nullptr, nullptr, x.rows, x.columns, dy.columns};
  if (masked) {
    const Matrix y = matrix(context, 2);
    alike(y.rows, dy.rows), alike(y.columns, dy.columns);
    backward.y = y.at;
  }
  if (to_x) {
    const Matrix w = matrix(context, given - 1);
    alike(w.rows, x.columns), alike(w.columns, dy.columns);
    backward.w = w.at;
    backward.dx = context.output<float>(1, sizes({x.rows, x.columns}));
  }
  backward.dw = context.output<float>(0, sizes({x.columns, dy.columns}));
  if (to_b) backward.db = context.output<float>(made - 1, sizes({dy.columns}));
  vflc::dense_backward(*products, backward, threads_of(context));
}
