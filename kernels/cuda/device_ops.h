// Owns: every instruction of the GPU that C++ has no word for, one function each: warp shuffles,
// tensor cores, conversions, loads past the cache. Beside each stands what it means, for the
// emulation that the tests run; all that is above this header is the same code in both.
// Tensor cores: m16n8k16 and m16n8k8 of the PTX manual, D = A·B + C, A row-major, B column-major.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <cstring>

namespace splitd::kernels::cuda {

inline constexpr int kWarp = 32;

#if defined(SPLITD_EMULATED_CUDA)

template <class To, class From>
inline To bits_as(From from) {
  static_assert(sizeof(To) == sizeof(From));
  To to;
  std::memcpy(&to, &from, sizeof(to));
  return to;
}

inline float shuffle_xor(float value, int mask) {
  const auto* lanes = emulated::warp_exchange(&value, sizeof(value));
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  float out;
  std::memcpy(&out, lanes + emulated::kLaneBytes * (lane ^ mask), sizeof(out));
  return out;
}

// What the lanes read before is read, what they wrote is seen.
inline void sync_warp() {
  const char nothing = 0;
  emulated::warp_exchange(&nothing, sizeof(nothing));
}

inline float bf16_low(uint32_t pair) {
  return bits_as<float>(pair << 16);
}
inline float bf16_high(uint32_t pair) {
  return bits_as<float>(pair & 0xffff0000u);
}

struct EmulatedOperands {
  uint32_t a[4];
  uint32_t b[2];
};

inline void mma_bf16(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  const EmulatedOperands mine{{a[0], a[1], a[2], a[3]}, {b[0], b[1]}};
  const auto* lanes = emulated::warp_exchange(&mine, sizeof(mine));
  const auto at = [&](int lane) {
    EmulatedOperands out;
    std::memcpy(&out, lanes + emulated::kLaneBytes * lane, sizeof(out));
    return out;
  };
  const int lane = static_cast<int>(threadIdx.x) % kWarp, g = lane / 4, t = lane % 4;
  for (int i = 0; i < 4; ++i) {
    const int row = g + 8 * (i / 2), column = 2 * t + i % 2;
    for (int k = 0; k < 16; ++k) {
      const EmulatedOperands from_a = at(4 * (row % 8) + k % 8 / 2);
      const EmulatedOperands from_b = at(4 * column + k % 8 / 2);
      const uint32_t pa = from_a.a[row / 8 + 2 * (k / 8)], pb = from_b.b[k / 8];
      c[i] += k % 2 == 0 ? bf16_low(pa) * bf16_low(pb) : bf16_high(pa) * bf16_high(pb);
    }
  }
}

inline void mma_tf32(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  const EmulatedOperands mine{{a[0], a[1], a[2], a[3]}, {b[0], b[1]}};
  const auto* lanes = emulated::warp_exchange(&mine, sizeof(mine));
  const auto at = [&](int lane) {
    EmulatedOperands out;
    std::memcpy(&out, lanes + emulated::kLaneBytes * lane, sizeof(out));
    return out;
  };
  const int lane = static_cast<int>(threadIdx.x) % kWarp, g = lane / 4, t = lane % 4;
  for (int i = 0; i < 4; ++i) {
    const int row = g + 8 * (i / 2), column = 2 * t + i % 2;
    for (int k = 0; k < 8; ++k) {
      const EmulatedOperands from_a = at(4 * (row % 8) + k % 4);
      const EmulatedOperands from_b = at(4 * column + k % 4);
      // A tensor core reads the upper 19 bits.
      const auto wa = bits_as<float>(from_a.a[row / 8 + 2 * (k / 4)] & 0xffffe000u);
      const auto wb = bits_as<float>(from_b.b[k / 4] & 0xffffe000u);
      c[i] += wa * wb;
    }
  }
}

inline uint4 load_once(const void* at) {
  uint4 out;
  if (reinterpret_cast<uintptr_t>(at) % 16 != 0) std::abort();  // a GPU faults
  std::memcpy(&out, at, 16);
  return out;
}
inline uint2 load_once_8(const void* at) {
  uint2 out;
  if (reinterpret_cast<uintptr_t>(at) % 8 != 0) std::abort();
  std::memcpy(&out, at, 8);
  return out;
}

inline float f16_to_f32(uint16_t bits) {
  const uint32_t sign = (bits & 0x8000u) << 16, exponent = bits >> 10 & 31u, rest = bits & 0x3ffu;
  if (exponent == 31) return bits_as<float>(sign | 0x7f800000u | rest << 13);
  if (exponent != 0) return bits_as<float>(sign | (exponent + 112) << 23 | rest << 13);
  const float small = static_cast<float>(rest) * 0x1p-24f;
  return sign != 0 ? -small : small;
}
inline uint16_t f32_to_f16(float value) {
  const auto bits = bits_as<uint32_t>(value);
  const auto sign = static_cast<uint16_t>(bits >> 16 & 0x8000u);
  const uint32_t magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return static_cast<uint16_t>(sign | 0x7e00u);
  if (magnitude >= 0x477ff000u) return static_cast<uint16_t>(sign | 0x7c00u);
  if (magnitude < 0x38800000u) {  // subnormal: this addition rounds at 2^-24
    const float shifted = bits_as<float>(magnitude) + 0.5f;
    return static_cast<uint16_t>(sign | (bits_as<uint32_t>(shifted) - 0x3f000000u));
  }
  const uint32_t rounded = magnitude + 0xfffu + (magnitude >> 13 & 1u);
  return static_cast<uint16_t>(sign | ((rounded - 0x38000000u) >> 13));
}
inline uint16_t f32_to_bf16(float value) {
  const auto bits = bits_as<uint32_t>(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return static_cast<uint16_t>(bits >> 16 | 0x40u);
  return static_cast<uint16_t>((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}
// Two floats, rounded to nearest even; `low` in the lower half.
inline uint32_t pack_bf16(float low, float high) {
  return f32_to_bf16(low) | static_cast<uint32_t>(f32_to_bf16(high)) << 16;
}
// To nearest, ties away from zero, as cvt.rna does.
inline float round_to_tf32(float value) {
  const auto bits = bits_as<uint32_t>(value);
  if ((bits & 0x7f800000u) == 0x7f800000u) return value;
  return bits_as<float>((bits + 0x1000u) & 0xffffe000u);
}
// Bytes 0-3 are a's, 4-7 b's; each nibble of `selector` picks one.
inline uint32_t pick_bytes(uint32_t a, uint32_t b, uint32_t selector) {
  const uint64_t both = a | static_cast<uint64_t>(b) << 32;
  uint32_t out = 0;
  for (int i = 0; i < 4; ++i) {
    out |= static_cast<uint32_t>(both >> 8 * (selector >> 4 * i & 7u) & 0xffu) << 8 * i;
  }
  return out;
}
// x·y + z in both halves, rounded once.
inline uint32_t fma_bf16x2(uint32_t x, uint32_t y, uint32_t z) {
  return pack_bf16(__builtin_fmaf(bf16_low(x), bf16_low(y), bf16_low(z)),
                   __builtin_fmaf(bf16_high(x), bf16_high(y), bf16_high(z)));
}

#else  // a GPU

template <class To, class From>
__device__ __forceinline__ To bits_as(From from) {
  static_assert(sizeof(To) == sizeof(From));
  To to;
  memcpy(&to, &from, sizeof(to));
  return to;
}

__device__ __forceinline__ float shuffle_xor(float value, int mask) {
  return __shfl_xor_sync(0xffffffffu, value, mask);
}

__device__ __forceinline__ void sync_warp() {
  __syncwarp();
}

__device__ __forceinline__ float bf16_low(uint32_t pair) {
  return __uint_as_float(pair << 16);
}
__device__ __forceinline__ float bf16_high(uint32_t pair) {
  return __uint_as_float(pair & 0xffff0000u);
}

__device__ __forceinline__ void mma_bf16(float (&c)[4], const uint32_t (&a)[4],
                                         const uint32_t (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
      "{%0,%1,%2,%3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

__device__ __forceinline__ void mma_tf32(float (&c)[4], const uint32_t (&a)[4],
                                         const uint32_t (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
      "{%0,%1,%2,%3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

// Weights are read once: they need no place in the L1.
__device__ __forceinline__ uint4 load_once(const void* at) {
  uint4 out;
  asm volatile("ld.global.nc.L1::no_allocate.v4.u32 {%0,%1,%2,%3}, [%4];"
               : "=r"(out.x), "=r"(out.y), "=r"(out.z), "=r"(out.w)
               : "l"(at));
  return out;
}
__device__ __forceinline__ uint2 load_once_8(const void* at) {
  uint2 out;
  asm volatile("ld.global.nc.L1::no_allocate.v2.u32 {%0,%1}, [%2];"
               : "=r"(out.x), "=r"(out.y)
               : "l"(at));
  return out;
}

__device__ __forceinline__ float f16_to_f32(uint16_t bits) {
  float out;
  asm("cvt.f32.f16 %0, %1;" : "=f"(out) : "h"(bits));
  return out;
}
__device__ __forceinline__ uint16_t f32_to_f16(float value) {
  uint16_t out;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(out) : "f"(value));
  return out;
}
__device__ __forceinline__ uint32_t pack_bf16(float low, float high) {
  uint32_t out;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(out) : "f"(high), "f"(low));
  return out;
}
__device__ __forceinline__ uint16_t f32_to_bf16(float value) {
  return static_cast<uint16_t>(pack_bf16(value, 0.0f));
}
__device__ __forceinline__ float round_to_tf32(float value) {
  uint32_t out;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(out) : "f"(value));
  return __uint_as_float(out);
}
__device__ __forceinline__ uint32_t pick_bytes(uint32_t a, uint32_t b, uint32_t selector) {
  return __byte_perm(a, b, selector);
}
__device__ __forceinline__ uint32_t fma_bf16x2(uint32_t x, uint32_t y, uint32_t z) {
  uint32_t out;
  asm("fma.rn.bf16x2 %0, %1, %2, %3;" : "=r"(out) : "r"(x), "r"(y), "r"(z));
  return out;
}

#endif

// The same number in every lane, whatever the value in each.
__device__ __forceinline__ float warp_sum(float value) {
  for (int mask = kWarp / 2; mask > 0; mask /= 2) value += shuffle_xor(value, mask);
  return value;
}
__device__ __forceinline__ float warp_max(float value) {
  for (int mask = kWarp / 2; mask > 0; mask /= 2) value = fmaxf(value, shuffle_xor(value, mask));
  return value;
}

}  // namespace splitd::kernels::cuda
