// Owns: memory of the device, and what the host keeps pinned to fill it. Every refusal of the
// device becomes an Error that names what was asked for. Not thread-safe.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "runtime/base/result.h"

namespace splitd {

// "cannot … : out of memory" from what CUDA answered; ok for cudaSuccess.
[[nodiscard]] Status cuda_status(cudaError_t error, const char* what);

class DeviceBuffer {
 public:
  DeviceBuffer() = default;
  DeviceBuffer(DeviceBuffer&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)),
        bytes_(std::exchange(other.bytes_, 0)),
        device_(other.device_) {}
  DeviceBuffer& operator=(DeviceBuffer&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    std::swap(device_, other.device_);
    return *this;
  }
  ~DeviceBuffer();

  // `what` is the subject of the refusal: "the weights of layer 3".
  static Result<DeviceBuffer> make(size_t bytes, const std::string& what);

  void* data() const { return data_; }
  template <class T>
  T* as() const {
    return static_cast<T*>(data_);
  }
  size_t bytes() const { return bytes_; }

 private:
  void* data_ = nullptr;
  size_t bytes_ = 0;
  int device_ = 0;
};

class PinnedBuffer {
 public:
  PinnedBuffer() = default;
  PinnedBuffer(PinnedBuffer&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}
  PinnedBuffer& operator=(PinnedBuffer&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~PinnedBuffer();

  static Result<PinnedBuffer> make(size_t bytes, const std::string& what);

  std::byte* data() const { return static_cast<std::byte*>(data_); }
  template <class T>
  T* as() const {
    return static_cast<T*>(data_);
  }
  size_t bytes() const { return bytes_; }

 private:
  void* data_ = nullptr;
  size_t bytes_ = 0;
};

// Many small tensors in few large blocks; nothing is freed alone.
class DeviceArena {
 public:
  // 256-byte aligned.
  Result<void*> take(size_t bytes, const std::string& what);
  // The next so many bytes will come from one block.
  Status reserve(size_t bytes, const std::string& what);
  uint64_t bytes() const { return bytes_; }

 private:
  std::vector<DeviceBuffer> blocks_;
  size_t used_ = 0;  // of the last block
  uint64_t bytes_ = 0;
};

// What a batch tells the device beside its rows: copied to pinned memory at once, to the device in
// the order of the stream. restart() when the stream has been waited for.
class DeviceInbox {
 public:
  Status reserve(size_t bytes);
  void restart() { used_ = 0; }
  size_t bytes() const { return host_.bytes(); }
  // Whether so many bytes still have room. Each push is rounded up to 256.
  bool has_room(size_t bytes) const;
  // The place on the device; nullptr where there is no room. Requires the bytes to stay only for
  // this call.
  const void* push(const void* data, size_t bytes, cudaStream_t stream, cudaError_t& error);
  template <class T>
  const T* push(std::span<const T> values, cudaStream_t stream, cudaError_t& error) {
    return static_cast<const T*>(push(values.data(), values.size_bytes(), stream, error));
  }

 private:
  PinnedBuffer host_;
  DeviceBuffer device_;
  size_t used_ = 0;
};

}  // namespace splitd
