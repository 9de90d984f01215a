// The bytes themselves are tested with the kernels; here: layout, sizes and refusals.
#include "runtime/split/wire.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "kernels/select.h"

namespace splitd {
namespace {

Wire wire_of(WireType type, uint32_t d) {
  return {*kernels::runnable_tables().back(), type, d};
}

TEST(Wire, NamesComeBack) {
  for (const auto type :
       {WireType::f32, WireType::bf16, WireType::f16, WireType::q8, WireType::q4}) {
    const Result<WireType> back = wire_of_name(wire_name(type));
    ASSERT_TRUE(back);
    EXPECT_EQ(*back, type);
  }
  EXPECT_FALSE(wire_of_name("f64"));
}

TEST(Wire, RowsAreTheSameAloneAndInCompany) {
  constexpr uint32_t kD = 70;  // the last group is not full
  constexpr size_t kRows = 5;
  std::vector<float> rows(kRows * kD);
  for (size_t i = 0; i < rows.size(); ++i) {
    rows[i] = std::sin(static_cast<float>(i)) * std::pow(10.0f, static_cast<float>(i / kD) * 2 - 3);
  }
  for (const auto type :
       {WireType::f32, WireType::bf16, WireType::f16, WireType::q8, WireType::q4}) {
    const Wire wire = wire_of(type, kD);
    std::vector<std::byte> all(wire.bytes(kRows)), one(wire.bytes(1));
    ASSERT_TRUE(wire.encode(rows, all).ok());
    std::vector<float> back(rows.size()), alone(kD);
    ASSERT_TRUE(wire.decode(all, back).ok());
    for (size_t r = 0; r < kRows; ++r) {
      ASSERT_TRUE(wire.encode(std::span(rows).subspan(r * kD, kD), one).ok());
      ASSERT_TRUE(wire.decode(one, alone).ok());
      EXPECT_TRUE(std::equal(alone.begin(), alone.end(), back.begin() + static_cast<long>(r * kD)))
          << wire_name(type) << " row " << r;
    }
    if (type == WireType::f32) {
      EXPECT_EQ(back, rows);
    }
  }
  EXPECT_EQ(wire_of(WireType::f16, kD).bytes(2), 2 * (2 * kD + 1));
}

TEST(Wire, NamesWhatIsNotFinite) {
  const Wire wire = wire_of(WireType::f16, 4);
  std::vector<float> rows(12, 1.0f);
  std::vector<std::byte> payload(wire.bytes(3));
  rows[6] = std::numeric_limits<float>::quiet_NaN();
  const Status sent = wire.encode(rows, payload);
  ASSERT_FALSE(sent.ok());
  EXPECT_NE(sent.error().message.find("row 1 to send is not finite in column 2"), std::string::npos)
      << sent.error().message;
  rows[6] = 1;
  ASSERT_TRUE(wire.encode(rows, payload).ok());
  payload[3] = std::byte{0x7c};  // the second value becomes an infinity
  payload[2] = std::byte{0};
  const Status received = wire.decode(payload, rows);
  ASSERT_FALSE(received.ok());
  EXPECT_NE(received.error().message.find("row 0 received"), std::string::npos);
  ASSERT_TRUE(wire.encode(std::vector<float>(12, 1.0f), payload).ok());
  payload.back() = std::byte{200};
  EXPECT_FALSE(wire.decode(payload, rows).ok());
}

}  // namespace
}  // namespace splitd
