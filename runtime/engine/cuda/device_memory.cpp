// CUDA's allocators behind device_memory.h.
#include "runtime/engine/cuda/device_memory.h"

#include <algorithm>
#include <cstring>

namespace splitd {
namespace {

constexpr size_t kAlign = 256;
constexpr size_t kBlockBytes = size_t{32} << 20;

size_t align_up(size_t bytes) {
  return (bytes + kAlign - 1) / kAlign * kAlign;
}

Error refusal(cudaError_t error, size_t bytes, const std::string& what) {
  std::string text = what + " needs " + std::to_string(bytes >> 20) + " MiB on the GPU";
  size_t n_free = 0, n_total = 0;
  if (error == cudaErrorMemoryAllocation && cudaMemGetInfo(&n_free, &n_total) == cudaSuccess) {
    return failed(text + "; " + std::to_string(n_free >> 20) + " of " +
                  std::to_string(n_total >> 20) + " MiB are free");
  }
  return failed(text + ": " + cudaGetErrorString(error));
}

}  // namespace

Status cuda_status(cudaError_t error, const char* what) {
  if (error == cudaSuccess) return {};
  return failed(std::string("the GPU could not ") + what + ": " + cudaGetErrorString(error));
}

DeviceBuffer::~DeviceBuffer() {
  if (data_ == nullptr) return;
  cudaSetDevice(device_);  // whoever lets go of it may be a thread that never chose one
  cudaFree(data_);
}

Result<DeviceBuffer> DeviceBuffer::make(size_t bytes, const std::string& what) {
  DeviceBuffer out;
  if (bytes == 0) return out;
  cudaError_t error = cudaGetDevice(&out.device_);
  if (error == cudaSuccess) error = cudaMalloc(&out.data_, bytes);
  if (error != cudaSuccess) {
    cudaGetLastError();  // a refusal is no fault of the device's
    out.data_ = nullptr;
    return refusal(error, bytes, what);
  }
  out.bytes_ = bytes;
  return out;
}

PinnedBuffer::~PinnedBuffer() {
  if (data_ != nullptr) cudaFreeHost(data_);
}

Result<PinnedBuffer> PinnedBuffer::make(size_t bytes, const std::string& what) {
  PinnedBuffer out;
  if (bytes == 0) return out;
  const cudaError_t error = cudaMallocHost(&out.data_, bytes);
  if (error != cudaSuccess) {
    cudaGetLastError();
    out.data_ = nullptr;
    return failed(what + " needs " + std::to_string(bytes >> 20) +
                  " MiB of pinned memory: " + cudaGetErrorString(error));
  }
  out.bytes_ = bytes;
  return out;
}

Status DeviceArena::reserve(size_t bytes, const std::string& what) {
  if (!blocks_.empty() && blocks_.back().bytes() - used_ >= bytes) return {};
  SPLITD_ASSIGN(DeviceBuffer block, DeviceBuffer::make(bytes, what));
  bytes_ += bytes;
  blocks_.push_back(std::move(block));
  used_ = 0;
  return {};
}

Result<void*> DeviceArena::take(size_t bytes, const std::string& what) {
  bytes = align_up(bytes);
  if (blocks_.empty() || blocks_.back().bytes() - used_ < bytes) {
    SPLITD_TRY(reserve(std::max(bytes, kBlockBytes), what));
  }
  void* out = blocks_.back().as<std::byte>() + used_;
  used_ += bytes;
  return out;
}

Status DeviceInbox::reserve(size_t bytes) {
  SPLITD_ASSIGN(host_, PinnedBuffer::make(bytes, "a batch"));
  SPLITD_ASSIGN(device_, DeviceBuffer::make(bytes, "a batch"));
  used_ = 0;
  return {};
}

bool DeviceInbox::has_room(size_t bytes) const {
  return align_up(bytes) <= host_.bytes() - used_;
}

const void* DeviceInbox::push(const void* data, size_t bytes, cudaStream_t stream,
                              cudaError_t& error) {
  if (error != cudaSuccess || bytes == 0) return nullptr;
  if (!has_room(bytes)) {
    error = cudaErrorMemoryAllocation;
    return nullptr;
  }
  std::byte* from = host_.data() + used_;
  std::byte* to = device_.as<std::byte>() + used_;
  std::memcpy(from, data, bytes);
  used_ += align_up(bytes);
  error = cudaMemcpyAsync(to, from, bytes, cudaMemcpyHostToDevice, stream);
  return to;
}

}  // namespace splitd
