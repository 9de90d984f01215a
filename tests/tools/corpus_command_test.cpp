// --corpus through the real binary: what one process wrote the next one guesses from, the text is
// the same, and no file does harm.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "runtime/base/files.h"
#include "tests/temp_dir.h"
#include "tests/tools/background.h"
#include "tests/tools/golden_model.h"

namespace splitd {
namespace {

using Words = std::vector<std::string>;

class CorpusCommand : public testing::Test {
 protected:
  ProcessResult run(const Words& more) {
    Words words = {"run",           model_, "--ids",        "5,9,3,17,4,8", "-n",        "40",
                   "--temperature", "0",    "--ignore-eos", "--json",       "--threads", "1"};
    words.insert(words.end(), more.begin(), more.end());
    return run_splitd(words);
  }
  static std::string ids_of(const ProcessResult& result) {
    const Result<JsonDoc> answer = JsonDoc::parse(result.out);
    if (result.exit_code != 0 || !answer) return result.err;
    return comma_list(integers_of(*answer->root().find("ids")));
  }
  static double tokens_per_step(const ProcessResult& result) {
    const Result<JsonDoc> answer = JsonDoc::parse(result.out);
    if (result.exit_code != 0 || !answer) return 0;
    return answer->root().find("speculation")->find("tokens_per_step")->to_f64().value_or(0);
  }
  static size_t count(const std::string& text, const std::string& word) {
    size_t n = 0;
    for (size_t at = text.find(word); at != text.npos; at = text.find(word, at + 1)) ++n;
    return n;
  }

  TempDir directory_;
  const std::string model_ = golden_model("qwen3_moe");
  const std::string file_ = directory_.path() + "/corpus";
};

TEST_F(CorpusCommand, TeachesTheNextProcess) {
  const std::string wanted = ids_of(run({"--decoder", "sequential"}));
  for (const std::string decoder : {"suffix", "auto"}) {
    ASSERT_TRUE(!path_exists(file_) || std::remove(file_.c_str()) == 0);
    const Words words = {"--decoder", decoder, "--corpus", file_};
    const ProcessResult first = run(words);
    EXPECT_EQ(ids_of(first), wanted);
    EXPECT_EQ(count(first.err, "warning"), 0u) << first.err;
    struct stat info {};
    ASSERT_EQ(stat(file_.c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 0777, 0600u);
    const ProcessResult second = run(words);
    EXPECT_EQ(ids_of(second), wanted);
    EXPECT_GT(tokens_per_step(second), 1.3 * tokens_per_step(first)) << decoder;
  }
}

TEST_F(CorpusCommand, GoesOnWithoutAFileThatIsNoCorpus) {
  const std::string wanted = ids_of(run({"--decoder", "sequential"}));
  const Words words = {"--decoder", "suffix", "--corpus", file_};
  ASSERT_TRUE(write_file(file_, "my notes\n").ok());
  const ProcessResult notes = run(words);
  EXPECT_EQ(ids_of(notes), wanted);
  EXPECT_EQ(count(notes.err, "not a corpus"), 1u) << notes.err;
  EXPECT_EQ(*read_file(file_), "my notes\n");
  ASSERT_EQ(std::remove(file_.c_str()), 0);
  run(words);
  std::string bytes = *read_file(file_);
  bytes[bytes.size() / 2] = static_cast<char>(bytes[bytes.size() / 2] ^ 1);
  ASSERT_TRUE(write_file(file_, bytes).ok());
  const ProcessResult damaged = run(words);
  EXPECT_EQ(ids_of(damaged), wanted);
  EXPECT_EQ(count(damaged.err, "damaged"), 1u) << damaged.err;
  const ProcessResult again = run(words);  // it was begun anew
  EXPECT_EQ(again.err.find("corpus"), std::string::npos) << again.err;
}

TEST_F(CorpusCommand, IsRefusedBeforeAModelIsLoaded) {
  const auto refused = [&](const Words& more) {
    Words words = {"run", directory_.path() + "/no-model", "x"};
    words.insert(words.end(), more.begin(), more.end());
    const ProcessResult result = run_splitd(words);
    return std::to_string(result.exit_code) + " " + result.err;
  };
  const std::string nowhere = directory_.path() + "/none/corpus";
  EXPECT_EQ(refused({"--decoder", "auto", "--corpus", nowhere}),
            "1 splitd: --corpus: cannot create a file beside " + nowhere +
                ": No such file or directory\n");
  EXPECT_NE(refused({"--decoder", "auto", "--corpus", directory_.path()}).find("is a directory"),
            std::string::npos);
  EXPECT_EQ(refused({"--corpus", file_}),
            "2 splitd: --corpus: --decoder sequential does not use it; auto and suffix do\n");
}

// Split, the corpus stays with the ends.
TEST_F(CorpusCommand, TeachesASplitToo) {
  Cloud cloud(model_);
  ASSERT_NE(cloud.address(), "");
  const Words words = {
      "local", model_,          "--body", cloud.address(), "--ids",  "5,9,3,17,4,8", "-n",
      "40",    "--temperature", "0",      "--ignore-eos",  "--json", "--corpus",     file_};
  const ProcessResult first = run_splitd(words), second = run_splitd(words);
  EXPECT_EQ(first.exit_code, 0) << first.err;
  EXPECT_EQ(ids_of(second), ids_of(first));
  EXPECT_GT(tokens_per_step(second), 1.3 * tokens_per_step(first));
}

}  // namespace
}  // namespace splitd
