// Owns: what CUDA finds on this machine. Compiled only with SPLITD_CUDA; the runtime is linked
// statically, so the binary starts where there is no driver and says so.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace splitd::kernels {

struct CudaDevice {
  int index = 0;
  std::string name;
  int major = 0;  // compute capability
  int minor = 0;
  uint64_t memory_bytes = 0;
  int multiprocessors = 0;
};

struct CudaSurvey {
  std::vector<CudaDevice> devices;
  int runtime_version = 0;  // 13000 is 13.0
  int driver_version = 0;   // 0: no driver
  std::string problem;      // why there are no devices; empty when there are
};

[[nodiscard]] CudaSurvey survey_cuda();

}  // namespace splitd::kernels
