// Memory, limits, disk and GPU of this machine.
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <unistd.h>

#ifdef SPLITD_CUDA
#include "kernels/cuda/cublas.h"
#include "kernels/cuda/device.h"
#endif
#include "runtime/base/files.h"
#include "tools/doctor/facts.h"
#include "tools/doctor/kernel_files.h"
#include "tools/doctor/report.h"

namespace splitd::cli {
namespace {

uint64_t meminfo_bytes(std::string_view key) {
  return kernel_number(kernel_field("/proc/meminfo", key)) << 10;  // "… kB"
}

// "always [madvise] never" → "madvise".
std::string chosen_of(std::string_view text) {
  const size_t begin = text.find('[');
  const size_t end = text.find(']');
  if (begin == std::string_view::npos || end == std::string_view::npos || end < begin) return {};
  return std::string(text.substr(begin + 1, end - begin - 1));
}

uint64_t limit_of(rlim_t value) {
  return value == RLIM_INFINITY ? LimitFacts::kUnlimited : static_cast<uint64_t>(value);
}

}  // namespace

MemoryFacts memory_facts() {
  MemoryFacts memory;
  memory.total_bytes = meminfo_bytes("MemTotal");
  memory.available_bytes = meminfo_bytes("MemAvailable");
  memory.cgroup_bytes = kernel_number(kernel_file("/sys/fs/cgroup/memory.max"));  // "max" is 0
  memory.page_bytes = static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));
  memory.transparent_huge_pages =
      chosen_of(kernel_file("/sys/kernel/mm/transparent_hugepage/enabled"));
  memory.reserved_huge_pages = kernel_number(kernel_field("/proc/meminfo", "HugePages_Total"));
  return memory;
}

LimitFacts limit_facts() {
  LimitFacts limits;
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) == 0) {
    limits.open_files = limit_of(limit.rlim_cur);
    limits.open_files_hard = limit_of(limit.rlim_max);
  }
  if (::getrlimit(RLIMIT_MEMLOCK, &limit) == 0) limits.locked_bytes = limit_of(limit.rlim_cur);
  return limits;
}

DiskFacts disk_facts(const std::string& path) {
  // The directory may not have been made yet: its nearest ancestor is on the same disk.
  std::string existing = path;
  while (!existing.empty() && !path_exists(existing)) {
    const size_t slash = existing.rfind('/');
    existing = slash == std::string::npos ? "." : slash == 0 ? "/" : existing.substr(0, slash);
  }
  DiskFacts disk;
  disk.directory = existing;
  struct statvfs info {};
  if (::statvfs(existing.c_str(), &info) == 0) {
    disk.free_bytes = static_cast<uint64_t>(info.f_bavail) * info.f_frsize;
  }
  disk.writable = ::access(existing.c_str(), W_OK) == 0;
  return disk;
}

GpuFacts gpu_facts() {
  GpuFacts gpu;
#ifdef SPLITD_CUDA
  const kernels::CudaSurvey survey = kernels::survey_cuda();
  gpu.built_with_cuda = true;
  gpu.cuda_problem = survey.problem;
  if (const int version = kernels::cuda::Cublas::find(gpu.cublas); version != 0) {
    gpu.cublas = "cuBLAS " + std::to_string(version / 10000) + "." +
                 std::to_string(version / 100 % 100) + "." + std::to_string(version % 100);
  }
  for (const kernels::CudaDevice& device : survey.devices) {
    gpu.cuda_devices.push_back(device.name + ", compute " + std::to_string(device.major) + "." +
                               std::to_string(device.minor) + ", " +
                               bytes_text(device.memory_bytes));
  }
#endif
  gpu.driver = kernel_file("/sys/module/nvidia/version");
  for (int i = 0; i < 64; ++i) {
    std::string device = "/dev/nvidia" + std::to_string(i);
    if (path_exists(device)) gpu.devices.push_back(std::move(device));
  }
  return gpu;
}

}  // namespace splitd::cli
