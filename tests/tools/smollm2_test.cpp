// The real SmolLM2 against transformers, through the real binary.
#include <algorithm>
#include <cmath>

#include "tests/tools/smollm2.h"

namespace splitd {
namespace {

class SmolLM2Golden : public SmolLM2 {
 protected:
  // |measured / expected − 1|
  double perplexity_error(const std::vector<std::string>& flags) const {
    const Json golden = *expected().find("perplexity");
    std::vector<std::string> words = {"perplexity", kModel, "-", "--json"};
    words.insert(words.end(), flags.begin(), flags.end());
    const ProcessResult result =
        run_splitd(words, {.input = std::string(golden.find("text")->text())});
    EXPECT_EQ(result.exit_code, 0) << result.err;
    const Result<JsonDoc> json = JsonDoc::parse(result.out);
    if (!json) return INFINITY;
    EXPECT_EQ(json->root().find("tokens")->to_u64(), golden.find("tokens")->to_u64());
    return std::fabs(
        *json->root().find("perplexity")->to_f64() / *golden.find("perplexity")->to_f64() - 1);
  }
};

TEST_F(SmolLM2Golden, Perplexity) {
  EXPECT_LE(perplexity_error({"--compute", "f32", "--kv", "f32"}), 0.0002);
  EXPECT_LE(perplexity_error({"--compute", "auto"}), 0.001);
}

// Token by token through `run`, up to the first position where the reference itself was undecided.
TEST_F(SmolLM2Golden, GreedyTokensOfThePrompts) {
  size_t n_case = 0;
  for (const Json item : expected().find("cases")->elements()) {
    const std::string name(item.find("name")->text());
    const std::vector<int64_t> tokens = integers_of(*item.find("tokens"));
    size_t n_decided = 0;
    for (const Json margin : item.find("margins")->elements()) {
      if (*margin.to_f64() < 1e-3) break;
      ++n_decided;
    }
    const ProcessResult result =
        run_splitd({"run", kModel, "--ids", comma_list(integers_of(*item.find("prompt_ids"))), "-n",
                    "64", "--temperature", "0", "--compute", "f32", "--kv", "f32", "--json"});
    ASSERT_EQ(result.exit_code, 0) << result.err;
    const JsonDoc answer = std::move(*JsonDoc::parse(result.out));
    std::vector<int64_t> got = integers_of(*answer.root().find("ids"));
    if (n_decided == tokens.size()) {
      EXPECT_EQ(answer.root().find("text")->text(),
                item.find("text")->text().substr(0, answer.root().find("text")->text().size()))
          << name;
    }
    ASSERT_GE(got.size(), n_decided) << name;
    got.resize(n_decided);
    EXPECT_EQ(got, std::vector<int64_t>(tokens.begin(),
                                        tokens.begin() + static_cast<std::ptrdiff_t>(n_decided)))
        << name;
    EXPECT_GT(n_decided, 20u) << name;
    ++n_case;
  }
  EXPECT_EQ(n_case, 12u);
}

// With rounded activations: where the likeliest token differs from the reference's first, and how
// undecided the reference was there. One pass over the reference's own text shows what decoding
// would have given, as rows do not depend on chunks.
TEST_F(SmolLM2Golden, MarginsWhereRoundedActivationsDiffer) {
  for (const Json item : expected().find("cases")->elements()) {
    std::vector<int64_t> ids = integers_of(*item.find("prompt_ids"));
    const std::vector<int64_t> tokens = integers_of(*item.find("tokens"));
    const size_t n_prompt = ids.size();
    ids.insert(ids.end(), tokens.begin(), tokens.end());
    const TempDir directory;
    const std::string out = directory.path() + "/out";
    ASSERT_EQ(run_splitd({"dump", kModel, "--ids", comma_list(ids), "--out", out}).exit_code, 0);
    const std::vector<float> logits =
        floats_of(TensorFiles::open_safetensors(out).value(), "logits");
    const size_t n_vocab = logits.size() / ids.size();
    size_t at = 0;
    for (const Json margin : item.find("margins")->elements()) {
      const auto row = logits.begin() + static_cast<std::ptrdiff_t>((n_prompt - 1 + at) * n_vocab);
      const auto best = std::max_element(row, row + static_cast<std::ptrdiff_t>(n_vocab)) - row;
      if (best != tokens[at]) {
        std::printf("%s: the first other token at %zu, where the reference's margin is %s\n",
                    std::string(item.find("name")->text()).c_str(), at,
                    std::string(margin.text()).c_str());
        EXPECT_LT(*margin.to_f64(), 0.2);
        break;
      }
      ++at;
    }
  }
}

// A stage for every pair of neighbours, cuts at every layer, and three stages.
TEST_F(SmolLM2Golden, SplittingChangesNoBit) {
  const std::vector<std::string> words = {"--ids", "504,3575,282,4649,314,7042,30"};
  const std::string whole = dump_bytes(kModel, words);
  ASSERT_GT(whole.size(), 7u * 49152 * 4);
  std::vector<std::string> cuts;
  for (int layer = 1; layer < 30; ++layer) {
    cuts.push_back(std::to_string(layer));
    if (layer % 4 == 1) cuts.push_back(comma_list(std::vector{layer, std::min(29, layer + 8)}));
  }
  for (const std::string& cut : cuts) {
    if (cut == "29,29") continue;
    std::vector<std::string> split = words;
    split.insert(split.end(), {"--split", cut});
    EXPECT_TRUE(dump_bytes(kModel, split) == whole) << cut;
  }
}

TEST_F(SmolLM2Golden, ChunksAndThreadsChangeNoBit) {
  std::vector<int64_t> ids;
  for (const Json item : expected().find("cases")->elements()) {
    for (const int64_t id : integers_of(*item.find("tokens"))) ids.push_back(id);
  }
  ids.resize(72);
  for (const char* compute : {"auto", "f32"}) {
    std::string whole;
    for (const auto& [threads, chunk] : std::vector<std::pair<const char*, const char*>>{
             {"2", "512"}, {"1", "64"}, {"2", "7"}, {"1", "1"}}) {
      const std::string bytes = dump_bytes(kModel, {"--ids", comma_list(ids), "--compute", compute,
                                                    "--threads", threads, "--chunk", chunk});
      ASSERT_GT(bytes.size(), 72u * 49152 * 4);
      if (whole.empty()) whole = bytes;
      EXPECT_TRUE(bytes == whole) << compute << ", " << threads << " threads, chunks of " << chunk;
    }
  }
}

}  // namespace
}  // namespace splitd
