// Owns: the numbers of a KV row: how a block of threads writes one, how a thread reads eight of
// one.
#pragma once

#include "kernels/cuda/device_ops.h"
#include "kernels/cuda/types.h"

namespace splitd::kernels::cuda {

// Where a timeline's slot lies in the cache.
__device__ __forceinline__ uint32_t cache_slot(const KvView& view, uint32_t slot) {
  return slot < view.n_ctx ? slot % view.ring : view.ring + (slot - view.n_ctx);
}

// Rounds d floats of shared memory to the type, by all threads of the block.
__device__ inline void write_kv_row(KvType type, const float* x, uint32_t d, unsigned char* to) {
  if (type == KvType::q8) {
    constexpr uint32_t kGroupBytes = 34;
    for (uint32_t group = threadIdx.x; group * 32 < d; group += blockDim.x) {
      float most = 0;
      bool is_finite = true;
      for (uint32_t i = group * 32; i < d && i < group * 32 + 32; ++i) {
        most = fmaxf(most, fabsf(x[i]));
        is_finite = is_finite && fabsf(x[i]) <= 3.4e38f;
      }
      // A scale that f16 cannot hold poisons the group, so that it is noticed.
      const uint16_t scale = is_finite ? f32_to_f16(most / 127.0f) : uint16_t{0x7e00};
      const float rounded = f16_to_f32(scale);
      unsigned char* bytes = to + group * kGroupBytes;
      bytes[0] = static_cast<unsigned char>(scale);
      bytes[1] = static_cast<unsigned char>(scale >> 8);
      for (uint32_t i = 0; i < 32; ++i) {
        const float v = group * 32 + i < d ? x[group * 32 + i] : 0.0f;
        const float q = rounded > 0 ? rintf(v / rounded) : 0.0f;
        bytes[2 + i] = static_cast<unsigned char>(
            static_cast<int8_t>(static_cast<int>(fminf(fmaxf(q, -127.0f), 127.0f))));
      }
    }
    return;
  }
  for (uint32_t i = threadIdx.x; i < d; i += blockDim.x) {
    if (type == KvType::f32) {
      reinterpret_cast<float*>(to)[i] = x[i];
    } else {
      reinterpret_cast<uint16_t*>(to)[i] =
          type == KvType::f16 ? f32_to_f16(x[i]) : f32_to_bf16(x[i]);
    }
  }
}

template <KvType kType>
__device__ __forceinline__ float read_kv(const unsigned char* row, uint32_t i) {
  if constexpr (kType == KvType::f32) {
    return reinterpret_cast<const float*>(row)[i];
  } else if constexpr (kType == KvType::f16) {
    return f16_to_f32(reinterpret_cast<const uint16_t*>(row)[i]);
  } else if constexpr (kType == KvType::bf16) {
    return bf16_low(reinterpret_cast<const uint16_t*>(row)[i]);
  } else {
    const unsigned char* group = row + i / 32 * 34;
    const auto scale = static_cast<uint16_t>(group[0] | group[1] << 8);
    return f16_to_f32(scale) * static_cast<float>(static_cast<int8_t>(group[2 + i % 32]));
  }
}

// Elements i … i+7, zeros behind d. `i` is a multiple of 8.
template <KvType kType>
__device__ __forceinline__ void read_kv_8(const unsigned char* row, uint32_t i, uint32_t d,
                                          float (&out)[8]) {
  if constexpr (kType == KvType::f16 || kType == KvType::bf16) {
    if (i + 8 <= d) {
      const uint4 four = *reinterpret_cast<const uint4*>(row + 2 * size_t{i});
      const uint32_t pairs[4] = {four.x, four.y, four.z, four.w};
      for (int j = 0; j < 4; ++j) {
        if constexpr (kType == KvType::f16) {
          out[2 * j] = f16_to_f32(static_cast<uint16_t>(pairs[j]));
          out[2 * j + 1] = f16_to_f32(static_cast<uint16_t>(pairs[j] >> 16));
        } else {
          out[2 * j] = bf16_low(pairs[j]);
          out[2 * j + 1] = bf16_high(pairs[j]);
        }
      }
      return;
    }
  }
  for (uint32_t j = 0; j < 8; ++j) out[j] = i + j < d ? read_kv<kType>(row, i + j) : 0.0f;
}

}  // namespace splitd::kernels::cuda
