// Owns: C[M,N] = A[M,K] · W[N,K]ᵀ on the GPU, fp32 results.
//
// The order, the same for a row alone and in company, whatever M (batch invariance):
//   tensor cores   K is cut into 8 slices at multiples of 64 (slice s: pairs of groups
//                  ⌊p·s/8⌋ … ⌊p·(s+1)/8⌋ of the p = K/64 there are); within one, blocks of 32 in
//                  ascending order into one accumulator (q8, q4: the block alone from zero, then
//                  one fma with its scale); ((s0+s1)+(s2+s3)) + ((s4+s5)+(s6+s7)).
//   exact          element k to lane (k/8) mod 32, ascending, one fma each; then lanes xor 16, 8,
//                  4, 2, 1.
// Weights are the 16-row operand, rows of A the columns padded to 8: what stands in other columns
// never reaches a result. Weights go from memory to registers, past the L1.
#pragma once

#include <cuda_runtime.h>

#include "kernels/cuda/types.h"

namespace splitd::kernels::cuda {

inline constexpr uint32_t kMostMatrices = 3;

struct MatmulJob {
  Matrix w[kMostMatrices];  // of one type and one k; their columns stand side by side
  uint32_t n_matrix = 0;
  const void* a = nullptr;  // (m, k_padded) of the form that the type wants
  ActivationType a_type = ActivationType::f32;
  uint32_t m = 0;
  float* c = nullptr;
  size_t c_stride = 0;
};

// The rows of each expert, for all of them at once.
struct ExpertJob {
  const Matrix* w = nullptr;  // by expert: kMostMatrices each, in device memory
  uint32_t n_matrix = 0;
  uint32_t n = 0;  // columns of all matrices of one expert
  WeightType type = WeightType::f32;
  const uint32_t* lists = nullptr;   // by expert: m_most places
  const uint32_t* counts = nullptr;  // by expert
  uint32_t n_expert = 0;
  uint32_t m_most = 0;
  uint32_t m_likely = 0;   // rows that few experts exceed: sizes tiles, no result depends on it
  uint32_t a_divisor = 1;  // entry i of a list reads row i / a_divisor of A, writes row i of C
  const void* a = nullptr;
  ActivationType a_type = ActivationType::f32;
  float* c = nullptr;
  size_t c_stride = 0;
};

// The form of A that a type of weights is fastest with.
ActivationType activation_of(WeightType type);

cudaError_t matmul(const MatmulJob& job, cudaStream_t stream);
cudaError_t matmul_experts(const ExpertJob& job, cudaStream_t stream);

}  // namespace splitd::kernels::cuda
