// Owns: how fast this machine reads memory, plainly and in order: what every token at batch 1 is
// measured against. Reads memory of its own in huge pages where the system grants them, so that
// no way of keeping weights can look better than it is. Not thread-safe.
#pragma once

#include <sys/mman.h>

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "runtime/engine/thread_pool.h"

namespace splitd::cli {

class ReadProbe {
 public:
  // Eight times the largest cache, 256 MiB at least, so that nothing of a pass is left for the
  // next.
  static uint64_t default_bytes(uint64_t largest_cache);

  // Touches all of `bytes`. Where the system refuses memory, ok() is false and nothing is measured.
  // The pool's threads read.
  ReadProbe(ThreadPool& pool, uint64_t bytes);
  ReadProbe(const ReadProbe&) = delete;
  ReadProbe& operator=(const ReadProbe&) = delete;
  ~ReadProbe();

  bool ok() const { return area_ != MAP_FAILED; }

  // One pass, in bytes a second.
  double read();

 private:
  ThreadPool& pool_;
  size_t bytes_;
  void* area_;
  std::atomic<uint64_t> sink_{0};  // so that no read can be left out
};

}  // namespace splitd::cli
