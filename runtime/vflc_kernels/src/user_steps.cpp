#include "user_steps.h"

#include <atomic>
#include <cstring>

#include "dispatch.h"

namespace {

constexpr int64_t kParts = 16;  // of the users, for threads: a part has every so many, as the first have most steps
constexpr int kLanes = 16;        // sums of every so many elements: the same on all processors

void fit(bool fits) {
  if (!fits) throw std::runtime_error("what users' steps are given does not fit");
}

// The sum of lanes: halves are added to each other.
template <int kCount, class T>
INLINE T sum_of(const T* lanes) {
  if constexpr (kCount == 1) {
    return *lanes;
  } else {
    T half[kCount / 2];
    for (int lane = 0; lane < kCount / 2; ++lane) half[lane] = lanes[lane] + lanes[lane + kCount / 2];
    return sum_of<kCount / 2>(half);
  }
}

// The sum of products; `y` may be null, for one.
template <bool kX, bool kY, class T>
INLINE T dot(const T* x, const T* y, int64_t size) {
  T lanes[kLanes] = {}, rest[kLanes] = {};
  int64_t at = 0;
  for (; at + kLanes <= size; at += kLanes)
#pragma GCC unroll 16
    for (int lane = 0; lane < kLanes; ++lane)
      lanes[lane] += y ? x[kX ? at + lane : 0] * y[kY ? at + lane : 0] : x[kX ? at + lane : 0];
  for (int lane = 0; at + lane < size; ++lane)
    rest[lane] = y ? x[kX ? at + lane : 0] * y[kY ? at + lane : 0] : x[kX ? at + lane : 0];
  for (int lane = 0; lane < kLanes; ++lane) lanes[lane] += rest[lane];
  return sum_of<kLanes>(lanes);
}

// Adds products to each element.
template <bool kX, bool kY, class T>
INLINE void add(const T* x, const T* y, T* to, int64_t size) {
  const T one_x = *x, one_y = y ? *y : T(1);
#pragma GCC ivdep
  for (int64_t at = 0; at < size; ++at)
    to[at] += y ? (kX ? x[at] : one_x) * (kY ? y[at] : one_y) : (kX ? x[at] : one_x);
}

template <class T>
INLINE void add_any(const Operand<T>* given, T* to, bool along, int64_t size) {
  const T *x = given[0].at, *y = given[1].at;
  if (given[0].whole && given[1].whole) along ? add<true, true>(x, y, to, size) : void(*to += dot<true, true>(x, y, size));
  else if (given[0].whole) along ? add<true, false>(x, y, to, size) : void(*to += dot<true, false>(x, y, size));
  else if (given[1].whole) along ? add<false, true>(x, y, to, size) : void(*to += dot<false, true>(x, y, size));
  else along ? add<false, false>(x, y, to, size) : void(*to += dot<false, false>(x, y, size));
}

FOR_EACH_PROCESSOR void add_products(const Operand<float>* given, float* to, bool along, int64_t size) {
  add_any(given, to, along, size);
}
FOR_EACH_PROCESSOR void add_products(const Operand<double>* given, double* to, bool along, int64_t size) {
  add_any(given, to, along, size);
}

// What an operator was given, and where its outputs lie.
template <class T>
struct Arrays {
  int64_t users, most, total = 0;
  const int64_t *steps, *batches, *starts;
  const T* constants;
  std::vector<const T*> feeds;
  std::vector<const int32_t*> ids;
  std::vector<T*> arrays;
  std::vector<int64_t> rows;  // of tables
  std::vector<T*> results;
};

// A thread's memory, and where its parts begin in a step of a user.
template <class T>
class Worker {
 public:
  Worker(const UserProgram& program, const Arrays<T>& given) : program_(program), given_(given) {
    memory_.resize(static_cast<size_t>(program.memory));
    places_.resize(kFeeds + given.feeds.size() + given.arrays.size());
    ids_.resize(given.ids.size());
    first_.resize(given.ids.size());
    for (size_t each = 0; each < ids_.size(); ++each) first_[each].assign(size_t(program.ids[each]), -1);
  }

