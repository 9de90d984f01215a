// Every golden model on every instruction set of this machine, activations and KV in fp32: hidden
// states after each layer, logits, greedy tokens, trees.
#include <algorithm>

#include "tests/runtime/engine/golden_model.h"

namespace splitd {
namespace {

// DESIGN: within 2e-5 of the largest |h| of the layer. Gemma 3's own cached run differs by 5e-4.
double tolerance(const ModelConfig& config) {
  return config.family.starts_with("gemma3") ? 5e-4 : 2e-5;
}

class Golden : public testing::TestWithParam<std::tuple<std::string, size_t>> {
 protected:
  Golden()
      : model_(std::get<0>(GetParam())),
        pool_(2),
        backend_(model_.backend(*kernels::runnable_tables()[std::get<1>(GetParam())], pool_)) {}

  HandSession session(uint32_t max_pending = 8) {
    const auto n_ctx = static_cast<uint32_t>(*model_.json().find("session_length")->to_u64());
    return {*backend_, {n_ctx, max_pending, KvType::f32}};
  }

  GoldenModel model_;
  ThreadPool pool_;
  std::unique_ptr<Backend> backend_;
};

TEST_P(Golden, HiddenStatesOfEveryLayer) {
  const Json prompts = *model_.json().find("prompts");
  std::vector<uint32_t> tokens;
  for (const Json prompt : prompts.elements()) tokens = integers<uint32_t>(*prompt.find("tokens"));
  ASSERT_EQ(tokens.size(), 45u);
  HandSession hand = session();
  TimelineRequest request;
  request.append = Frame{.first = 0, .base = kNoRow, .n_row = 45, .commit = true};
  const std::vector<float> hidden =
      hand.run(tokens, request, [&](int layer, const std::vector<float>& h) {
        const std::string name =
            layer < 0 ? "hidden.embed" : "hidden.layer." + std::to_string(layer);
        EXPECT_LE(relative_error(h, model_.expected(name)), tolerance(model_.config())) << name;
      });
  std::vector<float> normed(hidden.size());
  backend_->norm(hidden, normed.data());
  EXPECT_LE(relative_error(normed, model_.expected("hidden.norm")), tolerance(model_.config()));
}

TEST_P(Golden, LogitsAndGreedyTokens) {
  const uint32_t n_vocab = model_.config().n_vocab;
  const Json prompts = *model_.json().find("prompts");
  for (const Json prompt : prompts.elements()) {
    const auto tokens = integers<uint32_t>(*prompt.find("tokens"));
    const auto greedy = integers<uint32_t>(*prompt.find("greedy"));
    HandSession hand = session();
    std::vector<float> logits = hand.logits(hand.append(tokens));
    const std::string name = "logits." + std::to_string(tokens.size());
    EXPECT_LE(relative_error(logits, model_.expected(name)), tolerance(model_.config())) << name;
    std::vector<uint32_t> got;
    while (got.size() < greedy.size()) {
      const auto last = logits.end() - n_vocab;
      got.push_back(static_cast<uint32_t>(std::max_element(last, logits.end()) - last));
      if (got.size() < greedy.size()) logits = hand.logits(hand.append({got.back()}));
    }
    EXPECT_EQ(got, greedy) << tokens.size();
  }
}

TEST_P(Golden, TreeRowsAreTheirOwnPaths) {
  const Json tree = *model_.json().find("tree");
  const auto prefix = integers<uint32_t>(*tree.find("prefix"));
  const auto tokens = integers<uint32_t>(*tree.find("tokens"));
  const auto parents = integers<int32_t>(*tree.find("parents"));
  HandSession hand = session();
  hand.append(prefix);
  const std::vector<float> hidden = hand.append(tokens, parents);
  const std::vector<float> logits = hand.logits(hidden);
  EXPECT_LE(relative_error(logits, model_.expected("tree.logits")), tolerance(model_.config()));
  const size_t d = model_.config().d_model;
  for (size_t row = 0; row < tokens.size(); ++row) {
    std::vector<uint32_t> path;
    for (auto at = static_cast<int32_t>(row); at >= 0; at = parents[static_cast<size_t>(at)]) {
      path.insert(path.begin(), tokens[static_cast<size_t>(at)]);
    }
    HandSession alone = session();
    alone.append(prefix);
    std::vector<float> last;
    for (const uint32_t token : path) last = alone.append({token});
    const auto begin = hidden.begin() + static_cast<std::ptrdiff_t>(row * d);
    EXPECT_TRUE(std::equal(last.begin(), last.end(), begin)) << "row " << row;
  }
}

TEST_P(Golden, ChunksAndThreadsChangeNoBit) {
  const Json prompts = *model_.json().find("prompts");
  std::vector<uint32_t> tokens;
  for (const Json prompt : prompts.elements()) tokens = integers<uint32_t>(*prompt.find("tokens"));
  for (const bool exact : {true, false}) {
    std::vector<float> whole;
    for (const uint32_t n_thread : {1u, 3u}) {
      ThreadPool pool(n_thread);
      const kernels::KernelTable& table = *kernels::runnable_tables()[std::get<1>(GetParam())];
      const std::unique_ptr<Backend> backend = model_.backend(table, pool, exact);
      for (const size_t chunk : {45u, 1u, 7u, 16u}) {
        HandSession hand(*backend, {64, 4, KvType::f16});
        std::vector<float> all;
        for (size_t at = 0; at < tokens.size(); at += chunk) {
          const auto begin = tokens.begin() + static_cast<std::ptrdiff_t>(at);
          const size_t n = std::min(chunk, tokens.size() - at);
          const std::vector<float> logits =
              hand.logits(hand.append({begin, begin + static_cast<std::ptrdiff_t>(n)}));
          all.insert(all.end(), logits.begin(), logits.end());
        }
        if (whole.empty()) whole = all;
        ASSERT_EQ(all, whole) << chunk << " rows a chunk, " << n_thread << " threads";
      }
    }
  }
}

std::vector<size_t> table_indices() {
  std::vector<size_t> out;
  for (size_t i = 0; i < kernels::runnable_tables().size(); ++i) out.push_back(i);
  return out;
}

INSTANTIATE_TEST_SUITE_P(Models, Golden,
                         testing::Combine(testing::ValuesIn(golden_model_names()),
                                          testing::ValuesIn(table_indices())),
                         [](const auto& test) {
                           return std::get<0>(test.param) + "_" +
                                  kernels::runnable_tables()[std::get<1>(test.param)]->name;
                         });

}  // namespace
}  // namespace splitd
