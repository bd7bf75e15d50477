// What a group of users needs to know of its examples before it runs. They lie user after user, and a user has few, so
// that they are sorted in the first cache. Python calls these functions itself: see `vflc_kernels.users`.

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <exception>
#include <utility>
#include <vector>

#include "arithmetic.h"
#include "dispatch.h"
#include "export.h"

namespace {

constexpr int64_t kFew = 64;    // keys up to so many are compared with each other, a vector at a time
constexpr int64_t kVector = 8;  // keys

// Keys that all differ, ascending. `keys` has room for a vector more.
FOR_EACH_PROCESSOR void sort_few(uint64_t* keys, int64_t count, uint64_t* sorted) {
  const int64_t whole = (count + kVector - 1) / kVector * kVector;
  std::fill(keys + count, keys + whole, ~uint64_t{0});  // below none
  for (int64_t key = 0; key < count; ++key) {
    const uint64_t own = keys[key];
    uint64_t place = 0;
    for (int64_t other = 0; other < whole; ++other) place += keys[other] < own;
    sorted[place] = own;
  }
}

class Sorter {
 public:
  // Room for so many keys.
  uint64_t* keys(int64_t count) {
    if (keys_.size() < static_cast<size_t>(count + kVector)) keys_.resize(static_cast<size_t>(count + kVector));
    if (sorted_.size() < keys_.size()) sorted_.resize(keys_.size());
    return keys_.data();
  }

  const uint64_t* sorted(int64_t count) {
    if (count <= kFew) {
      sort_few(keys_.data(), count, sorted_.data());
      return sorted_.data();
    }
    std::sort(keys_.begin(), keys_.begin() + count);
    return keys_.data();
  }

 private:
  std::vector<uint64_t> keys_, sorted_;
};

// SplitMix64, as in `vflc_runtime.population.random`.
INLINE uint64_t mixed(uint64_t z) {
  z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9;
  z = (z ^ z >> 27) * 0x94D049BB133111EB;
  return z ^ z >> 31;
}

INLINE uint64_t at(uint64_t stream, int64_t position) {
  return mixed(stream + (static_cast<uint64_t>(position) + 1) * 0x9E3779B97F4A7C15);
}

INLINE uint64_t drawn(uint64_t stream, int64_t number) { return at(stream, number) >> 16; }

FOR_EACH_PROCESSOR void draw_uniform(uint64_t stream, int64_t count, double* numbers) {
  for (int64_t position = 0; position < count; ++position)
    numbers[position] = static_cast<double>(static_cast<int64_t>(at(stream, position) >> 11)) * 0x1p-53;
}

void order(uint64_t stream, int64_t count, Sorter& sorter, int64_t* numbers) {
  constexpr int64_t kMost = 1 << 16;
  if (count > kMost) {
    std::vector<std::pair<uint64_t, int64_t>> pairs(static_cast<size_t>(count));
    for (int64_t number = 0; number < count; ++number) pairs[size_t(number)] = {drawn(stream, number), number};
    std::sort(pairs.begin(), pairs.end());
    for (const auto& pair : pairs) *numbers++ = pair.second;
    return;
  }
  uint64_t* keys = sorter.keys(count);
  for (int64_t number = 0; number < count; ++number) keys[number] = drawn(stream, number) << 16 | uint64_t(number);
  const uint64_t* sorted = sorter.sorted(count);
  for (int64_t place = 0; place < count; ++place) numbers[place] = static_cast<int64_t>(sorted[place] % kMost);
}

// Gives the ids of one user, by all columns, distinct ones in ascending order, and each one's place; returns how many.
int64_t distinct(const int32_t* const* ids, const int64_t* widths, int64_t columns, int64_t start, int64_t count,
                 int64_t before, Sorter& sorter, std::vector<int32_t>& places, int64_t* found, int32_t* const* slots) {
  int64_t size = 0, most = 0;
  for (int64_t column = 0; column < columns; ++column) most += count * widths[column];
  uint64_t* keys = sorter.keys(most);
  places.assign(static_cast<size_t>(most), -1);
  int64_t at = 0;
  for (int64_t column = 0; column < columns; ++column) {
    const int32_t* own = ids[column] + start * widths[column];
    for (int64_t index = 0; index < count * widths[column]; ++index, ++at)
      if (own[index] >= 0) keys[size++] = static_cast<uint64_t>(own[index]) << 32 | static_cast<uint64_t>(at);
  }
  const uint64_t* sorted = sorter.sorted(size);
  int64_t rows = 0;
  for (int64_t key = 0; key < size; ++key) {
    if (key == 0 || sorted[key] >> 32 != sorted[key - 1] >> 32) found[rows++] = static_cast<int64_t>(sorted[key] >> 32);
    places[static_cast<uint32_t>(sorted[key])] = static_cast<int32_t>(before + rows);
  }
  at = 0;
  for (int64_t column = 0; column < columns; at += count * widths[column], ++column)
    std::copy_n(places.begin() + at, count * widths[column], slots[column] + start * widths[column]);
  return rows;
}

// 1 where a number is not finite: all bits of its exponent are set.
INLINE uint32_t endless(float number) {
  uint32_t bits;
  std::memcpy(&bits, &number, sizeof bits);
  return (bits & 0x7F800000) == 0x7F800000;
}
INLINE uint32_t endless(double number) {
  uint64_t bits;
  std::memcpy(&bits, &number, sizeof bits);
  return (bits & 0x7FF0000000000000) == 0x7FF0000000000000;
}

template <class T>
INLINE bool lost_numbers(const T* first, T* change, int64_t count) {
  uint32_t any = 0;
#pragma GCC ivdep
  for (int64_t index = 0; index < count; ++index) {
    change[index] = first[index] - change[index];
    any |= endless(change[index]);
  }
  return !any;
}

FOR_EACH_PROCESSOR bool lost(const float* first, float* change, int64_t count) {
  return lost_numbers(first, change, count);
}
FOR_EACH_PROCESSOR bool lost(const double* first, double* change, int64_t count) {
  return lost_numbers(first, change, count);
}

template <class T>
INLINE void scale_rows(T* rows, const T* factors, int64_t count, int64_t width) {
  for (int64_t row = 0; row < count; ++row, rows += width) {
    const T factor = factors[row];
    if (factor == T(0)) {
      std::fill_n(rows, width, T(0));  // whatever it was
      continue;
    }
    for (int64_t index = 0; index < width; ++index) rows[index] *= factor;
  }
}

FOR_EACH_PROCESSOR void scale(float* rows, const float* factors, int64_t count, int64_t width) {
  scale_rows(rows, factors, count, width);
}
FOR_EACH_PROCESSOR void scale(double* rows, const double* factors, int64_t count, int64_t width) {
  scale_rows(rows, factors, count, width);
}

}  // namespace

