// The distinct ids of a batch, for Python: at a small batch numpy's calls take longer than what they do.
#include <cstdint>

#include "export.h"

namespace {

// Ids of a part: 32 bits wide where `narrow`, else 64.
struct Part {
  const void* at;
  int64_t size, narrow;

  int64_t operator[](int64_t index) const {
    return narrow ? static_cast<const int32_t*>(at)[index] : static_cast<const int64_t*>(at)[index];
  }
};

// Calls `action(place, id)` for each id of all parts, one part after the other.
template <class Action>
void each(const Part* parts, int64_t count, const Action& action) {
  int64_t place = 0;
  for (const Part* part = parts; part < parts + count; ++part)
    for (int64_t index = 0; index < part->size; ++index) action(place++, (*part)[index]);
}

}  // namespace

// Writes the distinct ids of some `parts`, in the order of their last occurrence, and of each id the position among
// them; where it is -1, one past the last. Returns how many there are, or -1 where an id is none of `rows`. `marks` has
// a number for each row, whatever it is; both results have room for all ids.
EXPORT int64_t vflc_kernels_distinct(int64_t rows, int64_t* marks, const Part* parts, int64_t count, int64_t* distinct,
                                     int64_t* positions) {
  bool fits = true;
  each(parts, count, [&](int64_t, int64_t id) { fits &= id >= -1 && id < rows; });
  if (!fits) return -1;
  each(parts, count, [&](int64_t place, int64_t id) {
    if (id >= 0) marks[id] = place;
  });
  int64_t found = 0;
  each(parts, count, [&](int64_t place, int64_t id) {
    if (id < 0 || marks[id] != place) return;
    marks[id] = found;  // no later place has this id
    distinct[found++] = id;
  });
  each(parts, count, [&](int64_t place, int64_t id) { positions[place] = id < 0 ? found : marks[id]; });
  return found;
}
