// Owns: what bulk chunks take instead of the invariant kernels: cuBLAS for the products, flash
// attention, and the room for both. A batch of it is one chunk of one session, so every product has
// one shape and a row's bits do not depend on who else is there. Not thread-safe.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "kernels/cuda/cublas.h"
#include "kernels/cuda/types.h"
#include "runtime/engine/cuda/cuda_weights.h"
#include "runtime/engine/cuda/device_memory.h"

namespace splitd {

class CudaBulk {
 public:
  // nullptr where bulk chunks cannot be computed, and why in `problem`: cuBLAS is missing or does
  // not run, there is no room, no weight is of a type that gains by it.
  static std::unique_ptr<CudaBulk> make(const CudaWeights& weights, int device, cudaStream_t stream,
                                        std::string& problem);

  // What the results depend on beside the kernels, for arith().
  const std::string& arith() const { return arith_; }

  // kBulkRows rows in the products' form, to rows of c. f32 matrices take the invariant kernel.
  cudaError_t multiply(const CudaProducts& products, const void* a, float* c, size_t c_stride);

 private:
  explicit CudaBulk(cudaStream_t stream) : stream_(stream) {}
  Status reserve(const CudaWeights& weights);
  Status try_out(const CudaWeights& weights);
  Status try_shapes(const CudaWeights& weights);

  const void* operand(kernels::cuda::HalfType type, const CudaProducts& products, const void* a);
  void gemm(kernels::cuda::HalfType type, const void* w, const void* a, uint32_t n, uint32_t k,
            float* c, size_t c_stride);
  void as_stored(const CudaProducts& products, uint32_t index, const void* a, float* c,
                 size_t c_stride);
  uint32_t unpacked(const CudaProducts& products, uint32_t first, const void* a, float* c,
                    size_t c_stride);
  void check(cudaError_t error) {
    if (error_ == cudaSuccess) error_ = error;
  }

  cudaStream_t stream_;
  std::string arith_;
  DeviceBuffer workspace_;
  DeviceBuffer panel_;                             // rows of unpacked weights
  DeviceBuffer operand_;                           // rows in another form than they come in
  DeviceBuffer factors_;                           // of those in f16
  std::unique_ptr<kernels::cuda::Cublas> cublas_;  // after its workspace: it goes first
  cudaError_t error_ = cudaSuccess;                // of the call at hand
};

}  // namespace splitd
