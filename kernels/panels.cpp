// GGUF's rows → the panels of quantised.h. It has to keep up with memory, for it stands between a
// file and its first token: words of 4 bytes are moved and masked whole, and what the next panel
// needs is asked for a panel ahead. Words are as in a file, so bytes are in ascending order.
#include <algorithm>
#include <bit>
#include <cstring>

#include "kernels/quantised.h"

namespace splitd::kernels {
namespace {

static_assert(std::endian::native == std::endian::little);

constexpr size_t kLine = 64, kRowsOf = kPanelRows;

uint32_t word_at(const std::byte* in) {
  uint32_t word;
  std::memcpy(&word, in, sizeof word);
  return word;
}
void put_word(std::byte* out, uint32_t word) {
  std::memcpy(out, &word, sizeof word);
}

// A block of 16 rows: row r begins at p + r · stride.
struct Rows {
  const std::byte* p;
  size_t stride;

  const std::byte* at(size_t row, size_t byte) const { return p + row * stride + byte; }
};

// kWords words of each row from byte `from` on: word by word, the 16 rows side by side.
template <size_t kWords>
void turn(const Rows& rows, size_t from, std::byte* out) {
  for (size_t r = 0; r < kRowsOf; ++r) {
    const std::byte* in = rows.at(r, from);
    for (size_t d = 0; d < kWords; ++d) put_word(out + 64 * d + 4 * r, word_at(in + 4 * d));
  }
}
void put_halves(const Rows& rows, size_t from, std::byte* out) {
  for (size_t r = 0; r < kRowsOf; ++r) std::memcpy(out + 2 * r, rows.at(r, from), 2);
}
// The bytes of a word, 32 bytes apart: those of neighbouring groups.
void spread(uint32_t word, std::byte* out) {
  for (size_t j = 0; j < 4; ++j) out[32 * j] = static_cast<std::byte>(word >> (8 * j));
}

void lay_out_k(WeightType type, const Rows& rows, std::byte* out) {
  constexpr uint32_t kLow4 = 0x0f0f0f0fu, kLow6 = 0x3f3f3f3fu, kBits45 = 0x30303030u;
  const bool is_5 = type == WeightType::q5_k;
  put_halves(rows, 0, out);
  put_halves(rows, 2, out + 32);
  for (size_t i = 0; i < kRowsOf; ++i) out[32 + 2 * i + 1] ^= std::byte{0x80};
  std::byte scales[8][2][kRowsOf];
  for (size_t r = 0; r < kRowsOf; ++r) {
    const uint32_t a = word_at(rows.at(r, 4)), b = word_at(rows.at(r, 8));
    const uint32_t both = word_at(rows.at(r, 12));
    spread(a & kLow6, &scales[0][0][r]);
    spread(b & kLow6, &scales[0][1][r]);
    spread((both & kLow4) | (a >> 2 & kBits45), &scales[4][0][r]);
    spread((both >> 4 & kLow4) | (b >> 2 & kBits45), &scales[4][1][r]);
  }
  out += 64;
  for (size_t pair = 0; pair < 4; ++pair) {
    for (size_t j = 2 * pair; is_5 && j < 2 * pair + 2; ++j, out += 64) {
      for (size_t r = 0; r < kRowsOf; ++r) {
        uint32_t bits = 0;
        for (size_t d = 0; d < 8; ++d) {
          bits |= (word_at(rows.at(r, 16 + 4 * d)) >> j & 0x01010101u) << d;
        }
        put_word(out + 4 * r, bits);
      }
    }
    turn<8>(rows, (is_5 ? 48 : 16) + 32 * pair, out);
    out += 512;
    std::memcpy(out, scales[2 * pair], 64);
    out += 64;
  }
}

void lay_out_6(const Rows& rows, std::byte* out) {
  constexpr uint32_t kLow = 0x0f0f0f0fu, kHigh = 0xf0f0f0f0u;
  put_halves(rows, 208, out);
  out += 32;
  for (size_t pair = 0; pair < 4; ++pair, out += 832) {
    const size_t low = pair / 2 * 64, high = 128 + pair / 2 * 32;
    const auto shift = static_cast<unsigned>(pair % 2 * 4);
    for (size_t r = 0; r < kRowsOf; ++r) {
      const std::byte* row = rows.at(r, 0);
      for (size_t d = 0; d < 8; ++d) {
        const uint32_t one = word_at(row + low + 4 * d), next = word_at(row + low + 32 + 4 * d);
        put_word(
            out + 192 * (d % 4) + 64 + 64 * (d / 4) + 4 * r,
            shift == 0 ? (one & kLow) | (next & kLow) << 4 : (one >> 4 & kLow) | (next & kHigh));
      }
      for (size_t d = 0; d < 4; ++d) {
        const uint32_t one = word_at(row + high + 4 * d), next = word_at(row + high + 16 + 4 * d);
        put_word(out + 192 * d + 4 * r, (one >> shift & kLow) | (next >> shift & kLow) << 4);
      }
      for (size_t i = 0; i < 4; ++i) out[768 + 16 * i + r] = row[192 + 4 * pair + i];
    }
  }
}

void lay_out_block(WeightType type, const Rows& rows, std::byte* out) {
  switch (type) {
    case WeightType::q8_0:
      turn<8>(rows, 2, out);
      return put_halves(rows, 0, out + 512);
    case WeightType::q4_0:
      turn<4>(rows, 2, out);
      return put_halves(rows, 0, out + 256);
    case WeightType::q4_1:
      turn<4>(rows, 4, out);
      put_halves(rows, 0, out + 256);
      return put_halves(rows, 2, out + 288);
    case WeightType::q5_0:
      turn<4>(rows, 6, out);
      turn<1>(rows, 2, out + 256);
      return put_halves(rows, 0, out + 320);
    case WeightType::q5_1:
      turn<4>(rows, 8, out);
      turn<1>(rows, 4, out + 256);
      put_halves(rows, 0, out + 320);
      return put_halves(rows, 2, out + 352);
    case WeightType::q6_k:
      return lay_out_6(rows, out);
    default:
      return lay_out_k(type, rows, out);
  }
}

// The rows behind the last are zeros. An all-zero block is zero in every type.
void lay_out_rest(WeightType type, const Rows& rows, size_t n_row, std::byte* out) {
  std::byte blocks[kRowsOf * 210] = {};
  const size_t bytes = block_bytes(type);
  for (size_t r = 0; r < n_row; ++r) std::memcpy(blocks + r * bytes, rows.at(r, 0), bytes);
  lay_out_block(type, {blocks, bytes}, out);
}

}  // namespace

WeightType panel_type(WeightType type) {
  switch (type) {
    case WeightType::q8_0:
      return WeightType::q8;
    case WeightType::q4_0:
      return WeightType::q4;
    case WeightType::q4_1:
      return WeightType::p4_1;
    case WeightType::q5_0:
      return WeightType::p5_0;
    case WeightType::q5_1:
      return WeightType::p5_1;
    case WeightType::q4_k:
      return WeightType::p4_k;
    case WeightType::q5_k:
      return WeightType::p5_k;
    case WeightType::q6_k:
      return WeightType::p6_k;
    default:
      return type;
  }
}

size_t panel_bytes(WeightType type, size_t n, size_t k) {
  if (!is_paneled(panel_type(type))) return n * row_bytes(type, k);
  return (n + kPanelRows - 1) / kPanelRows * kPanelRows * row_bytes(panel_type(type), k);
}

void lay_out_panels(WeightType type, const void* w, size_t n, size_t k, size_t panel_begin,
                    size_t panel_end, void* panels) {
  const size_t stride = row_bytes(type, k), bytes = block_bytes(type), blocks = stride / bytes;
  const size_t out_bytes = block_bytes(panel_type(type)) * kPanelRows;
  auto* out = static_cast<std::byte*>(panels) + panel_begin * blocks * out_bytes;
  for (size_t panel = panel_begin; panel < panel_end; ++panel) {
    const size_t row = panel * kPanelRows, n_row = std::min(kPanelRows, n - row);
    const std::byte* in = static_cast<const std::byte*>(w) + row * stride;
    const std::byte* ahead = in + kPanelRows * stride;  // the next panel, in its order
    for (size_t block = 0; block < blocks; ++block, in += bytes, out += out_bytes) {
      for (size_t at = 0; at < bytes * kPanelRows; at += kLine)
        __builtin_prefetch(ahead + at, 0, 2);
      ahead += bytes * kPanelRows;
      if (n_row == kPanelRows) {
        lay_out_block(type, {in, stride}, out);
      } else {
        lay_out_rest(type, {in, stride}, n_row, out);
      }
    }
  }
}

}  // namespace splitd::kernels
