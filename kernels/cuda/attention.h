// Owns: attention of the rows of a batch over the trees of their sessions.
//
// The order, the same for a row alone and in company, in any chunk, wherever its rows lie:
//   score   lane l of 8 takes dimensions 8l … 8l+7, 64+8l …, one fma each; lanes xor 1, 2, 4; times
//           scale; the softcap
//   block   64 positions from a multiple of 64, masked ones take no part: m' = max(m, scores);
//           p = exp(score − m'); lane l of 32 adds p of l and l + 32, lanes xor 16 … 1;
//           sum = sum·exp(m − m') + that; acc = acc·exp(m − m') + Σ p·v, positions ascending, one
//           fma each
//   split   256 positions from a multiple of 256, its own m, sum, acc; merged ascending:
//           M = max of m; Σ exp(m − M)·acc / Σ exp(m − M)·sum
#pragma once

#include <cuda_runtime.h>

#include "kernels/cuda/rows.h"
#include "kernels/cuda/types.h"

namespace splitd::kernels::cuda {

inline constexpr uint32_t kAttentionBlock = 64;
inline constexpr uint32_t kAttentionSplit = 256;

struct AttentionJob {
  const float* q = nullptr;  // row i at i · q_stride: (n_head, d_head)
  size_t q_stride = 0;
  const BatchRow* rows = nullptr;
  const uint32_t* paths = nullptr;  // timeline slots
  uint32_t layer = 0;
  uint32_t m = 0;
  uint32_t n_head = 0;
  uint32_t n_kv_head = 0;
  uint32_t d_head = 0;
  uint32_t window = 0;   // 0: all of the context
  uint32_t n_split = 0;  // at least those of every row: attention_splits(); no result depends on it
  float scale = 0;
  float softcap = 0;
  KvType kv_type = KvType::f16;
  void* partials = nullptr;  // attention_partial_bytes() for each row
  Activations out;           // (m, n_head · d_head)
};

// Splits between the window's first position and the row's own.
__host__ __device__ constexpr uint32_t attention_splits(uint32_t position, uint32_t window) {
  const uint32_t lo = window != 0 && position + 1 > window ? position + 1 - window : 0;
  return position / kAttentionSplit - lo / kAttentionSplit + 1;
}
// The most there are for any position.
__host__ __device__ constexpr uint32_t most_attention_splits(uint32_t window) {
  return window == 0 ? 0xffffffffu
                     : (window - 1) / kAttentionSplit + ((window - 1) % kAttentionSplit != 0) + 1;
}
__host__ __device__ constexpr size_t attention_partial_bytes(uint32_t n_head, uint32_t d_head,
                                                             uint32_t n_split) {
  return sizeof(float) * n_head * n_split * (size_t{d_head} + 2);
}

// Of a block of threads, for all heads that share a kv head.
__host__ __device__ constexpr size_t attention_shared_bytes(uint32_t n_group, uint32_t d_head) {
  const size_t d_pad = (size_t{d_head} + 63) / 64 * 64;
  return sizeof(float) * n_group * (d_pad + d_head + kAttentionBlock + 3);
}

cudaError_t attention(const AttentionJob& job, cudaStream_t stream);

}  // namespace splitd::kernels::cuda
