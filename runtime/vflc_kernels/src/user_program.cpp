// Reads the program of `UserSteps`, and refuses one that would touch memory that is not its own.
#include "user_steps.h"

namespace {

// Numbers of an attribute, one after the other.
class Reader {
 public:
  explicit Reader(const std::vector<int64_t>& numbers) : numbers_(numbers) {}
  bool done() const { return at_ == numbers_.size(); }
  int64_t next() {
    if (done()) throw std::runtime_error("a program of users' steps is cut off");
    return numbers_[at_++];
  }
  int64_t next(int64_t most) {
    const int64_t found = next();
    if (found < 0 || found > most) throw std::runtime_error("a program of users' steps has numbers out of bounds");
    return found;
  }

 private:
  const std::vector<int64_t>& numbers_;
  size_t at_ = 0;
};

constexpr int64_t kMost = int64_t{1} << 31;  // of a size or a stride: products of two stay in range

void read(Reader& reader, int axes, Part* part) {
  part->place = reader.next(kMost);
  part->offset = reader.next(kMost);
  for (int axis = 0; axis < axes; ++axis) part->strides[axis] = reader.next(kMost);
}

bool within(int64_t index, const std::vector<int64_t>& list) { return index < static_cast<int64_t>(list.size()); }

}  // namespace

UserProgram::UserProgram(const Info& info)
    : feeds(info.integers("feeds")), ids(info.integers("ids")), widths(info.integers("widths")),
      tables(info.integers("tables")), changed(info.integers("changed")), results(info.integers("results")),
      memory(info.integer("memory")), constants(info.integer("constants")) {
  for (const auto* sizes : {&feeds, &ids, &widths, &results})
    for (int64_t size : *sizes)
      if (size < 0 || size > kMost) throw std::runtime_error("users' steps have sizes out of bounds");
  bool fits = tables.size() == widths.size() && memory >= 0 && memory <= kMost;
  for (int64_t each : changed) fits = fits && each >= 0 && within(each, widths);
  const std::vector<int64_t> numbers = info.integers("program");
  for (Reader reader(numbers); fits && !reader.done();) {
    UserInstruction made = {};
    made.kind = static_cast<UserInstruction::Kind>(reader.next(UserInstruction::numbers));
    made.code = reader.next(codes - 1);
    for (int64_t* each : {&made.array, &made.ids, &made.count, &made.width}) *each = reader.next(kMost);
    made.axes = static_cast<int>(reader.next(kMostAxes));
    made.operands = static_cast<int>(reader.next(kMostOperands));
    for (int axis = 0; axis < made.axes; ++axis) made.sizes[axis] = reader.next(kMost);
    read(reader, made.axes, &made.to);
    for (int operand = 0; operand < made.operands; ++operand) read(reader, made.axes, &made.given[operand]);
    fits = valid(made);
    instructions.push_back(made);
  }
  if (!fits) throw std::runtime_error("users' steps read or write what is not theirs");
}

// Whether all that a part reaches is there.
bool UserProgram::inside(const Part& part, const UserInstruction& of) const {
  int64_t size = 0;
  if (part.place == kOwn) size = memory;
  else if (part.place == kConstants) size = constants;
  else if (part.place == kNumber) size = 1;
  else if (within(part.place - kFeeds, feeds)) size = feeds[part.place - kFeeds];
  else {
    const int64_t array = part.place - kFeeds - static_cast<int64_t>(feeds.size());
    if (!within(array, widths) || tables[array]) return false;
    size = widths[array];
  }
  int64_t last = part.offset;
  for (int axis = 0; axis < of.axes; ++axis) {
    if (of.sizes[axis] == 0) return true;  // nothing is read, but for an element of each operand below
    if (part.strides[axis] && of.sizes[axis] - 1 > (kMost - last) / part.strides[axis]) return false;
    last += (of.sizes[axis] - 1) * part.strides[axis];
  }
  return last < size;
}

bool UserProgram::valid(const UserInstruction& of) const {
  using Kind = UserInstruction;
  if (of.to.place != kOwn) return false;
  if (of.kind == Kind::map || of.kind == Kind::sum) {
    if (of.axes == 0 || of.operands != (of.kind == Kind::map ? kOperands[of.code] : of.operands)) return false;
    if (of.kind == Kind::sum && of.operands != 1 && of.operands != 2) return false;
    for (int operand = 0; operand < of.operands; ++operand) {
      const int64_t inner = of.given[operand].strides[of.axes - 1];
      if ((inner != 0 && inner != 1) || !inside(of.given[operand], of)) return false;
    }
    for (int axis = 0; axis < of.axes; ++axis)
      if (of.sizes[axis] == 0) return false;  // such programs are not made
    const int64_t inner = of.to.strides[of.axes - 1];
    return inside(of.to, of) && of.to.offset + of.count <= memory && (of.kind == Kind::map ? inner == 1 : inner <= 1);
  }
  const bool by_ids = of.kind == Kind::rows || of.kind == Kind::merge || of.kind == Kind::numbers ||
                      (of.kind == Kind::put && within(of.array, tables) && tables[of.array]);
  if (by_ids && !(within(of.ids, ids) && of.count == ids[of.ids])) return false;
  if ((of.kind == Kind::rows || of.kind == Kind::put) && !(within(of.array, widths) && of.width == widths[of.array]))
    return false;
  if (of.kind == Kind::rows && !tables[of.array]) return false;
  if (of.kind == Kind::put && std::find(changed.begin(), changed.end(), of.array) == changed.end()) return false;
  if (of.kind == Kind::give && !(within(of.array, results) && of.width == results[of.array])) return false;
  const int64_t rows = by_ids ? of.count : 1, width = of.kind == Kind::numbers ? 1 : of.width;
  return width == 0 || rows <= (memory - of.to.offset) / width;
}
