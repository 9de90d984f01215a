// Owns: what `splitd doctor` finds out about this machine. Every finding is optional in practice: a
// file of /proc or /sys that is not there leaves its field empty or 0. Nothing here fails.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace splitd::cli {

struct CpuFeature {
  std::string_view name = {};
  bool usable = false;  // the CPU has it and the kernel saves its registers
};

struct CpuCache {
  int level = 0;
  std::string type = {};  // "Data", "Instruction", "Unified"
  uint64_t bytes = 0;
  std::string shared_with = {};  // as the kernel lists logical CPUs: "0-3"
};

struct CpuFacts {
  std::string model = {};
  std::string_view architecture = {};
  unsigned n_logical = 0;
  unsigned n_physical = 0;    // 0: not known
  unsigned n_allowed = 0;     // by this process's affinity mask
  double cgroup_cores = 0.0;  // 0: no quota
  std::vector<CpuFeature> features = {};
  std::vector<CpuCache> caches = {};
};

struct MemoryFacts {
  uint64_t total_bytes = 0;
  uint64_t available_bytes = 0;
  uint64_t cgroup_bytes = 0;  // 0: no limit
  uint64_t page_bytes = 0;
  std::string transparent_huge_pages = {};  // "always", "madvise", "never"
  uint64_t reserved_huge_pages = 0;
};

struct LimitFacts {
  static constexpr uint64_t kUnlimited = UINT64_MAX;
  uint64_t open_files = 0;
  uint64_t open_files_hard = 0;
  uint64_t locked_bytes = 0;
};

struct DiskFacts {
  std::string directory = {};  // what exists of the path that was asked for
  uint64_t free_bytes = 0;
  bool writable = false;
};

struct GpuFacts {
  bool built_with_cuda = false;
  std::string driver = {};                     // the kernel module's version; empty: none loaded
  std::vector<std::string> devices = {};       // "/dev/nvidia0"
  std::vector<std::string> cuda_devices = {};  // "NVIDIA H100, compute 9.0, 79 GiB"
  std::string cuda_problem = {};               // why CUDA shows none
  std::string cublas = {};                     // its version, or why it is not to be had
};

struct LibraryFacts {
  std::string name = {};
  std::string version = {};
  std::string note = {};
};

[[nodiscard]] CpuFacts cpu_facts();
[[nodiscard]] MemoryFacts memory_facts();
[[nodiscard]] LimitFacts limit_facts();
[[nodiscard]] DiskFacts disk_facts(const std::string& path);
[[nodiscard]] GpuFacts gpu_facts();
[[nodiscard]] std::vector<LibraryFacts> library_facts();

// Cores that a thread pool should use: what affinity and the cgroup allow, hyper-threads not
// counted.
[[nodiscard]] unsigned usable_cores(const CpuFacts& cpu);

[[nodiscard]] uint64_t largest_cache(const CpuFacts& cpu);  // in bytes; 0: not known

// Bytes per second that `n_thread` threads read together from memory that no cache holds; takes
// about a second. 0: there is not enough memory to tell.
[[nodiscard]] double measured_read_speed(const CpuFacts& cpu, const MemoryFacts& memory,
                                         unsigned n_thread);

// "0-3,8" → 5; what is not such a list counts as 0.
[[nodiscard]] unsigned count_cpu_list(std::string_view list);
// "max 100000", "150000 100000" (cgroup v2's cpu.max) → 0 (no quota), 1.5.
[[nodiscard]] double cgroup_quota(std::string_view cpu_max);

}  // namespace splitd::cli