// The numbers of each user's `counts` [user] examples in the order that `streams` [user] draws: [example].
// 0, or -1 where memory is lacking.
EXPORT int64_t vflc_users_order(const uint64_t* streams, const int64_t* counts, int64_t users, int64_t* numbers) try {
  Sorter sorter;
  for (int64_t user = 0; user < users; numbers += counts[user++]) order(streams[user], counts[user], sorter, numbers);
  return 0;
} catch (const std::exception&) {
  return -1;
}

// Puts the examples of a half, those whose `late` [example] is `half`, into batches [batch, user, example], which are
// full of -1.
EXPORT void vflc_users_batches(const int64_t* counts, int64_t users, const uint8_t* late, uint8_t half, int64_t batch,
                               int64_t* rows) {
  int64_t example = 0;
  for (int64_t user = 0; user < users; ++user) {
    int64_t *row = rows + user * batch, place = 0;
    for (const int64_t end = example + counts[user]; example < end; ++example) {
      if (late[example] != half) continue;
      if (place == batch) row += users * batch, place = 0;
      row[place++] = example;
    }
  }
}

// The distinct ids that each user's examples have in `columns` columns [example, width], user after user and ascending;
// whose they are; one more than how many the first 1, 2, … users have; and each id's place, from 1 on, or -1 for a
// negative one.
// How many there are, or -1 where memory is lacking.
EXPORT int64_t vflc_users_distinct(const int64_t* counts, int64_t users, const int32_t* const* ids,
                                   const int64_t* widths, int64_t columns, int64_t* found, int64_t* owner,
                                   int64_t* ends, int32_t* const* slots) try {
  Sorter sorter;
  std::vector<int32_t> places;
  int64_t start = 0, total = 0;
  for (int64_t user = 0; user < users; start += counts[user++]) {
    const int64_t own =
        distinct(ids, widths, columns, start, counts[user], total, sorter, places, found + total, slots);
    std::fill_n(owner + total, own, user);
    ends[user] = 1 + (total += own);
  }
  return total;
} catch (const std::exception&) {
  return -1;
}

// Numbers in [0, 1): the first `size` of each user's stream [user, size].
EXPORT void vflc_users_uniform(const uint64_t* streams, int64_t users, int64_t size, double* numbers) {
  for (int64_t user = 0; user < users; ++user) draw_uniform(streams[user], size, numbers + user * size);
}

// Makes of what numbers became what they lost; 1 where all of that is finite, otherwise 0.
EXPORT int64_t vflc_users_lost_float32(const float* first, float* change, int64_t count) {
  return lost(first, change, count);
}
EXPORT int64_t vflc_users_lost_float64(const double* first, double* change, int64_t count) {
  return lost(first, change, count);
}

// Multiplies rows [row, width] by `factors` [row]; by 0 they become 0 whatever they were.
EXPORT void vflc_users_scale_float32(float* rows, const float* factors, int64_t count, int64_t width) {
  scale(rows, factors, count, width);
}
EXPORT void vflc_users_scale_float64(double* rows, const double* factors, int64_t count, int64_t width) {
  scale(rows, factors, count, width);
}