  // False where ids are of no row.
  bool run(int64_t user) {
    places_[kOwn] = memory_.data();
    places_[kConstants] = given_.constants;
    places_[kNumber] = &number_;
    const size_t feeds = given_.feeds.size();
    for (size_t each = 0; each < given_.arrays.size(); ++each)
      places_[kFeeds + feeds + each] = program_.tables[each] ? nullptr : array(each, user);
    for (int64_t step = 0; step < given_.steps[user]; ++step) {
      const int64_t batch = step % given_.batches[user] * given_.users + user;
      for (size_t each = 0; each < feeds; ++each)
        places_[kFeeds + each] = given_.feeds[each] + batch * program_.feeds[each];
      for (size_t each = 0; each < ids_.size(); ++each) ids_[each] = given_.ids[each] + batch * program_.ids[each];
      number_ = static_cast<T>(step + 1);
      for (const UserInstruction& each : program_.instructions)
        if (!run(each, user, given_.starts[step] + user)) return false;
    }
    return true;
  }

 private:
  T* array(size_t which, int64_t user) const { return given_.arrays[which] + user * program_.widths[which]; }

  bool run(const UserInstruction& of, int64_t user, int64_t place) {
    T* own = memory_.data() + of.to.offset;
    switch (of.kind) {
      case UserInstruction::map:
        nest(of, own, [&](const Operand<T>* given, T* to) { block_of(int(of.code), given, to, of.sizes[of.axes - 1]); });
        return true;
      case UserInstruction::sum: {
        std::fill(own, own + of.count, T(0));
        const bool along = of.to.strides[of.axes - 1] != 0;
        nest(of, own, [&](const Operand<T>* given, T* to) { add_products(given, to, along, of.sizes[of.axes - 1]); });
        return true;
      }
      case UserInstruction::rows:
        return rows(of, own);
      case UserInstruction::merge:
        merge(of, own);
        return true;
      case UserInstruction::put:
        return put(of, own, user);
      case UserInstruction::give:
        if (place >= given_.total) return false;
        std::memcpy(given_.results[of.array] + place * of.width, own, size_t(of.width) * sizeof(T));
        return true;
      case UserInstruction::numbers:
        std::copy(ids_[of.ids], ids_[of.ids] + of.count, own);
        return true;
    }
    return false;
  }

  // Calls `inner` for every run of the last axis.
  template <class Inner>
  void nest(const UserInstruction& of, T* own, const Inner& inner) const {
    const int last = of.axes - 1;
    Operand<T> given[kMostOperands] = {};
    for (int each = 0; each < of.operands; ++each)
      given[each] = {places_[of.given[each].place] + of.given[each].offset, of.given[each].strides[last] != 0};
    if (last == 0) return inner(given, own);
    int64_t at[kMostAxes] = {};
    for (;;) {
      inner(given, own);
      int axis = last - 1;
      for (; axis >= 0; --axis) {
        const bool more = ++at[axis] < of.sizes[axis];
        const int64_t by = more ? 1 : 1 - of.sizes[axis];  // on, or back to the first
        for (int each = 0; each < of.operands; ++each) given[each].at += by * of.given[each].strides[axis];
        own += by * of.to.strides[axis];
        if (more) break;
        at[axis] = 0;
      }
      if (axis < 0) return;
    }
  }

  bool rows(const UserInstruction& of, T* own) const {
    const T* table = given_.arrays[of.array];
    for (int64_t index = 0; index < of.count; ++index, own += of.width) {
      const int64_t row = std::max<int32_t>(ids_[of.ids][index], 0);  // no id is like row 0, which is nobody's
      if (row >= given_.rows[of.array]) return false;
      std::memcpy(own, table + row * of.width, size_t(of.width) * sizeof(T));
    }
    return true;
  }

  // Finds the first of equal ids with a table of positions, by open addressing.
  void merge(const UserInstruction& of, T* own) {
    const int32_t* ids = ids_[of.ids];
    std::vector<int64_t>& first = first_[of.ids];
    size_t size = 4;
    while (size < 2 * static_cast<size_t>(of.count)) size *= 2;
    positions_.assign(size, -1);
    for (int64_t index = 0; index < of.count; ++index) {
      first[index] = -1;
      if (ids[index] <= 0) continue;
      size_t slot = static_cast<uint32_t>(ids[index]) * size_t{2654435761} >> 7 & (size - 1);
      while (positions_[slot] >= 0 && ids[positions_[slot]] != ids[index]) slot = (slot + 1) & (size - 1);
      if (positions_[slot] < 0) positions_[slot] = index;
      first[index] = positions_[slot];
      if (first[index] == index) continue;
      Operand<T> row = {own + index * of.width, true};
      Operand<T> given[kMostOperands] = {{own + first[index] * of.width, true}, row, {}};
      block_of(Add, given, own + first[index] * of.width, of.width);
    }
  }

