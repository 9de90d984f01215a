// Bit for bit what the gguf Python package makes of the same blocks (tests/golden/make_gguf.py).
#include "runtime/model/formats/dequantize.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <set>
#include <string>
#include <vector>

#include "runtime/base/files.h"
#include "runtime/base/json.h"
#include "runtime/base/sha256.h"
#include "tests/runtime/model/formats/format_files.h"

namespace splitd {
namespace {

std::optional<DType> dtype_named(std::string_view name) {
  for (uint8_t i = 0; i <= static_cast<uint8_t>(DType::q6_k); ++i) {
    if (dtype_name(static_cast<DType>(i)) == name) return static_cast<DType>(i);
  }
  return std::nullopt;
}

// 65536 values of a 16-bit type, as bytes.
std::string every_value() {
  std::string out;
  for (uint32_t i = 0; i < 65536; ++i) out += le(static_cast<uint16_t>(i));
  return out;
}

class Dequantize : public testing::Test {
 protected:
  void SetUp() override {
    Result<std::string> text = read_file(SPLITD_TEST_DATA "/golden/gguf/dequantize.json");
    ASSERT_TRUE(text.ok());
    Result<JsonDoc> doc = JsonDoc::parse(std::move(*text));
    ASSERT_TRUE(doc.ok());
    doc_ = std::make_unique<JsonDoc>(std::move(*doc));
  }
  Json cases() const { return *doc_->root().find("cases"); }

 private:
  std::unique_ptr<JsonDoc> doc_;
};

// The first value that differs, or n_values.
size_t first_difference(const std::vector<float>& values, const std::string& wanted_bits) {
  for (size_t i = 0; i < values.size(); ++i) {
    uint32_t wanted;
    std::memcpy(&wanted, wanted_bits.data() + 4 * i, 4);
    const bool both_nan = wanted == 0x7fc00000u && std::isnan(values[i]);
    if (std::bit_cast<uint32_t>(values[i]) != wanted && !both_nan) return i;
  }
  return values.size();
}

TEST_F(Dequantize, BlocksBitForBit) {
  std::set<std::string_view> seen;
  for (const Json item : cases().elements()) {
    if (item.find("every_sha256")) continue;
    const std::string_view name = item.find("type")->text();
    SCOPED_TRACE(name);
    seen.insert(name);
    const DType dtype = *dtype_named(name);
    ASSERT_TRUE(can_dequantize(dtype));
    const std::string blocks = from_hex(item.find("hex")->text());
    const std::string wanted = from_hex(item.find("bits")->text());
    std::vector<float> values(*item.find("n_values")->to_u64());
    ASSERT_EQ(wanted.size(), values.size() * 4);
    ASSERT_EQ(blocks.size() * dtype_info(dtype).block_values,
              values.size() * dtype_info(dtype).block_bytes);
    const std::string unaligned = "x" + blocks;
    dequantize(dtype, as_bytes(unaligned).data() + 1, values.size(), values.data());
    EXPECT_EQ(first_difference(values, wanted), values.size());

    // The corrupted twin: some value of the first, random block changes with any of its bytes.
    std::vector<float> others(values.size());
    for (size_t i = 0; i < dtype_info(dtype).block_bytes; ++i) {
      std::string twin = blocks;
      twin[i] = static_cast<char>(twin[i] ^ 0x10);
      dequantize(dtype, as_bytes(twin).data(), others.size(), others.data());
      ASSERT_NE(first_difference(others, wanted), others.size()) << "byte " << i;
    }
  }
  EXPECT_EQ(seen.size(), 8u);
}

TEST_F(Dequantize, EveryHalfBitForBit) {
  size_t seen = 0;
  const std::string halves = every_value();
  for (const Json item : cases().elements()) {
    const std::optional<Json> digest = item.find("every_sha256");
    if (!digest) continue;
    ++seen;
    std::vector<float> values(65536);
    dequantize(*dtype_named(item.find("type")->text()), as_bytes(halves).data(), values.size(),
               values.data());
    Sha256 hash;
    hash.update(std::as_bytes(std::span(values)));
    EXPECT_EQ(hex(hash.finish()), digest->text()) << item.find("type")->text();
  }
  EXPECT_EQ(seen, 2u);
}

TEST(DequantizeTypes, F32IsCopied) {
  const std::string bits = "y" + le(0x7f800001u) + le(0x80000000u);
  std::vector<float> values(2);
  dequantize(DType::f32, as_bytes(bits).data() + 1, 2, values.data());
  uint32_t nan;
  std::memcpy(&nan, values.data(), 4);
  EXPECT_EQ(nan, 0x7f800001u);
  EXPECT_TRUE(std::signbit(values[1]));
}

TEST(DequantizeTypes, NothingOfNothingAndOfOtherTypes) {
  float value = 7.0f;
  const std::byte none{};
  for (uint8_t i = 0; i <= static_cast<uint8_t>(DType::q6_k); ++i) {
    const auto dtype = static_cast<DType>(i);
    dequantize(dtype, &none, 0, &value);
    EXPECT_EQ(value, 7.0f);
    if (!can_dequantize(dtype)) {
      dequantize(dtype, &none, 256, &value);
      EXPECT_EQ(value, 7.0f);
    }
  }
  EXPECT_FALSE(can_dequantize(DType::i32));
  EXPECT_FALSE(can_dequantize(DType::f64));
}

}  // namespace
}  // namespace splitd
