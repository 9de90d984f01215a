// The CPU: which instructions may be used, cores, caches.
#include <sched.h>
#include <sys/auxv.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>
#include <set>

#include "tools/doctor/facts.h"
#include "tools/doctor/kernel_files.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace splitd::cli {
namespace {

#if defined(__x86_64__)

constexpr std::string_view kArchitecture = "x86-64";

enum Register { eax, ebx, ecx, edx };

// Which of XCR0's bits the kernel must have set for a feature's registers to survive a task switch.
constexpr uint64_t kNone = 0;
constexpr uint64_t kYmm = 0x6;
constexpr uint64_t kZmm = 0xe6;
constexpr uint64_t kTile = 0x60000;

struct CpuidBit {
  std::string_view name;
  unsigned leaf;
  unsigned subleaf;
  Register where;
  unsigned bit;
  uint64_t xcr0;
};

constexpr CpuidBit kBits[] = {
    {"sse4.2", 1, 0, ecx, 20, kNone},     {"avx", 1, 0, ecx, 28, kYmm},
    {"f16c", 1, 0, ecx, 29, kYmm},        {"fma", 1, 0, ecx, 12, kYmm},
    {"avx2", 7, 0, ebx, 5, kYmm},         {"avx_vnni", 7, 1, eax, 4, kYmm},
    {"avx512f", 7, 0, ebx, 16, kZmm},     {"avx512bw", 7, 0, ebx, 30, kZmm},
    {"avx512dq", 7, 0, ebx, 17, kZmm},    {"avx512vl", 7, 0, ebx, 31, kZmm},
    {"avx512_vnni", 7, 0, ecx, 11, kZmm}, {"avx512_bf16", 7, 1, eax, 5, kZmm},
    {"avx512_fp16", 7, 0, edx, 23, kZmm}, {"amx_tile", 7, 0, edx, 24, kTile},
    {"amx_bf16", 7, 0, edx, 22, kTile},   {"amx_int8", 7, 0, edx, 25, kTile},
    {"aes", 1, 0, ecx, 25, kNone},        {"sha", 7, 0, ebx, 29, kNone},
};

uint64_t read_xcr0() {
  unsigned registers[4] = {};
  constexpr unsigned kOsxsave = 1u << 27;
  if (__get_cpuid(1, &registers[eax], &registers[ebx], &registers[ecx], &registers[edx]) == 0 ||
      (registers[ecx] & kOsxsave) == 0) {
    return 0;
  }
  uint32_t low = 0;
  uint32_t high = 0;
  asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (uint64_t{high} << 32) | low;
}

bool cpuid_bit(const CpuidBit& bit) {
  unsigned registers[4] = {};
  // Leaf 7's subleaf 0 says in eax how many subleaves there are.
  if (__get_cpuid_count(bit.leaf, 0, &registers[eax], &registers[ebx], &registers[ecx],
                        &registers[edx]) == 0) {
    return false;
  }
  if (bit.subleaf != 0) {
    if (registers[eax] < bit.subleaf) return false;
    __cpuid_count(bit.leaf, bit.subleaf, registers[eax], registers[ebx], registers[ecx],
                  registers[edx]);
  }
  return (registers[bit.where] >> bit.bit & 1) != 0;
}

std::vector<CpuFeature> find_features() {
  const uint64_t xcr0 = read_xcr0();
  std::vector<CpuFeature> features;
  for (const CpuidBit& bit : kBits) {
    features.push_back({bit.name, (xcr0 & bit.xcr0) == bit.xcr0 && cpuid_bit(bit)});
  }
  return features;
}

#elif defined(__aarch64__)

constexpr std::string_view kArchitecture = "aarch64";

struct HwcapBit {
  std::string_view name;
  unsigned long which;
  unsigned bit;  // of the kernel's ABI; glibc's headers may be older than the CPU
};

constexpr HwcapBit kBits[] = {
    {"asimd", AT_HWCAP, 1},  {"fp16", AT_HWCAP, 10}, {"dotprod", AT_HWCAP, 20},
    {"sve", AT_HWCAP, 22},   {"sve2", AT_HWCAP2, 1}, {"i8mm", AT_HWCAP2, 13},
    {"bf16", AT_HWCAP2, 14}, {"sme", AT_HWCAP2, 23}, {"aes", AT_HWCAP, 3},
    {"sha2", AT_HWCAP, 6},
};

std::vector<CpuFeature> find_features() {
  std::vector<CpuFeature> features;
  for (const HwcapBit& bit : kBits) {
    features.push_back({bit.name, (::getauxval(bit.which) >> bit.bit & 1) != 0});
  }
  return features;
}

#else

constexpr std::string_view kArchitecture = "unknown";
std::vector<CpuFeature> find_features() {
  return {};
}

#endif

const std::string kCpus = "/sys/devices/system/cpu/";

unsigned count_allowed() {
  // The kernel refuses a mask that is smaller than its own: grow until it fits.
  for (int n_cpu = 1024; n_cpu <= 1 << 20; n_cpu *= 2) {
    cpu_set_t* mask = CPU_ALLOC(static_cast<size_t>(n_cpu));
    if (mask == nullptr) return 0;
    const size_t bytes = CPU_ALLOC_SIZE(static_cast<size_t>(n_cpu));
    const bool fits = ::sched_getaffinity(0, bytes, mask) == 0;
    const int count = fits ? CPU_COUNT_S(bytes, mask) : 0;
    CPU_FREE(mask);
    if (fits) return static_cast<unsigned>(count);
  }
  return 0;
}

unsigned count_physical(unsigned n_logical) {
  std::set<std::string> cores;
  for (unsigned i = 0; i < n_logical; ++i) {
    const std::string topology = kCpus + "cpu" + std::to_string(i) + "/topology/";
    const std::string core = kernel_file(topology + "core_id");
    if (!core.empty()) cores.insert(kernel_file(topology + "physical_package_id") + ":" + core);
  }
  return static_cast<unsigned>(cores.size());
}

std::vector<CpuCache> find_caches() {
  std::vector<CpuCache> caches;
  for (int i = 0; i < 8; ++i) {
    const std::string index = kCpus + "cpu0/cache/index" + std::to_string(i) + "/";
    CpuCache cache;
    cache.type = kernel_file(index + "type");
    if (cache.type.empty()) break;
    cache.level = static_cast<int>(kernel_number(kernel_file(index + "level")));
    cache.bytes = kernel_number(kernel_file(index + "size")) << 10;  // always "…K"
    cache.shared_with = kernel_file(index + "shared_cpu_list");
    caches.push_back(std::move(cache));
  }
  return caches;
}

}  // namespace

