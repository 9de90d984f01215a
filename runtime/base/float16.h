// Owns: the 16-bit floats as plain integers and their exact conversions, round to nearest even.
// NaN stays NaN (quiet), infinities stay, values beyond the range become infinite. Scalar and
// portable: bulk conversion belongs to kernels/.
#pragma once

#include <bit>
#include <cstdint>

namespace splitd {

struct bf16 {
  uint16_t bits;
};
struct f16 {
  uint16_t bits;
};

[[nodiscard]] constexpr float to_f32(bf16 value) {
  return std::bit_cast<float>(uint32_t{value.bits} << 16);
}

[[nodiscard]] constexpr bf16 to_bf16(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return {static_cast<uint16_t>((bits >> 16) | 0x40u)};
  const uint32_t round = 0x7fffu + ((bits >> 16) & 1u);
  return {static_cast<uint16_t>((bits + round) >> 16)};
}

[[nodiscard]] constexpr float to_f32(f16 value) {
  const uint32_t sign = uint32_t{value.bits & 0x8000u} << 16;
  const uint32_t exponent = (value.bits >> 10) & 0x1fu;
  const uint32_t mantissa = value.bits & 0x3ffu;
  if (exponent == 0x1f) {
    const uint32_t quiet = mantissa != 0 ? 0x400000u : 0u;
    return std::bit_cast<float>(sign | 0x7f800000u | quiet | (mantissa << 13));
  }
  if (exponent == 0) {  // zero or subnormal: mantissa · 2^-24, exact in f32
    const float magnitude = static_cast<float>(mantissa) * 0x1p-24f;
    return std::bit_cast<float>(sign | std::bit_cast<uint32_t>(magnitude));
  }
  return std::bit_cast<float>(sign | ((exponent + 112) << 23) | (mantissa << 13));
}

[[nodiscard]] constexpr f16 to_f16(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const auto sign = static_cast<uint16_t>((bits >> 16) & 0x8000u);
  const uint32_t magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) {
    return {static_cast<uint16_t>(sign | 0x7e00u | ((magnitude >> 13) & 0x3ffu))};
  }
  if (magnitude >= 0x477ff000u) return {static_cast<uint16_t>(sign | 0x7c00u)};  // ≥ 65520
  if (magnitude < 0x38800000u) {  // below 2^-14: subnormal, in units of 2^-24
    const uint32_t exponent = magnitude >> 23;
    if (exponent < 102) return {sign};  // below 2^-25
    const uint32_t mantissa = (magnitude & 0x7fffffu) | 0x800000u;
    const uint32_t shift = 126 - exponent;  // 14 … 24
    const uint32_t half = 1u << (shift - 1);
    const uint32_t kept = mantissa >> shift;
    const uint32_t rest = mantissa & ((1u << shift) - 1);
    const uint32_t up = (rest > half || (rest == half && (kept & 1u) != 0)) ? 1u : 0u;
    return {static_cast<uint16_t>(sign | (kept + up))};
  }
  const uint32_t round = 0xfffu + ((magnitude >> 13) & 1u);
  return {static_cast<uint16_t>(sign | ((magnitude - 0x38000000u + round) >> 13))};
}

}  // namespace splitd
