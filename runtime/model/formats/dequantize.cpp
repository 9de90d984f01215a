// One function per block type. Compiled with -ffp-contract=off: a fused multiply-add would round
// once where the definition rounds twice.
#include "runtime/model/formats/dequantize.h"

#include <bit>
#include <cstring>

#include "runtime/base/float16.h"

namespace splitd {
namespace {

static_assert(std::endian::native == std::endian::little, "files are little-endian");

template <class T>
T load(const std::byte* in) {
  T value;
  std::memcpy(&value, in, sizeof value);
  return value;
}

uint32_t byte_at(const std::byte* in, uint32_t i) {
  return std::to_integer<uint32_t>(in[i]);
}

float signed_byte_at(const std::byte* in, uint32_t i) {
  return static_cast<float>(static_cast<int8_t>(in[i]));
}

float as_float(uint32_t value) {
  return static_cast<float>(value);
}

float half_at(const std::byte* in) {
  return to_f32(f16{load<uint16_t>(in)});
}

void f32_values(const std::byte* in, uint64_t n_values, float* out) {
  if (n_values != 0) std::memcpy(out, in, n_values * sizeof(float));
}

void f16_values(const std::byte* in, uint64_t n_values, float* out) {
  for (uint64_t i = 0; i < n_values; ++i) {
    const auto bits = load<uint16_t>(in + 2 * i);
    if ((bits & 0x7fffu) > 0x7c00u) {  // numpy keeps a signalling NaN as it is; to_f32 quiets it
      const uint32_t nan =
          (uint32_t{bits & 0x8000u} << 16) | 0x7f800000u | (uint32_t{bits & 0x3ffu} << 13);
      std::memcpy(out + i, &nan, sizeof nan);
    } else {
      out[i] = to_f32(f16{bits});
    }
  }
}

void bf16_values(const std::byte* in, uint64_t n_values, float* out) {
  for (uint64_t i = 0; i < n_values; ++i) {
    const uint32_t bits = uint32_t{load<uint16_t>(in + 2 * i)} << 16;
    std::memcpy(out + i, &bits, sizeof bits);
  }
}

// The 32-value types keep value j in the low nibble of byte j and value j + 16 in the high one.

void q4_0_block(const std::byte* in, float* out) {
  const float d = half_at(in);
  for (uint32_t j = 0; j < 16; ++j) {
    const uint32_t q = byte_at(in + 2, j);
    out[j] = d * (as_float(q & 15u) - 8.0f);
    out[j + 16] = d * (as_float(q >> 4) - 8.0f);
  }
}

void q4_1_block(const std::byte* in, float* out) {
  const float d = half_at(in);
  const float m = half_at(in + 2);
  for (uint32_t j = 0; j < 16; ++j) {
    const uint32_t q = byte_at(in + 4, j);
    out[j] = d * as_float(q & 15u) + m;
    out[j + 16] = d * as_float(q >> 4) + m;
  }
}

void q5_0_block(const std::byte* in, float* out) {
  const float d = half_at(in);
  const auto high = load<uint32_t>(in + 2);  // bit i is bit 4 of value i
  for (uint32_t j = 0; j < 16; ++j) {
    const uint32_t q = byte_at(in + 6, j);
    out[j] = d * (as_float((q & 15u) | ((high >> j & 1u) << 4)) - 16.0f);
    out[j + 16] = d * (as_float((q >> 4) | ((high >> (j + 16) & 1u) << 4)) - 16.0f);
  }
}

void q5_1_block(const std::byte* in, float* out) {
  const float d = half_at(in);
  const float m = half_at(in + 2);
  const auto high = load<uint32_t>(in + 4);
  for (uint32_t j = 0; j < 16; ++j) {
    const uint32_t q = byte_at(in + 8, j);
    out[j] = d * as_float((q & 15u) | ((high >> j & 1u) << 4)) + m;
    out[j + 16] = d * as_float((q >> 4) | ((high >> (j + 16) & 1u) << 4)) + m;
  }
}

void q8_0_block(const std::byte* in, float* out) {
  const float d = half_at(in);
  for (uint32_t j = 0; j < 32; ++j) out[j] = signed_byte_at(in + 2, j) * d;
}

// The 6-bit scale and minimum of sub-block j (of 8) in the 12 bytes of Q4_K and Q5_K.
struct ScaleMin {
  float scale;
  float min;
};
ScaleMin scale_min(const std::byte* s, uint32_t j) {
  if (j < 4) return {as_float(byte_at(s, j) & 63u), as_float(byte_at(s, j + 4) & 63u)};
  const uint32_t low = byte_at(s, j + 4);
  return {as_float((low & 15u) | (byte_at(s, j - 4) >> 6 << 4)),
          as_float((low >> 4) | (byte_at(s, j) >> 6 << 4))};
}

void q4_k_block(const std::byte* in, float* out) {
  const float d = half_at(in);
  const float dmin = half_at(in + 2);
  const std::byte* qs = in + 16;
  for (uint32_t j = 0; j < 8; ++j, out += 32) {
    const ScaleMin sub = scale_min(in + 4, j);
    const float scale = d * sub.scale;
    const float min = dmin * sub.min;
    for (uint32_t l = 0; l < 32; ++l) {
      const uint32_t q = byte_at(qs, j / 2 * 32 + l) >> (j % 2 * 4) & 15u;
      out[l] = scale * as_float(q) - min;
    }
  }
}

void q5_k_block(const std::byte* in, float* out) {
  const float d = half_at(in);
  const float dmin = half_at(in + 2);
  const std::byte* qh = in + 16;  // bit j of byte l is bit 4 of value l of sub-block j
  const std::byte* qs = in + 48;
  for (uint32_t j = 0; j < 8; ++j, out += 32) {
    const ScaleMin sub = scale_min(in + 4, j);
    const float scale = d * sub.scale;
    const float min = dmin * sub.min;
    for (uint32_t l = 0; l < 32; ++l) {
      const uint32_t q = byte_at(qs, j / 2 * 32 + l) >> (j % 2 * 4) & 15u;
      out[l] = scale * as_float(q | ((byte_at(qh, l) >> j & 1u) << 4)) - min;
    }
  }
}

// 16 sub-blocks of 16. Each half of 128 values: four runs of 32 share 64 bytes of low nibbles and
// 32 bytes of high bit pairs.
void q6_k_block(const std::byte* in, float* out) {
  const float d = half_at(in + 208);
  for (uint32_t half = 0; half < 2; ++half) {
    const std::byte* ql = in + half * 64;
    const std::byte* qh = in + 128 + half * 32;
    const std::byte* scales = in + 192 + half * 8;
    for (uint32_t run = 0; run < 4; ++run, out += 32) {
      for (uint32_t l = 0; l < 32; ++l) {
        const uint32_t low = byte_at(ql, run % 2 * 32 + l) >> (run / 2 * 4) & 15u;
        const uint32_t high = byte_at(qh, l) >> (run * 2) & 3u;
        const float scale = d * signed_byte_at(scales, run * 2 + l / 16);
        out[l] = scale * (as_float(low | (high << 4)) - 32.0f);
      }
    }
  }
}

using BlockFn = void (*)(const std::byte*, float*);

BlockFn block_function(DType dtype) {
  switch (dtype) {
    case DType::q4_0:
      return q4_0_block;
    case DType::q4_1:
      return q4_1_block;
    case DType::q5_0:
      return q5_0_block;
    case DType::q5_1:
      return q5_1_block;
    case DType::q8_0:
      return q8_0_block;
    case DType::q4_k:
      return q4_k_block;
    case DType::q5_k:
      return q5_k_block;
    case DType::q6_k:
      return q6_k_block;
    default:
      return nullptr;
  }
}

}  // namespace

bool can_dequantize(DType dtype) {
  return dtype == DType::f32 || dtype == DType::f16 || dtype == DType::bf16 ||
         block_function(dtype) != nullptr;
}

void dequantize(DType dtype, const std::byte* in, uint64_t n_values, float* out) {
  if (dtype == DType::f32) return f32_values(in, n_values, out);
  if (dtype == DType::f16) return f16_values(in, n_values, out);
  if (dtype == DType::bf16) return bf16_values(in, n_values, out);
  const BlockFn block = block_function(dtype);
  if (block == nullptr) return;  // a precondition broken; writing nothing is the least harm
  const DTypeInfo& info = dtype_info(dtype);
  for (uint64_t i = 0; i < n_values / info.block_values; ++i) {
    block(in + i * info.block_bytes, out + i * info.block_values);
  }
}

}  // namespace splitd
