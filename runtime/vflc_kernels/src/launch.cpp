#include "launch.h"

template <class T>
Launch<T>::Launch(const Info& info)
    : function(reinterpret_cast<void*>(info.integer("function"))),
      stream(reinterpret_cast<void*>(info.integer("stream"))),
      launch(reinterpret_cast<decltype(launch)>(info.integer("launch"))),
      blocks(static_cast<unsigned>(info.integer("blocks"))),
      threads(static_cast<unsigned>(info.integer("threads"))) {
  std::vector<int64_t> sizes = info.integers("shape");
  if (sizes.size() > kMostDimensions) throw std::runtime_error("a kernel has too many dimensions");
  shape.rank = static_cast<int>(sizes.size());
  std::copy(sizes.begin(), sizes.end(), shape.sizes);
}

template <class T>
void Launch<T>::compute(const Context& context) {
  std::vector<const void*> places;
  for (size_t index = 0; index < context.inputs(); ++index) places.push_back(context.template input<T>(index));
  for (size_t index = 0; index < context.outputs(); ++index)
    places.push_back(context.template output<T>(index, shape));
  std::vector<void*> given;
  for (const void*& place : places) given.push_back(&place);
  if (launch(function, blocks, 1, 1, threads, 1, 1, 0, stream, given.data(), nullptr))
    throw std::runtime_error("the GPU did not take a kernel");
}

template struct Launch<float>;
template struct Launch<double>;
