// Golden models through Session: greedy tokens, drafts that never change the text, prefix reuse,
// cancelling, refusals. The body is a stage that computes in submit(), so that only the loop is
// under test.
#include "runtime/decode/session.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <thread>

#include "tests/runtime/decode/test_drafters.h"
#include "tests/runtime/decode/test_stages.h"
#include "tests/runtime/engine/golden_model.h"

namespace splitd {
namespace {

class SessionTest : public testing::TestWithParam<std::string> {
 protected:
  SessionTest()
      : model_(GetParam()),
        pool_(1),
        backend_(model_.backend(*kernels::runnable_tables().back(), pool_)),
        body_(*backend_) {}

  // The whole model as body; or, with cuts, split between head, body and tail.
  Pipeline pipeline() { return {backend_.get(), {0, 0}, &body_, backend_.get(), {0, 0}}; }

  std::unique_ptr<Session> open(const Pipeline& pipeline, uint32_t max_pending = 12) {
    const auto n_ctx = static_cast<uint32_t>(*model_.json().find("session_length")->to_u64());
    return std::move(*Session::open(pipeline, {n_ctx, max_pending, KvType::f32}));
  }

  Generated generate(Session& session, const std::vector<uint32_t>& prompt, uint32_t n,
                     SamplingOptions sampling = {}, Drafter* drafter = nullptr) {
    Sampler sampler(std::move(sampling), model_.config().n_vocab);
    GenerateOptions options;
    options.max_tokens = n;
    options.drafter = drafter;
    Result<Generated> out =
        session.generate(prompt, options, sampler, [](uint32_t) { return true; });
    EXPECT_TRUE(out.ok()) << out.error().message;
    return out.ok() ? *out : Generated();
  }

  std::vector<uint32_t> prompt(size_t which, const char* field = "tokens") {
    std::vector<std::vector<uint32_t>> all;
    for (const Json p : model_.json().find("prompts")->elements()) {
      all.push_back(integers<uint32_t>(*p.find(field)));
    }
    return all[which];
  }

