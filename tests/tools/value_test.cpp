#include <gtest/gtest.h>

#include "tests/tools/sample_command.h"
#include "tools/arguments.h"

namespace splitd::cli {
namespace {

using std::chrono::nanoseconds;

template <class T>
std::optional<T> value_of(FlagKind kind, std::string_view text, Flag flag = {}) {
  flag.name = "x";
  flag.kind = kind;
  const Result<Value> value = parse_value(flag, text);
  if (!value.ok()) return std::nullopt;
  return std::get<T>(*value);
}

TEST(Value, Integers) {
  const auto integer = [](std::string_view text) {
    return value_of<int64_t>(FlagKind::integer, text);
  };
  EXPECT_EQ(integer("0"), 0);
  EXPECT_EQ(integer("-5"), -5);
  EXPECT_EQ(integer("9223372036854775807"), INT64_MAX);
  EXPECT_EQ(integer("-9223372036854775808"), INT64_MIN);
  for (const char* bad : {"", " 1", "1 ", "+1", "0x10", "1e3", "1.0", "9223372036854775808", "一",
                          "--1", "-", "1_000"}) {
    EXPECT_FALSE(integer(bad)) << bad;
  }
}

TEST(Value, Bounds) {
  const Flag flag = {.name = "n", .min = 1, .max = 64};
  EXPECT_EQ(value_of<int64_t>(FlagKind::integer, "1", flag), 1);
  EXPECT_EQ(value_of<int64_t>(FlagKind::integer, "64", flag), 64);
  EXPECT_FALSE(value_of<int64_t>(FlagKind::integer, "0", flag));
  EXPECT_FALSE(value_of<int64_t>(FlagKind::integer, "65", flag));
  EXPECT_FALSE(value_of<double>(FlagKind::real, "64.5", flag));
  EXPECT_FALSE(value_of<std::vector<int64_t>>(FlagKind::integers, "3,65", flag));
  EXPECT_FALSE(value_of<uint64_t>(FlagKind::size, "1K", flag));
}

TEST(Value, Reals) {
  const auto real = [](std::string_view text) { return value_of<double>(FlagKind::real, text); };
  EXPECT_EQ(real("0.7"), 0.7);
  EXPECT_EQ(real("-2"), -2.0);
  EXPECT_EQ(real("1e-3"), 1e-3);
  for (const char* bad : {"", "nan", "inf", "-inf", "1e999", "0,7", "1.0f", "x"}) {
    EXPECT_FALSE(real(bad)) << bad;
  }
}

TEST(Value, Sizes) {
  const auto size = [](std::string_view text) { return value_of<uint64_t>(FlagKind::size, text); };
  EXPECT_EQ(size("0"), 0u);
  EXPECT_EQ(size("4096"), 4096u);
  EXPECT_EQ(size("4096B"), 4096u);
  EXPECT_EQ(size("512M"), uint64_t{512} << 20);
  EXPECT_EQ(size("2G"), uint64_t{2} << 30);
  EXPECT_EQ(size("1.5GiB"), uint64_t{3} << 29);
  EXPECT_EQ(size("1T"), uint64_t{1} << 40);
  for (const char* bad : {"", "G", "-1", "1 G", "2g", "2GB", "2kB", "1..5G", ".", "99999999999T",
                          "18446744073709551615", "1e3", "0x10"}) {
    EXPECT_FALSE(size(bad)) << bad;
  }
}

TEST(Value, Durations) {
  const auto time = [](std::string_view text) {
    return value_of<nanoseconds>(FlagKind::duration, text);
  };
  EXPECT_EQ(time("250ms"), std::chrono::milliseconds(250));
  EXPECT_EQ(time("60s"), std::chrono::seconds(60));
  EXPECT_EQ(time("1.5s"), std::chrono::milliseconds(1500));
  EXPECT_EQ(time("5m"), std::chrono::minutes(5));
  EXPECT_EQ(time("1h"), std::chrono::hours(1));
  EXPECT_EQ(time("0"), nanoseconds(0));
  for (const char* bad : {"", "60", "s", "-1s", "1 s", "1S", "99999999999h", "1m30s"}) {
    EXPECT_FALSE(time(bad)) << bad;
  }
}

TEST(Value, ListsAndRanges) {
  const auto list = [](std::string_view text) {
    return value_of<std::vector<int64_t>>(FlagKind::integers, text);
  };
  EXPECT_EQ(list("1,2,3"), (std::vector<int64_t>{1, 2, 3}));
  EXPECT_EQ(list("-1,0"), (std::vector<int64_t>{-1, 0}));
  for (const char* bad : {"", ",", "1,", ",1", "1,,2", "1, 2", "1;2"})
    EXPECT_FALSE(list(bad)) << bad;

  const auto range = [](std::string_view text) { return value_of<Range>(FlagKind::range, text); };
  EXPECT_EQ(range("0:12"), (Range{0, 12}));
  for (const char* bad : {"", ":", "1", "1:", ":2", "2:2", "3:2", "-1:2", "1:2:3"}) {
    EXPECT_FALSE(range(bad)) << bad;
  }
}

TEST(Value, ChoicesAndPaths) {
  const Flag flag = {.name = "dtype", .kind = FlagKind::choice, .choices = "bf16|f16|f32"};
  EXPECT_TRUE(parse_value(flag, "f16").ok());
  EXPECT_EQ(parse_value(flag, "f61").error().message,
            "'f61' is not one of bf16, f16, f32 (did you mean 'f16'?)");
  EXPECT_FALSE(parse_value(flag, "").ok());
  EXPECT_FALSE(parse_value(flag, "bf16|f16").ok());
  EXPECT_FALSE(value_of<std::string>(FlagKind::file, ""));
  EXPECT_FALSE(value_of<std::string>(FlagKind::file, std::string_view("a\0b", 3)));
  EXPECT_EQ(value_of<std::string>(FlagKind::text, ""), "");
}

TEST(Value, ErrorsAreSafeToShow) {
  const Flag flag = {.name = "n", .kind = FlagKind::integer, .min = 1, .max = 64};
  EXPECT_EQ(parse_value(flag, "\x1b[2J\xff").error().message,
            "'\\x1b[2J\\xff' is not an integer from 1 to 64");
}

}  // namespace
}  // namespace splitd::cli
