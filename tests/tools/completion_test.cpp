// The generated bash script, sourced by a real bash and asked what it would complete.
#include "tools/completion.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "runtime/base/files.h"
#include "tests/temp_dir.h"
#include "tests/tools/process.h"
#include "tests/tools/sample_command.h"

namespace splitd::cli {
namespace {

class BashCompletion : public testing::Test {
 protected:
  void SetUp() override {
    if (run_process({"bash", "-c", "exit 42"}).exit_code != 42) GTEST_SKIP() << "there is no bash";
    const std::vector<Command> commands = {sample_command(), other_command()};
    ASSERT_TRUE(write_file(dir_.path() + "/script", bash_completion(commands)).ok());
    std::filesystem::create_directory(dir_.path() + "/a dir");
    ASSERT_TRUE(write_file(dir_.path() + "/a file", "").ok());
  }

  // The answers for the last of the words, one a line, sorted. Bash splits at '=' itself.
  std::string complete(const std::vector<std::string>& words) {
    std::string array;
    for (const std::string& word : words) array += " '" + word + "'";
    const ProcessResult result =
        run_process({"bash", "--norc", "-c",
                     "source ./script; COMP_WORDS=(" + array +
                         "); COMP_CWORD=" + std::to_string(words.size() - 1) +
                         "; _splitd; printf '%s\\n' \"${COMPREPLY[@]}\" | LC_ALL=C sort"},
                    {.directory = dir_.path()});
    EXPECT_EQ(result.exit_code, 0);
    EXPECT_EQ(result.err, "");
    return result.out;
  }

  TempDir dir_;
};

TEST_F(BashCompletion, Commands) {
  EXPECT_EQ(complete({"splitd", ""}), "--help\n--version\nother\nsample\n");
  EXPECT_EQ(complete({"splitd", "s"}), "sample\n");
  EXPECT_EQ(complete({"splitd", "--v"}), "--version\n");
  EXPECT_EQ(complete({"splitd", "nonsense", ""}), "\n");
}

TEST_F(BashCompletion, FlagsAndChoices) {
  EXPECT_EQ(complete({"splitd", "sample", "--ma"}), "--max-tokens\n");
  EXPECT_EQ(complete({"splitd", "sample", "m", "--s"}), "--seed\n--stop\n--system\n");
  EXPECT_EQ(complete({"splitd", "other", "--m"}), "\n");
  EXPECT_EQ(complete({"splitd", "sample", "--dtype", ""}), "bf16\nf16\nf32\n");
  EXPECT_EQ(complete({"splitd", "sample", "--dtype", "f"}), "f16\nf32\n");
  EXPECT_EQ(complete({"splitd", "sample", "--dtype", "=", "f"}), "f16\nf32\n");
  EXPECT_EQ(complete({"splitd", "sample", "--dtype", "="}), "bf16\nf16\nf32\n");
  EXPECT_EQ(complete({"splitd", "sample", "--seed", ""}), "\n");
}

TEST_F(BashCompletion, Paths) {
  EXPECT_EQ(complete({"splitd", "sample", "--psk-file", "a"}), "a dir\na file\n");
  EXPECT_EQ(complete({"splitd", "sample", "--dir", "a"}), "a dir\n");
  EXPECT_EQ(complete({"splitd", "sample", "--config", "a f"}), "a file\n");
  EXPECT_EQ(complete({"splitd", "sample", "a"}), "a dir\na file\n");
  EXPECT_EQ(complete({"splitd", "sample", "model", "a"}), "\n");  // a prompt: nothing to offer
}

TEST_F(BashCompletion, CountsArgumentsBehindFlagsWithValues) {
  EXPECT_EQ(complete({"splitd", "other", ""}), "bash\nzsh\n");
  EXPECT_EQ(complete({"splitd", "other", "--threads", "4", "--quiet", "z"}), "zsh\n");
  EXPECT_EQ(complete({"splitd", "other", "--threads", "=", "4", "z"}), "zsh\n");
  EXPECT_EQ(complete({"splitd", "other", "bash", "x", "a f"}), "a file\n");
  EXPECT_EQ(complete({"splitd", "sample", "-n", "4", "a f"}), "a file\n");
}

TEST(ZshCompletion, QuotesWhatZshWouldRead) {
  Command command = sample_command();
  command.flags = {{.flags = {{.name = "odd", .help = "it's [a]: b"}}}};
  const std::vector<Command> commands = {command};
  const std::string script = zsh_completion(commands);
  EXPECT_NE(script.find(R"('--odd[it'\''s \[a\]\: b]')"), std::string::npos) << script;
  EXPECT_NE(script.find("'1:MODEL:_files'"), std::string::npos) << script;
  EXPECT_NE(script.find("'2::PROMPT: '"), std::string::npos) << script;
}

// Where zsh is there, it at least has to accept the script.
TEST(ZshCompletion, IsZsh) {
  if (run_process({"zsh", "-c", "exit 42"}).exit_code != 42) GTEST_SKIP() << "there is no zsh";
  const std::vector<Command> commands = {sample_command(), other_command()};
  const ProcessResult result =
      run_process({"zsh", "-n", "/dev/stdin"}, {.input = zsh_completion(commands)});
  EXPECT_EQ(result.exit_code, 0) << result.err;
}

}  // namespace
}  // namespace splitd::cli
