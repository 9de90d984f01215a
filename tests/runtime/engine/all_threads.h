// For tests that count allocations: a thread that starts late takes memory to start (a sanitizer's
// own too), which would be counted as the code's.
#pragma once

#include <atomic>
#include <thread>

#include "runtime/engine/thread_pool.h"

namespace splitd {

// Returns once every thread of the pool has worked.
inline void wait_for_all_threads(ThreadPool& pool) {
  std::atomic<uint32_t> n_here{0};
  pool.run(pool.n_thread(), [&](uint32_t, uint32_t) {
    for (++n_here; n_here < pool.n_thread();) std::this_thread::yield();
  });
}

}  // namespace splitd
