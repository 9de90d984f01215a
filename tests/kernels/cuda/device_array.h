// Owns: an array on the device for tests: filled from the host, read back. Every refusal of CUDA is
// a failed expectation. Also whether there is a device: the emulation of tests/emulated_cuda always
// has one.
#pragma once

#include <cuda_runtime.h>
#include <gtest/gtest.h>

#include <cstring>
#include <random>
#include <span>
#include <vector>

namespace splitd::kernels::cuda {

inline bool has_device() {
#if defined(SPLITD_EMULATED_CUDA)
  return true;
#else
  int count = 0;
  return cudaGetDeviceCount(&count) == cudaSuccess && count > 0;
#endif
}

#define SPLITD_NEEDS_DEVICE() \
  if (!has_device()) GTEST_SKIP() << "skipped: no device"

template <class T>
class DeviceArray {
 public:
  explicit DeviceArray(size_t count) : count_(count) {
    void* data = nullptr;
    EXPECT_EQ(cudaMalloc(&data, std::max<size_t>(1, count) * sizeof(T)), cudaSuccess);
    data_ = static_cast<T*>(data);
  }
  explicit DeviceArray(const std::vector<T>& values) : DeviceArray(values.size()) {
    EXPECT_EQ(
        cudaMemcpyAsync(data_, values.data(), count_ * sizeof(T), cudaMemcpyHostToDevice, nullptr),
        cudaSuccess);
    EXPECT_EQ(cudaStreamSynchronize(nullptr), cudaSuccess);
  }
  DeviceArray(DeviceArray&& other) noexcept : data_(other.data_), count_(other.count_) {
    other.data_ = nullptr;
  }
  ~DeviceArray() {
    if (data_ != nullptr) cudaFree(data_);
  }

  T* get() const { return data_; }
  std::vector<T> read() const {
    std::vector<T> out(count_);
    EXPECT_EQ(
        cudaMemcpyAsync(out.data(), data_, count_ * sizeof(T), cudaMemcpyDeviceToHost, nullptr),
        cudaSuccess);
    EXPECT_EQ(cudaStreamSynchronize(nullptr), cudaSuccess);
    return out;
  }

 private:
  T* data_ = nullptr;
  size_t count_;
};

inline std::vector<float> normal_values(size_t count, std::mt19937& random, float scale = 1) {
  std::normal_distribution<float> normal(0, scale);
  std::vector<float> out(count);
  for (float& value : out) value = normal(random);
  return out;
}

}  // namespace splitd::kernels::cuda
