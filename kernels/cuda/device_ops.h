// Owns: every instruction of the GPU that C++ has no word for, one function each: warp shuffles,
// tensor cores, conversions, loads past the cache. Beside each stands what it means, for the
// emulation that the tests run; all that is above this header is the same code in both.
// Tensor cores: m16n8k16 and m16n8k8 of the PTX manual, D = A·B + C, A row-major, B column-major.
// Copies that go on beside the computing: visible to the thread that made them once it has waited,
// to its block after a barrier.
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

template <class Value>
inline void emulated_mma_16(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2],
                            const Value& value) {
  const EmulatedOperands mine{{a[0], a[1], a[2], a[3]}, {b[0], b[1]}};
  const auto* lanes = emulated::warp_exchange(&mine, sizeof(mine));
  const auto word = [&](int lane, int index) {
    uint32_t out;
    std::memcpy(&out, lanes + emulated::kLaneBytes * lane + 4 * index, sizeof(out));
    return out;
  };
  const int lane = static_cast<int>(threadIdx.x) % kWarp, g = lane / 4, t = lane % 4;
  for (int i = 0; i < 4; ++i) {
    const int row = g + 8 * (i / 2), column = 2 * t + i % 2;
    for (int k = 0; k < 16; k += 2) {
      const uint32_t from_a = word(4 * (row % 8) + k % 8 / 2, row / 8 + 2 * (k / 8));
      const uint32_t from_b = word(4 * column + k % 8 / 2, 4 + k / 8);
      c[i] += value(from_a, 0) * value(from_b, 0);
      c[i] += value(from_a, 1) * value(from_b, 1);
    }
  }
}
inline void mma_bf16(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  emulated_mma_16(c, a, b, [](uint32_t pair, int half) {
    return half == 0 ? bf16_low(pair) : bf16_high(pair);
  });
}

// Four 8×8 matrices of 16-bit numbers: lane 8i + r gives where row r of matrix i begins (16 bytes
// of shared memory); lane 4r + j gets of each elements 2j, 2j + 1 of its row r.
inline void load_matrices(uint32_t (&out)[4], const uint16_t* row) {
  if (reinterpret_cast<uintptr_t>(row) % 16 != 0) std::abort();  // a GPU faults
  const auto* lanes = emulated::warp_exchange(&row, sizeof(row));
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  for (int i = 0; i < 4; ++i) {
    const uint16_t* from = nullptr;
    std::memcpy(&from, lanes + emulated::kLaneBytes * (8 * i + lane / 4), sizeof(from));
    std::memcpy(&out[i], from + 2 * (lane % 4), sizeof(out[i]));
  }
}
// …transposed: elements 2j, 2j + 1 of its column r.
inline void load_matrices_transposed(uint32_t (&out)[4], const uint16_t* row) {
  if (reinterpret_cast<uintptr_t>(row) % 16 != 0) std::abort();
  const auto* lanes = emulated::warp_exchange(&row, sizeof(row));
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  for (int i = 0; i < 4; ++i) {
    out[i] = 0;
    for (int e = 0; e < 2; ++e) {
      const uint16_t* from = nullptr;
      const int r = 2 * (lane % 4) + e;
      std::memcpy(&from, lanes + emulated::kLaneBytes * (8 * i + r), sizeof(from));
      out[i] |= static_cast<uint32_t>(from[lane / 4]) << 16 * e;
    }
  }
}

// 16 bytes to shared memory, of which the first n_byte come from `from`; the others are zero.
inline void copy_16_async(void* to, const void* from, uint32_t n_byte) {
  if (reinterpret_cast<uintptr_t>(to) % 16 != 0 || reinterpret_cast<uintptr_t>(from) % 16 != 0) {
    std::abort();
  }
  emulated::copy_async(to, from, n_byte, 16);
}
// All of the thread's own.
inline void wait_for_copies() {
  emulated::wait_for_copies();
}

inline float exp2_fast(float value) {
  return std::exp2(value);
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
inline uint32_t pack_f16(float low, float high) {
  return f32_to_f16(low) | static_cast<uint32_t>(f32_to_f16(high)) << 16;
}
inline void mma_f16(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  emulated_mma_16(c, a, b, [](uint32_t pair, int half) {
    return f16_to_f32(static_cast<uint16_t>(pair >> 16 * half));
  });
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

__device__ __forceinline__ void mma_f16(float (&c)[4], const uint32_t (&a)[4],
                                        const uint32_t (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
      "{%0,%1,%2,%3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

__device__ __forceinline__ void load_matrices(uint32_t (&out)[4], const uint16_t* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
               : "r"(static_cast<uint32_t>(__cvta_generic_to_shared(row)))
               : "memory");
}
__device__ __forceinline__ void load_matrices_transposed(uint32_t (&out)[4], const uint16_t* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
               : "r"(static_cast<uint32_t>(__cvta_generic_to_shared(row)))
               : "memory");
}

__device__ __forceinline__ void copy_16_async(void* to, const void* from, uint32_t n_byte) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;"
               :
               : "r"(static_cast<uint32_t>(__cvta_generic_to_shared(to))), "l"(from), "r"(n_byte)
               : "memory");
}
__device__ __forceinline__ void wait_for_copies() {
  asm volatile("cp.async.wait_all;" ::: "memory");
}

// Within 2 ulp.
__device__ __forceinline__ float exp2_fast(float value) {
  float out;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(out) : "f"(value));
  return out;
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
__device__ __forceinline__ uint32_t pack_f16(float low, float high) {
  uint32_t out;
  asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(out) : "f"(high), "f"(low));
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
