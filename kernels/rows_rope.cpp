// Owns: the tables of rotary positions, and the sizes on the wire: plain code, compiled once for
// every machine, without fused operations, so that the tables are the same everywhere.
// Thread-safe; never fails.
#include <cmath>

#include "kernels/rows.h"

namespace splitd::kernels {
namespace {

struct CosSin {
  double cos, sin;
};

// π/2 in three parts, the first two of 31 bits: n times either is exact up to n = 2^22.
CosSin cos_sin(double x) {
  constexpr double kTop = 0x1.921fb544p+0, kMiddle = 0x1.0b4611a6p-34,
                   kRest = 0x1.3198a2e037073p-69;
  const double n = std::nearbyint(x * (2 / M_PI));
  const double r = ((x - n * kTop) - n * kMiddle) - n * kRest;
  const double z = r * r;
  // Taylor to the terms below 2^-53 of 1 for |r| ≤ π/4; far beyond what f32 needs.
  const double sin_r =
      r +
      r * z *
          (-1.0 / 6 +
           z * (1.0 / 120 + z * (-1.0 / 5040 + z * (1.0 / 362880 + z * (-1.0 / 39916800 +
                                                                        z * (1.0 / 6227020800))))));
  const double cos_r =
      1 + z * (-0.5 +
               z * (1.0 / 24 + z * (-1.0 / 720 +
                                    z * (1.0 / 40320 +
                                         z * (-1.0 / 3628800 +
                                              z * (1.0 / 479001600 + z * (-1.0 / 87178291200)))))));
  switch (static_cast<int64_t>(n) & 3) {
    case 0:
      return {cos_r, sin_r};
    case 1:
      return {-sin_r, cos_r};
    case 2:
      return {-cos_r, -sin_r};
    default:
      return {sin_r, -cos_r};
  }
}

// The steps of transformers' _compute_llama3_parameters, each in fp32 as its tensors are.
float llama3_frequency(const RopeShape& shape, float f) {
  const double low_wavelength = shape.original_ctx / shape.low_freq_factor;
  const double high_wavelength = shape.original_ctx / shape.high_freq_factor;
  // PyTorch takes scalar / tensor as reciprocal · scalar.
  const float wavelength = 1.0f / f * static_cast<float>(2 * M_PI);
  if (wavelength > static_cast<float>(low_wavelength)) {
    return f / static_cast<float>(shape.factor);
  }
  if (wavelength < static_cast<float>(high_wavelength)) return f;
  const float low = static_cast<float>(shape.low_freq_factor);
  const float span = static_cast<float>(shape.high_freq_factor - shape.low_freq_factor);
  const float turns = 1.0f / wavelength * static_cast<float>(shape.original_ctx);
  const float smooth = (turns - low) / span;
  const float slowed = (1.0f - smooth) * f / static_cast<float>(shape.factor);
  return slowed + smooth * f;
}

}  // namespace

void rope_frequencies(const RopeShape& shape, float* inv_freq) {
  for (size_t i = 0; i < shape.n_rotary / 2; ++i) {
    const float exponent = static_cast<float>(2 * i) / static_cast<float>(shape.n_rotary);
    const float base = static_cast<float>(shape.theta);
    const float power = static_cast<float>(std::pow(double{base}, double{exponent}));
    switch (shape.scaling) {
      case RopeScaling::plain:
        inv_freq[i] = 1.0f / power;
        break;
      case RopeScaling::linear:
        inv_freq[i] = 1.0f / power / static_cast<float>(shape.factor);
        break;
      case RopeScaling::llama3:
        inv_freq[i] = llama3_frequency(shape, 1.0f / power);
        break;
      case RopeScaling::longrope:
        inv_freq[i] = 1.0f / (shape.freq_divisors[i] * power);
        break;
    }
  }
}

void rope_table(const float* inv_freq, size_t n, uint32_t position, float attention_factor,
                float* cos, float* sin) {
  for (size_t i = 0; i < n; ++i) {
    const float angle = inv_freq[i] * static_cast<float>(position);
    const CosSin exact = cos_sin(double{angle});
    cos[i] = static_cast<float>(exact.cos) * attention_factor;
    sin[i] = static_cast<float>(exact.sin) * attention_factor;
  }
}

bool wire_has_exponents(WireType type) {
  return type != WireType::f32 && type != WireType::bf16;
}

size_t wire_data_bytes(WireType type, size_t n) {
  const size_t n_group = n / 32 + (n % 32 != 0 ? 1 : 0);
  switch (type) {
    case WireType::f32:
      return n * 4;
    case WireType::bf16:
    case WireType::f16:
      return n * 2;
    case WireType::q8:
      return n_group * 34;
    case WireType::q4:
      return n_group * 18;
  }
  return 0;
}

}  // namespace splitd::kernels
