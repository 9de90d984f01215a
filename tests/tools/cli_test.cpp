// build/splitd as a user runs it: words and bytes in, bytes and an exit code out.
#include <gtest/gtest.h>

#include "runtime/base/json.h"
#include "tests/temp_dir.h"
#include "tests/tools/run_splitd.h"

namespace splitd {
namespace {

TEST(Cli, VersionAndHelp) {
  const ProcessResult version = run_splitd({"--version"});
  EXPECT_EQ(version.exit_code, 0);
  EXPECT_TRUE(version.out.starts_with("splitd 0.")) << version.out;
  const ProcessResult help = run_splitd({"help"});
  EXPECT_EQ(help.exit_code, 0);
  EXPECT_EQ(help.err, "");
  EXPECT_EQ(run_splitd({"--help"}).out, help.out);
  EXPECT_EQ(run_splitd({"-h"}).out, help.out);
  const ProcessResult nothing = run_splitd({});
  EXPECT_EQ(nothing.exit_code, 2);
  EXPECT_EQ(nothing.out, "");
  EXPECT_EQ(nothing.err, help.out);
  EXPECT_EQ(run_splitd({"help", "doctor"}).out, run_splitd({"doctor", "--help"}).out);
  EXPECT_NE(run_splitd({"help", "doctor"}).out.find("--json"), std::string::npos);
}

TEST(Cli, UsageErrorsAreOneLineAndTwo) {
  const ProcessResult unknown = run_splitd({"docter"});
  EXPECT_EQ(unknown.exit_code, 2);
  EXPECT_EQ(unknown.out, "");
  EXPECT_EQ(unknown.err, "splitd: unknown command 'docter' (did you mean 'doctor'?)\n");
  EXPECT_EQ(run_splitd({"help", "docter"}).exit_code, 2);
  EXPECT_EQ(run_splitd({"--jsn"}).exit_code, 2);
  EXPECT_EQ(run_splitd({"doctor", "--jsn"}).err,
            "splitd: doctor: unknown flag '--jsn' (did you mean '--json'?)\n");
  EXPECT_EQ(run_splitd({"\xff\x1b[2J"}).err,
            "splitd: unknown command '\\xff\\x1b[2J'; 'splitd help' lists them\n");
}

TEST(Cli, DoctorSpeaksJson) {
  const ProcessResult result = run_splitd({"doctor", "--json"});
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_EQ(result.err, "");
  const Result<JsonDoc> doc = JsonDoc::parse(result.out);
  ASSERT_TRUE(doc.ok()) << doc.error().message;
  for (const char* key : {"version", "cpu", "memory", "gpu", "limits", "libraries", "choices"}) {
    EXPECT_TRUE(doc->root().find(key)) << key;
  }
  EXPECT_TRUE(doc->root().find("libraries")->find("pcre2")->find("version"));
  const ProcessResult bad = run_splitd({"doctor", "--json"}, {.environment = {"SPLITD_ISA=z80"}});
  EXPECT_EQ(bad.exit_code, 0);
  EXPECT_NE(bad.out.find("z80"), std::string::npos);
}

TEST(Cli, ConfigFiles) {
  const TempDir dir;
  const std::string config = dir.path() + "/c.toml";
  const auto with = [&](const std::string& text) {
    // stdin is a path like any other
    return run_splitd({"doctor", "--config", "/dev/stdin"}, {.input = text});
  };
  EXPECT_TRUE(with("[doctor]\njson = true\n").out.starts_with("{"));
  EXPECT_TRUE(with("json = false\n").out.starts_with("splitd"));
  const ProcessResult unknown = with("# c\njsn = true\n");
  EXPECT_EQ(unknown.exit_code, 2);
  EXPECT_EQ(unknown.err, "splitd: /dev/stdin:2: unknown key 'jsn' (did you mean 'json'?)\n");
  const ProcessResult none = run_splitd({"doctor", "--config", config});
  EXPECT_EQ(none.exit_code, 1);
  EXPECT_EQ(none.err, "splitd: cannot open " + config + ": No such file or directory\n");
}

TEST(Cli, WriteErrorsAreErrors) {
  const ProcessResult full = run_splitd({"help"}, {.out_path = "/dev/full"});
  EXPECT_EQ(full.exit_code, 1);
  EXPECT_EQ(full.err, "splitd: cannot write to stdout: No space left on device\n");
  const ProcessResult closed = run_splitd({"help"}, {.close_fd = 1});
  EXPECT_EQ(closed.exit_code, 1);
  EXPECT_EQ(closed.err, "splitd: cannot write to stdout: Bad file descriptor\n");
  const ProcessResult mute = run_splitd({"nonsense"}, {.close_fd = 2});
  EXPECT_EQ(mute.exit_code, 2);
  EXPECT_EQ(mute.out, "");
}

TEST(Cli, CompletionIsForEveryCommand) {
  for (const char* shell : {"bash", "zsh"}) {
    const ProcessResult script = run_splitd({"completion", shell});
    EXPECT_EQ(script.exit_code, 0);
    for (const char* name : {"doctor", "completion", "help"}) {
      EXPECT_NE(script.out.find(name), std::string::npos) << shell << " " << name;
    }
  }
  EXPECT_EQ(run_splitd({"completion", "fish"}).exit_code, 2);
}

}  // namespace
}  // namespace splitd
