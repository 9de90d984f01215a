// Every --decoder through the real binary, alone and split over loopback: the same answer as
// `sequential`, whatever is sampled, however short the answer is. A share of what the drafters
// promise; decode/ holds the rest with random drafters.
#include <gtest/gtest.h>

#include <set>

#include "tests/tools/background.h"
#include "tests/tools/golden_model.h"

namespace splitd {
namespace {

using Words = std::vector<std::string>;

const Words kDrafters = {"auto",   "jacobi",  "lookahead", "prompt-lookup",
                         "suffix", "recycle", "draft",     "early-exit"};

Words operator+(Words a, const Words& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

// What a user sees of an answer: ids, and why it ended.
std::string answer_of(const Words& words) {
  const ProcessResult result = run_splitd(words);
  const Result<JsonDoc> answer = JsonDoc::parse(result.out);
  if (result.exit_code != 0 || !answer) {
    return std::to_string(result.exit_code) + " " + result.err + result.out;
  }
  return comma_list(integers_of(*answer->root().find("ids"))) + " " +
         std::string(answer->root().find("finish_reason")->text());
}

// A prompt that repeats itself, so that every drafter finds something to guess.
std::string prompt_of(const std::string& model) {
  const JsonDoc expected = golden_json(model);
  std::vector<int64_t> ids;
  for (const Json prompt : expected.root().find("prompts")->elements()) {
    const std::vector<int64_t> some = integers_of(*prompt.find("tokens"));
    for (int i = 0; i < 2; ++i) ids.insert(ids.end(), some.begin(), some.end());
  }
  return comma_list(ids);
}

class Decoders : public testing::TestWithParam<std::string> {
 protected:
  // Compares the drafters with `sequential` and says how many different answers there were.
  size_t check(const Words& command, const std::vector<Words>& variants) {
    std::set<std::string> answers;
    for (const Words& variant : variants) {
      const Words words = command + variant;
      const std::string wanted = answer_of(words + Words{"--decoder", "sequential"});
      EXPECT_TRUE(wanted.ends_with("length") || wanted.ends_with("stop")) << wanted;
      for (const std::string& drafter : kDrafters) {
        Words with = words + Words{"--decoder", drafter};
        // Another model guesses, wrongly as a rule; itself, rightly.
        if (drafter == "draft") {
          with = with + Words{"--draft-model", variant.back() == "f32" ? model_ : other_};
        }
        EXPECT_EQ(answer_of(with), wanted) << drafter << " " << testing::PrintToString(variant);
      }
      answers.insert(wanted);
    }
    return answers.size();
  }

  const std::string model_ = golden_model(GetParam());
  const std::string other_ = golden_model("llama");
  const Words prompt_ = {"--ids", prompt_of(GetParam()), "--json", "--threads", "1"};
};

TEST_P(Decoders, AreTheSameTextAlone) {
  const std::vector<Words> variants = {
      {"-n", "30", "--temperature", "0", "--compute", "f32"},
      {"-n", "30", "--temperature", "0.8", "--seed", "1"},
      {"-n", "2", "--temperature", "0"},
      {"-n", "40", "--temperature", "1.3", "--top-p", "0.9", "--repeat-penalty", "1.2", "--seed",
       "2", "--ignore-eos", "--compute", "f32"}};
  EXPECT_GE(check(Words{"run", model_} + prompt_, variants), 3u);
}

TEST_P(Decoders, AreTheSameTextSplit) {
  Cloud cloud(model_);
  ASSERT_NE(cloud.address(), "");
  const std::vector<Words> variants = {
      {"-n", "30", "--temperature", "0", "--wire", "q8"},
      {"-n", "30", "--temperature", "0.8", "--seed", "1", "--compute", "f32"}};
  EXPECT_EQ(check(Words{"local", model_, "--body", cloud.address()} + prompt_, variants), 2u);
}

INSTANTIATE_TEST_SUITE_P(Models, Decoders,
                         testing::Values("gemma3_text", "phi3_longrope_long", "qwen3_moe"),
                         [](const auto& test) { return test.param; });

}  // namespace
}  // namespace splitd
