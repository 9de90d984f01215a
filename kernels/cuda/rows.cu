// Row kernels behind rows.h.
#include "kernels/cuda/rows.h"

#include "kernels/cuda/activations.h"
#include "kernels/cuda/device_ops.h"
#include "kernels/cuda/kv_values.h"
#include "kernels/cuda/launch.h"

namespace splitd::kernels::cuda {
namespace {

constexpr uint32_t kThreads = 256;
constexpr uint32_t kWarps = kThreads / kWarp;

// Of the whole block, the same in every thread. `sums` has room for one float a warp.
__device__ float block_sum(float value, float* sums) {
  const float mine = warp_sum(value);
  __syncthreads();
  if (threadIdx.x % kWarp == 0) sums[threadIdx.x / kWarp] = mine;
  __syncthreads();
  float out = sums[0];
  for (uint32_t i = 1; i < blockDim.x / kWarp; ++i) out += sums[i];
  return out;
}

__device__ __forceinline__ float inverse_rms(float sum_of_squares, uint32_t n, float eps) {
  return 1.0f / sqrtf(sum_of_squares / static_cast<float>(n) + eps);
}

__global__ void __launch_bounds__(kThreads) add_norm_kernel(AddNormJob job) {
  __shared__ float sums[kWarps];
  const uint32_t row = blockIdx.x, d = job.d;
  float* x = job.x + size_t{row} * d;
  float r = 1;
  const auto delta_at = [&](uint32_t i) {
    const float delta = job.delta[size_t{row} * d + i];
    return job.bias == nullptr ? delta : delta + job.bias[i];
  };
  if (job.delta != nullptr && job.post_norm != nullptr) {
    float sum = 0;
    for (uint32_t i = threadIdx.x; i < d; i += kThreads) {
      const float v = delta_at(i);
      sum = fmaf(v, v, sum);
    }
    r = inverse_rms(block_sum(sum, sums), d, job.eps);
  }
  float sum = 0;
  for (uint32_t i = threadIdx.x; i < d; i += kThreads) {
    float v = x[i];
    if (job.delta != nullptr) {
      const float delta = delta_at(i);
      v += job.post_norm == nullptr ? delta : delta * r * job.post_norm[i];
      x[i] = v;
    }
    sum = fmaf(v, v, sum);
  }
  if (job.norm == nullptr) return;
  r = inverse_rms(block_sum(sum, sums), d, job.eps);
  const uint32_t padded = pad_k(d);
  // A thread reads what it wrote itself.
  for (uint32_t i = threadIdx.x; i < padded; i += kThreads) {
    store(job.out, size_t{row} * padded + i, i < d ? x[i] * r * job.norm[i] : 0.0f);
  }
}

// A block takes one head of one row.
__global__ void __launch_bounds__(kThreads) finish_qkv_kernel(QkvJob job) {
  __shared__ float sums[kWarps];
  float* head = dynamic_shared<float>();  // d_head
  const uint32_t row = blockIdx.x, index = blockIdx.y, d = job.d_head;
  if (job.rows[row].is_dead()) return;  // the whole block
  const bool is_q = index < job.n_head, is_v = index >= job.n_head + job.n_kv_head;
  float* x = job.qkv + (size_t{row} * gridDim.y + index) * d;

  float sum = 0;
  for (uint32_t i = threadIdx.x; i < d; i += kThreads) {
    float v = x[i];
    if (job.bias != nullptr) v += job.bias[index * d + i];
    const uint32_t to = job.interleaved && !is_v ? i % 2 * (d / 2) + i / 2 : i;
    head[to] = v;
    sum = fmaf(v, v, sum);
  }
  const float* norm = is_q ? job.q_norm : job.k_norm;
  if (norm != nullptr && !is_v) {
    const float r = inverse_rms(block_sum(sum, sums), d, job.eps);  // waits for all of `head`
    for (uint32_t i = threadIdx.x; i < d; i += kThreads) head[i] = head[i] * r * norm[i];
  }
  __syncthreads();
  if (!is_v) {
    const uint32_t half = job.n_rotary / 2;
    const float* cos = job.cos_sin + row * job.cos_sin_stride;
    for (uint32_t i = threadIdx.x; i < half; i += kThreads) {
      const float a = head[i], b = head[i + half], c = cos[i], s = cos[i + half];
      head[i] = a * c - b * s;
      head[i + half] = b * c + a * s;
    }
    __syncthreads();
  }
  if (is_q) {
    for (uint32_t i = threadIdx.x; i < d; i += kThreads) x[i] = head[i];
    return;
  }
  const KvView& view = job.rows[row].layers[job.layer];
  const uint32_t kv_head = index - job.n_head - (is_v ? job.n_kv_head : 0);
  const size_t slot = size_t{kv_head} * view.n_slot + cache_slot(view, job.rows[row].slot);
  unsigned char* to = (is_v ? view.v : view.k) + slot * kv_row_bytes(view.type, d);
  write_kv_row(view.type, head, d, to);
}

__device__ __forceinline__ float activated(Gate kind, float x) {
  if (kind == Gate::silu) return x / (1.0f + expf(-x));
  if (kind == Gate::gelu_erf) return 0.5f * x * (1.0f + erff(x * 0.70710678f));
  const float inner = 0.79788456f * (x + 0.044715f * x * x * x);
  return 0.5f * x * (1.0f + tanhf(inner));
}

__global__ void __launch_bounds__(kThreads) gate_kernel(GateJob job) {
  const uint32_t row = blockIdx.y, i = blockIdx.x * kThreads + threadIdx.x;
  const uint32_t padded = pad_k(job.n);
  if (i >= padded) return;
  if (job.rows != nullptr && job.rows[row / job.n_used].is_dead()) return;
  float out = 0;
  if (i < job.n) {
    const float* x = job.gate_up + size_t{row} * 2 * job.n;
    float g = x[i], u = x[job.n + i];
    if (job.bias != nullptr) {
      g += job.bias[i];
      u += job.bias[job.n + i];
    }
    out = activated(job.kind, g) * u;
  }
  store(job.out, size_t{row} * padded + i, out);
}

__global__ void __launch_bounds__(kThreads)
    convert_kernel(const float* x, uint32_t n, Activations out) {
  const uint32_t row = blockIdx.y, i = blockIdx.x * kThreads + threadIdx.x, padded = pad_k(n);
  if (i < padded) store(out, size_t{row} * padded + i, i < n ? x[size_t{row} * n + i] : 0.0f);
}

__global__ void __launch_bounds__(kThreads) softcap_kernel(float* x, size_t n, float cap) {
  const size_t i = size_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i < n) x[i] = cap * tanhf(x[i] / cap);
}

// A block takes one kv head of one layer, K or V, and does the moves one after the other: a later
// one may read what an earlier one wrote.
__global__ void __launch_bounds__(kThreads) copy_rows_kernel(CopyRowsJob job) {
  const KvView& view = job.views[blockIdx.y];
  unsigned char* cache = blockIdx.z == 0 ? view.k : view.v;
  cache += size_t{blockIdx.x} * view.n_slot * job.row_bytes;
  const uint32_t n_word = job.row_bytes / 16;
  for (uint32_t i = 0; i < job.n_move; ++i) {
    const auto* from = reinterpret_cast<const uint4*>(
        cache + size_t{cache_slot(view, job.moves[2 * i])} * job.row_bytes);
    auto* to = reinterpret_cast<uint4*>(cache + size_t{cache_slot(view, job.moves[2 * i + 1])} *
                                                    job.row_bytes);
    // The same thread has each word in every move, so no barrier is needed between them.
    for (uint32_t word = threadIdx.x; word < n_word; word += kThreads) to[word] = from[word];
  }
}

}  // namespace

