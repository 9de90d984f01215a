// Owns: cuBLAS, found when a program runs and not linked: a binary starts without it, and says why
// there is none. One product: C[M,N] = A[M,K] · W[N,K]ᵀ of 16-bit numbers, sums and results fp32.
// cuBLAS gives the same bits again for the same shape on the same kind of GPU with the same version
// of the library, as long as a handle has one stream and a workspace of its own, which this sees
// to. Not thread-safe.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

namespace splitd::kernels::cuda {

enum class HalfType : uint8_t { bf16, f16 };

struct GemmJob {
  const void* w = nullptr;  // (n, k) row-major
  const void* a = nullptr;  // (m, k) row-major
  float* c = nullptr;       // row i at i · c_stride: n
  size_t c_stride = 0;
  uint32_t m = 0;
  uint32_t n = 0;
  uint32_t k = 0;
  HalfType type = HalfType::bf16;
};

class Cublas {
 public:
  // As much as NVIDIA recommends for the largest GPUs.
  static constexpr size_t kWorkspaceBytes = size_t{32} << 20;

  // For one stream of the current device; the workspace (256-byte aligned) must outlive it.
  // nullptr: `problem` says why.
  static std::unique_ptr<Cublas> open(cudaStream_t stream, void* workspace, size_t workspace_bytes,
                                      std::string& problem);
  // The version alone, without a device; 0 and why.
  static int find(std::string& problem);

  ~Cublas();
  int version() const;  // 130102 is 13.1.2
  cudaError_t gemm(const GemmJob& job);

 private:
  struct Library;
  Cublas() = default;

  std::unique_ptr<Library> library_;
  void* handle_ = nullptr;
};

}  // namespace splitd::kernels::cuda
