// Owns: what the NEON products of quantised weights share: 4 weight rows to a vector, everything
// but the integer products themselves. In an unnamed namespace, as all that a unit includes.
#pragma once

#include <arm_neon.h>

#include "kernels/quantised_tiles.h"

namespace splitd::kernels {
namespace {

struct QuantisedNeon {
  using Quads = uint8x16_t;
  using Ints = int32x4_t;
  using Floats = float32x4_t;
  static constexpr size_t kLanes = 4;
  static constexpr bool kPairs = false;
  static constexpr size_t kFewRows = 4, kPassRows = kFewRows;
  static constexpr size_t kRows = 4, kLeastRows = 2, kCols = 2;
  static constexpr size_t kBlockVectors = 8, kBlockGroups = 128, kSmallGroups = 16;

  // ---------------------------------------------------------------- loading

  static Quads load(const std::byte* p) { return vld1q_u8(reinterpret_cast<const uint8_t*>(p)); }

  // 16 bytes of each of 4 rows, dword by dword.
  static KERNEL_INLINE void columns(const std::byte* p, size_t s, Quads (&out)[4]) {
    const uint32x4_t a = vreinterpretq_u32_u8(load(p)), b = vreinterpretq_u32_u8(load(p + s));
    const uint32x4_t c = vreinterpretq_u32_u8(load(p + 2 * s));
    const uint32x4_t d = vreinterpretq_u32_u8(load(p + 3 * s));
    const uint64x2_t ab0 = vreinterpretq_u64_u32(vtrn1q_u32(a, b));  // dwords 0 and 2
    const uint64x2_t ab1 = vreinterpretq_u64_u32(vtrn2q_u32(a, b));  // 1 and 3
    const uint64x2_t cd0 = vreinterpretq_u64_u32(vtrn1q_u32(c, d));
    const uint64x2_t cd1 = vreinterpretq_u64_u32(vtrn2q_u32(c, d));
    out[0] = vreinterpretq_u8_u64(vtrn1q_u64(ab0, cd0));
    out[1] = vreinterpretq_u8_u64(vtrn1q_u64(ab1, cd1));
    out[2] = vreinterpretq_u8_u64(vtrn2q_u64(ab0, cd0));
    out[3] = vreinterpretq_u8_u64(vtrn2q_u64(ab1, cd1));
  }
  static uint32_t bits32(const std::byte* p) {
    uint32_t bits;
    std::memcpy(&bits, p, sizeof bits);
    return bits;
  }
  // A word of each row.
  static KERNEL_INLINE Quads words(const std::byte* p, size_t s) {
    uint32x4_t out = vdupq_n_u32(bits32(p));
    out = vsetq_lane_u32(bits32(p + s), out, 1);
    out = vsetq_lane_u32(bits32(p + 2 * s), out, 2);
    return vreinterpretq_u8_u32(vsetq_lane_u32(bits32(p + 3 * s), out, 3));
  }
  static Floats low_halves(Quads words) {
    return vcvt_f32_f16(vreinterpret_f16_u16(vmovn_u32(vreinterpretq_u32_u8(words))));
  }
  static Floats high_halves(Quads words) {
    return vcvt_f32_f16(vreinterpret_f16_u16(vshrn_n_u32(vreinterpretq_u32_u8(words), 16)));
  }
  // A 16-bit float of each row, with something behind it, or before it.
  static Floats halves(const std::byte* p, size_t s) { return low_halves(words(p, s)); }
  static Floats halves_behind(const std::byte* p, size_t s) { return high_halves(words(p, s)); }
  static void two_halves(Quads words, Floats& low, Floats& high) {
    low = low_halves(words);
    high = high_halves(words);
  }
  static Floats near_halves(const std::byte* p) {
    return vcvt_f32_f16(vreinterpret_f16_u8(vld1_u8(reinterpret_cast<const uint8_t*>(p))));
  }

  static Floats near_bytes(const std::byte* p) {
    const uint16x8_t wide = vmovl_u8(vcreate_u8(bits32(p)));
    return vcvtq_f32_u32(vmovl_u16(vget_low_u16(wide)));
  }
  static Floats near_signed_bytes(const std::byte* p) {
    const int16x8_t wide = vmovl_s8(vcreate_s8(bits32(p)));
    return vcvtq_f32_s32(vmovl_s16(vget_low_s16(wide)));
  }

  // ---------------------------------------------------------------- bits

