#include "tools/config_file.h"

#include <gtest/gtest.h>

#include "runtime/base/files.h"
#include "tests/temp_dir.h"
#include "tests/tools/sample_command.h"

namespace splitd::cli {
namespace {

using Words = std::vector<std::string>;

class Config : public testing::Test {
 protected:
  // What the file makes of the sample command's arguments, or the error's message.
  std::string apply(std::string_view text, const Words& words = {"m"}) {
    Result<Arguments> parsed = Arguments::parse(commands_[0], words);
    EXPECT_TRUE(parsed.ok());
    arguments_ = std::move(*parsed);
    const Status status = apply_config(text, "c.toml", commands_, commands_[0], arguments_);
    if (status.ok()) return "ok";
    EXPECT_EQ(status.error().kind, ErrorKind::usage);
    return status.error().message;
  }

  template <class T = std::string>
  std::optional<T> get(std::string_view name) {
    const Value* value = arguments_.find(name);
    if (value == nullptr) return std::nullopt;
    return std::get<T>(*value);
  }

  const std::vector<Command> commands_ = {sample_command(), other_command()};
  Arguments arguments_;
};

TEST_F(Config, EveryKind) {
  ASSERT_EQ(apply(R"(
json = true
[sample]
max-tokens = 7
temperature = 1
memory = "2G"
retry-for = "250ms"
system = "a\u0041"
stop = ["x", "y"]
dtype = "f16"
ids = [1, -2]
layers = "0:4"
psk-file = "k"
)"),
            "ok");
  EXPECT_EQ(get<bool>("json"), true);
  EXPECT_EQ(get<int64_t>("max-tokens"), 7);
  EXPECT_EQ(get<double>("temperature"), 1.0);
  EXPECT_EQ(get<uint64_t>("memory"), uint64_t{2} << 30);
  EXPECT_EQ(get<std::chrono::nanoseconds>("retry-for"), std::chrono::milliseconds(250));
  EXPECT_EQ(get("system"), "aA");
  EXPECT_EQ(get<Words>("stop"), (Words{"x", "y"}));
  EXPECT_EQ(get("dtype"), "f16");
  EXPECT_EQ(get<std::vector<int64_t>>("ids"), (std::vector<int64_t>{1, -2}));
  EXPECT_EQ(get<Range>("layers"), (Range{0, 4}));
  EXPECT_EQ(get("psk-file"), "k");
  ASSERT_EQ(apply("memory = 4096\nstop = 'one'\ntemperature = 0.1"), "ok");
  EXPECT_EQ(get<uint64_t>("memory"), 4096u);
  EXPECT_EQ(get<Words>("stop"), Words{"one"});
  EXPECT_EQ(get<double>("temperature"), 0.1);
}

TEST_F(Config, FlagsWinOverTablesOverTheTop) {
  const std::string_view text = "max-tokens = 1\ndtype = 'f32'\n[sample]\nmax-tokens = 2\n";
  ASSERT_EQ(apply(text), "ok");
  EXPECT_EQ(get<int64_t>("max-tokens"), 2);
  EXPECT_EQ(get("dtype"), "f32");
  ASSERT_EQ(apply(text, {"m", "-n", "3"}), "ok");
  EXPECT_EQ(get<int64_t>("max-tokens"), 3);
  ASSERT_EQ(apply("json = true", {"m", "--no-json"}), "ok");
  EXPECT_EQ(get<bool>("json"), false);
}

TEST_F(Config, OtherCommandsKeysAreCheckedAndNotTaken) {
  ASSERT_EQ(apply("threads = 4\n[other]\nseed = 'text'\n"), "ok");
  EXPECT_EQ(get<int64_t>("threads"), std::nullopt);
  EXPECT_EQ(get<int64_t>("seed"), std::nullopt);
  EXPECT_EQ(apply("[other]\nthreads = 'x'\n"),
            "c.toml:2: 'threads' is a string; accepted: an integer");
  EXPECT_EQ(apply("threads = 'x'\n"), "c.toml:1: 'threads' is a string; accepted: an integer");
  EXPECT_EQ(apply("[other]\njson = true\n"), "c.toml:2: unknown key 'json' in [other]");
}

TEST_F(Config, UnknownKeysNameTheNearest) {
  EXPECT_EQ(apply("\nmax_tokens = 5"),
            "c.toml:2: unknown key 'max_tokens' (did you mean 'max-tokens'?)");
  EXPECT_EQ(apply("[sample]\n# x\ntemprature = 5"),
            "c.toml:3: unknown key 'temprature' in [sample] (did you mean 'temperature'?)");
  EXPECT_EQ(
      apply("[smaple]\n"),
      "c.toml:1: unknown table 'smaple' (did you mean 'sample'?); a table is a command's name");
  EXPECT_EQ(apply("config = 'x'"), "c.toml:1: unknown key 'config'");
  EXPECT_EQ(apply("help = true"), "c.toml:1: unknown key 'help'");
  EXPECT_EQ(apply("sample = 5"), "c.toml:1: 'sample' is a command: its flags stand under [sample]");
  EXPECT_EQ(apply("[json]\n"), "c.toml:1: unknown table 'json'; a table is a command's name");
  EXPECT_EQ(apply("[sample.json]\n"), "c.toml:1: 'json' is a table; accepted: true or false");
  EXPECT_EQ(apply("[[sample]]\n"),
            "c.toml:1: 'sample' is a command: its flags stand under [sample]");
}

TEST_F(Config, TheFirstMistakeIsReported) {
  EXPECT_EQ(apply("zzz = 1\naaa = 2\n[other]\nxxx = 1\n"), "c.toml:1: unknown key 'zzz'");
  EXPECT_EQ(apply("[sample]\nzzz = 1\n[other]\nxxx = 1\n"),
            "c.toml:2: unknown key 'zzz' in [sample]");
}

TEST_F(Config, WrongValuesSayWhatIsAccepted) {
  EXPECT_EQ(apply("json = 1"), "c.toml:1: 'json' is an integer; accepted: true or false");
  EXPECT_EQ(apply("max-tokens = '5'"),
            "c.toml:1: 'max-tokens' is a string; accepted: an integer from 1 to 1000000");
  EXPECT_EQ(apply("max-tokens = 5.0"),
            "c.toml:1: 'max-tokens' is a float; accepted: an integer from 1 to 1000000");
  EXPECT_EQ(apply("max-tokens = 0"),
            "c.toml:1: 'max-tokens': '0' is not an integer from 1 to 1000000");
  EXPECT_EQ(apply("temperature = nan"),
            "c.toml:1: 'temperature': 'nan' is not a number of at least 0");
  EXPECT_EQ(apply("retry-for = 60"),
            "c.toml:1: 'retry-for' is an integer; accepted: a string with a time such as "
            "\"250ms\", \"60s\" or \"5m\"");
  EXPECT_EQ(apply("dtype = 'f8'"), "c.toml:1: 'dtype': 'f8' is not one of bf16, f16, f32");
  EXPECT_EQ(apply("ids = []"),
            "c.toml:1: 'ids' is an array; accepted: an array of integers such as [1, 2, 3]");
  EXPECT_EQ(apply("ids = [1, 'x']"),
            "c.toml:1: 'ids' is an array; accepted: an array of integers such as [1, 2, 3]");
  EXPECT_EQ(apply("stop = ['x', 1]"),
            "c.toml:1: 'stop' is an array; accepted: a string or an array of strings");
  EXPECT_EQ(apply("system = ['x']"), "c.toml:1: 'system' is an array; accepted: a string");
  EXPECT_EQ(apply("system = 2020-01-01"),
            "c.toml:1: 'system' is a date or time; accepted: a string");
}

TEST_F(Config, SyntaxErrorsSayWhere) {
  EXPECT_EQ(apply("json = true\njson = false\n").substr(0, 9), "c.toml:2:");
  EXPECT_EQ(apply("json = true\n   json\n").substr(0, 9), "c.toml:2:");
  EXPECT_EQ(apply("json = \"\xff\"\n").substr(0, 9), "c.toml:1:");
  EXPECT_EQ(apply("[sample\n").substr(0, 9), "c.toml:1:");
}

// toml++ 3.3 reaches an unreachable place on these.
TEST_F(Config, AnyCharacterMayFollowAContinuedLine) {
  ASSERT_EQ(apply("system = \"\"\"a\\\n  \xc2\xa7 b \xef\xb9\xbf\"\"\"\n"), "ok");
  EXPECT_EQ(get("system"), "a\xc2\xa7 b \xef\xb9\xbf");
  EXPECT_NE(apply("\xef\xb9\xbfjson = true"), "ok");
  EXPECT_NE(apply("json = true\xc3\xa9"), "ok");
}

TEST_F(Config, DeepNestingIsRefusedNotRun) {
  std::string dots = "a";
  for (int i = 0; i < 200'000; ++i) dots += ".a";
  EXPECT_EQ(apply(dots + " = 1"), "c.toml:1:1: a key with more than 8 dots");
  EXPECT_EQ(apply("\n[" + dots + "]"), "c.toml:2:1: a key with more than 8 dots");
  EXPECT_EQ(apply("x = { " + dots + " = 1 }"), "c.toml:1:1: a key with more than 8 dots");
  // Dots in strings and comments are text.
  EXPECT_EQ(apply("system = \"" + dots + "\" # " + dots), "ok");
  EXPECT_EQ(apply("system = '" + dots + "'"), "ok");
  EXPECT_EQ(apply("system = '''\n'" + dots + "\n'' " + dots + "'''"), "ok");
  EXPECT_EQ(apply("system = \"\"\"\n\\\"" + dots + "\n\"\" " + dots + "\"\"\""), "ok");
  EXPECT_NE(apply("ids = " + std::string(100'000, '[')), "ok");
  EXPECT_NE(apply("ids = " + std::string(100'000, '{')), "ok");
}

TEST_F(Config, FilesAreCapped) {
  const TempDir dir;
  const std::string path = dir.path() + "/big.toml";
  Arguments arguments;
  EXPECT_FALSE(read_config(path, commands_, commands_[0], arguments).ok());
  ASSERT_TRUE(write_file(path, std::string(kMaxConfigBytes, '\n')).ok());
  EXPECT_TRUE(read_config(path, commands_, commands_[0], arguments).ok());
  ASSERT_TRUE(write_file(path, std::string(kMaxConfigBytes + 1, '\n')).ok());
  EXPECT_FALSE(read_config(path, commands_, commands_[0], arguments).ok());
}

}  // namespace
}  // namespace splitd::cli