  GoldenModel model_;
  ThreadPool pool_;
  std::unique_ptr<Backend> backend_;
  ForgetfulStage body_;
};

TEST_P(SessionTest, GreedyTokensInOneSessionAfterAnother) {
  const std::unique_ptr<Session> session = open(pipeline());
  for (const size_t which : {2u, 0u, 1u, 2u}) {
    EXPECT_EQ(generate(*session, prompt(which), 48).tokens, prompt(which, "greedy"));
  }
}

// Of a prompt only the last row's result is read, however it is cut; of what is scored every one.
TEST_P(SessionTest, SaysWhatNobodyReads) {
  const size_t n = prompt(2).size();
  for (const uint32_t chunk_rows : {0u, 5u}) {
    Pipeline pipeline = this->pipeline();
    pipeline.chunk_rows = chunk_rows;
    const std::unique_ptr<Session> session = open(pipeline);
    body_.n_unread = 0;
    EXPECT_EQ(generate(*session, prompt(2), 48).tokens, prompt(2, "greedy"));
    EXPECT_EQ(body_.n_unread, n - 1);
    EXPECT_TRUE(session->score(prompt(2), [](size_t, std::span<float>) { return Status(); }).ok());
    EXPECT_EQ(body_.n_unread, n - 1);
  }
}

TEST_P(SessionTest, SplitIntoHeadBodyAndTail) {
  const SplitModel split(model_, pool_);
  const std::unique_ptr<Session> session = open(split.pipeline());
  const std::vector<uint32_t> truth = prompt(2, "greedy");
  std::vector<uint32_t> all = prompt(2);
  all.insert(all.end(), truth.begin(), truth.end());
  RandomDrafter drafter(7, all, model_.config().n_vocab);
  EXPECT_EQ(generate(*session, prompt(2), 48, {}, &drafter).tokens, truth);
  EXPECT_EQ(generate(*session, prompt(1), 48).tokens, prompt(1, "greedy"));
  EXPECT_GT(drafter.n_accepted, 5u);
}

// Wherever it happens: in the prompt, in a step, with a draft pending, between two texts.
TEST_P(SessionTest, ABodyThatForgetsChangesNothing) {
  const std::vector<uint32_t> truth = prompt(2, "greedy");
  std::vector<uint32_t> all = prompt(2);
  all.insert(all.end(), truth.begin(), truth.end());
  for (size_t forget_at = 1; forget_at < 40; forget_at += 3) {
    SplitModel split(model_, pool_);
    split.body->forget_at = forget_at;
    split.body->forget_again = forget_at % 2 == 0 ? 17 : 0;
    Pipeline pipeline = split.pipeline();
    pipeline.chunk_rows = 7;
    pipeline.first_chunk_rows = static_cast<uint32_t>(forget_at % 3);
    const std::unique_ptr<Session> session = open(pipeline);
    RandomDrafter drafter(7, all, model_.config().n_vocab);
    Drafter* const drafts = forget_at % 3 == 0 ? nullptr : &drafter;
    EXPECT_EQ(generate(*session, prompt(2), 24, {}, drafts).tokens,
              std::vector<uint32_t>(truth.begin(), truth.begin() + 24));
    EXPECT_EQ(generate(*session, prompt(2), 48, {}, drafts).tokens, truth);
    EXPECT_EQ(generate(*session, prompt(1), 48).tokens, prompt(1, "greedy"));
    EXPECT_GE(split.body->n_forgotten, 1u);
  }
}

TEST_P(SessionTest, ABodyThatForgetsAlwaysIsAnError) {
  SplitModel split(model_, pool_);
  split.body->forget_at = 4;
  split.body->forget_again = 1;
  const std::unique_ptr<Session> session = open(split.pipeline());
  Sampler sampler({}, model_.config().n_vocab);
  const Result<Generated> out =
      session->generate(prompt(2), {}, sampler, [](uint32_t) { return true; });
  ASSERT_FALSE(out.ok());
  EXPECT_TRUE(is_lost(out.error())) << out.error().message;
  split.body->forget_at = 0;
  EXPECT_EQ(generate(*session, prompt(2), 48).tokens, prompt(2, "greedy"));
}

TEST_P(SessionTest, DraftsChangeNothingAtAnyTemperature) {
  for (const double temperature : {0.0, 0.8}) {
    const SamplingOptions sampling{
        .temperature = temperature, .top_k = 40, .repeat_penalty = 1.1, .seed = 11};
    const std::vector<uint32_t> plain = generate(*open(pipeline()), prompt(1), 40, sampling).tokens;
    std::vector<uint32_t> all = prompt(1);
    all.insert(all.end(), plain.begin(), plain.end());
    size_t accepted = 0;
    for (uint32_t seed = 0; seed < 4; ++seed) {
      RandomDrafter drafter(seed, all, model_.config().n_vocab);
      const uint32_t n = 30 + seed;  // never more than asked for
      const Generated got = generate(*open(pipeline()), prompt(1), n, sampling, &drafter);
      EXPECT_EQ(got.tokens, std::vector<uint32_t>(plain.begin(), plain.begin() + n));
      accepted += drafter.n_accepted;
    }
    EXPECT_GT(accepted, 20u);
  }
}

TEST_P(SessionTest, WhatIsThereIsNotComputedAgain) {
  const std::unique_ptr<Session> session = open(pipeline());
  std::vector<uint32_t> text = prompt(1);
  const Generated first = generate(*session, text, 10);
  text.insert(text.end(), first.tokens.begin(), first.tokens.end());
  const size_t before = body_.n_row;
  const Generated more = generate(*session, text, 5);
  EXPECT_EQ(more.n_reused, text.size() - 1);
  EXPECT_EQ(body_.n_row - before, 1 + 4u);
  const std::vector<uint32_t> truth = prompt(1, "greedy");
  EXPECT_EQ(more.tokens, std::vector<uint32_t>(truth.begin() + 10, truth.begin() + 15));
  // Another continuation of the same prompt goes back to where they part.
  text = prompt(1);
  text.back() = (text.back() + 1) % model_.config().n_vocab;
  const size_t n_request = body_.n_request;
  const std::vector<uint32_t> other = generate(*session, text, 8).tokens;
  // Going back is no request of its own: the prompt, seven steps, and what the last one kept.
  EXPECT_EQ(body_.n_request - n_request, 1 + 7 + 1u);
  EXPECT_EQ(other, generate(*open(pipeline()), text, 8).tokens);
}

TEST_P(SessionTest, StopsWhereItIsTold) {
  const std::vector<uint32_t> truth = prompt(1, "greedy");
  const std::unique_ptr<Session> session = open(pipeline());
  Sampler sampler({}, model_.config().n_vocab);
  GenerateOptions options;
  options.stop_ids = {truth[6]};
  const auto always = [](uint32_t) { return true; };
  Result<Generated> out = session->generate(prompt(1), options, sampler, always);
  ASSERT_TRUE(out.ok());
  EXPECT_EQ(out->reason, FinishReason::stop);
  EXPECT_EQ(out->tokens.back(), truth[6]);
  size_t seen = 0;
  out = session->generate(prompt(1), {}, sampler, [&](uint32_t) { return ++seen < 3; });
  ASSERT_TRUE(out.ok());
  EXPECT_EQ(out->reason, FinishReason::callback);
  EXPECT_EQ(out->tokens.size(), 3u);
  options.max_tokens = 1;
  options.stop_ids.clear();
  out = session->generate(prompt(2), options, sampler, always);
  EXPECT_EQ(out->tokens.size(), 1u);
  EXPECT_EQ(out->reason, FinishReason::length);
  // The context ends before the tokens do.
  options.max_tokens = 1000;
  out = session->generate(prompt(2), options, sampler, always);
  EXPECT_EQ(out->tokens.size(), 93 - 45 + 1u);
}

TEST_P(SessionTest, CancelledTextsLeaveTheSessionUsable) {
  const std::unique_ptr<Session> session = open(pipeline());
  const std::vector<uint32_t> truth = prompt(2, "greedy");
  for (const size_t after : {1u, 2u, 5u}) {
    size_t seen = 0;
    Sampler sampler({}, model_.config().n_vocab);
    GenerateOptions options;
    const Result<Generated> out = session->generate(prompt(2), options, sampler, [&](uint32_t) {
      if (++seen == after) std::thread([&] { session->cancel(); }).join();
      return true;
    });
    ASSERT_FALSE(out.ok());
    EXPECT_EQ(out.error().kind, ErrorKind::interrupted);
    EXPECT_EQ(seen, after);
    EXPECT_EQ(generate(*session, prompt(2), 48).tokens, truth);
  }
}

TEST_P(SessionTest, RefusesBeforeItComputes) {
  const std::unique_ptr<Session> session = open(pipeline());
  Sampler sampler({}, model_.config().n_vocab);
  const auto error = [&](const std::vector<uint32_t>& text) {
    const Result<Generated> out =
        session->generate(text, {}, sampler, [](uint32_t) { return true; });
    return out.ok() ? "accepted" : out.error().message;
  };
  EXPECT_EQ(error({}), "the prompt is empty: at least one token is needed");
  EXPECT_EQ(error(std::vector<uint32_t>(94, 5)),
            "the prompt has 94 tokens; the context has room for 93");
  const std::string n_vocab = std::to_string(model_.config().n_vocab);
  EXPECT_EQ(error({1, model_.config().n_vocab}),
            "token 1 of the prompt is " + n_vocab + "; the vocabulary has " + n_vocab);
  EXPECT_EQ(body_.n_request, 0u);
}

TEST_P(SessionTest, ScoresEveryRow) {
  const std::unique_ptr<Session> session = open(pipeline());
  const std::vector<float> expected = model_.expected("logits.45");
  std::vector<float> got;
  ASSERT_TRUE(session
                  ->score(prompt(2),
                          [&](size_t row, std::span<float> logits) -> Status {
                            EXPECT_EQ(row * logits.size(), got.size());
                            got.insert(got.end(), logits.begin(), logits.end());
                            return {};
                          })
                  .ok());
  EXPECT_LE(relative_error(got, expected), 5e-4);
}

// Where a body is far away, the wait for it is used: the drafter is shown what the model thinks of
// the prompt's rows, and works off what it put off.
TEST_P(SessionTest, WaitingShowsTheDrafterThePrompt) {
  class Student final : public Drafter {
   public:
    std::string_view name() const override { return "student"; }
    uint32_t n_top() const override { return 2; }
    bool use(TokenSketches&) override { return true; }
    void begin(std::span<const uint32_t>) override {}
    Status propose(const DraftRequest& request, Draft&) override {
      EXPECT_EQ(request.before.size(), kSketch);
      return {};
    }
    void observe(const StepSeen& seen) override {
      for (const SeenRow& row : seen.rows) {
        EXPECT_EQ(row.sketch.size(), kSketch);
        EXPECT_EQ(row.before.size(), kSketch);
      }
    }
    void study(std::span<const uint32_t> text, const SeenRow& row) override {
      EXPECT_EQ(row.sketch.size(), kSketch);
      EXPECT_EQ(row.before.empty(), text.size() == 1);
      EXPECT_TRUE(tops.emplace(text.size(), row.top[0]).second) << text.size();
    }
    bool work() override { return n_work-- > 0; }

    std::map<size_t, uint32_t> tops;  // the likeliest follower, by length of text
    int n_work = 3;
  } student;
  const std::vector<uint32_t> text = prompt(2), truth = prompt(2, "greedy");
  const std::unique_ptr<Session> session = open(pipeline());
  std::map<size_t, uint32_t> expected;
  ASSERT_TRUE(session
                  ->score(text,
                          [&](size_t row, std::span<float> logits) -> Status {
                            const auto most = std::max_element(logits.begin(), logits.end());
                            expected[row + 1] = static_cast<uint32_t>(most - logits.begin());
                            return {};
                          })
                  .ok());
  ASSERT_TRUE(session
                  ->score(std::vector<uint32_t>{text[0] == 0 ? 1u : 0u},
                          [](auto, auto) { return Status(); })
                  .ok());
  Controller controller({.most_rows = 8, .most_frames = 1});
  GenerateOptions options;
  options.max_tokens = 48;
  options.drafter = &student;
  options.controller = &controller;
  Sampler near(SamplingOptions{}, model_.config().n_vocab);
  const auto go_on = [](uint32_t) { return true; };
  Result<Generated> out = session->generate(text, options, near, go_on);
  ASSERT_TRUE(out.ok());
  EXPECT_TRUE(student.tops.empty());  // nobody waits
  EXPECT_EQ(student.n_work, 3);

  ASSERT_TRUE(session
                  ->score(std::vector<uint32_t>{text[0] == 0 ? 1u : 0u},
                          [](auto, auto) { return Status(); })
                  .ok());
  for (int i = 0; i < 3; ++i) {
    controller.observe(
        {.n_row = 1, .wait_ms = 4000, .body_ms = 1, .bytes_up = 100, .bytes_down = 100});
  }
  Sampler far(SamplingOptions{}, model_.config().n_vocab);
  out = session->generate(text, options, far, go_on);
  ASSERT_TRUE(out.ok());
  EXPECT_EQ(out->tokens, truth);
  EXPECT_EQ(student.tops, expected);
  EXPECT_LT(student.n_work, 0);
}

INSTANTIATE_TEST_SUITE_P(Models, SessionTest,
                         testing::Values("llama_bf16", "gemma3_text", "qwen3_moe", "mistral_window",
                                         "phi3_longrope_long"),
                         [](const auto& test) { return test.param; });

}  // namespace
}  // namespace splitd
