// Owns: what stored weights mean as fp32, bit for bit as the gguf Python package computes it (each
// product and sum rounded to f32, no fused operation). The scalar definition for converting and for
// tests; kernels have their own. Pure functions, thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>

#include "runtime/model/formats/dtype.h"

namespace splitd {

// F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q4_K, Q5_K, Q6_K; not the others.
[[nodiscard]] bool can_dequantize(DType dtype);

// `in` holds n_values of `dtype`, of any alignment; `out` takes n_values.
// Needs can_dequantize(dtype) and n_values a multiple of dtype_info(dtype).block_values.
void dequantize(DType dtype, const std::byte* in, uint64_t n_values, float* out);

}  // namespace splitd
