// Conversions behind operands.h: a block takes a row, a thread eight of its numbers at a time.
#include "kernels/cuda/operands.h"

#include "kernels/cuda/device_ops.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/weights.h"

namespace splitd::kernels::cuda {
namespace {

constexpr uint32_t kThreads = 256;
constexpr uint32_t kWarps = kThreads / kWarp;

__device__ __forceinline__ void store_bf16(const float (&x)[8], uint16_t* to) {
  *reinterpret_cast<uint4*>(to) = {pack_bf16(x[0], x[1]), pack_bf16(x[2], x[3]),
                                   pack_bf16(x[4], x[5]), pack_bf16(x[6], x[7])};
}

__device__ __forceinline__ void load_8(const float* from, float (&x)[8]) {
  const auto* at = reinterpret_cast<const float4*>(from);
  const float4 a = at[0], b = at[1];
  const float eight[8] = {a.x, a.y, a.z, a.w, b.x, b.y, b.z, b.w};
#pragma unroll
  for (int i = 0; i < 8; ++i) x[i] = eight[i];
}

template <WeightType kType>
__global__ void __launch_bounds__(kThreads)
    weights_to_bf16_kernel(Matrix w, uint32_t first, uint16_t* to) {
  for (uint32_t k = threadIdx.x * 8; k < w.k_padded; k += kThreads * 8) {
    float x[8];
    load_floats<kType>(w, first + blockIdx.x, k, x);
    store_bf16(x, to + size_t{blockIdx.x} * w.k_padded + k);
  }
}

__global__ void __launch_bounds__(kThreads)
    rows_to_bf16_kernel(const float* x, uint32_t k, uint16_t* to) {
  const size_t row = size_t{blockIdx.x} * k;
  for (uint32_t i = threadIdx.x * 8; i < k; i += kThreads * 8) {
    float eight[8];
    load_8(x + row + i, eight);
    store_bf16(eight, to + row + i);
  }
}

__global__ void __launch_bounds__(kThreads)
    rows_to_f16_kernel(const float* x, uint32_t k, uint16_t* to, float* factors) {
  __shared__ float mosts[kWarps];
  const size_t row = size_t{blockIdx.x} * k;
  float most = 0;
  for (uint32_t i = threadIdx.x; i < k; i += kThreads) most = fmaxf(most, fabsf(x[row + i]));
  most = warp_max(most);
  if (threadIdx.x % kWarp == 0) mosts[threadIdx.x / kWarp] = most;
  __syncthreads();
  for (uint32_t i = 0; i < kWarps; ++i) most = fmaxf(most, mosts[i]);
  // The row's largest comes to lie in [2^14, 2^15): small rows would lose bits in f16 as well.
  const int exponent = static_cast<int>(bits_as<uint32_t>(most) >> 23);
  const int down = most > 0 ? (exponent > 15 ? exponent - 141 : -126) : 0;
  const float shrink = bits_as<float>(static_cast<uint32_t>(127 - down) << 23);
  for (uint32_t i = threadIdx.x * 8; i < k; i += kThreads * 8) {
    float e[8];
    load_8(x + row + i, e);
#pragma unroll
    for (int j = 0; j < 8; ++j) e[j] *= shrink;
    *reinterpret_cast<uint4*>(to + row + i) = {pack_f16(e[0], e[1]), pack_f16(e[2], e[3]),
                                               pack_f16(e[4], e[5]), pack_f16(e[6], e[7])};
  }
  if (threadIdx.x == 0) {
    factors[blockIdx.x] = bits_as<float>(static_cast<uint32_t>(127 + down) << 23);
  }
}

// Most rows are as they should be.
__global__ void __launch_bounds__(kThreads)
    scale_rows_kernel(float* c, size_t c_stride, uint32_t n, const float* factors) {
  const float factor = factors[blockIdx.x];
  if (factor == 1.0f) return;
  float* row = c + blockIdx.x * c_stride;
  for (uint32_t i = threadIdx.x; i < n; i += kThreads) row[i] *= factor;
}

}  // namespace

cudaError_t weights_to_bf16(const Matrix& w, uint32_t first, uint32_t n_row, uint16_t* to,
                            cudaStream_t stream) {
  if (n_row == 0) return cudaSuccess;
  const LaunchShape shape{dim3(n_row), dim3(kThreads), 0, stream};
  if (w.type == WeightType::q8) {
    return launch("weights_to_bf16", weights_to_bf16_kernel<WeightType::q8>, shape, w, first, to);
  }
  if (w.type == WeightType::q4) {
    return launch("weights_to_bf16", weights_to_bf16_kernel<WeightType::q4>, shape, w, first, to);
  }
  return cudaErrorInvalidValue;
}

cudaError_t rows_to_bf16(const float* x, uint32_t m, uint32_t k, uint16_t* to,
                         cudaStream_t stream) {
  if (m == 0) return cudaSuccess;
  return launch("rows_to_bf16", rows_to_bf16_kernel, {dim3(m), dim3(kThreads), 0, stream}, x, k,
                to);
}

cudaError_t rows_to_f16(const float* x, uint32_t m, uint32_t k, uint16_t* to, float* factors,
                        cudaStream_t stream) {
  if (m == 0) return cudaSuccess;
  return launch("rows_to_f16", rows_to_f16_kernel, {dim3(m), dim3(kThreads), 0, stream}, x, k, to,
                factors);
}

cudaError_t scale_rows(float* c, size_t c_stride, uint32_t m, uint32_t n, const float* factors,
                       cudaStream_t stream) {
  if (m == 0) return cudaSuccess;
  return launch("scale_rows", scale_rows_kernel, {dim3(m), dim3(kThreads), 0, stream}, c, c_stride,
                n, factors);
}

}  // namespace splitd::kernels::cuda
