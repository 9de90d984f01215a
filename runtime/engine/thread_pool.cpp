// Claiming, spinning and sleeping behind thread_pool.h.
#include "runtime/engine/thread_pool.h"

#include <algorithm>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace splitd {
namespace {

// About 5 µs on a 3 GHz core: longer than the gap between two matmuls of a layer, shorter than a
// futex wake-up and far shorter than a scheduler's slice.
constexpr int kSpins = 200;

void pause_cpu() {
#if defined(__x86_64__)
  _mm_pause();
#elif defined(__aarch64__)
  __asm__ volatile("isb");
#endif
}

}  // namespace

ThreadPool::ThreadPool(uint32_t n_thread) {
  workers_.reserve(n_thread);
  for (uint32_t thread = 1; thread < n_thread; ++thread) {
    workers_.emplace_back([this, thread] { worker(thread); });
  }
}

ThreadPool::~ThreadPool() {
  stop_.store(true);
  epoch_.fetch_add(1);
  epoch_.notify_all();
  for (std::thread& thread : workers_) thread.join();
}

void ThreadPool::claim_pieces(uint32_t thread) {
  uint64_t claim = next_.load(std::memory_order_acquire);
  while (true) {
    const uint32_t piece = static_cast<uint32_t>(claim);
    const uint32_t n_piece = n_piece_.load(std::memory_order_acquire);
    const Call call = call_.load(std::memory_order_acquire);
    const void* work = work_.load(std::memory_order_acquire);
    if (piece >= n_piece) return;
    // Succeeds only if no other job was published since `claim` was read, so the three above are
    // of the same job: run_pieces changes next_ before it changes them.
    if (!next_.compare_exchange_weak(claim, claim + 1, std::memory_order_acq_rel)) continue;
    call(work, piece, thread);
    if (left_.fetch_sub(1) == 1 && caller_sleeps_.load()) {
      left_.notify_one();
    }
    claim = next_.load(std::memory_order_acquire);
  }
}

void ThreadPool::worker(uint32_t thread) {
  uint32_t seen = 0;
  while (true) {
    uint32_t epoch = epoch_.load(std::memory_order_acquire);
    for (int spin = 0; epoch == seen && spin < kSpins; ++spin) {
      pause_cpu();
      epoch = epoch_.load(std::memory_order_acquire);
    }
    while (epoch == seen) {
      sleeping_.fetch_add(1);
      epoch_.wait(seen);
      sleeping_.fetch_sub(1);
      epoch = epoch_.load(std::memory_order_acquire);
    }
    seen = epoch;
    if (stop_.load()) return;
    claim_pieces(thread);
  }
}

void ThreadPool::run_pieces(uint32_t n_piece, Call call, const void* work) {
  if (n_piece == 0) return;
  if (workers_.empty() || n_piece == 1) {
    for (uint32_t piece = 0; piece < n_piece; ++piece) call(work, piece, 0);
    return;
  }
  // Close the old job to late threads (its generation ends, with no piece left to claim), describe
  // the new one, then open it.
  const uint64_t generation = (next_.load(std::memory_order_relaxed) >> 32) + 1;
  next_.store(generation << 32 | UINT32_MAX, std::memory_order_seq_cst);
  n_piece_.store(n_piece, std::memory_order_release);
  call_.store(call, std::memory_order_release);
  work_.store(work, std::memory_order_release);
  left_.store(n_piece, std::memory_order_release);
  next_.store(generation << 32, std::memory_order_seq_cst);
  epoch_.fetch_add(1);
  if (sleeping_.load() != 0) epoch_.notify_all();
  claim_pieces(0);

  uint32_t left = left_.load(std::memory_order_acquire);
  for (int spin = 0; left != 0 && spin < kSpins; ++spin) {
    pause_cpu();
    left = left_.load(std::memory_order_acquire);
  }
  if (left == 0) return;
  caller_sleeps_.store(true);
  while ((left = left_.load()) != 0) left_.wait(left);
  caller_sleeps_.store(false);
}

}  // namespace splitd
