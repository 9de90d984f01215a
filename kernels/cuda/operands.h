// Owns: turning weights and rows into the 16-bit operands of a bulk chunk's products, and what is
// left to do to the results. A number's result depends on itself and its row alone.
#pragma once

#include <cuda_runtime.h>

#include "kernels/cuda/types.h"

namespace splitd::kernels::cuda {

// Rows first … first + n_row of a q8 or q4 matrix as bf16, (n_row, k_padded): scale times quant,
// rounded once.
cudaError_t weights_to_bf16(const Matrix& w, uint32_t first, uint32_t n_row, uint16_t* to,
                            cudaStream_t stream);

// (m, k) floats as bf16. k is a multiple of 8.
cudaError_t rows_to_bf16(const float* x, uint32_t m, uint32_t k, uint16_t* to, cudaStream_t stream);

// …as f16, each row divided by a power of two, 1 where it stays below 2^15 without; `factors` (m)
// are those powers.
cudaError_t rows_to_f16(const float* x, uint32_t m, uint32_t k, uint16_t* to, float* factors,
                        cudaStream_t stream);

// Row i of c, its first n numbers, times factors[i].
cudaError_t scale_rows(float* c, size_t c_stride, uint32_t m, uint32_t n, const float* factors,
                       cudaStream_t stream);

}  // namespace splitd::kernels::cuda
