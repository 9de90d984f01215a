// What each layout means, block type by block type, in plain code.
#include "kernels/quantised.h"

#include <cstring>

#include "runtime/base/float16.h"

namespace splitd::kernels {
namespace {

struct BlockShape {
  const char* name;
  uint16_t values, bytes;
};

constexpr BlockShape kShapes[] = {
    {"F32", 1, 4},
    {"BF16", 1, 2},
    {"F16", 1, 2},
    {"Q8_0", 32, 34},
    {"Q4_0", 32, 18},
    {"Q4_1", 32, 20},
    {"Q5_0", 32, 22},
    {"Q5_1", 32, 24},
    {"Q4_K", 256, 144},
    {"Q5_K", 256, 176},
    {"Q6_K", 256, 210},
    {"Q8", 32, 34},
    {"Q4", 32, 18},
    // In panels: a row's share.
    {"P4_1", 32, 20},
    {"P5_0", 32, 22},
    {"P5_1", 32, 24},
    {"P4_K", 256, 148},
    {"P5_K", 256, 180},
    {"P6_K", 256, 210},
};
static_assert(sizeof kShapes / sizeof kShapes[0] == kWeightTypes);

uint32_t byte_at(const std::byte* in, size_t i) {
  return std::to_integer<uint32_t>(in[i]);
}
float half_at(const std::byte* in) {
  uint16_t bits;
  std::memcpy(&bits, in, sizeof bits);
  return to_f32(f16{bits});
}
uint32_t word_at(const std::byte* in) {
  uint32_t bits;
  std::memcpy(&bits, in, sizeof bits);
  return bits;
}

// Value j in the low nibble of byte j, value j + 16 in the high one; `high` has a fifth bit of
// each.
void put_nibbles(const std::byte* in, uint32_t high, int offset, int8_t* out) {
  for (uint32_t j = 0; j < 16; ++j) {
    const uint32_t q = byte_at(in, j);
    out[j] = static_cast<int8_t>(static_cast<int>((q & 15u) | ((high >> j & 1u) << 4)) - offset);
    out[j + 16] =
        static_cast<int8_t>(static_cast<int>((q >> 4) | ((high >> (j + 16) & 1u) << 4)) - offset);
  }
}

// The 6-bit scale and minimum of sub-block j (of 8) in the 12 bytes of Q4_K and Q5_K.
void put_scale_min(const std::byte* block, size_t j, QuantisedGroup& out) {
  const std::byte* s = block + 4;
  uint32_t scale = byte_at(s, j) & 63u, min = byte_at(s, j + 4) & 63u;
  if (j >= 4) {
    const uint32_t low = byte_at(s, j + 4);
    scale = (low & 15u) | (byte_at(s, j - 4) >> 6 << 4);
    min = (low >> 4) | (byte_at(s, j) >> 6 << 4);
  }
  out.scale[0] = out.scale[1] = half_at(block) * static_cast<float>(scale);
  out.min = -(half_at(block + 2) * static_cast<float>(min));
}

// Group j of a superblock of 8.
void unpack_k(WeightType type, const std::byte* block, size_t j, QuantisedGroup& out) {
  if (type == WeightType::q6_k) {
    const size_t half = j / 4, run = j % 4;
    const std::byte* low = block + half * 64 + run % 2 * 32;
    const std::byte* high = block + 128 + half * 32;
    for (size_t l = 0; l < kGroup; ++l) {
      const uint32_t q =
          (byte_at(low, l) >> (run / 2 * 4) & 15u) | ((byte_at(high, l) >> (run * 2) & 3u) << 4);
      out.quants[l] = static_cast<int8_t>(static_cast<int>(q) - 32);
    }
    for (size_t i = 0; i < 2; ++i) {
      const auto scale = static_cast<int8_t>(byte_at(block, 192 + j * 2 + i));
      out.scale[i] = half_at(block + 208) * static_cast<float>(scale);
    }
    return;
  }
  put_scale_min(block, j, out);
  const std::byte* quants = block + (type == WeightType::q5_k ? 48 : 16) + j / 2 * 32;
  for (size_t l = 0; l < kGroup; ++l) {
    uint32_t q = byte_at(quants, l) >> (j % 2 * 4) & 15u;
    if (type == WeightType::q5_k) q |= (byte_at(block + 16, l) >> j & 1u) << 4;
    out.quants[l] = static_cast<int8_t>(q);
  }
}

// Byte 64·d + 4·r + b for value i = 4·d + b of row r.
uint32_t turned_byte(const std::byte* in, size_t r, size_t i) {
  return byte_at(in, i / 4 * 64 + r * 4 + i % 4);
}

// A group of row r of a panel of the types without superblocks.
void unpack_paneled(WeightType type, const std::byte* unit, size_t r, QuantisedGroup& out) {
  const bool has_fifth = type == WeightType::p5_0 || type == WeightType::p5_1;
  const size_t quants = type == WeightType::q8 ? 512 : 256;
  const std::byte* scales = unit + quants + (has_fifth ? 64 : 0);
  out.scale[0] = out.scale[1] = half_at(scales + 2 * r);
  if (type == WeightType::p4_1 || type == WeightType::p5_1) out.min = half_at(scales + 32 + 2 * r);
  const uint32_t high = has_fifth ? word_at(unit + quants + 4 * r) : 0;
  const int offset = type == WeightType::q4 ? 8 : type == WeightType::p5_0 ? 16 : 0;
  for (size_t i = 0; i < kGroup; ++i) {
    if (type == WeightType::q8) {
      out.quants[i] = static_cast<int8_t>(turned_byte(unit, r, i));
    } else {
      const uint32_t q = (turned_byte(unit, r, i % 16) >> (i / 16 * 4) & 15u) | (high >> i & 1u)
                                                                                    << 4;
      out.quants[i] = static_cast<int8_t>(static_cast<int>(q) - offset);
    }
  }
}

// Group j of a superblock of row r of a panel.
void unpack_paneled_k(WeightType type, const std::byte* unit, size_t j, size_t r,
                      QuantisedGroup& out) {
  const bool is_5 = type == WeightType::p5_k, is_6 = type == WeightType::p6_k;
  const std::byte* pair = unit + (is_6 ? 32 + 832 * (j / 2) : 64 + (is_5 ? 704 : 576) * (j / 2));
  const std::byte* scales = pair + (is_6 ? 768 : is_5 ? 640 : 512) + j % 2 * 32;
  for (size_t i = 0; i < kGroup; ++i) {
    const size_t lane = r * 4 + i % 4, d = i / 4;  // the nibble is in byte `lane` of vector d
    const size_t at = is_6 ? 192 * (d % 4) + 64 + 64 * (d / 4) : (is_5 ? 128 : 0) + 64 * d;
    uint32_t q = byte_at(pair, at + lane) >> (j % 2 * 4) & 15u;
    if (is_5) q |= (byte_at(pair, j % 2 * 64 + lane) >> d & 1u) << 4;
    if (is_6) q |= (byte_at(pair, 192 * (d % 4) + lane) >> (d / 4 * 4 + j % 2 * 2) & 3u) << 4;
    out.quants[i] = static_cast<int8_t>(static_cast<int>(q) - (is_6 ? 32 : 0));
  }
  const float d = half_at(unit + 2 * r);
  if (is_6) {
    for (size_t i = 0; i < 2; ++i) {
      out.scale[i] = d * static_cast<float>(static_cast<int8_t>(byte_at(scales, 16 * i + r)));
    }
    return;
  }
  out.scale[0] = out.scale[1] = d * static_cast<float>(byte_at(scales, r));
  out.min = half_at(unit + 32 + 2 * r) * static_cast<float>(byte_at(scales, 16 + r));
}

// Where the block of 16 rows that holds group `group` begins.
size_t unit_begin(WeightType type, size_t k, size_t row, size_t group) {
  const size_t values = block_values(type);
  return (row / kPanelRows * (k / values) + group * kGroup / values) * block_bytes(type) *
         kPanelRows;
}

}  // namespace

const char* type_name(WeightType type) {
  return kShapes[static_cast<size_t>(type)].name;
}
size_t block_values(WeightType type) {
  return kShapes[static_cast<size_t>(type)].values;
}
size_t block_bytes(WeightType type) {
  return kShapes[static_cast<size_t>(type)].bytes;
}

void unpack_group(WeightType type, const void* w, size_t k, size_t row, size_t group,
                  QuantisedGroup& out) {
  const auto* base = static_cast<const std::byte*>(w);
  out.min = 0;
  const size_t groups = block_values(type) / kGroup;  // of a block
  if (is_paneled(type)) {
    const std::byte* unit = base + unit_begin(type, k, row, group);
    if (groups != 1) {
      return unpack_paneled_k(type, unit, group % groups, row % kPanelRows, out);
    }
    return unpack_paneled(type, unit, row % kPanelRows, out);
  }
  const std::byte* block = base + row * row_bytes(type, k) + group / groups * block_bytes(type);
  if (groups != 1) return unpack_k(type, block, group % groups, out);
  out.scale[0] = out.scale[1] = half_at(block);
  switch (type) {
    case WeightType::q4_0:
      return put_nibbles(block + 2, 0, 8, out.quants);
    case WeightType::q4_1:
      out.min = half_at(block + 2);
      return put_nibbles(block + 4, 0, 0, out.quants);
    case WeightType::q5_0:
      return put_nibbles(block + 6, word_at(block + 2), 16, out.quants);
    case WeightType::q5_1:
      out.min = half_at(block + 2);
      return put_nibbles(block + 8, word_at(block + 4), 0, out.quants);
    default:
      std::memcpy(out.quants, block + 2, kGroup);
  }
}

void dequantise_row(WeightType type, const void* w, size_t k, size_t row, float* out) {
  const bool has_min = quantised_has_min(type);
  for (size_t group = 0; group < k / kGroup; ++group, out += kGroup) {
    QuantisedGroup unpacked;
    unpack_group(type, w, k, row, group, unpacked);
    for (size_t i = 0; i < kGroup; ++i) {
      const float value = unpacked.scale[i / 16] * static_cast<float>(unpacked.quants[i]);
      out[i] = has_min ? value + unpacked.min : value;
    }
  }
}

void put_group(WeightType type, void* w, size_t k, size_t row, size_t group, uint16_t scale,
               const int8_t* levels) {
  std::byte* unit = static_cast<std::byte*>(w) + unit_begin(type, k, row, group);
  const size_t r = row % kPanelRows, quants = (block_bytes(type) - 2) * kPanelRows;
  std::memcpy(unit + quants + 2 * r, &scale, sizeof scale);
  if (type == WeightType::q8) {
    for (size_t i = 0; i < kGroup; i += 4) std::memcpy(unit + i * 16 + r * 4, levels + i, 4);
    return;
  }
  for (size_t i = 0; i < 16; ++i) {
    const int both = (levels[i] + 8) | (levels[i + 16] + 8) * 16;
    unit[i / 4 * 64 + r * 4 + i % 4] = static_cast<std::byte>(both);
  }
}

}  // namespace splitd::kernels
