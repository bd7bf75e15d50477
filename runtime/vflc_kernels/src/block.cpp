#include "block.h"

#include "dispatch.h"

namespace {

// One loop for each way in which operands are given, so that each is computed a vector at a time.
template <bool kX, bool kY, bool kZ, class T, class Of>
INLINE void loop(const Operand<T>* given, T* made, int64_t size, const Of& of) {
  const T *x = given[0].at, *y = given[1].at, *z = given[2].at;
  const T one_x = kX ? T(0) : *x, one_y = kY || !y ? T(0) : *y, one_z = kZ || !z ? T(0) : *z;
#pragma GCC ivdep
  for (int64_t i = 0; i < size; ++i) made[i] = of(kX ? x[i] : one_x, kY ? y[i] : one_y, kZ ? z[i] : one_z);
}

template <class T, class Of>
INLINE void loop_1(const Operand<T>* given, T* made, int64_t size, const Of& of) {
  if (given[0].whole) loop<true, false, false>(given, made, size, of);
  else loop<false, false, false>(given, made, size, of);
}

template <class T, class Of>
INLINE void loop_2(const Operand<T>* given, T* made, int64_t size, const Of& of) {
  if (!given[1].whole) loop_1(given, made, size, of);
  else if (given[0].whole) loop<true, true, false>(given, made, size, of);
  else loop<false, true, false>(given, made, size, of);
}

template <class T, class Of>
INLINE void loop_3(const Operand<T>* given, T* made, int64_t size, const Of& of) {
  if (!given[2].whole) loop_2(given, made, size, of);
  else if (given[0].whole && given[1].whole) loop<true, true, true>(given, made, size, of);
  else if (given[0].whole) loop<true, false, true>(given, made, size, of);
  else if (given[1].whole) loop<false, true, true>(given, made, size, of);
  else loop<false, false, true>(given, made, size, of);
}

template <class T>
INLINE void compute_block(int code, const Operand<T>* given, T* made, int64_t size) {
  switch (code) {
#define CASE(name, operands, value)                                                                   \
  case name:                                                                                          \
    loop_##operands(given, made, size, [](T x, T y, T z) __attribute__((always_inline)) -> T {        \
      (void)y, (void)z;                                                                               \
      return value;                                                                                   \
    });                                                                                               \
    break;
    ARITHMETIC(CASE)
#undef CASE
  }
}

}  // namespace

FOR_EACH_PROCESSOR void block_of(int code, const Operand<float>* given, float* made, int64_t size) {
  compute_block(code, given, made, size);
}
FOR_EACH_PROCESSOR void block_of(int code, const Operand<double>* given, double* made, int64_t size) {
  compute_block(code, given, made, size);
}
