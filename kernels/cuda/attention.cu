// Splits and their merging behind attention.h.
#include "kernels/cuda/attention.h"

#include "kernels/cuda/activations.h"
#include "kernels/cuda/device_ops.h"
#include "kernels/cuda/kv_values.h"
#include "kernels/cuda/launch.h"

namespace splitd::kernels::cuda {
namespace {

constexpr uint32_t kThreads = 128;
constexpr uint32_t kLanes = 8;  // that share a position's dot product
constexpr uint32_t kPositionsAtOnce = kThreads / kLanes;

__device__ __forceinline__ float minus_infinity() {
  return bits_as<float>(0xff800000u);
}

// What a split leaves of one row and head: m, sum, acc[d_head].
__device__ __forceinline__ float* partial_of(const AttentionJob& job, uint32_t row, uint32_t head,
                                             uint32_t split) {
  const size_t index = (size_t{row} * job.n_head + head) * job.n_split + split;
  return static_cast<float*>(job.partials) + index * (job.d_head + 2);
}

// One row, one kv head, one split. Shared memory: q (n_group, d_pad), acc (n_group, d),
// p (n_group, 64), m, sum, factor (n_group each).
template <KvType kType>
__global__ void __launch_bounds__(kThreads) split_kernel(AttentionJob job) {
  __shared__ uint32_t slots[kAttentionBlock];
  const uint32_t row = blockIdx.z, kv_head = blockIdx.y, d = job.d_head;
  const uint32_t n_group = job.n_head / job.n_kv_head, d_pad = (d + 63) / 64 * 64;
  const BatchRow place = job.rows[row];
  const uint32_t position = place.position;
  const uint32_t lo = job.window != 0 && position + 1 > job.window ? position + 1 - job.window : 0;
  const uint32_t split = lo / kAttentionSplit + blockIdx.x;
  if (place.is_dead() || split > position / kAttentionSplit) return;  // the whole block

  float* q = dynamic_shared<float>();
  float* acc = q + n_group * d_pad;
  float* p = acc + n_group * d;
  float* most = p + n_group * kAttentionBlock;
  float* sum = most + n_group;
  float* factor = sum + n_group;
  const uint32_t lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;

  const float* q_from = job.q + row * job.q_stride + size_t{kv_head} * n_group * d;
  for (uint32_t i = threadIdx.x; i < n_group * d_pad; i += kThreads) {
    const uint32_t h = i / d_pad, e = i % d_pad;
    q[i] = e < d ? q_from[h * d + e] : 0.0f;
  }
  for (uint32_t i = threadIdx.x; i < n_group * d; i += kThreads) acc[i] = 0;
  for (uint32_t i = threadIdx.x; i < n_group; i += kThreads) {
    most[i] = minus_infinity();
    sum[i] = 0;
  }

  const KvView view = place.layers[job.layer];
  const uint32_t row_bytes = kv_row_bytes(job.kv_type, d);
  const unsigned char* k = view.k + size_t{kv_head} * view.n_slot * row_bytes;
  const unsigned char* v = view.v + size_t{kv_head} * view.n_slot * row_bytes;

  const uint32_t split_end = (split + 1) * kAttentionSplit;
  for (uint32_t block = split * kAttentionSplit; block < split_end && block <= position;
       block += kAttentionBlock) {
    if (block + kAttentionBlock <= lo) continue;
    const uint32_t first = block < lo ? lo - block : 0;
    const uint32_t last = min(kAttentionBlock, position + 1 - block);  // one past
    __syncthreads();  // the block before is done with slots and p
    for (uint32_t i = first + threadIdx.x; i < last; i += kThreads) {
      const uint32_t at = block + i;
      slots[i] = cache_slot(
          view, at < place.n_committed ? at : job.paths[place.path + (at - place.n_committed)]);
    }
    __syncthreads();

    // Every lane of a warp comes to every shuffle, masked or not.
    for (uint32_t base = 0; base < kAttentionBlock; base += kPositionsAtOnce) {
      const uint32_t i = base + threadIdx.x / kLanes, part = threadIdx.x % kLanes;
      const bool is_live = i >= first && i < last;
      const unsigned char* k_row = k + size_t{is_live ? slots[i] : slots[first]} * row_bytes;
      for (uint32_t h = 0; h < n_group; ++h) {
        float score = 0;
        for (uint32_t e = part * 8; e < d_pad; e += kLanes * 8) {
          float x[8];
          read_kv_8<kType>(k_row, e, d, x);
#pragma unroll
          for (uint32_t j = 0; j < 8; ++j) score = fmaf(q[h * d_pad + e + j], x[j], score);
        }
        score += shuffle_xor(score, 1);
        score += shuffle_xor(score, 2);
        score += shuffle_xor(score, 4);
        score *= job.scale;
        score = fmaf(score, 0.0f, score);  // beyond the KV's type: NaN, which no softcap hides
        if (job.softcap != 0) score = job.softcap * tanhf(score / job.softcap);
        if (part == 0) p[h * kAttentionBlock + i] = is_live ? score : minus_infinity();
      }
    }
    __syncthreads();

    for (uint32_t h = warp; h < n_group; h += kThreads / kWarp) {
      float* scores = p + h * kAttentionBlock;
      const float a = scores[lane], b = scores[lane + kWarp];
      const float before = most[h];
      const float now = fmaxf(before, warp_max(fmaxf(a, b)));
      // A NaN among the scores is lost to fmaxf and comes back through the sum.
      const bool has_a = lane >= first && lane < last;
      const bool has_b = lane + kWarp >= first && lane + kWarp < last;
      const float pa = has_a ? expf(a - now) : 0.0f, pb = has_b ? expf(b - now) : 0.0f;
      const float added = warp_sum(pa + pb);
      scores[lane] = pa;
      scores[lane + kWarp] = pb;
      sync_warp();  // every lane has read most[h]: a shuffle alone does not order memory
      if (lane == 0) {
        const float shrink = before == minus_infinity() ? 0.0f : expf(before - now);
        factor[h] = shrink;
        most[h] = now;
        sum[h] = sum[h] * shrink + added;
      }
    }
    __syncthreads();

    for (uint32_t at = threadIdx.x; at < n_group * d; at += kThreads) {
      const uint32_t h = at / d, e = at % d;
      float value = 0;
      for (uint32_t i = first; i < last; ++i) {
        value = fmaf(p[h * kAttentionBlock + i],
                     read_kv<kType>(v + size_t{slots[i]} * row_bytes, e), value);
      }
      acc[at] = acc[at] * factor[h] + value;
    }
  }
  __syncthreads();
  for (uint32_t at = threadIdx.x; at < n_group * (d + 2); at += kThreads) {
    const uint32_t h = at / (d + 2), e = at % (d + 2);
    float* out = partial_of(job, row, kv_head * n_group + h, blockIdx.x);
    out[e] = e == 0 ? most[h] : e == 1 ? sum[h] : acc[h * d + e - 2];
  }
}

// One row and head.
__global__ void __launch_bounds__(kThreads) merge_kernel(AttentionJob job) {
  const uint32_t row = blockIdx.x, head = blockIdx.y, d = job.d_head;
  if (job.rows[row].is_dead()) return;
  const uint32_t n_split = attention_splits(job.rows[row].position, job.window);
  float most = minus_infinity();
  for (uint32_t s = 0; s < n_split; ++s) most = fmaxf(most, partial_of(job, row, head, s)[0]);
  float sum = 0;
  for (uint32_t s = 0; s < n_split; ++s) {
    const float* from = partial_of(job, row, head, s);
    sum = fmaf(expf(from[0] - most), from[1], sum);
  }
  const uint32_t width = job.n_head * d;
  const size_t out_row = size_t{row} * pad_k(width);
  for (uint32_t e = threadIdx.x; e < d; e += kThreads) {
    float value = 0;
    for (uint32_t s = 0; s < n_split; ++s) {
      const float* from = partial_of(job, row, head, s);
      value = fmaf(expf(from[0] - most), from[2 + e], value);
    }
    store(job.out, out_row + head * d + e, value / sum);
  }
  if (head + 1 == job.n_head) {
    for (uint32_t i = width + threadIdx.x; i < pad_k(width); i += kThreads)
      store(job.out, out_row + i, 0.0f);
  }
}

template <KvType kType>
cudaError_t run(const AttentionJob& job, cudaStream_t stream) {
  const cudaError_t error =
      launch("attention", split_kernel<kType>,
             {dim3(job.n_split, job.n_kv_head, job.m), dim3(kThreads),
              attention_shared_bytes(job.n_head / job.n_kv_head, job.d_head), stream},
             job);
  if (error != cudaSuccess) return error;
  return launch("attention_merge", merge_kernel,
                {dim3(job.m, job.n_head), dim3(kThreads), 0, stream}, job);
}

}  // namespace

cudaError_t attention(const AttentionJob& job, cudaStream_t stream) {
  if (job.m == 0) return cudaSuccess;
  switch (job.kv_type) {
    case KvType::f32:
      return run<KvType::f32>(job, stream);
    case KvType::f16:
      return run<KvType::f16>(job, stream);
    case KvType::bf16:
      return run<KvType::bf16>(job, stream);
    case KvType::q8:
      return run<KvType::q8>(job, stream);
  }
  return cudaErrorInvalidValue;
}

}  // namespace splitd::kernels::cuda