  bool put(const UserInstruction& of, const T* own, int64_t user) const {
    const size_t bytes = static_cast<size_t>(of.width) * sizeof(T);
    if (!program_.tables[of.array]) {
      std::memcpy(array(static_cast<size_t>(of.array), user), own, bytes);
      return true;
    }
    for (int64_t index = 0; index < of.count; ++index) {
      if (first_[of.ids][index] != index) continue;
      const int64_t row = ids_[of.ids][index];
      if (row >= given_.rows[of.array]) return false;
      std::memcpy(given_.arrays[of.array] + row * of.width, own + index * of.width, bytes);
    }
    return true;
  }

  const UserProgram& program_;
  const Arrays<T>& given_;
  std::vector<T> memory_;
  std::vector<const T*> places_;
  std::vector<const int32_t*> ids_;
  std::vector<std::vector<int64_t>> first_;  // by ids: where each one stands first; -1 for none
  std::vector<int64_t> positions_;
  T number_ = 0;
};

// One batch after another of what is fed, [batch, user, size].
template <class Element>
const Element* batches_of(const Context& context, size_t index, int64_t users, int64_t size, int64_t* batches) {
  Shape shape;
  const Element* found = context.input<Element>(index, &shape);
  fit(shape.rank >= 2 && shape.sizes[1] == users && (*batches < 0 || *batches == shape.sizes[0]));
  *batches = shape.sizes[0];
  fit(shape.count() == *batches * users * size);
  return found;
}

}  // namespace

template <class T>
void UserSteps<T>::compute(const Context& context) {
  Arrays<T> given;
  Shape shape;
  size_t input = 0;
  fit(context.inputs() == 4 + program.feeds.size() + program.ids.size() + program.widths.size());
  fit(context.outputs() == program.changed.size() + program.results.size());
  given.steps = context.input<int64_t>(input++, &shape);
  given.users = shape.count();
  given.batches = context.input<int64_t>(input++, &shape);
  fit(shape.count() == given.users);
  given.starts = context.input<int64_t>(input++, &shape);
  given.most = shape.count();
  given.constants = context.input<T>(input++, &shape);
  fit(shape.count() == program.constants);
  int64_t batches = -1;
  for (int64_t size : program.feeds)
    given.feeds.push_back(batches_of<T>(context, input++, given.users, size, &batches));
  for (int64_t size : program.ids)
    given.ids.push_back(batches_of<int32_t>(context, input++, given.users, size, &batches));
  std::vector<Shape> shapes;
  for (size_t each = 0; each < program.widths.size(); ++each) {
    given.arrays.push_back(const_cast<T*>(context.input<T>(input++, &shape)));  // written where it is an output, below
    fit(shape.rank >= 1 && (program.tables[each] ? shape.rank == 2 && shape.sizes[1] == program.widths[each]
                                                 : shape.count() == given.users * program.widths[each]));
    given.rows.push_back(shape.sizes[0]);
    shapes.push_back(shape);
  }
  for (int64_t user = 0; user < given.users; ++user) {
    const int64_t steps = given.steps[user];
    fit(steps >= 0 && steps <= given.most && (!steps || (given.batches[user] > 0 && given.batches[user] <= batches)));
    given.total += steps;
  }
  for (int64_t step = 0; step < given.most; ++step) fit(given.starts[step] >= 0 && given.starts[step] <= given.total);
  size_t output = 0;
  for (int64_t each : program.changed) {
    T* at = context.output<T>(output++, shapes[each]);
    if (at != given.arrays[each] && shapes[each].count())
      std::memcpy(at, given.arrays[each], static_cast<size_t>(shapes[each].count()) * sizeof(T));
    given.arrays[each] = at;
  }
  for (int64_t size : program.results) {
    shape.rank = 2;
    shape.sizes[0] = given.total;
    shape.sizes[1] = size;
    given.results.push_back(context.output<T>(output++, shape));
  }
  if (given.total == 0) return;
  std::atomic<bool> good{true};
  const int64_t parts = std::min(kParts, given.users);
  context.parallel(static_cast<size_t>(parts), [&](size_t part) {
    Worker<T> worker(program, given);
    for (int64_t user = static_cast<int64_t>(part); user < given.users; user += parts)
      if (!worker.run(user)) good = false;
  });
  fit(good);
}

template struct UserSteps<float>;
template struct UserSteps<double>;
