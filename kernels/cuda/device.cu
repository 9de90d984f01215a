// The survey that `splitd doctor` prints. Never aborts: every error ends up in `problem`.
#include <cuda_runtime.h>

#include "kernels/cuda/device.h"

namespace splitd::kernels {

CudaSurvey survey_cuda() {
  CudaSurvey survey;
  cudaRuntimeGetVersion(&survey.runtime_version);
  cudaDriverGetVersion(&survey.driver_version);
  int count = 0;
  const cudaError_t status = cudaGetDeviceCount(&count);
  if (status != cudaSuccess) {
    // Without a driver CUDA speaks of one that is too old.
    survey.problem =
        survey.driver_version == 0 ? "no NVIDIA driver is here" : cudaGetErrorString(status);
    return survey;
  }
  if (count == 0) survey.problem = "no CUDA device was found";
  for (int index = 0; index < count; ++index) {
    cudaDeviceProp properties{};
    if (cudaGetDeviceProperties(&properties, index) != cudaSuccess) continue;
    survey.devices.push_back({index, properties.name, properties.major, properties.minor,
                              properties.totalGlobalMem, properties.multiProcessorCount});
  }
  return survey;
}

}  // namespace splitd::kernels
