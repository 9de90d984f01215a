// Memory behind cuda_runtime.h.
#include <cuda_runtime.h>

#include <cstring>
#include <map>

#include "tests/emulated_cuda/device.h"

namespace {

std::map<void*, size_t> device_blocks;
size_t in_use = 0;
size_t memory = size_t{8} << 30;

// Now, or recorded: what lies there is read when it is carried out.
template <class Copy>
cudaError_t carry_out(cudaStream_t stream, const Copy& copy) {
  bool records = false;
  const cudaError_t error = emulated::begin_copy(stream, records);
  if (error != cudaSuccess) return error;
  if (records) {
    emulated::record(stream, copy);
  } else if (emulated::carries_out()) {
    copy();
  }
  return cudaSuccess;
}

}  // namespace

namespace emulated {
void set_memory(size_t bytes) {
  memory = bytes;
}
size_t allocated() {
  return in_use;
}
}  // namespace emulated

const char* cudaGetErrorString(cudaError_t error) {
  switch (error) {
    case cudaSuccess:
      return "no error";
    case cudaErrorMemoryAllocation:
      return "out of memory";
    case cudaErrorIllegalAddress:
      return "an illegal memory access was encountered";
    default:
      return "invalid argument";
  }
}
cudaError_t cudaGetLastError() {
  return cudaSuccess;
}
cudaError_t cudaSetDevice(int device) {
  return device == 0 ? cudaSuccess : cudaErrorNoDevice;
}
cudaError_t cudaGetDevice(int* out) {
  *out = 0;
  return cudaSuccess;
}
cudaError_t cudaGetDeviceCount(int* out) {
  *out = 1;
  return cudaSuccess;
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* out, int) {
  *out = {"emulated"};
  return cudaSuccess;
}
cudaError_t cudaDeviceGetAttribute(int* out, cudaDeviceAttr attribute, int) {
  // sm_0: nobody mistakes it for a real one.
  *out = attribute == cudaDevAttrMaxSharedMemoryPerBlockOptin ? 99 << 10 : 0;
  return cudaSuccess;
}
cudaError_t cudaMemGetInfo(size_t* free_bytes, size_t* total_bytes) {
  *free_bytes = memory - in_use;
  *total_bytes = memory;
  return cudaSuccess;
}
cudaError_t cudaMalloc(void** out, size_t bytes) {
  *out = nullptr;
  if (emulated::is_capturing()) return cudaErrorStreamCaptureUnsupported;
  ++emulated::count().n_alloc;
  if (bytes == 0) return cudaSuccess;
  if (bytes > memory - in_use) return cudaErrorMemoryAllocation;
  void* data = nullptr;  // exactly so many bytes, for AddressSanitizer
  if (::posix_memalign(&data, 256, bytes) != 0) return cudaErrorMemoryAllocation;
  std::memset(data, 0xff, bytes);
  device_blocks[data] = bytes;
  in_use += bytes;
  *out = data;
  return cudaSuccess;
}
cudaError_t cudaFree(void* data) {
  if (data == nullptr) return cudaSuccess;
  const auto at = device_blocks.find(data);
  if (at == device_blocks.end()) return cudaErrorInvalidValue;
  in_use -= at->second;
  device_blocks.erase(at);
  std::free(data);
  return cudaSuccess;
}
cudaError_t cudaMallocHost(void** out, size_t bytes) {
  if (emulated::is_capturing()) return cudaErrorStreamCaptureUnsupported;
  ++emulated::count().n_alloc;
  *out = std::malloc(bytes);
  return cudaSuccess;
}
cudaError_t cudaFreeHost(void* data) {
  std::free(data);
  return cudaSuccess;
}
cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind,
                            cudaStream_t stream) {
  return carry_out(stream, [=] {
    if (bytes != 0) std::memcpy(to, from, bytes);
  });
}
cudaError_t cudaMemcpy2DAsync(void* to, size_t to_pitch, const void* from, size_t from_pitch,
                              size_t width, size_t height, cudaMemcpyKind, cudaStream_t stream) {
  if (width > to_pitch || width > from_pitch) return cudaErrorInvalidValue;
  return carry_out(stream, [=] {
    for (size_t y = 0; y < height; ++y) {
      std::memcpy(static_cast<char*>(to) + y * to_pitch,
                  static_cast<const char*>(from) + y * from_pitch, width);
    }
  });
}
cudaError_t cudaMemsetAsync(void* data, int value, size_t bytes, cudaStream_t stream) {
  return carry_out(stream, [=] { std::memset(data, value, bytes); });
}
cudaError_t cudaMemset(void* data, int value, size_t bytes) {
  return cudaMemsetAsync(data, value, bytes, nullptr);
}
