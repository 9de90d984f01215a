// Memory and streams behind cuda_runtime.h.
#include <cuda_runtime.h>

#include <cstring>
#include <map>

namespace {

std::map<void*, size_t> device_blocks;
size_t in_use = 0;
size_t memory = size_t{8} << 30;

cudaError_t copy(void* to, const void* from, size_t bytes) {
  if (bytes != 0) std::memcpy(to, from, bytes);
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
cudaError_t cudaDeviceGetAttribute(int* out, cudaDeviceAttr, int) {
  *out = 0;  // sm_0: nobody mistakes it for a real one
  return cudaSuccess;
}
cudaError_t cudaMemGetInfo(size_t* free_bytes, size_t* total_bytes) {
  *free_bytes = memory - in_use;
  *total_bytes = memory;
  return cudaSuccess;
}
cudaError_t cudaMalloc(void** out, size_t bytes) {
  *out = nullptr;
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
  *out = std::malloc(bytes);
  return cudaSuccess;
}
cudaError_t cudaFreeHost(void* data) {
  std::free(data);
  return cudaSuccess;
}
cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind,
                            cudaStream_t) {
  return copy(to, from, bytes);
}
cudaError_t cudaMemcpy2DAsync(void* to, size_t to_pitch, const void* from, size_t from_pitch,
                              size_t width, size_t height, cudaMemcpyKind, cudaStream_t) {
  if (width > to_pitch || width > from_pitch) return cudaErrorInvalidValue;
  for (size_t y = 0; y < height; ++y) {
    std::memcpy(static_cast<char*>(to) + y * to_pitch,
                static_cast<const char*>(from) + y * from_pitch, width);
  }
  return cudaSuccess;
}
cudaError_t cudaMemsetAsync(void* data, int value, size_t bytes, cudaStream_t) {
  std::memset(data, value, bytes);
  return cudaSuccess;
}
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* out, unsigned) {
  *out = nullptr;
  return cudaSuccess;
}
cudaError_t cudaStreamDestroy(cudaStream_t) {
  return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t) {
  return cudaSuccess;
}
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* out, unsigned) {
  *out = nullptr;
  return cudaSuccess;
}
cudaError_t cudaEventDestroy(cudaEvent_t) {
  return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t, cudaStream_t) {
  return cudaSuccess;
}
cudaError_t cudaEventSynchronize(cudaEvent_t) {
  return cudaSuccess;
}
cudaError_t cudaStreamWaitEvent(cudaStream_t, cudaEvent_t, unsigned) {
  return cudaSuccess;
}
