// Speculation changes no token: any drafter, any number of frames in flight, sampled or greedy,
// with penalties, through a stage that computes when asked and through a body that forgets.
#include <gtest/gtest.h>

#include <cmath>
#include <thread>

#include "runtime/decode/session.h"
#include "runtime/engine/local_stage.h"
#include "tests/runtime/decode/test_drafters.h"
#include "tests/runtime/decode/test_stages.h"
#include "tests/runtime/engine/golden_model.h"

namespace splitd {
namespace {

struct Way {
  const char* name;
  SamplingOptions sampling;
};

std::vector<Way> ways() {
  std::vector<Way> out{{"greedy", {}}};
  for (const uint64_t seed : {1u, 2u, 3u}) {
    out.push_back({"sampled", {.temperature = 0.8, .logit_bias = {}, .seed = seed}});
  }
  out.push_back({"penalties",
                 {.temperature = 0.8,
                  .top_k = 40,
                  .top_p = 0.95,
                  .repeat_penalty = 1.2,
                  .presence_penalty = 0.2,
                  .frequency_penalty = 0.1,
                  .logit_bias = {},
                  .seed = 4}});
  out.push_back({"greedy with penalties", {.repeat_penalty = 1.3, .logit_bias = {}}});
  return out;
}

class SpeculationTest : public testing::TestWithParam<std::string> {
 protected:
  SpeculationTest() : model_(GetParam()), pool_(1), split_(model_, pool_) {
    const Json prompts = *model_.json().find("prompts");
    for (const Json p : prompts.elements()) prompt_ = integers<uint32_t>(*p.find("tokens"));
  }

  uint32_t n_vocab() const { return model_.config().n_vocab; }
  KvShape shape(uint32_t max_pending) const {
    const auto n_ctx = static_cast<uint32_t>(*model_.json().find("session_length")->to_u64());
    return {n_ctx, max_pending, KvType::f32};
  }

  std::unique_ptr<Session> open(Stage& body, uint32_t max_pending) {
    Pipeline pipeline = split_.pipeline();
    pipeline.body = &body;
    return std::move(*Session::open(pipeline, shape(max_pending)));
  }

  Generated generate(Session& session, uint32_t n, const SamplingOptions& sampling,
                     GenerateOptions options) {
    Sampler sampler(sampling, n_vocab());
    options.max_tokens = n;
    Result<Generated> out =
        session.generate(prompt_, options, sampler, [](uint32_t) { return true; });
    EXPECT_TRUE(out.ok()) << out.error().message;
    return out.ok() ? *out : Generated();
  }

  // The prompt and its continuation, one token at a time.
  std::vector<uint32_t> truth(const SamplingOptions& sampling) {
    LocalStage body(*split_.parts[1]);
    const std::unique_ptr<Session> session = open(body, 4);
    const std::vector<uint32_t> more = generate(*session, 1000, sampling, {}).tokens;
    std::vector<uint32_t> all = prompt_;
    all.insert(all.end(), more.begin(), more.end());
    EXPECT_EQ(all.size(), shape(0).n_ctx + 1);
    return all;
  }

