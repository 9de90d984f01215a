// The packaged SmolLM2 GGUF (Q4_1) run as it is, against transformers on its dequantised weights
// and llama.cpp on the file itself; see smollm2_test.cpp for when it is skipped.
#include <algorithm>
#include <cmath>

#include "tests/tools/background.h"
#include "tests/tools/smollm2.h"

namespace splitd {
namespace {

const std::string kGguf = SPLITD_DEMO_GGUF;

class SmolLM2Gguf : public SmolLM2 {
 protected:
  void SetUp() override {
    SmolLM2::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    ASSERT_TRUE(path_exists(kGguf)) << "the demo keeps the package that its model came in";
  }

  // Of the reference's text, or of its beginning.
  double perplexity(std::vector<std::string> flags, size_t bytes = std::string::npos) const {
    flags.insert(flags.begin(), {"perplexity", kGguf, "-", "--json"});
    const std::string text(expected().find("perplexity")->find("text")->text().substr(0, bytes));
    const ProcessResult result = run_splitd(flags, {.input = text});
    const Result<JsonDoc> json = JsonDoc::parse(result.out);
    EXPECT_TRUE(json.ok()) << result.err;
    return json.ok() ? *json->root().find("perplexity")->to_f64() : INFINITY;
  }
};

TEST_F(SmolLM2Gguf, HasTheFingerprintOfTheDirectoryMadeOfIt) {
  const auto fingerprint = [](const std::string& path) {
    const ProcessResult result = run_splitd({"inspect", path, "--json"});
    return std::string(JsonDoc::parse(result.out)->root().find("fingerprint")->text());
  };
  EXPECT_EQ(fingerprint(kGguf), fingerprint(kModel));
}

// The reference's weights are these, rounded to bf16.
TEST_F(SmolLM2Gguf, Perplexity) {
  const double reference = *expected().find("perplexity")->find("perplexity")->to_f64();
  const double all = perplexity({});
  EXPECT_NEAR(all / reference, 1, 0.01);
  constexpr size_t kBytes = 2000;
  const double exact = perplexity({"--compute", "f32", "--kv", "f32"}, kBytes);
  const double rounded = perplexity({}, kBytes);
  const double small_kv = perplexity({"--kv", "q8"}, kBytes);
  std::printf(
      "perplexity: transformers %.4f, here %.4f; of the beginning: f32 %.4f, auto %.4f, "
      "auto with KV q8 %.4f\n",
      reference, all, exact, rounded, small_kv);
  EXPECT_NEAR(rounded / exact, 1, 0.03);
  EXPECT_NEAR(small_kv / rounded, 1, 0.02);
}

// Both engines round activations to 8 bits, at slightly different numbers: their logits differ by
// about 0.15 beside each other, and tokens part ways where llama.cpp was that undecided.
TEST_F(SmolLM2Gguf, GreedyTokensAreThoseOfLlamaCppUnlessItWasUndecided) {
  const JsonDoc golden = std::move(*JsonDoc::parse(
      *read_file(std::string(SPLITD_TEST_DATA) + "/golden/smollm2_gguf_expected.json")));
  size_t n_case = 0, n_same = 0, n_token = 0;
  for (const Json item : golden.root().find("cases")->elements()) {
    const std::vector<int64_t> tokens = integers_of(*item.find("tokens"));
    const ProcessResult result =
        run_splitd({"run", kGguf, "--ids", comma_list(integers_of(*item.find("prompt_ids"))), "-n",
                    std::to_string(tokens.size()), "--temperature", "0", "--ignore-eos", "--json"});
    ASSERT_EQ(result.exit_code, 0) << result.err;
    const JsonDoc answer = std::move(*JsonDoc::parse(result.out));
    const std::vector<int64_t> got = integers_of(*answer.root().find("ids"));
    ASSERT_EQ(got.size(), tokens.size());
    ++n_case;
    const auto at = static_cast<size_t>(
        std::mismatch(tokens.begin(), tokens.end(), got.begin()).first - tokens.begin());
    n_token += at;
    if (at == tokens.size()) {
      ++n_same;
      continue;
    }
    size_t i = 0;
    for (const Json margin : item.find("margins")->elements()) {
      if (i++ != at) continue;
      std::printf("%s: the first other token at %zu, where llama.cpp's margin is %s\n",
                  std::string(item.find("name")->text()).c_str(), at,
                  std::string(margin.text()).c_str());
      EXPECT_LT(*margin.to_f64(), 0.5) << item.find("name")->text();
    }
  }
  std::printf("%zu of %zu prompts the same; %zu tokens up to where they part\n", n_same, n_case,
              n_token);
  EXPECT_EQ(n_case, 12u);
  EXPECT_GE(n_token, 120u);
}

// A small device with the file, the body with the directory.
TEST_F(SmolLM2Gguf, MeetsABodyThatHasTheDirectory) {
  Cloud cloud(kModel);
  ASSERT_NE(cloud.address(), "");
  const ProcessResult result =
      run_splitd({"local", kGguf, "The capital of France is", "--raw", "--body", cloud.address(),
                  "--head", "2", "--tail", "2", "-n", "4", "--temperature", "0"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_NE(result.out.find("Paris"), std::string::npos) << result.out;
}

}  // namespace
}  // namespace splitd
