// How fast memory can be read, which is what a token costs at batch 1.
#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <barrier>
#include <chrono>
#include <cstring>
#include <thread>

#include "tools/doctor/facts.h"

namespace splitd::cli {
namespace {

using Clock = std::chrono::steady_clock;
using Block = uint64_t __attribute__((vector_size(64), may_alias));

uint64_t sum_of(const Block* blocks, size_t n) {
  Block a{};
  Block b{};
  for (size_t i = 0; i + 1 < n; i += 2) {
    a += blocks[i];
    b += blocks[i + 1];
  }
  a += b;
  return a[0] + a[1] + a[2] + a[3] + a[4] + a[5] + a[6] + a[7];
}

}  // namespace

double measured_read_speed(const CpuFacts& cpu, const MemoryFacts& memory, unsigned n_thread) {
  constexpr size_t kSmallest = size_t{128} << 20;
  constexpr size_t kLargest = size_t{1} << 30;
  constexpr int kPasses = 4;
  uint64_t largest_cache = 0;
  for (const CpuCache& cache : cpu.caches) largest_cache = std::max(largest_cache, cache.bytes);
  const size_t bytes = std::clamp(static_cast<size_t>(largest_cache) * 4, kSmallest, kLargest);
  if (memory.available_bytes < 2 * bytes) return 0.0;

  void* area = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (area == MAP_FAILED) return 0.0;
  (void)::madvise(area, bytes, MADV_HUGEPAGE);

  const auto* blocks = static_cast<const Block*>(area);
  const size_t share = bytes / sizeof(Block) / n_thread;
  std::atomic<uint64_t> sum{0};  // so that no read can be left out
  double best_seconds = 0.0;
  Clock::time_point began;
  // Between passes one thread alone notes the time; the first pass is the first touch.
  int pass = -1;
  std::barrier meet(static_cast<std::ptrdiff_t>(n_thread), [&]() noexcept {
    const Clock::time_point now = Clock::now();
    const double seconds = std::chrono::duration<double>(now - began).count();
    if (pass >= 1 && (best_seconds == 0.0 || seconds < best_seconds)) best_seconds = seconds;
    began = now;
    ++pass;
  });
  const auto work = [&](unsigned index) {
    auto* own = static_cast<char*>(area) + index * share * sizeof(Block);
    std::memset(own, static_cast<int>(index) + 1, share * sizeof(Block));
    meet.arrive_and_wait();
    for (int i = 0; i < kPasses; ++i) {
      sum += sum_of(blocks + index * share, share);
      meet.arrive_and_wait();
    }
  };
  std::vector<std::thread> threads;
  for (unsigned i = 1; i < n_thread; ++i) threads.emplace_back(work, i);
  work(0);
  for (std::thread& thread : threads) thread.join();
  ::munmap(area, bytes);
  if (best_seconds <= 0.0 || sum == 0) return 0.0;
  return static_cast<double>(share * n_thread * sizeof(Block)) / best_seconds;
}

}  // namespace splitd::cli
