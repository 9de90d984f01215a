#include "tools/arguments.h"

#include <gtest/gtest.h>

#include "tests/tools/sample_command.h"
#include "tools/suggest.h"

namespace splitd::cli {
namespace {

using Words = std::vector<std::string>;

template <class T = std::string>
std::optional<T> get(const Arguments& arguments, std::string_view name) {
  const Value* value = arguments.find(name);
  if (value == nullptr) return std::nullopt;
  return std::get<T>(*value);
}

Arguments parsed(const Words& words) {
  static const Command command = sample_command();
  Result<Arguments> arguments = Arguments::parse(command, words);
  EXPECT_TRUE(arguments.ok()) << arguments.error().message;
  return arguments.ok() ? std::move(*arguments) : Arguments();
}

std::string refused(const Words& words, const Command& command = sample_command()) {
  const Result<Arguments> arguments = Arguments::parse(command, words);
  if (arguments.ok()) return "accepted";
  EXPECT_EQ(arguments.error().kind, ErrorKind::usage);
  return arguments.error().message;
}

TEST(Arguments, SpellsOfAValue) {
  for (const Words& words : std::vector<Words>{{"m", "--max-tokens", "5"},
                                               {"--max-tokens=5", "m"},
                                               {"-n", "5", "m"},
                                               {"-n5", "m"},
                                               {"m", "-n", "9", "--max-tokens", "5"}}) {
    EXPECT_EQ(get<int64_t>(parsed(words), "max-tokens"), 5);
    EXPECT_EQ(*parsed(words).positional("MODEL"), Words{"m"});
  }
  EXPECT_EQ(get(parsed({"m", "--system="}), "system"), "");
  EXPECT_EQ(get(parsed({"m", "--system", ""}), "system"), "");
  EXPECT_EQ(get(parsed({"m", "--system=a=b"}), "system"), "a=b");
}

TEST(Arguments, NegativeNumbersAndDashesAreValues) {
  EXPECT_EQ(get<int64_t>(parsed({"m", "--seed", "-5"}), "seed"), -5);
  EXPECT_EQ(get<int64_t>(parsed({"m", "--seed=-5"}), "seed"), -5);
  EXPECT_EQ(get<std::vector<int64_t>>(parsed({"m", "--ids", "-1,0"}), "ids"),
            (std::vector<int64_t>{-1, 0}));
  EXPECT_EQ(get(parsed({"m", "--system", "-"}), "system"), "-");
  EXPECT_EQ(get(parsed({"m", "--system", "-x"}), "system"), "-x");
  EXPECT_EQ(get(parsed({"m", "--system=--x"}), "system"), "--x");
  EXPECT_EQ(refused({"m", "--system", "--json"}),
            "sample: --system needs a value: a text (one that begins with -- is written "
            "--system=--…)");
}

TEST(Arguments, Booleans) {
  EXPECT_EQ(get<bool>(parsed({"m"}), "json"), std::nullopt);
  EXPECT_EQ(get<bool>(parsed({"m", "--json"}), "json"), true);
  EXPECT_EQ(get<bool>(parsed({"m", "--json", "--no-json"}), "json"), false);
  EXPECT_EQ(get<bool>(parsed({"m", "--no-json", "--json"}), "json"), true);
  EXPECT_EQ(get<bool>(parsed({"m", "--no-special"}), "no-special"), true);
  EXPECT_EQ(get<bool>(parsed({"m", "--special"}), "no-special"), false);
  EXPECT_EQ(refused({"m", "--json=true"}), "sample: --json takes no value; --no-json turns it off");
  EXPECT_EQ(refused({"m", "--no-json=1"}), "sample: --no-json takes no value");
  EXPECT_NE(refused({"m", "--no-max-tokens"}), "accepted");
}

TEST(Arguments, Repeats) {
  EXPECT_EQ(get<Words>(parsed({"m", "--stop", "a", "--stop=b"}), "stop"), (Words{"a", "b"}));
  EXPECT_EQ(get(parsed({"m", "--dtype", "f16", "--dtype", "f32"}), "dtype"), "f32");
}

TEST(Arguments, Positionals) {
  EXPECT_EQ(*parsed({"m", "hello world"}).positional("PROMPT"), Words{"hello world"});
  EXPECT_EQ(parsed({"m"}).positional("PROMPT"), nullptr);
  EXPECT_EQ(*parsed({"--", "-m", "--json"}).positional("PROMPT"), Words{"--json"});
  EXPECT_EQ(*parsed({"-", "m"}).positional("MODEL"), Words{"-"});
  EXPECT_EQ(*parsed({"m", ""}).positional("PROMPT"), Words{""});
  EXPECT_EQ(*parsed({"m", "--json", "p"}).positional("PROMPT"), Words{"p"});
  EXPECT_EQ(refused({}), "sample: missing MODEL: what to open; see 'splitd sample --help'");
  EXPECT_EQ(refused({"a", "b", "c"}), "sample: unexpected argument 'c': it takes MODEL PROMPT");
  EXPECT_EQ(refused({"m", "-5"}),
            "sample: unknown flag '-5'; an argument that begins with - goes behind --");

  const Command other = other_command();
  const Result<Arguments> many = Arguments::parse(other, Words{"bash", "a", "b", "c"});
  ASSERT_TRUE(many.ok());
  EXPECT_EQ(*many->positional("FILES"), (Words{"a", "b", "c"}));
  EXPECT_EQ(refused({"bsh"}, other),
            "other: SHELL: 'bsh' is not one of bash, zsh (did you mean 'bash'?)");
}

TEST(Arguments, SaysWhatIsWrong) {
  EXPECT_EQ(refused({"m", "--max-token", "5"}),
            "sample: unknown flag '--max-token' (did you mean '--max-tokens'?)");
  EXPECT_EQ(refused({"m", "--max_tokens=5"}),
            "sample: unknown flag '--max_tokens' (did you mean '--max-tokens'?)");
  EXPECT_EQ(refused({"m", "--xyzzy"}),
            "sample: unknown flag '--xyzzy'; see 'splitd sample --help'");
  EXPECT_EQ(refused({"m", "-x"}), "sample: unknown flag '-x'; see 'splitd sample --help'");
  EXPECT_EQ(refused({"m", "--max-tokens"}),
            "sample: --max-tokens needs a value: an integer from 1 to 1000000");
  EXPECT_EQ(refused({"m", "-n"}), "sample: -n needs a value: an integer from 1 to 1000000");
  EXPECT_EQ(refused({"m", "-nfive"}), "sample: -n: 'five' is not an integer from 1 to 1000000");
  EXPECT_EQ(refused({"m", "--memory", "2GB"}),
            "sample: --memory: '2GB' is not a size such as 4096, 512M or 2G");
  EXPECT_EQ(refused({"m", "---json"}), "sample: unknown flag '---json' (did you mean '--json'?)");
  EXPECT_EQ(refused({"m", "--="}), "sample: unknown flag '--'; see 'splitd sample --help'");
}

TEST(Arguments, LongWordsAreCutInMessages) {
  const std::string message = refused({"m", "p", std::string(1000, 'x') + "\x1b"});
  EXPECT_EQ(message,
            "sample: unexpected argument '" + std::string(80, 'x') + "…': it takes MODEL PROMPT");
  const std::string wide = refused({"m", "--" + std::string(77, 'x') + "漢字"});
  EXPECT_NE(wide.find("x…'"), std::string::npos) << wide;  // not half a character
}

TEST(Arguments, HelpBeatsMistakes) {
  for (const Words& words : std::vector<Words>{
           {"--help"}, {"-h"}, {"m", "--nonsense", "--help"}, {"a", "b", "c", "-h"}}) {
    EXPECT_EQ(get<bool>(parsed(words), "help"), true);
  }
  EXPECT_EQ(get<bool>(parsed({"m", "--", "--help"}), "help"), std::nullopt);
}

TEST(Arguments, DefaultsDoNotOverride) {
  const Command command = sample_command();
  Arguments arguments = parsed({"m", "--json"});
  arguments.add_default(*find_flag(command, "json"), false);
  arguments.add_default(*find_flag(command, "seed"), int64_t{7});
  EXPECT_EQ(get<bool>(arguments, "json"), true);
  EXPECT_EQ(get<int64_t>(arguments, "seed"), 7);
}

TEST(Suggest, DistanceCountsSwapsAsOne) {
  EXPECT_EQ(edit_distance("", ""), 0u);
  EXPECT_EQ(edit_distance("abc", ""), 3u);
  EXPECT_EQ(edit_distance("abc", "acb"), 1u);
  EXPECT_EQ(edit_distance("kitten", "sitting"), 3u);
  EXPECT_EQ(edit_distance("max_tokens", "max-tokens"), 0u);
  EXPECT_EQ(edit_distance("JSON", "json"), 0u);
}

TEST(Suggest, OnlyWhatIsNear) {
  const std::vector<std::string_view> names = {"tokenize", "detokenize", "template", "pull"};
  EXPECT_EQ(nearest_name("tokenise", names), "tokenize");
  EXPECT_EQ(nearest_name("detokenise", names), "detokenize");
  EXPECT_EQ(nearest_name("temp", names), "template");
  EXPECT_EQ(nearest_name("pul", names), "pull");
  EXPECT_EQ(nearest_name("serve", names), "");
  EXPECT_EQ(nearest_name("", names), "");
  EXPECT_EQ(nearest_name(std::string(100'000, 'x'), names), "");
}

}  // namespace
}  // namespace splitd::cli
