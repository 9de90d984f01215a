// Every command's table, whoever wrote it: complete, without contradictions, its help on a screen.
#include <gtest/gtest.h>

#include <set>
#include <sstream>

#include "runtime/base/utf8.h"
#include "tests/tools/sample_command.h"
#include "tools/app.h"
#include "tools/commands.h"
#include "tools/help.h"

namespace splitd::cli {
namespace {

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

// A line of an example as a shell would split it, without redirections and what is piped on.
std::vector<std::string> shell_words(std::string_view line) {
  std::vector<std::string> words;
  std::string word;
  bool in_word = false;
  char quote = 0;
  for (const char c : line) {
    if (quote != 0) {
      if (c == quote) {
        quote = 0;
      } else {
        word += c;
      }
    } else if (c == '\'' || c == '"') {
      quote = c;
      in_word = true;
    } else if (c == ' ') {
      if (in_word) words.push_back(std::exchange(word, {}));
      in_word = false;
    } else if (c == '<' || c == '>' || c == '|') {
      break;
    } else {
      word += c;
      in_word = true;
    }
  }
  if (in_word) words.push_back(word);
  return words;
}

TEST(Tables, NamesAreUniqueAndSpeltAlike) {
  std::set<std::string_view> commands;
  for (const Command& command : all_commands()) {
    EXPECT_TRUE(commands.insert(command.name).second) << command.name;
    std::set<std::string> names;
    std::set<char> short_names;
    for (const Flag* flag : all_flags(command)) {
      SCOPED_TRACE(std::string(command.name) + " --" + std::string(flag->name));
      EXPECT_FALSE(flag->name.empty());
      EXPECT_EQ(flag->name.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789-"),
                std::string_view::npos);
      EXPECT_TRUE(names.insert(std::string(flag->name)).second);
      if (flag->kind == FlagKind::boolean) {
        EXPECT_TRUE(names
                        .insert(flag->name.starts_with("no-") ? std::string(flag->name.substr(3))
                                                              : "no-" + std::string(flag->name))
                        .second);
      }
      EXPECT_TRUE(flag->short_name == 0 || short_names.insert(flag->short_name).second);
    }
  }
}

TEST(Tables, FlagsAreComplete) {
  for (const Command& command : all_commands()) {
    EXPECT_NE(command.run, nullptr) << command.name;
    EXPECT_FALSE(command.summary.empty()) << command.name;
    for (const Flag* flag : all_flags(command)) {
      SCOPED_TRACE(std::string(command.name) + " --" + std::string(flag->name));
      EXPECT_FALSE(flag->help.empty());
      EXPECT_FALSE(flag->help.ends_with('.'));
      EXPECT_EQ(flag->kind == FlagKind::choice, !flag->choices.empty());
      if (flag->repeatable) {
        EXPECT_TRUE(flag->kind == FlagKind::text || flag->kind == FlagKind::file);
        EXPECT_TRUE(flag->fallback.empty());
      }
      EXPECT_TRUE(flag->kind != FlagKind::boolean || flag->fallback.empty());
      if (!flag->fallback.empty()) {
        const Result<Value> value = parse_value(*flag, flag->fallback);
        EXPECT_TRUE(value.ok()) << value.error().message;
      }
    }
  }
}

TEST(Tables, OptionalArgumentsComeLast) {
  for (const Command& command : all_commands()) {
    bool optional = false;
    for (size_t i = 0; i < command.positionals.size(); ++i) {
      const Positional& positional = command.positionals[i];
      SCOPED_TRACE(std::string(command.name) + " " + std::string(positional.name));
      EXPECT_FALSE(positional.help.empty());
      EXPECT_TRUE(positional.optional || !optional);
      EXPECT_TRUE(!positional.repeats || i + 1 == command.positionals.size());
      optional = positional.optional;
    }
  }
}

TEST(Tables, EveryExampleParses) {
  for (const Command& command : all_commands()) {
    EXPECT_FALSE(command.examples.empty()) << command.name;
    for (const Example& example : command.examples) {
      const std::vector<std::string> words = shell_words(example.line);
      ASSERT_GE(words.size(), 2u) << example.line;
      EXPECT_EQ(words[0], "splitd") << example.line;
      EXPECT_EQ(words[1], command.name) << example.line;
      const Result<Arguments> arguments = Arguments::parse(command, std::span(words).subspan(2));
      EXPECT_TRUE(arguments.ok()) << example.line << ": " << arguments.error().message;
    }
  }
}

TEST(Tables, HelpFitsAScreen) {
  for (const Command& command : all_commands()) {
    const std::vector<std::string> lines = lines_of(command_help(command));
    // A command with many flags may be longer, but never wider.
    EXPECT_TRUE(lines.size() <= 24 || all_flags(command).size() > 12) << command.name;
    for (const std::string& line : lines) EXPECT_LE(utf8_length(line), 79u) << line;
  }
  const std::vector<Command> commands = all_commands();
  const std::vector<std::string> lines = lines_of(overview(commands));
  EXPECT_LE(lines.size(), commands.size() + 12);  // a command takes one line
  for (const std::string& line : lines) EXPECT_LE(utf8_length(line), 79u) << line;
}

TEST(Help, NamesTheCommonFlags) {
  // The footer is written by hand, the list in the overview is not.
  const std::string help = command_help(other_command());
  const std::vector<Command> commands = {other_command()};
  const std::string list = overview(commands);
  for (const Flag& flag : common_flags().flags) {
    const std::string name = "--" + std::string(flag.name);
    EXPECT_NE(help.find(name), std::string::npos) << name;
    EXPECT_NE(list.find(name), std::string::npos) << name;
    EXPECT_NE(list.find(flag.help), std::string::npos) << name;
  }
}

TEST(Help, ShowsTheTable) {
  EXPECT_EQ(command_help(sample_command()),
            R"(splitd sample: a command with every kind of flag

Usage: splitd sample MODEL [PROMPT] [flags]
  MODEL                     what to open
  PROMPT                    what to say

Flags:
      --json                as JSON
      --no-special          plain
  -n, --max-tokens N        how many (default 1024)
      --seed N              of the draws
      --temperature X       how wild
      --memory SIZE         at most
      --retry-for TIME      how long (default 60s)
      --system TEXT         first message
      --stop TEXT           where to end (may be repeated)

Places:
      --dtype bf16|f16|f32  of the weights
      --ids N,N,…           the prompt
      --layers A:B          only these
      --psk-file FILE       the key
      --dir DIR             where to

Also --config FILE, --quiet, --verbose and -h, --help: see 'splitd help'.

Examples:
  splitd sample model --json  # as JSON
)");
}

}  // namespace
}  // namespace splitd::cli
