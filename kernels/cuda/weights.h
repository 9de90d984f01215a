// Owns: weights on their way from memory into registers, by their type.
#pragma once

#include "kernels/cuda/device_ops.h"
#include "kernels/cuda/types.h"

namespace splitd::kernels::cuda {

// Eight consecutive numbers of a row, as floats. `k` is a multiple of 8.
template <WeightType kType>
__device__ __forceinline__ void load_floats(const Matrix& w, uint32_t row, uint32_t k,
                                            float (&out)[8]) {
  const auto* data = static_cast<const unsigned char*>(w.data) + row * row_bytes(kType, w.k_padded);
  if constexpr (kType == WeightType::f32) {
    for (int half = 0; half < 2; ++half) {
      const uint4 four = load_once(data + 4 * size_t{k} + 16 * half);
      const uint32_t bits[4] = {four.x, four.y, four.z, four.w};
      for (int i = 0; i < 4; ++i) out[4 * half + i] = bits_as<float>(bits[i]);
    }
  } else if constexpr (kType == WeightType::bf16 || kType == WeightType::f16) {
    const uint4 four = load_once(data + 2 * size_t{k});
    const uint32_t pairs[4] = {four.x, four.y, four.z, four.w};
    for (int i = 0; i < 4; ++i) {
      if constexpr (kType == WeightType::bf16) {
        out[2 * i] = bf16_low(pairs[i]);
        out[2 * i + 1] = bf16_high(pairs[i]);
      } else {
        out[2 * i] = f16_to_f32(static_cast<uint16_t>(pairs[i]));
        out[2 * i + 1] = f16_to_f32(static_cast<uint16_t>(pairs[i] >> 16));
      }
    }
  } else {
    const uint32_t group = k / kGroup;
    const float scale = f16_to_f32(w.scales[row * size_t{w.k_padded / kGroup} + group]);
    uint2 quants;
    if constexpr (kType == WeightType::q8) {
      quants = load_once_8(data + k);
    } else {
      quants = load_once_8(data + group / 2 * 32 + k % kGroup);
    }
    const uint32_t words[2] = {quants.x, quants.y};
    for (int i = 0; i < 8; ++i) {
      const uint32_t byte = words[i / 4] >> 8 * (i % 4) & 0xffu;
      int q;
      if constexpr (kType == WeightType::q8) {
        q = static_cast<int8_t>(byte);
      } else {
        q = static_cast<int>(byte >> 4 * (group % 2) & 15u) - 8;
      }
      out[i] = scale * static_cast<float>(q);
    }
  }
}

// What one thread holds of one row and 64 elements of K: elements 8t … 8t+7 of both blocks of 32,
// where t is its place among the four threads of the row. Raw, so that many loads are in flight.
template <WeightType kType>
struct RawPair;

template <>
struct RawPair<WeightType::bf16> {
  uint4 block[2];
};
template <>
struct RawPair<WeightType::f16> {
  uint4 block[2];
};
template <>
struct RawPair<WeightType::q8> {
  uint2 block[2];
  float scale[2];
};
template <>
struct RawPair<WeightType::q4> {
  uint2 both;
  float scale[2];
};

template <WeightType kType>
__device__ __forceinline__ RawPair<kType> load_pair(const Matrix& w, uint32_t row, uint32_t pair,
                                                    uint32_t t) {
  RawPair<kType> out;
  const auto* data = static_cast<const unsigned char*>(w.data) + row * row_bytes(kType, w.k_padded);
  if constexpr (kType == WeightType::bf16 || kType == WeightType::f16) {
    out.block[0] = load_once(data + size_t{pair} * 128 + 16 * t);
    out.block[1] = load_once(data + size_t{pair} * 128 + 64 + 16 * t);
  } else {
    if constexpr (kType == WeightType::q8) {
      out.block[0] = load_once_8(data + size_t{pair} * 64 + 8 * t);
      out.block[1] = load_once_8(data + size_t{pair} * 64 + 32 + 8 * t);
    } else {
      out.both = load_once_8(data + size_t{pair} * 32 + 8 * t);
    }
    const uint16_t* scales = w.scales + row * size_t{w.k_padded / kGroup} + 2 * size_t{pair};
    out.scale[0] = f16_to_f32(scales[0]);
    out.scale[1] = f16_to_f32(scales[1]);
  }
  return out;
}

// The eight numbers of one block as four pairs of bf16, in the order of K. Exact for bf16, q8, q4.
template <WeightType kType>
__device__ __forceinline__ void to_bf16_pairs(const RawPair<kType>& raw, int block,
                                              uint32_t (&out)[4]) {
  if constexpr (kType == WeightType::bf16) {
    const uint4& four = raw.block[block];
    out[0] = four.x;
    out[1] = four.y;
    out[2] = four.z;
    out[3] = four.w;
  } else if constexpr (kType == WeightType::q8) {
    const uint32_t words[2] = {raw.block[block].x, raw.block[block].y};
    for (int i = 0; i < 2; ++i) {
      // 2^23 + (q + 128) as a float is its own integer; 128 more has to go.
      const uint32_t biased = words[i] ^ 0x80808080u;
      float q[4];
      for (uint32_t j = 0; j < 4; ++j) {
        q[j] = bits_as<float>(pick_bytes(biased, 0x4b000000u, 0x7440u + j)) - 8388736.0f;
      }
      out[2 * i] = pack_bf16(q[0], q[1]);
      out[2 * i + 1] = pack_bf16(q[2], q[3]);
    }
  } else {
    const uint32_t words[2] = {raw.both.x, raw.both.y};
    for (int i = 0; i < 2; ++i) {
      const uint32_t nibbles = words[i] >> 4 * block & 0x0f0f0f0fu;
      for (int half = 0; half < 2; ++half) {
        // 0x43 above a nibble n is 128 + n in bf16.
        const uint32_t raised = pick_bytes(nibbles, 0x43434343u, half == 0 ? 0x4140u : 0x4342u);
        out[2 * i + half] = fma_bf16x2(raised, 0x3f803f80u, 0xc308c308u);  // · 1 − 136
      }
    }
  }
}

}  // namespace splitd::kernels::cuda
