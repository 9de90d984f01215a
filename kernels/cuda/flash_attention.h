// Owns: attention of a bulk chunk: rows of one session that are committed and stand at consecutive
// positions. Tiles of them share one reading of keys and values; both products run on tensor cores.
//
// What is rounded: queries, keys, values and probabilities to f16 beside an f16 cache (a query's
// row is scaled by a power of two where f16 could not hold it), else to bf16; sums are fp32. So a
// row differs in its last bits from what attention.h says, by nothing that is not in its chunk
// before it. The order:
//   tile    kTile positions (64; 32 above 128 dimensions) from a multiple of as many; its lower
//   half
//           goes to one state (m, sum, acc), its upper half to another
//   state   m' = max(m, scores); p = 2^(score·log2 e − m'); sum and acc are scaled by 2^(m − m'),
//           then p and p·v are added, in the order of the tensor cores; tiles ascending
//   merge   M = max of both m; Σ 2^(m − M)·acc / Σ 2^(m − M)·sum, the lower half first
// Masked positions add exactly 0, but where their V is infinite or NaN: such a row shows in the
// rows before it in its tile, and the request is refused all the same.
#pragma once

#include <cuda_runtime.h>

#include "kernels/cuda/types.h"

namespace splitd::kernels::cuda {

inline constexpr uint32_t kFlashRows = 64;      // of a tile
inline constexpr uint32_t kMostFlashDim = 256;  // of a head

struct FlashJob {
  const float* q = nullptr;  // row i at i · q_stride: (n_head, d_head)
  size_t q_stride = 0;
  const BatchRow* rows = nullptr;  // their first position is a multiple of kFlashRows
  uint32_t layer = 0;
  uint32_t m = 0;  // a multiple of kFlashRows; all rows of the positions before are in the cache
  uint32_t n_head = 0;
  uint32_t n_kv_head = 0;
  uint32_t d_head = 0;  // at most kMostFlashDim
  uint32_t window = 0;  // 0: all of the context
  float scale = 0;
  float softcap = 0;
  KvType kv_type = KvType::f16;
  Activations out;  // (m, n_head · d_head)
};

cudaError_t flash_attention(const FlashJob& job, cudaStream_t stream);

}  // namespace splitd::kernels::cuda
