// Taking pieces, spinning and sleeping behind thread_pool.h.
#include "runtime/engine/thread_pool.h"

#include <algorithm>
#include <chrono>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace splitd {
namespace {

// Longer than what one thread does alone between two products of a layer, and than a futex wake-up;
// a hundredth of a scheduler's slice.
constexpr auto kSpinTime = std::chrono::microseconds(30);
constexpr int kPausesPerLook = 16;  // at the clock

constexpr uint32_t kBits = 20;  // of a piece's number in a part
constexpr uint32_t kMostPieces = (1u << kBits) - 1;

constexpr uint64_t job_bits(uint64_t job) {
  return job << (2 * kBits);
}
constexpr uint32_t begin_of(uint64_t left) {
  return static_cast<uint32_t>(left >> kBits) & kMostPieces;
}
constexpr uint32_t end_of(uint64_t left) {
  return static_cast<uint32_t>(left) & kMostPieces;
}
constexpr uint64_t left_of(uint64_t job, uint32_t begin, uint32_t end) {
  return job_bits(job) | uint64_t{begin} << kBits | end;
}
constexpr bool is_of(uint64_t left, uint64_t job) {
  return (left ^ job_bits(job)) >> (2 * kBits) == 0;
}

void pause_cpu() {
#if defined(__x86_64__)
  _mm_pause();
#elif defined(__aarch64__)
  __asm__ volatile("isb");
#endif
}

// Until `ready` or kSpinTime has passed; returns whether it is.
template <class Ready>
bool spin_until(const Ready& ready) {
  if (ready()) return true;
  const auto give_up = std::chrono::steady_clock::now() + kSpinTime;
  do {
    for (int i = 0; i < kPausesPerLook; ++i) {
      pause_cpu();
      if (ready()) return true;
    }
  } while (std::chrono::steady_clock::now() < give_up);
  return false;
}

}  // namespace

ThreadPool::ThreadPool(uint32_t n_thread) : parts_(std::max(1u, n_thread)) {
  workers_.reserve(parts_.size() - 1);
  for (uint32_t thread = 1; thread < n_thread; ++thread) {
    workers_.emplace_back([this, thread] { worker(thread); });
  }
}

ThreadPool::~ThreadPool() {
  stop_.store(true);
  job_.fetch_add(1);
  job_.notify_all();
  for (std::thread& thread : workers_) thread.join();
}

// The first piece of a part of the job, if there is one left.
bool ThreadPool::take_piece(uint64_t job, Part& part, uint32_t& piece) {
  uint64_t left = part.left.load(std::memory_order_acquire);
  while (is_of(left, job) && begin_of(left) < end_of(left)) {
    piece = begin_of(left);
    if (part.left.compare_exchange_weak(left, left + (uint64_t{1} << kBits),
                                        std::memory_order_acq_rel)) {
      return true;
    }
  }
  return false;
}

// The second half of what some other thread has left: its first piece is taken, the others become
// this thread's part.
bool ThreadPool::take_half(uint64_t job, uint32_t thread, uint32_t& piece) {
  for (size_t i = 1; i < parts_.size(); ++i) {
    Part& other = parts_[(thread + i) % parts_.size()];
    uint64_t left = other.left.load(std::memory_order_acquire);
    while (is_of(left, job) && begin_of(left) < end_of(left)) {
      const uint32_t begin = begin_of(left), end = end_of(left);
      piece = begin + (end - begin) / 2;
      if (other.left.compare_exchange_weak(left, left_of(job, begin, piece),
                                           std::memory_order_acq_rel)) {
        parts_[thread].left.store(left_of(job, piece + 1, end), std::memory_order_release);
        return true;
      }
    }
  }
  return false;
}

uint32_t ThreadPool::n_done() const {
  uint32_t n = 0;
  for (const Part& part : parts_) n += part.done.load();
  return n;
}

void ThreadPool::take_part(uint32_t thread) {
  const uint64_t job = job_.load(std::memory_order_acquire);
  Part& own = parts_[thread];
  uint32_t piece = 0;
  while (take_piece(job, own, piece) || take_half(job, thread, piece)) {
    // The job cannot end before this piece does: until then what it is stays as it is.
    const uint32_t n_piece = n_piece_;
    call_(work_, first_piece_ + piece, thread);
    own.done.fetch_add(1);
    if (caller_sleeps_.load() != 0 && n_done() == n_piece) {
      caller_sleeps_.store(0);
      caller_sleeps_.notify_one();
    }
  }
}

void ThreadPool::worker(uint32_t thread) {
  uint32_t seen = 0;
  while (true) {
    const auto is_new = [&] { return job_.load(std::memory_order_acquire) != seen; };
    if (!spin_until(is_new)) {
      sleeping_.fetch_add(1);
      while (!is_new()) job_.wait(seen);
      sleeping_.fetch_sub(1);
    }
    seen = job_.load(std::memory_order_acquire);
    if (stop_.load()) return;
    take_part(thread);
  }
}

void ThreadPool::run_pieces(uint32_t n_piece, Call call, const void* work) {
  if (workers_.empty() || n_piece == 1) {
    for (uint32_t piece = 0; piece < n_piece; ++piece) call(work, piece, 0);
    return;
  }
  call_ = call;
  work_ = work;
  for (uint32_t first = 0; first < n_piece; first += kMostPieces) {
    run_batch(first, std::min(n_piece - first, kMostPieces));
  }
}

void ThreadPool::run_batch(uint32_t first, uint32_t n_piece) {
  first_piece_ = first;
  n_piece_ = n_piece;
  const uint32_t job = job_.load(std::memory_order_relaxed) + 1;
  const uint64_t n_part = parts_.size();
  for (uint64_t i = 0; i < n_part; ++i) {
    const auto begin = static_cast<uint32_t>(n_piece * i / n_part);
    const auto end = static_cast<uint32_t>(n_piece * (i + 1) / n_part);
    parts_[i].done.store(0, std::memory_order_relaxed);
    parts_[i].left.store(left_of(job, begin, end), std::memory_order_release);
  }
  job_.store(job);
  if (sleeping_.load() != 0) job_.notify_all();
  take_part(0);

  const auto all_done = [&] { return n_done() == n_piece; };
  if (spin_until(all_done)) return;
  // Whoever finishes the last piece either sees the 1 or is seen by the look behind it. A late
  // thread may count another job's pieces and wake the caller for nothing.
  while (true) {
    caller_sleeps_.store(1);
    if (all_done()) break;
    caller_sleeps_.wait(1);
  }
  caller_sleeps_.store(0);
}

}  // namespace splitd
