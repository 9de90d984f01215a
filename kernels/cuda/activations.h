// Owns: how a thread writes an activation in the form that a product wants.
#pragma once

#include "kernels/cuda/device_ops.h"
#include "kernels/cuda/types.h"

namespace splitd::kernels::cuda {

__device__ __forceinline__ void store(const Activations& out, size_t at, float value) {
  if (out.type == ActivationType::bf16) {
    static_cast<uint16_t*>(out.data)[at] = f32_to_bf16(value);
  } else {
    static_cast<float*>(out.data)[at] =
        out.type == ActivationType::tf32 ? round_to_tf32(value) : value;
  }
}

}  // namespace splitd::kernels::cuda
