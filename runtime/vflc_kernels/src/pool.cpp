#include "pool.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <system_error>
#include <thread>

#ifdef __linux__
#include <sched.h>
#endif
#ifndef _WIN32
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#endif

namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::microseconds;
using std::chrono::milliseconds;

constexpr microseconds kIdle{200};    // that a thread of the pool stays awake without work
constexpr microseconds kCareful{20};  // where that takes the core from others, see `Patience`
constexpr microseconds kFinish{50};   // that a caller waits awake for parts that others have begun
constexpr std::size_t kMost = 1024;   // threads
constexpr std::size_t kRanges = 64;   // into which parts are cut at most

void pause() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Waits awake until `done()`, or until a time; whether it is done.
template <class Done>
bool spin(Clock::time_point end, const Done& done) {
  for (int round = 1; !done(); ++round) {
    pause();
    if (round % 16 == 0 && Clock::now() > end) return done();
  }
  return true;
}

// How long a thread may wait awake. Where others want its core, a thread that waits awake has used its share of the
// core up when there is work to do, and everybody waits for it: it had better slept.
class Patience {
 public:
  microseconds now() {
    const auto at = Clock::now();
    if (at - looked_ > milliseconds(20)) {
      const long pushed = pushed_aside();
      if (pushed - pushed_ >= 2) careful_ = at + milliseconds(200);
      pushed_ = pushed;
      looked_ = at;
    }
    return at < careful_ ? kCareful : kIdle;
  }

 private:
  // How often the scheduler gave the core of the calling thread to another.
  static long pushed_aside() {
#ifdef RUSAGE_THREAD
    rusage used;
    if (getrusage(RUSAGE_THREAD, &used) == 0) return used.ru_nivcsw;
#endif
    return 0;
  }

  Clock::time_point careful_{}, looked_{};
  long pushed_ = 0;
};

// The core that the calling thread runs on; -1 where that is not known.
int core_here() {
#ifdef __linux__
  return sched_getcpu();
#else
  return -1;
#endif
}

// Moves the calling thread off the core of who waits for it. Where all cores are taken for a moment, Linux wakes a
// thread behind one of them and may leave it there for milliseconds, though another core is soon free.
class Aside {
 public:
  void from(int core) {
#ifdef __linux__
    if (core < 0 || core >= CPU_SETSIZE || core != core_here()) return;
    const auto at = Clock::now();
    if (at < next_) return;
    next_ = at + milliseconds(1);
    cpu_set_t allowed;
    if (sched_getaffinity(0, sizeof allowed, &allowed) != 0 || CPU_COUNT(&allowed) < 2) return;
    cpu_set_t others = allowed;
    CPU_CLR(core, &others);
    if (sched_setaffinity(0, sizeof others, &others) == 0) sched_setaffinity(0, sizeof allowed, &allowed);
#else
    static_cast<void>(core);
#endif
  }

 private:
  Clock::time_point next_{};
};

// While one is there, threads begin with all signals blocked: those of the process are for Python's threads.
class NoSignals {
#ifndef _WIN32
 public:
  NoSignals() {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  ~NoSignals() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

 private:
  sigset_t before_;
#endif
};

class Pool {
 public:
  void run(std::size_t threads, std::size_t parts, void (*part)(void*, std::size_t), void* data) {
    if (!busy_.try_lock()) {
      for (std::size_t index = 0; index < parts; ++index) part(data, index);
      return;
    }
    const std::size_t shares = std::min(parts, grown_to(threads));
    part_ = part;
    data_ = data;
    cut(parts, std::min(shares, kRanges));
    done_.store(0, std::memory_order_relaxed);
    core_.store(core_here(), std::memory_order_relaxed);
    open_.store(++job_ << kShareBits | shares, std::memory_order_seq_cst);
    wake(shares - 1);
    take(job_, 0);
    finish(shares);
    busy_.unlock();
  }

 private:
  static constexpr int kShareBits = 16;
  static constexpr uint64_t kShares = (1 << kShareBits) - 1;

  // The threads there are for a job of at most so many, the calling one among them.
  std::size_t grown_to(std::size_t threads) {
    threads = std::min(threads, kMost);
    if (workers_ + 1 >= threads) return threads;
    if (refused_ != Clock::time_point{} && Clock::now() - refused_ < milliseconds(1000)) return workers_ + 1;
    const NoSignals none;
    try {
      for (; workers_ + 1 < threads; ++workers_)
        std::thread([this, own = workers_ + 1, seen = job_] { work(own, seen); }).detach();
    } catch (const std::system_error&) {  // as many as the system gives, who is asked again later
      refused_ = Clock::now();
      return workers_ + 1;
    }
    return threads;
  }

