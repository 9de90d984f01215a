// What a stage offers to whoever serves its sessions to others: replies without waiting, sessions
// that change hands or are held, and batches that end in time.
#include <gtest/gtest.h>

#include "runtime/engine/local_stage.h"
#include "tests/runtime/engine/stage_backends.h"

namespace splitd {
namespace {

class LocalStageServingTest : public testing::Test {
 protected:
  FakeBackend fake_{{0, 0}};
  FakeBackend reference_{{0, 0}};
  HookedBackend backend_{fake_, 64};
  LocalStage stage_{backend_};

  static std::vector<uint32_t> tokens(size_t n) {
    std::vector<uint32_t> out(n);
    for (size_t i = 0; i < n; ++i) out[i] = static_cast<uint32_t>(i * 7 % 250 + 1);
    return out;
  }
  Status append(LocalStage& stage, SessionId id, uint32_t seq, RowId first, size_t n,
                std::optional<Error> refused = {}) {
    const std::vector<uint32_t> all = tokens(first + n);
    std::vector<float> rows(2 * n);
    fake_.embed(std::span(all).subspan(first), rows.data());
    StageRequest request{.seq = seq, .ack = 0, .timeline = {}, .rows = rows};
    request.timeline.append = Frame{.first = first,
                                    .base = first == 0 ? kNoRow : first - 1,
                                    .n_row = static_cast<uint32_t>(n),
                                    .commit = true};
    if (refused) return stage.submit_refused(id, request, *refused);
    return stage.submit(id, request);
  }
  std::vector<float> expected(size_t n, size_t of) {
    const std::vector<float> all = recompute(reference_, tokens(of));
    return {all.end() - static_cast<std::ptrdiff_t>(2 * n), all.end()};
  }
};

TEST_F(LocalStageServingTest, AReplyIsTakenOnlyWhenItIsThere) {
  const SessionId id = *stage_.open({64, 0, KvType::f32});
  StageReply reply;
  EXPECT_FALSE(stage_.try_next(id, reply));
  EXPECT_FALSE(stage_.try_next(id + 1, reply));
  ASSERT_TRUE(append(stage_, id, 1, 0, 3).ok());
  EXPECT_FALSE(stage_.try_next(id, reply));
  EXPECT_TRUE(stage_.step());
  EXPECT_EQ(stage_.last_batch().n_row, 3u);
  EXPECT_EQ(stage_.last_batch().n_session, 1u);
  ASSERT_TRUE(stage_.try_next(id, reply));
  EXPECT_EQ(reply.rows, expected(3, 3));
  EXPECT_FALSE(stage_.try_next(id, reply));
}

TEST_F(LocalStageServingTest, WhatIsRefusedBeforehandKeepsItsPlaceAndSeq) {
  const SessionId id = *stage_.open({64, 0, KvType::f32});
  ASSERT_TRUE(append(stage_, id, 1, 0, 2).ok());
  ASSERT_TRUE(append(stage_, id, 2, 2, 2, model_error("row 1 is not finite")).ok());
  ASSERT_TRUE(append(stage_, id, 3, 2, 2).ok());
  StageReply reply;
  EXPECT_FALSE(stage_.try_next(id, reply));  // not before its predecessor
  while (stage_.step()) {
  }
  ASSERT_TRUE(stage_.try_next(id, reply));
  EXPECT_EQ(reply.seq, 1u);
  ASSERT_TRUE(stage_.try_next(id, reply));
  EXPECT_EQ(reply.seq, 2u);
  ASSERT_TRUE(reply.error);
  EXPECT_EQ(reply.error->message, "row 1 is not finite");
  ASSERT_TRUE(stage_.try_next(id, reply));
  EXPECT_EQ(reply.rows, expected(2, 4));
}

TEST_F(LocalStageServingTest, ASessionThatChangesHandsOwesNothing) {
  const SessionId id = *stage_.open({64, 0, KvType::f32});
  for (uint32_t seq = 1; seq <= kReplyWindow; ++seq) {
    ASSERT_TRUE(append(stage_, id, seq, seq - 1, 1).ok());
  }
  ASSERT_TRUE(stage_.step());  // one of them is computed, the window is full
  EXPECT_FALSE(append(stage_, id, 1, 0, 1).ok());
  stage_.disown(id);
  StageReply reply;
  EXPECT_FALSE(stage_.try_next(id, reply));
  // Whoever comes next asks for all of them again.
  for (uint32_t seq = 1; seq <= kReplyWindow; ++seq) {
    ASSERT_TRUE(append(stage_, id, seq, seq - 1, 1).ok());
  }
  while (stage_.step()) {
  }
  for (uint32_t seq = 1; seq <= kReplyWindow; ++seq) {
    ASSERT_TRUE(stage_.try_next(id, reply));
    EXPECT_EQ(reply.seq, seq);
    EXPECT_FALSE(reply.error);
    EXPECT_EQ(reply.rows, expected(1, seq));
  }
  EXPECT_FALSE(stage_.try_next(id, reply));
}

TEST_F(LocalStageServingTest, AHeldSessionWaits) {
  const SessionId held = *stage_.open({64, 0, KvType::f32});
  const SessionId other = *stage_.open({64, 0, KvType::f32});
  stage_.hold(held, true);
  ASSERT_TRUE(append(stage_, held, 1, 0, 2).ok());
  EXPECT_FALSE(stage_.step());
  EXPECT_FALSE(stage_.wait_for_work(Deadline::min()));
  ASSERT_TRUE(append(stage_, other, 1, 0, 2).ok());
  EXPECT_TRUE(stage_.step());
  StageReply reply;
  EXPECT_FALSE(stage_.try_next(held, reply));
  EXPECT_TRUE(stage_.try_next(other, reply));
  stage_.hold(held, false);
  EXPECT_TRUE(stage_.step());
  ASSERT_TRUE(stage_.try_next(held, reply));
  EXPECT_EQ(reply.rows, expected(2, 2));
}

TEST_F(LocalStageServingTest, PromptsFillTheTimeThatStepsLeave) {
  // No time at all: whatever is measured, prompts get less each time, steps are taken whole.
  LocalStage stage(backend_, {.batch_ms = 1e-9});
  const SessionId prompt = *stage.open({512, 0, KvType::f32});
  const SessionId steps = *stage.open({512, 0, KvType::f32});
  ASSERT_TRUE(append(stage, prompt, 1, 0, 200).ok());
  StageReply reply;
  for (uint32_t seq = 1; seq <= 6; ++seq) {
    ASSERT_TRUE(append(stage, steps, seq, 3 * (seq - 1), 3).ok());
    ASSERT_TRUE(stage.step());
    ASSERT_TRUE(stage.try_next(steps, reply)) << seq;
    EXPECT_EQ(reply.rows, expected(3, 3 * seq));
  }
  EXPECT_EQ(backend_.batches, (std::vector<size_t>{32, 16, 8, 4, 4, 4}));
  while (stage.step()) {
  }
  ASSERT_TRUE(stage.try_next(prompt, reply));
  EXPECT_EQ(reply.rows, expected(200, 200));
}

// Nine prompts of one peer and one of another: both get half of every batch.
TEST_F(LocalStageServingTest, AnOwnerOfManySessionsGetsNoMoreThanOneOfOne) {
  constexpr uint32_t kMany = 9;
  LocalStage stage(backend_, {.batch_ms = 1e9});  // batches of 32 rows, then of all that fit
  std::vector<SessionId> many;
  for (uint32_t i = 0; i < kMany; ++i) many.push_back(*stage.open({512, 0, KvType::f32}, "psk:a"));
  const SessionId one = *stage.open({512, 0, KvType::f32}, "psk:b");
  for (const SessionId id : many) ASSERT_TRUE(append(stage, id, 1, 0, 200).ok());
  ASSERT_TRUE(append(stage, one, 1, 0, 200).ok());
  StageReply reply;
  size_t n_row = 0;
  while (!stage.try_next(one, reply)) {
    ASSERT_TRUE(stage.step());
    n_row += backend_.batches.back();
  }
  EXPECT_EQ(reply.rows, expected(200, 200));
  // Half of everything until its last rows, which go whole like a step.
  EXPECT_GE(n_row, 2 * (200 - kMostStepRows));
  EXPECT_LE(n_row, 400u + 64);
  // What the one no longer wants is the others'.
  for (const SessionId id : many) EXPECT_FALSE(stage.try_next(id, reply));
  while (stage.step()) {
  }
  for (const SessionId id : many) {
    ASSERT_TRUE(stage.try_next(id, reply));
    EXPECT_EQ(reply.rows, expected(200, 200));
  }
}

TEST_F(LocalStageServingTest, WithTimeToSpareBatchesGrow) {
  LocalStage stage(backend_, {.batch_ms = 1e9});
  const SessionId prompt = *stage.open({512, 0, KvType::f32});
  ASSERT_TRUE(stage.open({512, 0, KvType::f32}).ok());
  ASSERT_TRUE(append(stage, prompt, 1, 0, 200).ok());
  while (stage.step()) {
  }
  EXPECT_EQ(backend_.batches, (std::vector<size_t>{32, 64, 64, 40}));
}

TEST_F(LocalStageServingTest, WhoIsAloneIsNotPaced) {
  LocalStage stage(backend_, {.batch_ms = 1e-9});
  const SessionId prompt = *stage.open({512, 0, KvType::f32});
  ASSERT_TRUE(append(stage, prompt, 1, 0, 128).ok());
  while (stage.step()) {
  }
  EXPECT_EQ(backend_.batches, (std::vector<size_t>{64, 64}));
}

}  // namespace
}  // namespace splitd
