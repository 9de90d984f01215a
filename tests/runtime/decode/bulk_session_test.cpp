// Bulk chunks of a prompt: which they are, that a replay repeats them, that none stays in part.
#include <gtest/gtest.h>

#include "tests/runtime/decode/test_stages.h"
#include "tests/runtime/engine/golden_model.h"
#include "tests/runtime/engine/stage_backends.h"

namespace splitd {
namespace {

class BulkSessionTest : public testing::TestWithParam<std::string> {
 protected:
  // The ends take bulk chunks as such too, as on a machine with a GPU of its own.
  struct Setup {
    Setup(const GoldenModel& model, ThreadPool& pool) : split(model, pool) {
      for (size_t i = 0; i < 3; ++i) {
        parts[i] = std::make_unique<BulkBackend>(*split.parts[i]);
      }
      body = std::make_unique<ForgetfulStage>(*parts[1]);
      pipeline = {parts[0].get(), split.ranges[0], body.get(), parts[2].get(), split.ranges[2]};
      pipeline.chunk_rows = 128;
      pipeline.first_chunk_rows = 8;
    }
    SplitModel split;
    std::array<std::unique_ptr<BulkBackend>, 3> parts;
    std::unique_ptr<ForgetfulStage> body;
    Pipeline pipeline;
  };

  std::unique_ptr<Session> open(const Setup& setup, uint32_t n_ctx = 900) {
    return std::move(*Session::open(setup.pipeline, {n_ctx, 8, KvType::f32}));
  }

  Generated generate(Session& session, const std::vector<uint32_t>& prompt, uint32_t n = 12) {
    Sampler sampler({.temperature = 0.7, .seed = 3}, model_.config().n_vocab);
    GenerateOptions options;
    options.max_tokens = n;
    Result<Generated> out =
        session.generate(prompt, options, sampler, [](uint32_t) { return true; });
    EXPECT_TRUE(out.ok()) << out.error().message;
    return out.ok() ? *out : Generated();
  }

  // Other tokens from `part` on.
  std::vector<uint32_t> prompt(size_t n, size_t part = SIZE_MAX) const {
    std::vector<uint32_t> out;
    for (size_t i = 0; i < n; ++i) {
      const size_t value = i * i * 31 + i * 7 + (i >= part ? 97 + part : 0);
      out.push_back(static_cast<uint32_t>(value % model_.config().n_vocab));
    }
    return out;
  }

  GoldenModel model_{GetParam()};
  ThreadPool pool_{1};
};

TEST_P(BulkSessionTest, CompleteChunksAtMultiplesAreBulk) {
  for (const auto& [n_token, n_bulk] : {std::pair{255u, 0u}, {256u, 1u}, {600u, 2u}}) {
    Setup setup(model_, pool_);
    const std::unique_ptr<Session> session = open(setup);
    const std::vector<uint32_t> tokens = generate(*session, prompt(n_token)).tokens;
    for (const auto& part : setup.parts) EXPECT_EQ(part->n_bulk, n_bulk) << n_token;
    if (n_bulk == 0) continue;
    // A body that knows nothing of them is never asked for one.
    ForgetfulStage plain(*setup.split.parts[1]);
    setup.pipeline.body = &plain;
    EXPECT_NE(generate(*open(setup), prompt(n_token)).tokens, tokens);
    for (const auto& part : setup.parts) EXPECT_EQ(part->n_bulk, n_bulk);
  }
}

// In the prompt, in the answer, between two texts, while a replay is under way.
TEST_P(BulkSessionTest, AReplayRepeatsThem) {
  Setup steady(model_, pool_);
  const std::unique_ptr<Session> session = open(steady);
  const std::vector<uint32_t> first = generate(*session, prompt(600)).tokens;
  const std::vector<uint32_t> second = generate(*session, prompt(700, 640)).tokens;
  EXPECT_EQ(steady.parts[1]->n_bulk, 2u);
  for (const size_t forget_at : {1u, 2u, 3u, 6u, 12u, 20u}) {
    Setup setup(model_, pool_);
    setup.body->forget_at = forget_at;
    setup.body->forget_again = forget_at % 2 == 0 ? 11 : 0;
    const std::unique_ptr<Session> forgotten = open(setup);
    EXPECT_EQ(generate(*forgotten, prompt(600)).tokens, first) << forget_at;
    EXPECT_EQ(generate(*forgotten, prompt(700, 640)).tokens, second) << forget_at;
    EXPECT_GE(setup.body->n_forgotten, 1u);
    EXPECT_GE(setup.parts[1]->n_bulk, 2u);
  }
}

TEST_P(BulkSessionTest, NoneStaysInPart) {
  Setup setup(model_, pool_);
  const std::unique_ptr<Session> session = open(setup);
  generate(*session, prompt(600));
  const auto fresh = [&](const std::vector<uint32_t>& text) {
    Setup other(model_, pool_);
    return generate(*open(other), text).tokens;
  };
  // From the middle of the second chunk on; of the rest, which was none; of the first chunk.
  for (const auto& [part, n_reused] : {std::pair{300u, 256u}, {530u, 530u}, {100u, 0u}}) {
    const std::vector<uint32_t> text = prompt(600, part);
    const Generated got = generate(*session, text);
    // A text that forgets its past forgets it from row 0 on where a window has lost what is needed.
    EXPECT_TRUE(got.n_reused == n_reused || got.n_reused == 0) << part << ": " << got.n_reused;
    EXPECT_EQ(got.tokens, fresh(text)) << part;
    generate(*session, prompt(600));
  }
}

// The place is near enough for the ends' windows, the beginning of its chunk is not.
TEST_P(BulkSessionTest, ACutIntoAChunkIsMeasuredFromItsBeginning) {
  Setup setup(model_, pool_), other(model_, pool_);
  const std::unique_ptr<Session> session = open(setup, 2100);
  generate(*session, prompt(2000), 1);
  const std::vector<uint32_t> text = prompt(1040, 1023);
  EXPECT_EQ(generate(*session, text).tokens, generate(*open(other, 2100), text).tokens);
}

INSTANTIATE_TEST_SUITE_P(Models, BulkSessionTest, testing::Values("llama_bf16", "gemma3_text"),
                         [](const auto& test) { return test.param; });

}  // namespace
}  // namespace splitd
