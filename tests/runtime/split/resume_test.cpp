#include "runtime/split/resume.h"

#include <gtest/gtest.h>

#include <set>

namespace splitd {
namespace {

TEST(ResumeToken, IsRandomAndReadsBack) {
  std::set<std::string> seen;
  for (int i = 0; i < 100; ++i) {
    const ResumeToken token = *ResumeToken::random();
    const std::string hex = token.hex();
    ASSERT_EQ(hex.size(), 32u);
    EXPECT_EQ(hex.find_first_not_of("0123456789abcdef"), std::string::npos);
    EXPECT_TRUE(ResumeToken::of_hex(hex) == token);
    seen.insert(hex);
  }
  EXPECT_EQ(seen.size(), 100u);
}

TEST(ResumeToken, EveryBitCounts) {
  const ResumeToken token = ResumeToken::of_hex("00112233445566778899aabbccddeeff");
  for (size_t digit = 0; digit < 32; ++digit) {
    for (int bit = 0; bit < 4; ++bit) {
      static constexpr std::string_view kDigits = "0123456789abcdef";
      std::string hex = token.hex();
      hex[digit] = kDigits[kDigits.find(hex[digit]) ^ (size_t{1} << bit)];
      EXPECT_FALSE(ResumeToken::of_hex(hex) == token) << hex;
    }
  }
}

}  // namespace
}  // namespace splitd
