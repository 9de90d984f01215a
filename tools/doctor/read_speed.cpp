// How fast memory can be read, which is what a token costs at batch 1.
#include <algorithm>

#include "tools/doctor/facts.h"
#include "tools/measure/read_probe.h"

namespace splitd::cli {

uint64_t largest_cache(const CpuFacts& cpu) {
  uint64_t largest = 0;
  for (const CpuCache& cache : cpu.caches) largest = std::max(largest, cache.bytes);
  return largest;
}

double measured_read_speed(const CpuFacts& cpu, const MemoryFacts& memory, unsigned n_thread) {
  constexpr int kPasses = 4;
  const uint64_t bytes = ReadProbe::default_bytes(largest_cache(cpu));
  if (memory.available_bytes < 2 * bytes) return 0.0;
  ThreadPool pool(n_thread);
  ReadProbe probe(pool, bytes);
  if (!probe.ok()) return 0.0;
  double best = 0.0;
  for (int pass = 0; pass < kPasses; ++pass) best = std::max(best, probe.read());
  return best;
}

}  // namespace splitd::cli
