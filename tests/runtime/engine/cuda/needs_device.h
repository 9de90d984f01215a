// Whether what is linked here has a device to run on. The emulation always has.
#pragma once

#include <cuda_runtime.h>

namespace splitd {

inline bool has_cuda_device() {
#if defined(SPLITD_EMULATED_CUDA)
  return true;
#else
  int count = 0;
  return cudaGetDeviceCount(&count) == cudaSuccess && count > 0;
#endif
}

}  // namespace splitd
