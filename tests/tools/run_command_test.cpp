// splitd run as the real binary runs it, on golden models: the ids of transformers' greedy
// continuation, what --json reports, and what is refused.
#include <gtest/gtest.h>

#include "tests/tools/golden_model.h"

namespace splitd {
namespace {

std::string ids_text(Json array) {
  std::string out;
  for (const Json item : array.elements())
    out += (out.empty() ? "" : ",") + std::string(item.text());
  return out;
}

class RunCommand : public testing::TestWithParam<std::string> {};

TEST_P(RunCommand, ContinuesIdsAsTransformersDoes) {
  const Result<JsonDoc> expected =
      JsonDoc::parse(*read_file(golden_model(GetParam()) + "/expected.json"));
  ASSERT_TRUE(expected.ok());
  for (const Json prompt : expected->root().find("prompts")->elements()) {
    const ProcessResult result = run_splitd(
        {"run", golden_model(GetParam()), "--ids", ids_text(*prompt.find("tokens")), "-n", "48",
         "--ignore-eos", "--compute", "f32", "--kv", "f32", "--ctx", "93", "--json"});
    ASSERT_EQ(result.exit_code, 0) << result.err;
    const Result<JsonDoc> answer = JsonDoc::parse(result.out);
    ASSERT_TRUE(answer.ok()) << result.out;
    const Json root = answer->root();
    EXPECT_EQ(ids_text(*root.find("ids")), ids_text(*prompt.find("greedy")));
    EXPECT_EQ(root.find("finish_reason")->text(), "length");
    const Json usage = *root.find("usage");
    EXPECT_EQ(usage.find("prompt_tokens")->to_u64(), prompt.find("tokens")->size());
    EXPECT_EQ(usage.find("completion_tokens")->to_u64(), 48u);
  }
}

INSTANTIATE_TEST_SUITE_P(Models, RunCommand, testing::ValuesIn(all_golden_models()),
                         [](const auto& test) { return test.param; });

TEST(RunCommand, TheSameSeedGivesTheSameText) {
  const auto run = [](const char* seed, const char* threads) {
    const ProcessResult result =
        run_splitd({"run", golden_model("qwen3"), "--ids", "5,6,7", "-n", "20", "--temperature",
                    "1.5", "--seed", seed, "--threads", threads, "--json"});
    const Result<JsonDoc> answer = JsonDoc::parse(result.out);
    return answer.ok() ? ids_text(*answer->root().find("ids")) : result.err;
  };
  EXPECT_EQ(run("7", "1"), run("7", "2"));
  EXPECT_NE(run("7", "1"), run("8", "1"));
}

TEST(RunCommand, RefusesWithTheReason) {
  const auto refused = [](std::vector<std::string> words) {
    words.insert(words.begin(), {"run", golden_model("llama_bf16")});
    const ProcessResult result = run_splitd(words);
    return std::to_string(result.exit_code) + " " + result.err;
  };
  EXPECT_EQ(refused({"--ids", "1,256"}),
            "2 splitd: --ids: 256 is no token; the vocabulary has 256, from 0 on\n");
  EXPECT_EQ(refused({"--ids", "1,2,3", "--ctx", "2"}),
            "2 splitd: the prompt has 3 tokens; the context has room for 2\n");
  EXPECT_EQ(refused({"--ids", "1", "--ctx", "513"}),
            "2 splitd: --ctx: 513; the model was made for 512\n");
  EXPECT_EQ(refused({"--ids", "1", "--threads", "0"}),
            "2 splitd: run: --threads: '0' is not an integer from 1 to 1024\n");
  EXPECT_EQ(refused({"--ids", "1", "--device", "gpu"}),
            "2 splitd: --device: 'gpu'; auto, cpu, cuda and cuda:N (N from 0 on) are known\n");
  EXPECT_EQ(refused({"--ids", "1", "--device", "cuda:x"}).substr(0, 2), "2 ");
  // Nobody has so many; without CUDA the reason is another.
  EXPECT_EQ(refused({"--ids", "1", "--device", "cuda:4000"}).substr(0, 30),
            "1 splitd: --device cuda:4000: ");
  EXPECT_NE(refused({"hello"}).find("no tokenizer here"), std::string::npos);
}

}  // namespace
}  // namespace splitd
