// Bulk chunks in a local stage: what is refused, that each is a batch of its own and takes turns,
// that it is computed whole.
#include <gtest/gtest.h>

#include "runtime/engine/layer_run.h"
#include "runtime/engine/local_stage.h"
#include "tests/runtime/engine/stage_backends.h"

namespace splitd {
namespace {

class BulkStageTest : public testing::Test {
 protected:
  FakeBackend fake_{{0, 0}};
  BulkBackend bulk_{fake_};
  HookedBackend backend_{bulk_};
  LocalStage stage_{backend_};
  const KvShape shape_{1024, 300, KvType::f32};

  static TimelineRequest chain(RowId first, uint32_t n_row, bool bulk) {
    TimelineRequest request;
    request.append = Frame{.first = first,
                           .base = first == 0 ? kNoRow : first - 1,
                           .n_row = n_row,
                           .commit = true,
                           .bulk = bulk};
    return request;
  }
  std::vector<float> rows(RowId first, uint32_t n_row) {
    std::vector<uint32_t> tokens;
    for (uint32_t i = first; i < first + n_row; ++i) tokens.push_back(i * 7 % 250 + 1);
    std::vector<float> out(2 * tokens.size());
    fake_.embed(tokens, out.data());
    return out;
  }
  void submit(LocalStage& stage, SessionId id, uint32_t seq, RowId first, uint32_t n_row,
              bool bulk) {
    const std::vector<float> values = rows(first, n_row);
    ASSERT_TRUE(stage.submit(id, {seq, 0, chain(first, n_row, bulk), values}).ok());
  }
  static StageReply take(LocalStage& stage, SessionId id) {
    StageReply reply;
    EXPECT_TRUE(stage.next(id, Deadline::max(), reply).ok());
    return reply;
  }
  static std::string refusal(LocalStage& stage, SessionId id) {
    const StageReply reply = take(stage, id);
    return reply.error ? reply.error->message : "";
  }
};

TEST_F(BulkStageTest, RefusesWhatIsNoCompleteChunkAtAMultiple) {
  const SessionId id = *stage_.open(shape_);
  submit(stage_, id, 1, 0, 255, true);
  EXPECT_NE(refusal(stage_, id).find("bulk: 255 rows; 256"), std::string::npos);
  submit(stage_, id, 2, 0, 10, false);
  EXPECT_EQ(refusal(stage_, id), "");
  submit(stage_, id, 3, 10, 256, true);
  EXPECT_NE(refusal(stage_, id).find("position 10"), std::string::npos);
  TimelineRequest pending = chain(10, 256, true);
  pending.append->commit = false;
  const std::vector<float> values = rows(10, 256);
  ASSERT_TRUE(stage_.submit(id, {4, 3, pending, values}).ok());
  EXPECT_NE(refusal(stage_, id).find("pending"), std::string::npos);
  submit(stage_, id, 5, 10, 246, false);
  EXPECT_EQ(refusal(stage_, id), "");
  submit(stage_, id, 6, 256, 256, true);
  EXPECT_EQ(refusal(stage_, id), "");
  EXPECT_EQ(bulk_.n_bulk, 1u);
}

TEST_F(BulkStageTest, ABatchOfItsOwnInTurnsWithTheRest) {
  const SessionId a = *stage_.open(shape_), b = *stage_.open(shape_), c = *stage_.open(shape_);
  for (const SessionId id : {a, c}) {
    submit(stage_, id, 1, 0, 256, true);
    submit(stage_, id, 2, 256, 256, true);
    submit(stage_, id, 3, 512, 20, false);
  }
  for (uint32_t seq = 1; seq <= 2; ++seq) submit(stage_, b, seq, seq - 1, 1, false);
  std::vector<SessionId> answered;
  StageReply reply;
  while (stage_.step()) {
    for (const SessionId id : {a, b, c}) {
      while (stage_.try_next(id, reply)) answered.push_back(id);
    }
  }
  EXPECT_EQ(backend_.batches, (std::vector<size_t>{256, 1, 256, 1, 256, 20, 256, 20}));
  EXPECT_EQ(answered, (std::vector<SessionId>{a, b, c, b, a, a, c, c}));
  EXPECT_EQ(bulk_.n_bulk, 4u);
}

// Whenever rows of it die.
TEST_F(BulkStageTest, ComputedWholeWhileAnyOfItLives) {
  const SessionId whole = *stage_.open(shape_), cut = *stage_.open(shape_);
  submit(stage_, whole, 1, 0, 256, true);
  const StageReply all = take(stage_, whole);
  ASSERT_EQ(all.ids.size(), 256u);
  TimelineRequest rewind;
  rewind.edit = TimelineRequest::Edit::rewind;
  rewind.rewind = 100;
  submit(stage_, cut, 1, 0, 256, true);
  ASSERT_TRUE(stage_.submit(cut, {2, 0, rewind, {}}).ok());
  const StageReply some = take(stage_, cut);
  EXPECT_EQ(some.ids.size(), 100u);
  EXPECT_EQ(some.dead.size(), 156u);
  EXPECT_TRUE(std::equal(some.rows.begin(), some.rows.end(), all.rows.begin()));
  EXPECT_EQ(bulk_.n_bulk, 2u);

  const SessionId none = *stage_.open(shape_);
  rewind.rewind = 0;
  submit(stage_, none, 1, 0, 256, true);
  ASSERT_TRUE(stage_.submit(none, {2, 0, rewind, {}}).ok());
  EXPECT_EQ(take(stage_, none).dead.size(), 256u);
  EXPECT_EQ(bulk_.n_bulk, 2u);
}

TEST_F(BulkStageTest, WhoDoesNotKnowThemComputesThemLikeAnyRow) {
  LocalStage plain(fake_);
  EXPECT_FALSE(plain.takes_bulk());
  const SessionId id = *plain.open(shape_), as_rows = *plain.open(shape_);
  submit(plain, id, 1, 0, 256, true);
  submit(plain, as_rows, 1, 0, 256, false);
  const StageReply got = take(plain, id);
  EXPECT_EQ(got.rows, take(plain, as_rows).rows);
  const SessionId bulk = *stage_.open(shape_);
  submit(stage_, bulk, 1, 0, 256, true);
  EXPECT_NE(take(stage_, bulk).rows, got.rows);
}

TEST_F(BulkStageTest, TheSameWithoutAStage) {
  const SessionId id = *stage_.open(shape_);
  submit(stage_, id, 1, 0, 256, true);
  const StageReply expected = take(stage_, id);
  LayerRun run = std::move(*LayerRun::open(bulk_, bulk_.layers(), shape_));
  std::vector<float> hidden = rows(0, 256);
  ASSERT_TRUE(run.run(chain(0, 256, true), hidden.data(), [] { return true; }).ok());
  EXPECT_EQ(hidden, expected.rows);
}

}  // namespace
}  // namespace splitd
