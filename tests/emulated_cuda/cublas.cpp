// kernels/cuda/cublas.h without cuBLAS: plain sums, in an order of its own, as another library's
// would be. emulated::set_cublas(false) takes it away.
#include "kernels/cuda/cublas.h"

#include <vector>

#include "kernels/cuda/device_ops.h"

namespace {
bool is_there = true;
}

namespace emulated {
void set_cublas(bool there) {
  is_there = there;
}
}  // namespace emulated

namespace splitd::kernels::cuda {

struct Cublas::Library {};

std::unique_ptr<Cublas> Cublas::open(cudaStream_t stream, void* workspace, size_t workspace_bytes,
                                     std::string& problem) {
  if (!is_there || workspace == nullptr || workspace_bytes < kWorkspaceBytes) {
    problem = "cuBLAS was not found";
    return nullptr;
  }
  auto out = std::unique_ptr<Cublas>(new Cublas);
  out->handle_ = stream;
  return out;
}

int Cublas::find(std::string& problem) {
  if (!is_there) problem = "cuBLAS was not found";
  return is_there ? 1 : 0;
}

Cublas::~Cublas() = default;

int Cublas::version() const {
  return 1;
}

cudaError_t Cublas::gemm(const GemmJob& job) {
  bool records = false;
  const cudaError_t error = emulated::begin_launch(static_cast<cudaStream_t>(handle_), records);
  if (error != cudaSuccess) return error;
  if (records) std::abort();  // bulk chunks are captured by nobody
  if (!emulated::carries_out()) return cudaSuccess;
  const auto* a = static_cast<const uint16_t*>(job.a);
  const auto* w = static_cast<const uint16_t*>(job.w);
  const auto value = [&](uint16_t bits) {
    return job.type == HalfType::bf16 ? bf16_low(bits) : f16_to_f32(bits);
  };
  std::vector<float> row(job.k), column(job.k);
  for (size_t n = 0; n < job.n; ++n) {
    for (size_t k = 0; k < job.k; ++k) column[k] = value(w[n * job.k + k]);
    for (size_t m = 0; m < job.m; ++m) {
      float sums[16] = {};
      for (size_t k = 0; k < job.k; ++k) sums[k % 16] += value(a[m * job.k + k]) * column[k];
      float sum = 0;
      for (const float one : sums) sum += one;
      job.c[m * job.c_stride + n] = sum;
    }
  }
  return cudaSuccess;
}

}  // namespace splitd::kernels::cuda
