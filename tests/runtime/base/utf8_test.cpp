#include "runtime/base/utf8.h"

#include <gtest/gtest.h>

namespace splitd {
namespace {

TEST(Utf8, EveryCodePointRoundTrips) {
  for (char32_t c = 0; c <= 0x10ffff; ++c) {
    if (c >= 0xd800 && c <= 0xdfff) continue;
    std::string text;
    utf8_append(text, c);
    const Utf8Step step = utf8_decode(text);
    ASSERT_TRUE(step.valid) << uint32_t{c};
    ASSERT_EQ(step.code_point, c);
    ASSERT_EQ(step.length, text.size());
  }
}

TEST(Utf8, EveryTwoBytePairAgreesWithTheDefinition) {
  for (int a = 0x80; a < 0x100; ++a) {
    for (int b = 0; b < 0x100; ++b) {
      const char text[] = {static_cast<char>(a), static_cast<char>(b)};
      const bool valid = a >= 0xc2 && a <= 0xdf && b >= 0x80 && b <= 0xbf;
      ASSERT_EQ(utf8_is_valid({text, 2}), valid) << a << " " << b;
    }
  }
}

TEST(Utf8, RefusesOverlongSurrogatesAndTooLarge) {
  for (const char* text : {"\xc0\xaf", "\xe0\x80\xaf", "\xf0\x80\x80\xaf", "\xed\xa0\x80",
                           "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\x80", "\xe4\xbd"}) {
    EXPECT_FALSE(utf8_is_valid(text));
  }
  EXPECT_TRUE(utf8_is_valid("\xed\x9f\xbf\xee\x80\x80\xf4\x8f\xbf\xbf"));
}

TEST(Utf8, SaysWhereAndWhetherMoreCouldHelp) {
  EXPECT_EQ(utf8_valid_prefix("abcdefghij\xffk"), 10u);
  EXPECT_TRUE(utf8_decode("\xf0\x9f\x98").incomplete);
  EXPECT_FALSE(utf8_decode("\xf0\x9fz").incomplete);
  EXPECT_FALSE(utf8_decode("\xff").incomplete);
}

// The example of the Unicode standard, section 3.9, and what Python's errors="replace" gives.
TEST(Utf8, ReplacesMaximalParts) {
  const std::string r(kReplacementUtf8);
  EXPECT_EQ(utf8_replace_invalid("a\xf1\x80\x80\xe1\x80\xc2"
                                 "b\x80"
                                 "c\x80\xbf"
                                 "d"),
            "a" + r + r + r + "b" + r + "c" + r + r + "d");
  EXPECT_EQ(utf8_replace_invalid("\xed\xa0\x80"), r + r + r);
  EXPECT_EQ(utf8_replace_invalid("x\xf0\x9f\x98"), "x" + r);
  EXPECT_EQ(utf8_replace_invalid("ok \xe4\xbd\xa0"), "ok \xe4\xbd\xa0");
}

TEST(Utf8, CountsCodePoints) {
  EXPECT_EQ(utf8_length("a\xc3\xa9\xf0\x9f\x98\x80"), 3u);
}

}  // namespace
}  // namespace splitd
