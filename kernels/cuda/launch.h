// Owns: starting a kernel, and its shared memory whose size is known at launch only.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <tuple>

namespace splitd::kernels::cuda {

struct LaunchShape {
  dim3 grid;
  dim3 block;
  size_t shared_bytes = 0;
  cudaStream_t stream = nullptr;
};

#if defined(SPLITD_EMULATED_CUDA)

template <class T>
T* dynamic_shared() {
  return reinterpret_cast<T*>(emulated::dynamic_shared());
}

template <class... Parameters, class... Arguments>
cudaError_t launch(const char* name, void (*kernel)(Parameters...), const LaunchShape& shape,
                   const Arguments&... arguments) {
  return emulated::launch(shape.stream, name, shape.grid, shape.block, shape.shared_bytes,
                          [kernel, ... copies = Parameters(arguments)] { kernel(copies...); });
}

#else

template <class T>
__device__ T* dynamic_shared() {
  extern __shared__ __align__(128) unsigned char dynamic_shared_bytes[];
  return reinterpret_cast<T*>(dynamic_shared_bytes);
}

// More than 48 KiB of shared memory has to be asked for.
template <class... Parameters, class... Arguments>
cudaError_t launch(const char*, void (*kernel)(Parameters...), const LaunchShape& shape,
                   const Arguments&... arguments) {
  if (shape.shared_bytes > (48u << 10)) {
    const cudaError_t error = cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel),
                                                   cudaFuncAttributeMaxDynamicSharedMemorySize,
                                                   static_cast<int>(shape.shared_bytes));
    if (error != cudaSuccess) return error;
  }
  // Its own status: cudaGetLastError() would take what an earlier call left for this one's.
  std::tuple<Parameters...> copies{Parameters(arguments)...};
  return std::apply(
      [&](auto&... each) {
        void* pointers[] = {&each...};
        return cudaLaunchKernel(reinterpret_cast<const void*>(kernel), shape.grid, shape.block,
                                pointers, shape.shared_bytes, shape.stream);
      },
      copies);
}

#endif

}  // namespace splitd::kernels::cuda
