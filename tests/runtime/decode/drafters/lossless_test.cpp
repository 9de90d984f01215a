// Every drafter on every golden model, as `splitd run` and a split drive it: the tokens are those
// of one token at a time. The drafters keep what they learnt from text to text.
#include <gtest/gtest.h>

#include "runtime/decode/drafters/make_drafter.h"
#include "runtime/decode/drafters/model_drafter.h"
#include "runtime/decode/session.h"
#include "runtime/engine/local_stage.h"
#include "tests/runtime/engine/golden_model.h"

namespace splitd {
namespace {

struct Way {
  bool exact;
  uint32_t most_frames;
  SamplingOptions sampling;
};

std::vector<Way> ways() {
  std::vector<Way> out{{true, 4, {}}, {false, 1, {}}};
  for (const uint64_t seed : {1u, 2u, 3u}) {
    out.push_back(
        {seed != 1, seed == 2 ? 1u : 4u, {.temperature = 0.8, .logit_bias = {}, .seed = seed}});
  }
  out.push_back(
      {true,
       4,
       {.temperature = 0.8, .top_k = 20, .repeat_penalty = 1.2, .logit_bias = {}, .seed = 4}});
  return out;
}

class Lossless : public testing::TestWithParam<std::string> {
 protected:
  Lossless() : model_(GetParam()), pool_(1) {
    const auto& table = *kernels::runnable_tables().back();
    for (const bool exact : {false, true}) backends_[exact] = model_.backend(table, pool_, exact);
    for (const Json p : model_.json().find("prompts")->elements()) {
      prompts_.push_back(integers<uint32_t>(*p.find("tokens")));
    }
    n_ctx_ = static_cast<uint32_t>(*model_.json().find("session_length")->to_u64());
  }

  std::vector<uint32_t> generate(const Way& way, const std::vector<uint32_t>& prompt,
                                 Drafter* drafter, uint32_t n) {
    Backend& backend = *backends_[way.exact];
    LocalStage body(backend);
    const auto session =
        Session::open({&backend, {0, 0}, &body, &backend, {0, 0}}, {n_ctx_, 96, KvType::f16});
    Sampler sampler(way.sampling, model_.config().n_vocab);
    Controller controller({.most_rows = 24, .most_frames = way.most_frames});
    GenerateOptions options;
    options.max_tokens = n;
    options.drafter = drafter;
    options.most_frames = way.most_frames;
    options.most_parts = way.sampling.seed % 2 == 0 ? 3 : 2;
    // Without a link there is nothing that a controller would send ahead for.
    if (way.most_frames == 1) options.controller = &controller;
    if (drafter != nullptr) drafter->sample_like(way.sampling);
    Result<Generated> out =
        (*session)->generate(prompt, options, sampler, [](uint32_t) { return true; });
    EXPECT_TRUE(out.ok()) << out.error().message;
    if (!out) return {};
    n_step_ += out->n_step;
    n_token_ += out->tokens.size() - 1;
    return out->tokens;
  }

  GoldenModel model_;
  ThreadPool pool_;
  std::array<std::unique_ptr<Backend>, 2> backends_;
  std::vector<std::vector<uint32_t>> prompts_;
  uint32_t n_ctx_ = 0;
  uint64_t n_step_ = 0, n_token_ = 0;
};

TEST_P(Lossless, EveryDrafter) {
  std::vector<std::vector<uint32_t>> plain;
  for (const Way& way : ways()) plain.push_back(generate(way, prompts_[0], nullptr, 48));
  for (const std::string_view name : drafter_names()) {
    if (name == "sequential") continue;
    const LayerRange all{0, model_.config().n_layer};
    Backend& guesser = *backends_[1];
    DraftModel small;
    small.embedding = small.head = &guesser;
    small.parts = {{&guesser, all}};
    small.n_vocab = model_.config().n_vocab;
    small.n_ctx = n_ctx_;
    if (name == "early-exit") small.parts = {{&guesser, {0, 0}}};  // embedding and head alone
    DrafterOptions options;
    options.n_vocab = model_.config().n_vocab;
    options.model = &small;
    Result<std::unique_ptr<Drafter>> drafter = make_drafter(name, options);
    ASSERT_TRUE(drafter.ok()) << drafter.error().message;
    n_step_ = n_token_ = 0;
    for (size_t i = 0; i < plain.size(); ++i) {
      const auto n = static_cast<uint32_t>(plain[i].size() - i);  // never more than was asked for
      EXPECT_EQ(generate(ways()[i], prompts_[0], drafter->get(), n),
                std::vector<uint32_t>(plain[i].begin(), plain[i].begin() + n))
          << name << ", way " << i;
    }
    // A model that guesses for itself is right nearly always.
    EXPECT_TRUE(name != "draft" || n_step_ < n_token_ * 3 / 4) << n_step_ << " " << n_token_;
  }
}

INSTANTIATE_TEST_SUITE_P(Models, Lossless, testing::ValuesIn(golden_model_names()),
                         [](const auto& test) { return test.param; });

}  // namespace
}  // namespace splitd