unsigned count_cpu_list(std::string_view list) {
  unsigned count = 0;
  while (!list.empty()) {
    const std::string_view part = list.substr(0, list.find(','));
    list.remove_prefix(std::min(part.size() + 1, list.size()));
    const size_t dash = part.find('-');
    const uint64_t first = kernel_number(part.substr(0, dash));
    const uint64_t last =
        dash == std::string_view::npos ? first : kernel_number(part.substr(dash + 1));
    if (part.empty() || part[0] < '0' || part[0] > '9' || last < first) return 0;
    count += static_cast<unsigned>(last - first + 1);
  }
  return count;
}

double cgroup_quota(std::string_view cpu_max) {
  const size_t space = cpu_max.find(' ');
  if (space == std::string_view::npos) return 0.0;
  const uint64_t quota = kernel_number(cpu_max.substr(0, space));
  const uint64_t period = kernel_number(cpu_max.substr(space + 1));
  return period == 0 ? 0.0 : static_cast<double>(quota) / static_cast<double>(period);
}

CpuFacts cpu_facts() {
  CpuFacts cpu;
  cpu.architecture = kArchitecture;
  cpu.model = kernel_field("/proc/cpuinfo", "model name");
  if (cpu.model.empty()) cpu.model = kernel_file("/proc/device-tree/model");
  cpu.n_logical = static_cast<unsigned>(std::max(0L, ::sysconf(_SC_NPROCESSORS_ONLN)));
  cpu.n_physical = count_physical(cpu.n_logical);
  cpu.n_allowed = count_allowed();
  cpu.cgroup_cores = cgroup_quota(kernel_file("/sys/fs/cgroup/cpu.max"));
  cpu.features = find_features();
  cpu.caches = find_caches();
  return cpu;
}

unsigned usable_cores(const CpuFacts& cpu) {
  unsigned cores = cpu.n_allowed != 0 ? cpu.n_allowed : std::max(1u, cpu.n_logical);
  if (cpu.n_physical != 0) cores = std::min(cores, cpu.n_physical);
  if (cpu.cgroup_cores > 0) {
    cores = std::min(cores, static_cast<unsigned>(std::max(1.0, std::floor(cpu.cgroup_cores))));
  }
  return std::max(1u, cores);
}

}  // namespace splitd::cli
