// Owns: the contract of the matrix products, C[M,N] = A[M,K] · W[N,K]ᵀ with fp32 results, for every
// instruction set. No bias, no residual, no activation: those are row kernels on M·N floats.
// Thread-safe: a call touches only what its arguments point to. Never fails, allocates or throws.
//
// A product has two steps, so that rows are converted once and weights are read once:
//   1. `prepare` turns rows of A into the kernel's own form in a buffer of prepared_bytes(m, k).
//      Several threads may prepare disjoint row ranges of one product.
//   2. `run` computes the columns [n_begin, n_end) for ALL m rows. Several threads may run disjoint
//      ranges at once; any division of the N weight rows gives the same bits.
// Batch invariance: C[i, j] depends on row i of A, row j of W and k alone, bit for bit: neither on
// m, nor on the range, nor on the alignment of the weights.
#pragma once

#include <cstddef>
#include <cstdint>

namespace splitd::kernels {

// Quantised types: quantised.h. q8 and q4 are splitd's own; then GGUF's, as files have them and,
// p…, laid out in panels, which no file has.
enum class WeightType : uint8_t {
  f32,
  bf16,
  f16,
  q8_0,
  q4_0,
  q4_1,
  q5_0,
  q5_1,
  q4_k,
  q5_k,
  q6_k,
  q8,
  q4,
  p4_1,
  p5_0,
  p5_1,
  p4_k,
  p5_k,
  p6_k,
};
inline constexpr size_t kStoredTypes = 13;  // that files have
inline constexpr size_t kWeightTypes = 19;

struct MatmulArgs {
  const void* prepared;  // what `prepare` wrote for all m rows; 64-byte aligned
  const void* w;         // (N, K) row-major as stored; any alignment its elements allow; or panels:
                         // then n_begin is a multiple of 16, and n_end is, or it is N
  float* c;              // (m, N) with c_stride: C[i, j] is c[i * c_stride + j]
  void* scratch;         // scratch_bytes(m, k) of this thread alone, 64-byte aligned
  size_t c_stride;       // elements
  size_t m, k;           // both ≥ 1
  size_t n_begin, n_end;
};

struct MatmulKernel {
  size_t (*prepared_bytes)(size_t m, size_t k);

  // Rows [m_begin, m_end) of the m rows of A. Row i is a + i * a_stride, or, where `rows` is given
  // (mixture of experts), a + rows[i] * a_stride.
  void (*prepare)(const float* a, size_t a_stride, const uint32_t* rows, size_t m, size_t k,
                  size_t m_begin, size_t m_end, void* prepared);

  size_t (*scratch_bytes)(size_t m, size_t k);
  void (*run)(const MatmulArgs& args);

  // Weight rows a thread should claim at a time: about 64 KiB of weights for few rows, whole
  // blocks for many. Any other division is correct and slower.
  size_t (*claim_rows)(size_t m, size_t k);

  const char* order;  // the reduction order, for documents and `arith`
};

struct MatmulSet {
  MatmulKernel f32, bf16, f16;  // by the weights' type

  const MatmulKernel& of(WeightType type) const {
    return type == WeightType::f32 ? f32 : type == WeightType::bf16 ? bf16 : f16;
  }
};

// Activations in groups of 32 int8, which all these types share: one `prepare` serves all.
struct QuantisedSet {
  MatmulKernel by_type[kWeightTypes];  // floats: not used

  const MatmulKernel& of(WeightType type) const { return by_type[static_cast<size_t>(type)]; }
  MatmulKernel& of(WeightType type) { return by_type[static_cast<size_t>(type)]; }
};

struct MatmulKernels {
  MatmulSet exact;   // activations enter unrounded (`--compute f32`)
  MatmulSet native;  // activations in the kernel's own type (`--compute auto`), where it has one
  QuantisedSet quantised;  // native; exact products are made of dequantised rows and exact.f32
};

}  // namespace splitd::kernels
