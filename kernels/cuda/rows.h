// Owns: what happens to rows between matrix products: norms, residual adds, rope, writing KV,
// gates, softcaps. A row's result depends on that row alone, bit for bit. Sums over a row: element
// i to thread i mod 256, ascending; lanes xor 16 … 1 within a warp; the 8 warps ascending.
#pragma once

#include <cuda_runtime.h>

#include "kernels/cuda/types.h"

namespace splitd::kernels::cuda {

enum class Gate : uint8_t { silu, gelu_tanh, gelu_erf };

// x += [norm](delta + bias), then out = norm(x); every part may be missing.
struct AddNormJob {
  float* x = nullptr;                // (m, d)
  const float* delta = nullptr;      // (m, d)
  const float* bias = nullptr;       // (d)
  const float* post_norm = nullptr;  // (d)
  const float* norm = nullptr;       // (d)
  Activations out;
  uint32_t m = 0;
  uint32_t d = 0;
  float eps = 0;
};
cudaError_t add_norm(const AddNormJob& job, cudaStream_t stream);

// q, k, v of each row as the products left them: bias, the order of pairs, the norm of each head,
// rope; k and v go into their slots, q stays.
struct QkvJob {
  float* qkv = nullptr;  // (m, n_head + 2 n_kv_head, d_head)
  const float* bias = nullptr;
  const float* q_norm = nullptr;  // (d_head)
  const float* k_norm = nullptr;
  const float* cos_sin =
      nullptr;  // by row, cos_sin_stride apart: n_rotary / 2 of cos, as many of sin
  size_t cos_sin_stride = 0;
  const BatchRow* rows = nullptr;
  uint32_t layer = 0;  // of the backend's
  uint32_t m = 0;
  uint32_t n_head = 0;
  uint32_t n_kv_head = 0;
  uint32_t d_head = 0;
  uint32_t n_rotary = 0;
  float eps = 0;
  bool interleaved = false;  // rows 2j+t of q and k stand for t·d_head/2 + j
};
cudaError_t finish_qkv(const QkvJob& job, cudaStream_t stream);

// out = act(gate + bias) · (up + bias); gate and up stand side by side.
struct GateJob {
  const float* gate_up = nullptr;  // (m, 2 n)
  const float* bias = nullptr;     // (2 n)
  Activations out;
  uint32_t m = 0;
  uint32_t n = 0;
  Gate kind = Gate::silu;
  const BatchRow* rows = nullptr;  // of experts: n_used rows here for each, none for dead ones
  uint32_t n_used = 1;
};
cudaError_t gate(const GateJob& job, cudaStream_t stream);

// (m, n) floats in the form that a product wants.
cudaError_t convert_rows(const float* x, uint32_t m, uint32_t n, const Activations& out,
                         cudaStream_t stream);

// x = cap · tanh(x / cap)
cudaError_t softcap(float* x, size_t n, float cap, cudaStream_t stream);

struct CopyRowsJob {
  const KvView* views = nullptr;  // on the device, by layer
  uint32_t n_layer = 0;
  const uint32_t* moves = nullptr;  // timeline slots: from, to; carried out in this order
  uint32_t n_move = 0;
  uint32_t n_kv_head = 0;
  uint32_t row_bytes = 0;
};
cudaError_t copy_rows(const CopyRowsJob& job, cudaStream_t stream);

}  // namespace splitd::kernels::cuda
