// `splitd keygen` as a user runs it: what it writes, for whom, and never over something else.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "runtime/base/files.h"
#include "tests/temp_dir.h"
#include "tests/tools/run_splitd.h"

namespace splitd {
namespace {

class KeygenCommand : public testing::Test {
 protected:
  ProcessResult run(std::vector<std::string> words) {
    words.insert(words.begin(), "keygen");
    return run_splitd(words, {.directory = dir_.path()});
  }
  std::string text(const std::string& name) { return *read_file(dir_.path() + "/" + name); }
  unsigned mode(const std::string& name) {
    struct stat info {};
    EXPECT_EQ(::stat((dir_.path() + "/" + name).c_str(), &info), 0) << name;
    return info.st_mode & 0777;
  }
  TempDir dir_;
};

TEST_F(KeygenCommand, ASharedKey) {
  const ProcessResult first = run({"psk", "robot7"});
  EXPECT_EQ(first.exit_code, 0) << first.err;
  ASSERT_EQ(first.out.size(), 7u + 64 + 1);
  EXPECT_EQ(first.out.substr(0, 7), "robot7 ");
  EXPECT_EQ(first.out.find_first_not_of("0123456789abcdef", 7), 7u + 64);
  EXPECT_NE(run({"psk", "robot7"}).out, first.out);
  const ProcessResult file = run({"psk", "robot7", "--out", "robot7.psk"});
  EXPECT_EQ(file.exit_code, 0) << file.err;
  EXPECT_EQ(file.out, "");
  EXPECT_EQ(mode("robot7.psk"), 0600u);
  const std::string line = text("robot7.psk");
  EXPECT_EQ(line.size(), 72u);
  const ProcessResult again = run({"psk", "robot7", "--out", "robot7.psk"});
  EXPECT_EQ(again.exit_code, 2);
  EXPECT_NE(again.err.find("robot7.psk is there already"), std::string::npos) << again.err;
  EXPECT_EQ(text("robot7.psk"), line);
}

TEST_F(KeygenCommand, AnAuthorityAndWhatItSigns) {
  const ProcessResult authority = run({"ca", "fleet"});
  EXPECT_EQ(authority.exit_code, 0) << authority.err;
  EXPECT_EQ(authority.out, "fleet/ca.pem\n");
  const ProcessResult machine = run({"cert", "fleet", "localhost", "127.0.0.1"});
  EXPECT_EQ(machine.exit_code, 0) << machine.err;
  EXPECT_EQ(machine.out, "fleet/localhost.pem\n");
  EXPECT_EQ(mode("fleet"), 0700u);
  for (const char* name : {"ca.pem", "ca-key.pem", "localhost.pem", "localhost-key.pem"}) {
    EXPECT_EQ(mode("fleet/" + std::string(name)), 0600u);
  }
  const std::string key = text("fleet/ca-key.pem");
  EXPECT_NE(key.find("PRIVATE KEY"), std::string::npos);
  EXPECT_EQ(run({"ca", "fleet"}).exit_code, 2);
  EXPECT_EQ(run({"cert", "fleet", "localhost"}).exit_code, 2);
  EXPECT_EQ(text("fleet/ca-key.pem"), key);
  // Where others can read the authority's key, it signs nothing.
  ASSERT_EQ(::chmod((dir_.path() + "/fleet/ca-key.pem").c_str(), 0644), 0);
  EXPECT_EQ(run({"cert", "fleet", "robot7"}).exit_code, 1);
  EXPECT_FALSE(path_exists(dir_.path() + "/fleet/robot7-key.pem"));
}

TEST_F(KeygenCommand, Refusals) {
  for (const std::vector<std::string>& words :
       std::vector<std::vector<std::string>>{{},
                                             {"rsa", "x"},
                                             {"psk"},
                                             {"psk", "a", "b"},
                                             {"psk", "has blank"},
                                             {"psk", "#comment"},
                                             {"psk", std::string(65, 'a')},
                                             {"ca"},
                                             {"ca", "a", "b"},
                                             {"cert", "fleet"},
                                             {"ca", "fleet", "--out", "x"},
                                             {"ca", "fleet", "--days", "0"}}) {
    const ProcessResult result = run(words);
    EXPECT_EQ(result.exit_code, 2) << result.err;
    EXPECT_EQ(result.out, "");
  }
  EXPECT_EQ(run({"cert", "nowhere", "robot7"}).exit_code, 1);
}

}  // namespace
}  // namespace splitd