  // Each thread begins with the parts of a range of its own, the same share of every job's: rows that it made in one
  // operator, which lie in its own cache, are those that it reads in the next.
  void cut(std::size_t parts, std::size_t ranges) {
    ranges_ = ranges;
    for (std::size_t index = 0; index < ranges; ++index) {
      range_[index].end = parts * (index + 1) / ranges;
      range_[index].next.store(parts * index / ranges, std::memory_order_relaxed);
    }
  }

  // Wakes as many as are missing of those that are awake.
  void wake(std::size_t wanted) {
    std::size_t asleep = asleep_.load(std::memory_order_seq_cst);
    const std::size_t awake = workers_ - asleep;
    if (asleep == 0 || awake >= wanted) return;
    { std::lock_guard lock(sleep_); }  // none is between looking for work and sleeping
    for (wanted -= awake; wanted > 0 && asleep > 0; --wanted, --asleep) work_.notify_one();
  }

  // Takes a share of a job, and parts as long as there are any, those of range `own` first; whether a share was left.
  bool take(uint64_t job, std::size_t own) {
    uint64_t open = open_.load(std::memory_order_acquire);
    do {
      if (open >> kShareBits != job || (open & kShares) == 0) return false;
    } while (!open_.compare_exchange_weak(open, open - 1, std::memory_order_acq_rel, std::memory_order_acquire));
    for (std::size_t step = 0; step < ranges_; ++step) {
      Range& from = range_[(own + step) % ranges_];
      for (std::size_t index; (index = from.next.fetch_add(1, std::memory_order_relaxed)) < from.end;)
        part_(data_, index);
    }
    done_.fetch_add(1, std::memory_order_seq_cst);
    if (waiting_.load(std::memory_order_seq_cst)) {
      std::lock_guard lock(sleep_);
      finished_.notify_one();
    }
    return true;
  }

  void finish(std::size_t shares) {
    while (take(job_, 0)) {  // shares that nobody has begun, whose parts are done
    }
    const auto done = [&] { return done_.load(std::memory_order_seq_cst) == shares; };
    if (spin(Clock::now() + kFinish, done)) return;
    waiting_.store(true, std::memory_order_seq_cst);
    {
      std::unique_lock lock(sleep_);
      finished_.wait(lock, done);
    }
    waiting_.store(false, std::memory_order_relaxed);
  }

  [[noreturn]] void work(std::size_t own, uint64_t seen) {
    Patience patience;
    Aside aside;
    for (auto end = Clock::now() + kIdle;;) {
      const auto news = [&] { return open_.load(std::memory_order_seq_cst) >> kShareBits != seen; };
      if (!spin(end, news)) sleep(news);
      seen = open_.load(std::memory_order_relaxed) >> kShareBits;
      aside.from(core_.load(std::memory_order_relaxed));
      if (take(seen, own)) end = Clock::now() + patience.now();  // else there are enough without this thread
    }
  }

  template <class Done>
  void sleep(const Done& done) {
    std::unique_lock lock(sleep_);
    asleep_.fetch_add(1, std::memory_order_seq_cst);
    work_.wait(lock, done);
    asleep_.fetch_sub(1, std::memory_order_seq_cst);
  }

  // Of the caller, who holds `busy_`.
  std::mutex busy_;
  std::size_t workers_ = 0;
  Clock::time_point refused_{};  // when the system last had no thread to give
  uint64_t job_ = 0;

  // Of the job, changed while none is open.
  void (*part_)(void*, std::size_t) = nullptr;
  void* data_ = nullptr;
  struct alignas(64) Range {
    std::atomic<std::size_t> next{0};
    std::size_t end = 0;
  };
  Range range_[kRanges];
  std::size_t ranges_ = 0;
  std::atomic<int> core_{-1};  // of the caller

  // A job's number, and its shares that nobody has taken: one value, so that nobody takes a share of another job.
  alignas(64) std::atomic<uint64_t> open_{0};
  alignas(64) std::atomic<std::size_t> done_{0};

  alignas(64) std::atomic<std::size_t> asleep_{0};
  std::atomic<bool> waiting_{false};
  std::mutex sleep_;
  std::condition_variable work_, finished_;
};

// For good, as its threads use it. The library stays, too: ctypes, by which it is asked first, unloads nothing.
std::atomic<Pool*> made{nullptr};

Pool& the_pool() {
  Pool* found = made.load(std::memory_order_acquire);
  if (found) return *found;
#ifndef _WIN32
  // A child process has none of the threads; it makes a pool of its own when it needs one.
  static const int handled = pthread_atfork(nullptr, nullptr, [] { made.store(nullptr, std::memory_order_relaxed); });
  static_cast<void>(handled);
#endif
  Pool* one = new Pool;
  if (made.compare_exchange_strong(found, one, std::memory_order_acq_rel)) return *one;
  delete one;  // another thread was faster
  return *found;
}

}  // namespace

void in_pool(std::size_t threads, std::size_t parts, void (*part)(void*, std::size_t), void* data) {
  the_pool().run(threads, parts, part, data);
}
