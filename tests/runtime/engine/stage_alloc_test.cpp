// Steps of a stage allocate nothing once the first few have run, with one thread and with two.
#include <gtest/gtest.h>

#include "runtime/engine/local_stage.h"
#include "tests/heap_count.h"
#include "tests/runtime/engine/all_threads.h"
#include "tests/runtime/engine/golden_model.h"

namespace splitd {
namespace {

using Edit = TimelineRequest::Edit;

class StageAllocations : public testing::TestWithParam<std::string> {
 protected:
  StageAllocations() : model_(GetParam()), pool_(2) {
    backend_ = model_.backend(*kernels::runnable_tables().back(), pool_, false);
    stage_ = std::make_unique<LocalStage>(*backend_);
    session_ = *stage_->open({500, 32, KvType::f16});
    wait_for_all_threads(pool_);
  }

  // Keeps `keep`, then hangs a frame from it.
  void step(RowId keep, RowId first, std::span<const int32_t> parents) {
    request_.edit = keep == kNoRow ? Edit::none : Edit::keep;
    request_.keep = keep;
    const auto n_row = static_cast<uint32_t>(parents.size());
    request_.append = Frame{.first = first, .base = keep, .n_row = n_row, .parents = parents};
    tokens_.assign(n_row, first % 250);
    rows_.resize(n_row * size_t{model_.config().d_model});
    backend_->embed(tokens_, rows_.data());
    ASSERT_TRUE(stage_->submit(session_, {seq_ + 1, seq_, request_, rows_}).ok());
    ++seq_;
    ASSERT_TRUE(stage_->next(session_, Deadline::max(), reply_).ok());
    ASSERT_FALSE(reply_.error);
    ASSERT_EQ(reply_.ids.size(), n_row);
  }

  GoldenModel model_;
  ThreadPool pool_;
  std::unique_ptr<Backend> backend_;
  std::unique_ptr<LocalStage> stage_;
  SessionId session_ = 0;
  uint32_t seq_ = 0;
  TimelineRequest request_;
  std::vector<uint32_t> tokens_;
  std::vector<float> rows_;
  StageReply reply_;
};

TEST_P(StageAllocations, OneTokenAStep) {
  const std::vector<int32_t> one{-1};
  RowId id = 0;
  for (; id < 20; ++id) step(id == 0 ? kNoRow : id - 1, id, one);
  const uint64_t before = heap::n_alloc.load();
  EXPECT_GT(before, 100u);
  for (; id < 450; ++id) step(id - 1, id, one);
  EXPECT_EQ(heap::n_alloc.load(), before);
}

TEST_P(StageAllocations, ATreeAStep) {
  const std::vector<int32_t> tree{-1, 0, 1, -1, 3, 0, 5, 6};
  // First as many rows of one kind as there may ever be: scratch memory grows to the largest batch,
  // that of an expert to the most rows that went to one.
  step(kNoRow, 0, std::vector<int32_t>(32, -1));
  RowId last = 31, next = 32;
  const auto grow = [&](uint32_t n_step) {
    for (uint32_t i = 0; i < n_step; ++i) {
      step(last, next, tree);
      last = next + i % 8;  // another leaf each time: rows move in the cache
      next += 8;
    }
  };
  grow(40);
  const uint64_t before = heap::n_alloc.load();
  grow(100);
  EXPECT_EQ(heap::n_alloc.load(), before);
}

INSTANTIATE_TEST_SUITE_P(Golden, StageAllocations,
                         testing::Values("gemma3_text", "llama", "qwen3_moe"),
                         [](const auto& test) { return test.param; });

}  // namespace
}  // namespace splitd
