// What a stage offers to whoever serves its sessions to others: replies without waiting, sessions
// that change hands or are held, and batches that end in time.
#include <gtest/gtest.h>

#include <map>

#include "runtime/engine/local_stage.h"
#include "tests/runtime/engine/stage_backends.h"

namespace splitd {
namespace {

using Clock = std::chrono::steady_clock;

// Time in these tests: it passes where a test says so, or by what rows cost.
Clock::time_point virtual_time;

Clock::time_point virtual_now() {
  return virtual_time;
}

void pass(double ms) {
  virtual_time +=
      std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double, std::milli>(ms));
}

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
                std::optional<Error> refused = {}, uint32_t ack = 0) {
    const std::vector<uint32_t> all = tokens(first + n);
    std::vector<float> rows(2 * n);
    fake_.embed(std::span(all).subspan(first), rows.data());
    StageRequest request{.seq = seq, .ack = ack, .timeline = {}, .rows = rows};
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
  // No time at all: prompts get less each time, steps are taken whole.
  LocalStage stage(backend_, {.batch_ms = 1e-9, .now = virtual_now});
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
  // Batches of 32 rows, then of all that fit.
  LocalStage stage(backend_, {.batch_ms = 1e9, .now = virtual_now});
  backend_.before_layer = [&] { pass(static_cast<double>(backend_.batches.back())); };
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

// A backend where a row takes a millisecond, and another one for every 200 that it attends to; it
// notes who had how much.
class CostlyBackend final : public Backend {
 public:
  explicit CostlyBackend(Backend& inner) : inner_(inner) {}

  std::map<const Kv*, double> had;
  std::map<const Kv*, size_t> rows;
  double most_ms = 0;  // of a batch

  const ModelConfig& config() const override { return inner_.config(); }
  LayerRange layers() const override { return inner_.layers(); }
  std::string arith() const override { return inner_.arith(); }
  uint64_t kv_bytes(const KvShape& shape) const override { return inner_.kv_bytes(shape); }
  Result<std::unique_ptr<Kv>> make_kv(const KvShape& shape) override {
    auto kv = inner_.make_kv(shape);
    opened.push_back(kv->get());
    return kv;
  }
  void move_rows(Kv& kv, std::span<const SlotMove> moves) override { inner_.move_rows(kv, moves); }
  bool forward(std::span<const BatchRow> batch, float* hidden, LayerRange range,
               const std::function<bool()>& go_on) override {
    double all = 0;
    for (const BatchRow& row : batch) {
      const double ms = 1 + row.position / 200.0;
      had[row.kv] += ms;
      ++rows[row.kv];
      all += ms;
    }
    most_ms = std::max(most_ms, all);
    pass(all);
    return inner_.forward(batch, hidden, range, go_on);
  }
  void embed(std::span<const uint32_t> ids, float* h) override { inner_.embed(ids, h); }
  void norm(std::span<const float> h, float* normed) override { inner_.norm(h, normed); }
  void project(std::span<const float> n, float* logits) override { inner_.project(n, logits); }
  uint32_t max_rows() const override { return 64; }

  std::vector<const Kv*> opened;

 private:
  Backend& inner_;
};

class FairnessTest : public LocalStageServingTest {
 protected:
  CostlyBackend costly_{fake_};
  LocalStage stage_{costly_, {.batch_ms = 50, .now = virtual_now}};
  StageReply reply_;

  // Time and rows that session number `i` had since the last call.
  struct Had {
    double ms;
    double rows;
  };
  Had had(size_t i) {
    const Kv* kv = costly_.opened[i];
    const Had now{costly_.had[kv], static_cast<double>(costly_.rows[kv])};
    Had& before = before_[kv];
    const Had out{now.ms - before.ms, now.rows - before.rows};
    before = now;
    return out;
  }
  void compute_all() {
    while (stage_.step()) {
    }
  }

 private:
  std::map<const Kv*, Had> before_;
};

// Two prompts, one of them 1,800 rows deep already: its rows cost five to ten times as much as the
// other's, and it gets that many fewer.
TEST_F(FairnessTest, OwnersGetTheSameTimeNotTheSameRows) {
  const SessionId deep = *stage_.open({4096, 0, KvType::f32}, "psk:a");
  const SessionId shallow = *stage_.open({4096, 0, KvType::f32}, "psk:b");
  for (uint32_t i = 0; i < 6; ++i) ASSERT_TRUE(append(stage_, deep, i + 1, 300 * i, 300).ok());
  compute_all();
  while (stage_.try_next(deep, reply_)) {
  }
  (void)had(0);
  ASSERT_TRUE(append(stage_, deep, 7, 1800, 400, {}, 6).ok());
  ASSERT_TRUE(append(stage_, shallow, 1, 0, 400).ok());
  for (int i = 0; i < 4; ++i) ASSERT_TRUE(stage_.step());  // what a row costs is learnt meanwhile
  (void)had(0);
  (void)had(1);
  for (int i = 0; i < 8; ++i) ASSERT_TRUE(stage_.step());
  const Had a = had(0), b = had(1);
  EXPECT_GT(b.rows, 4 * a.rows);
  EXPECT_NEAR(a.ms, b.ms, 0.1 * b.ms);
  EXPECT_LT(costly_.most_ms, 1000);
}

// A prompt that comes in steps, each of which would be served first, beside one that does not.
TEST_F(FairnessTest, APromptCutIntoStepsGetsNoMore) {
  const SessionId cut = *stage_.open({4096, 0, KvType::f32}, "psk:a");
  const SessionId whole = *stage_.open({4096, 0, KvType::f32}, "psk:b");
  ASSERT_TRUE(append(stage_, whole, 1, 0, 1000).ok());
  uint32_t seq = 0;
  for (int i = 0; i < 40; ++i) {
    while (stage_.try_next(cut, reply_)) {
    }
    while (append(stage_, cut, seq + 1, kMostStepRows * seq, kMostStepRows, {}, reply_.seq).ok()) {
      if (++seq - reply_.seq == kReplyWindow) break;
    }
    ASSERT_TRUE(stage_.step());
  }
  const Had a = had(0), b = had(1);
  EXPECT_GT(a.rows, 100);
  EXPECT_NEAR(a.ms, b.ms, 0.15 * b.ms);
}

// Who decodes beside a long prompt has each of its steps in the next batch, and pays for it.
TEST_F(FairnessTest, ShortStepsNeverWait) {
  const SessionId steps = *stage_.open({4096, 0, KvType::f32}, "psk:a");
  const SessionId prompt = *stage_.open({4096, 0, KvType::f32}, "psk:b");
  ASSERT_TRUE(append(stage_, prompt, 1, 0, 1000).ok());
  for (uint32_t i = 0; i < 20; ++i) {
    ASSERT_TRUE(append(stage_, steps, i + 1, i, 1, {}, i).ok());
    ASSERT_TRUE(stage_.step());
    ASSERT_TRUE(stage_.try_next(steps, reply_)) << i;
  }
  EXPECT_EQ(had(0).rows, 20);
  EXPECT_GT(had(1).ms, 20 * 30);
}

// Time that nobody else wanted is not held against anybody later.
TEST_F(FairnessTest, WhoWasAloneOwesNothing) {
  const SessionId first = *stage_.open({4096, 0, KvType::f32}, "psk:a");
  const SessionId second = *stage_.open({4096, 0, KvType::f32}, "psk:b");
  ASSERT_TRUE(append(stage_, first, 1, 0, 200).ok());
  compute_all();
  ASSERT_TRUE(stage_.try_next(first, reply_));
  ASSERT_TRUE(append(stage_, first, 2, 200, 300, {}, 1).ok());
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(stage_.step());
  (void)had(0);
  ASSERT_TRUE(append(stage_, second, 1, 0, 500).ok());
  for (int i = 0; i < 4; ++i) ASSERT_TRUE(stage_.step());
  const Had a = had(0), b = had(1);
  EXPECT_GT(a.ms, 0.3 * b.ms);  // at most one batch of a head start for who wanted nothing
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