  static Quads bits_of(Quads x, uint32_t mask) {
    return vandq_u8(x, vreinterpretq_u8_u32(vdupq_n_u32(mask)));
  }
  static Quads low_nibbles(Quads x) { return vandq_u8(x, vdupq_n_u8(15)); }
  static Quads high_nibbles(Quads x) { return vshrq_n_u8(x, 4); }
  static Quads either(Quads a, Quads b) { return vorrq_u8(a, b); }
  static Quads with_bits(Quads a, Quads b, uint32_t mask) { return either(a, bits_of(b, mask)); }
  template <unsigned kBits>
  static Quads shift_right(Quads x) {
    return vreinterpretq_u8_u32(vshrq_n_u32(vreinterpretq_u32_u8(x), kBits));
  }
  template <unsigned kBits>
  static Quads shift_left(Quads x) {
    return vreinterpretq_u8_u32(vshlq_n_u32(vreinterpretq_u32_u8(x), kBits));
  }
  static Quads from_signed(Quads x) { return x; }
  // Bit 4·d + b of each row's word is bit 4 of byte b of w[d].
  static KERNEL_INLINE void add_fifth_bits(Quads words, Quads (&w)[8]) {
    const uint8x16_t lanes = {0, 0, 0, 0, 4, 4, 4, 4, 8, 8, 8, 8, 12, 12, 12, 12};
    KERNEL_UNROLL
    for (size_t d = 0; d < 8; ++d) {
      const uint8x16_t from = vaddq_u8(lanes, vdupq_n_u8(static_cast<uint8_t>(d / 2)));
      const uint32_t bits = d % 2 == 0 ? 0x08040201u : 0x80402010u;
      const Quads set = vtstq_u8(vqtbl1q_u8(words, from), vreinterpretq_u8_u32(vdupq_n_u32(bits)));
      w[d] = vorrq_u8(w[d], vandq_u8(set, vdupq_n_u8(16)));
    }
  }
  static Floats unsigned_byte(Quads x, size_t j) {
    const int32x4_t shift = vdupq_n_s32(-static_cast<int32_t>(8 * j));
    const uint32x4_t byte = vshlq_u32(vreinterpretq_u32_u8(x), shift);
    return vcvtq_f32_u32(vandq_u32(byte, vdupq_n_u32(255)));
  }
  static Floats signed_byte(Quads x, size_t j) {
    const int32x4_t shift = vdupq_n_s32(static_cast<int32_t>(24 - 8 * j));
    const uint32x4_t high = vshlq_u32(vreinterpretq_u32_u8(x), shift);
    return vcvtq_f32_s32(vshrq_n_s32(vreinterpretq_s32_u32(high), 24));
  }

  // ---------------------------------------------------------------- products

  static Floats zero() { return vdupq_n_f32(0); }
  static Floats multiply(Floats a, Floats b) { return vmulq_f32(a, b); }
  static Floats negative(Floats a) { return vnegq_f32(a); }
  static Floats times(Floats a, float b) { return vmulq_n_f32(a, b); }
  static Floats mul_add(Floats a, Floats b, Floats sum) { return vfmaq_f32(sum, a, b); }
  static Floats mul_add_one(Floats a, float b, Floats sum) {
    return vfmaq_f32(sum, a, vdupq_n_f32(b));
  }
  static Floats to_floats(Ints x) { return vcvtq_f32_s32(x); }

  template <unsigned kShift>
  static KERNEL_INLINE Ints begin(int32_t minus_sum) {
    if constexpr (kShift == 0 || kShift == 7) return vdupq_n_s32(0);
    return vdupq_n_s32(minus_sum * (1 << kShift));
  }
  template <unsigned kShift, size_t kFrom, size_t kTo>
  static KERNEL_INLINE Ints begin_of(const ActGroup& a) {
    return begin<kShift>(kTo - kFrom == 8 ? a.minus_sum
                         : kFrom == 0     ? a.minus_low_sum
                                          : a.minus_sum - a.minus_low_sum);
  }

  // ---------------------------------------------------------------- storing

  static void keep(Quads x, std::byte* to) { vst1q_u8(reinterpret_cast<uint8_t*>(to), x); }
  static void keep(Floats x, std::byte* to) { vst1q_f32(reinterpret_cast<float*>(to), x); }
  static Floats kept_floats(const std::byte* from) {
    return vld1q_f32(reinterpret_cast<const float*>(from));
  }
  static Floats load_floats(const float* c) { return vld1q_f32(c); }
  static void store(Floats x, float* c) { vst1q_f32(c, x); }
  static Floats load_part(const float* c, size_t first, size_t end) {
    float lanes[4] = {};
    for (size_t i = first; i < end; ++i) lanes[i] = c[i];
    return vld1q_f32(lanes);
  }
  static void store_part(Floats x, float* c, size_t first, size_t end) {
    float lanes[4];
    vst1q_f32(lanes, x);
    for (size_t i = first; i < end; ++i) c[i] = lanes[i];
  }

  // ---------------------------------------------------------------- activations

  static uint32_t largest_magnitude(const float* x) {
    uint32x4_t most = vdupq_n_u32(0);
    for (size_t i = 0; i < kGroup; i += 4) {
      const uint32x4_t bits = vreinterpretq_u32_f32(vld1q_f32(x + i));
      most = vmaxq_u32(most, vandq_u32(bits, vdupq_n_u32(0x7fffffff)));
    }
    return vmaxvq_u32(most);
  }
  static void round_quants(const float* x, float inverse, int8_t* quants, int32_t& low_sum,
                           int32_t& sum) {
    int32x4_t halves[2] = {vdupq_n_s32(0), vdupq_n_s32(0)};
    for (size_t i = 0; i < kGroup; i += 8) {
      const int32x4_t a = vcvtnq_s32_f32(vmulq_n_f32(vld1q_f32(x + i), inverse));
      const int32x4_t b = vcvtnq_s32_f32(vmulq_n_f32(vld1q_f32(x + i + 4), inverse));
      vst1_s8(quants + i, vmovn_s16(vcombine_s16(vmovn_s32(a), vmovn_s32(b))));
      halves[i / 16] = vaddq_s32(halves[i / 16], vaddq_s32(a, b));
    }
    low_sum = vaddvq_s32(halves[0]);
    sum = low_sum + vaddvq_s32(halves[1]);
  }
};

}  // namespace
}  // namespace splitd::kernels