  GoldenModel model_;
  ThreadPool pool_;
  SplitModel split_;
  std::vector<uint32_t> prompt_;
};

TEST_P(SpeculationTest, RandomDrafters) {
  size_t n_accepted = 0, n_observed = 0, n_beside = 0;
  uint32_t most_frames = 0;
  uint64_t n_rest = 0;
  for (const Way& way : ways()) {
    const std::vector<uint32_t> all = truth(way.sampling);
    const std::vector<uint32_t> expected(all.begin() + static_cast<std::ptrdiff_t>(prompt_.size()),
                                         all.end());
    for (uint32_t seed = 0; seed < 7; ++seed) {
      LocalStage body(*split_.parts[1]);
      const std::unique_ptr<Session> session = open(body, 8 + 9 * seed);
      RandomDrafter drafter(seed, all, n_vocab());
      GenerateOptions options;
      options.drafter = &drafter;
      options.most_frames = 1 + seed % 7;
      options.most_parts = 1 + seed % 3;
      const auto n = static_cast<uint32_t>(expected.size()) - seed / 2;
      const Generated got = generate(*session, n, way.sampling, options);
      ASSERT_EQ(got.tokens, std::vector<uint32_t>(expected.begin(), expected.begin() + n))
          << way.name << ", seed " << seed;
      EXPECT_LE(got.most_frames, options.most_frames);
      most_frames = std::max(most_frames, got.most_frames);
      n_rest += got.n_rest_frame;
      n_accepted += drafter.n_accepted;
      n_observed += drafter.n_observed;
      n_beside += drafter.n_beside;
      // What was in flight at the end disturbs nobody.
      ASSERT_EQ(generate(*session, 3, way.sampling, {}).tokens,
                std::vector<uint32_t>(expected.begin(), expected.begin() + 3));
    }
  }
  EXPECT_GT(n_accepted, 300u);
  EXPECT_GT(n_observed, 300u);
  EXPECT_GT(n_beside, 30u);
  EXPECT_GT(most_frames, 3u);
  EXPECT_GT(n_rest, 50u);
}

TEST_P(SpeculationTest, WithAController) {
  for (const Way& way : ways()) {
    const std::vector<uint32_t> all = truth(way.sampling);
    for (const bool right : {false, true}) {
      LocalStage body(*split_.parts[1]);
      const std::unique_ptr<Session> session = open(body, 64);
      ChainDrafter drafter(all, right, 8, n_vocab());
      Controller controller({.most_rows = 32, .most_frames = 4});
      GenerateOptions options;
      options.drafter = &drafter;
      options.controller = &controller;
      const Generated got = generate(*session, 1000, way.sampling, options);
      ASSERT_TRUE(std::equal(got.tokens.begin(), got.tokens.end(),
                             all.begin() + static_cast<std::ptrdiff_t>(prompt_.size()), all.end()))
          << way.name;
      EXPECT_TRUE(!right || got.n_step < got.tokens.size() / 2);
    }
  }
}

// A body that forgets finds nothing of what was in flight: it comes again.
TEST_P(SpeculationTest, ABodyThatForgetsInTheMiddleOfTrees) {
  const Way way = ways()[4];
  const std::vector<uint32_t> all = truth(way.sampling);
  const std::vector<uint32_t> expected(all.begin() + static_cast<std::ptrdiff_t>(prompt_.size()),
                                       all.end());
  size_t n_forgotten = 0;
  for (uint32_t seed = 0; seed < 8; ++seed) {
    ForgetfulStage body(*split_.parts[1]);
    body.forget_at = 2 + 2 * seed;
    body.forget_again = 7 + seed;
    const std::unique_ptr<Session> session = open(body, 40);
    for (uint32_t turn = 0; turn < 2; ++turn) {
      RandomDrafter drafter(seed, all, n_vocab());
      GenerateOptions options;
      options.drafter = &drafter;
      options.most_frames = 1 + seed % 5;
      options.most_parts = 1 + (seed + turn) % 3;
      ASSERT_EQ(generate(*session, 1000, way.sampling, options).tokens, expected) << seed;
    }
    n_forgotten += body.n_forgotten;
  }
  EXPECT_GT(n_forgotten, 10u);
}

TEST_P(SpeculationTest, CancelledWithFramesInFlight) {
  const std::vector<uint32_t> all = truth({});
  LocalStage body(*split_.parts[1]);
  const std::unique_ptr<Session> session = open(body, 60);
  for (uint32_t after = 1; after < 20; ++after) {
    RandomDrafter drafter(after, all, n_vocab());
    GenerateOptions options;
    options.drafter = &drafter;
    options.most_frames = 7;
    options.most_parts = 1 + after % 3;
    Sampler sampler({}, n_vocab());
    size_t seen = 0;
    const Result<Generated> out = session->generate(prompt_, options, sampler, [&](uint32_t) {
      if (++seen == after) std::thread([&] { session->cancel(); }).join();
      return true;
    });
    ASSERT_FALSE(out.ok());
    EXPECT_EQ(out.error().kind, ErrorKind::interrupted);
  }
  const Generated got = generate(*session, 1000, {}, {});
  EXPECT_TRUE(std::equal(got.tokens.begin(), got.tokens.end(),
                         all.begin() + static_cast<std::ptrdiff_t>(prompt_.size()), all.end()));
}

// Whoever breaks the seam's contract is named, and nothing is sent.
TEST_P(SpeculationTest, ABrokenDraftIsRefusedByName) {
  struct Broken final : Drafter {
    std::string_view name() const override { return "broken"; }
    void begin(std::span<const uint32_t>) override {}
    Status propose(const DraftRequest&, Draft& draft) override {
      draft.add(1, -1, 0.5F);
      draft.add(2, 0, 0.25F);
      if (kind == 0) draft.parents[1] = 1;
      if (kind == 1) draft.parents[0] = -2;
      if (kind == 2) draft.tokens[1] = 1u << 30;
      if (kind == 3) draft.probabilities[1] = NAN;
      if (kind == 4) draft.probabilities.pop_back();
      if (kind == 5) return failed("out of ideas");
      return {};
    }
    void observe(const StepSeen&) override { ADD_FAILURE(); }
    int kind = 0;
  };
  LocalStage body(*split_.parts[1]);
  const std::unique_ptr<Session> session = open(body, 20);
  for (int kind = 0; kind < 6; ++kind) {
    Broken drafter;
    drafter.kind = kind;
    GenerateOptions options;
    options.drafter = &drafter;
    Sampler sampler({}, n_vocab());
    const Result<Generated> out =
        session->generate(prompt_, options, sampler, [](uint32_t) { return true; });
    ASSERT_FALSE(out.ok());
    EXPECT_NE(out.error().message.find("drafter broken: "), std::string::npos)
        << out.error().message;
  }
  const std::vector<uint32_t> all = truth({});
  EXPECT_EQ(generate(*session, 1, {}, {}).tokens[0], all[prompt_.size()]);
}

INSTANTIATE_TEST_SUITE_P(Models, SpeculationTest, testing::ValuesIn(golden_model_names()),
                         [](const auto& test) { return test.param; });

}  // namespace
}  // namespace splitd