cudaError_t add_norm(const AddNormJob& job, cudaStream_t stream) {
  if (job.m == 0) return cudaSuccess;
  return launch("add_norm", add_norm_kernel, {dim3(job.m), dim3(kThreads), 0, stream}, job);
}

cudaError_t finish_qkv(const QkvJob& job, cudaStream_t stream) {
  if (job.m == 0) return cudaSuccess;
  return launch("finish_qkv", finish_qkv_kernel,
                {dim3(job.m, job.n_head + 2 * job.n_kv_head), dim3(kThreads),
                 sizeof(float) * job.d_head, stream},
                job);
}

cudaError_t gate(const GateJob& job, cudaStream_t stream) {
  if (job.m == 0) return cudaSuccess;
  const uint32_t n_block = (pad_k(job.n) + kThreads - 1) / kThreads;
  return launch("gate", gate_kernel, {dim3(n_block, job.m), dim3(kThreads), 0, stream}, job);
}

cudaError_t convert_rows(const float* x, uint32_t m, uint32_t n, const Activations& out,
                         cudaStream_t stream) {
  if (m == 0) return cudaSuccess;
  const uint32_t n_block = (pad_k(n) + kThreads - 1) / kThreads;
  return launch("convert", convert_kernel, {dim3(n_block, m), dim3(kThreads), 0, stream}, x, n,
                out);
}

cudaError_t softcap(float* x, size_t n, float cap, cudaStream_t stream) {
  const auto n_block = static_cast<unsigned>((n + kThreads - 1) / kThreads);
  if (n_block == 0) return cudaSuccess;
  return launch("softcap", softcap_kernel, {dim3(n_block), dim3(kThreads), 0, stream}, x, n, cap);
}

cudaError_t copy_rows(const CopyRowsJob& job, cudaStream_t stream) {
  if (job.n_move == 0 || job.n_layer == 0) return cudaSuccess;
  return launch("copy_rows", copy_rows_kernel,
                {dim3(job.n_kv_head, job.n_layer, 2), dim3(kThreads), 0, stream}, job);
}

}  // namespace splitd::kernels::cuda
