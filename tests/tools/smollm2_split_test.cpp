// The real SmolLM2-135M-Instruct between two processes, as `make demo` fetches it; see
// smollm2_test.cpp for when it is skipped.
#include <algorithm>
#include <cstdio>

#include "tests/tools/background.h"
#include "tests/tools/smollm2.h"

namespace splitd {
namespace {

using Words = std::vector<std::string>;

class SmolLM2Split : public SmolLM2 {};

std::vector<int64_t> answer_ids(const Words& words) {
  const ProcessResult result = run_splitd(words);
  EXPECT_EQ(result.exit_code, 0) << result.err;
  const Result<JsonDoc> answer = JsonDoc::parse(result.out);
  return answer.ok() ? integers_of(*answer->root().find("ids")) : std::vector<int64_t>();
}

// The default wire rounds to f16: where a token differs for that, the model was undecided there.
TEST_F(SmolLM2Split, AnswersThePromptsAsRunDoes) {
  Cloud cloud(kModel);
  ASSERT_NE(cloud.address(), "");
  size_t n_same = 0, n_case = 0;
  for (const Json item : expected().find("cases")->elements()) {
    const Words prompt = {"--ids",
                          comma_list(integers_of(*item.find("prompt_ids"))),
                          "-n",
                          "48",
                          "--temperature",
                          "0",
                          "--json"};
    Words run = {"run", kModel};
    Words local = {"local", kModel, "--body", cloud.address(), "--head", "2", "--tail", "2"};
    run.insert(run.end(), prompt.begin(), prompt.end());
    local.insert(local.end(), prompt.begin(), prompt.end());
    const std::vector<int64_t> whole = answer_ids(run), split = answer_ids(local);
    local.insert(local.end(), {"--wire", "f32"});
    EXPECT_EQ(answer_ids(local), whole);
    ++n_case;
    if (split == whole) {
      ++n_same;
      continue;
    }
    const auto at = static_cast<size_t>(
        std::mismatch(whole.begin(), whole.end(), split.begin(), split.end()).first -
        whole.begin());
    const std::vector<int64_t> tokens = integers_of(*item.find("tokens"));
    const bool on_reference =
        at < tokens.size() &&
        std::equal(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(at), tokens.begin());
    std::string margin = "not known, the text left the reference before";
    size_t i = 0;
    for (const Json one : item.find("margins")->elements()) {
      if (i++ == at && on_reference) margin = one.text();
    }
    std::printf("%s: the first other token at %zu; the reference's margin there: %s\n",
                std::string(item.find("name")->text()).c_str(), at, margin.c_str());
    if (on_reference) {
      EXPECT_LT(std::atof(margin.c_str()), 0.2);
    }
  }
  std::printf("%zu of %zu prompts: the same tokens over an f16 wire\n", n_same, n_case);
  EXPECT_GE(2 * n_same, n_case);
}

TEST_F(SmolLM2Split, WiresCostLittle) {
  const Json golden = *expected().find("perplexity");
  const ProcessResult result =
      run_splitd({"perplexity", kModel, "-", "--json", "--wires", "--head", "2", "--tail", "2"},
                 {.input = std::string(golden.find("text")->text().substr(0, 3000))});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const JsonDoc json = std::move(*JsonDoc::parse(result.out));
  const double whole = *json.root().find("perplexity")->to_f64();
  const Json wire = *json.root().find("wire");
  EXPECT_EQ(wire.find("f32")->to_f64(), whole);
  EXPECT_LT(*wire.find("f16")->to_f64() / whole - 1, 0.002);
  EXPECT_LT(*wire.find("bf16")->to_f64() / whole - 1, 0.002);
  EXPECT_LT(*wire.find("q8")->to_f64() / whole - 1, 0.005);
}

}  // namespace
}  // namespace splitd
