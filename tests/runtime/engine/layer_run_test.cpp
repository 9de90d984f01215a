// The rules of layer_run.h on a backend that computes whole numbers.
#include "runtime/engine/layer_run.h"

#include <gtest/gtest.h>

#include "tests/runtime/engine/stage_backends.h"

namespace splitd {
namespace {

using Edit = TimelineRequest::Edit;

class LayerRunTest : public testing::Test {
 protected:
  FakeBackend fake_{{0, 16, 0}};
  FakeBackend reference_{{0, 16, 0}};
  HookedBackend backend_{fake_, 4};
  Result<LayerRun> run_ = LayerRun::open(backend_, backend_.layers(), {32, 8, KvType::f32});
  std::vector<float> rows_;

  std::string refusal(const TimelineRequest& request, const std::vector<uint32_t>& tokens = {},
                      bool go_on = true) {
    rows_.resize(2 * tokens.size());
    fake_.embed(tokens, rows_.data());
    const Status status = run_->run(request, rows_.data(), [go_on] { return go_on; });
    return status.ok() ? "ran" : status.error().message;
  }
  TimelineRequest frame(RowId base, uint32_t n_row, bool commit = false) {
    TimelineRequest request;
    request.append =
        Frame{.first = run_->timeline().next_id(), .base = base, .n_row = n_row, .commit = commit};
    return request;
  }
  std::vector<float> expected(const std::vector<uint32_t>& tokens, size_t n) {
    const std::vector<float> all = recompute(reference_, tokens);
    return {all.end() - static_cast<std::ptrdiff_t>(2 * n), all.end()};
  }
};

TEST_F(LayerRunTest, ComputesInPiecesAndMovesWhatIsKept) {
  EXPECT_EQ(refusal(frame(kNoRow, 6, true), {1, 2, 3, 4, 5, 6}), "ran");
  EXPECT_EQ(rows_, expected({1, 2, 3, 4, 5, 6}, 6));
  EXPECT_EQ(backend_.batches, (std::vector<size_t>{4, 2}));
  const int32_t parents[] = {-1, -1, 1};
  TimelineRequest tree = frame(5, 3);
  tree.append->parents = parents;
  EXPECT_EQ(refusal(tree, {7, 8, 9}), "ran");
  TimelineRequest next = frame(8, 1);
  next.edit = Edit::keep;
  next.keep = 8;
  EXPECT_EQ(refusal(next, {10}), "ran");
  EXPECT_EQ(rows_, expected({1, 2, 3, 4, 5, 6, 8, 9, 10}, 1));
}

TEST_F(LayerRunTest, RefusesAndIsAsBefore) {
  EXPECT_EQ(refusal(frame(kNoRow, 2, true), {1, 2}), "ran");
  EXPECT_EQ(refusal(frame(1, 2), {3, 4}), "ran");
  EXPECT_EQ(refusal(frame(0, 1), {5}),
            "base 0: earlier than the last committed row 1; rewind first");
  TimelineRequest late = frame(3, 1);
  late.edit = Edit::rewind;
  late.rewind = 1;
  EXPECT_EQ(refusal(late, {5}), "base 3: the row is dead");
  EXPECT_EQ(run_->timeline().n_committed(), 2u);
  EXPECT_EQ(refusal(frame(3, 1), {5}), "ran");  // it did not happen: row 3 lives
  EXPECT_EQ(rows_, expected({1, 2, 3, 4, 5}, 1));
}

TEST_F(LayerRunTest, AnInterruptedFrameIsCutOff) {
  EXPECT_EQ(refusal(frame(kNoRow, 2, true), {1, 2}), "ran");
  EXPECT_EQ(refusal(frame(1, 3, true), {3, 4, 5}, false), "interrupted");
  TimelineRequest again = frame(1, 2, true);
  again.edit = Edit::rewind;
  again.rewind = 2;
  EXPECT_EQ(refusal(again, {6, 7}), "ran");
  EXPECT_EQ(rows_, expected({1, 2, 6, 7}, 2));
}

TEST_F(LayerRunTest, WithoutLayersRowsPassThrough) {
  run_ = LayerRun::open(backend_, {0, 0}, {32, 8, KvType::f32});
  EXPECT_EQ(refusal(frame(kNoRow, 2, true), {1, 2}), "ran");
  std::vector<float> same(4);
  fake_.embed(std::vector<uint32_t>{1, 2}, same.data());
  EXPECT_EQ(rows_, same);
  EXPECT_EQ(refusal(frame(7, 1), {5}), "base 7: no such row yet");
}

}  // namespace
}  // namespace splitd
