// Several threads run jobs of all sizes in the pool at once, with pauses in which its threads fall asleep, for a
// sanitizer to look at. Ends with 1 where a part of a job was not done exactly once, or by too many threads.
#include <atomic>
#include <chrono>
#include <cstdio>
#include <memory>
#include <random>
#include <thread>
#include <vector>

#include "../../runtime/vflc_kernels/src/pool.h"

struct Job {
  std::vector<int> runs;  // of each part; plain numbers, so that a race is seen
  std::atomic<size_t> here{0}, most{0};
};

void part(void* data, size_t index) {
  Job& job = *static_cast<Job*>(data);
  const size_t here = ++job.here;
  for (size_t most = job.most; most < here && !job.most.compare_exchange_weak(most, here);) {
  }
  ++job.runs[index];
  if (index % 64 == 7) std::this_thread::sleep_for(std::chrono::microseconds(100));
  --job.here;
}

bool right(size_t threads, size_t parts) {
  Job job;
  job.runs.resize(parts);
  in_pool(threads, parts, part, &job);
  for (int runs : job.runs)
    if (runs != 1) return false;
  return job.most <= threads;
}

int main() {
  std::atomic<bool> wrong{false};
  std::vector<std::thread> callers;
  for (unsigned caller = 0; caller < 3; ++caller)
    callers.emplace_back([&, caller] {
      std::mt19937 random(caller);
      for (int round = 0; round < 3000 && !wrong; ++round) {
        if (!right(1 + random() % 6, 1 + random() % 200)) wrong = true;
        if (random() % 50 == 0) std::this_thread::sleep_for(std::chrono::microseconds(random() % 1000));
      }
    });
  for (auto& each : callers) each.join();
  for (int round = 0; round < 500 && !wrong; ++round) {  // one caller alone, who never finds the pool taken
    if (!right(1 + round % 6, 1 + round % 40)) wrong = true;
    if (round % 25 == 0) std::this_thread::sleep_for(std::chrono::microseconds(400));
  }
  if (wrong) std::puts("a part was done twice or not at all, or by too many threads");
  return wrong;
}
