// Steps allocate nothing once the first few have run: every operator new of this program is
// counted.
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <new>

#include "runtime/engine/local_stage.h"
#include "tests/runtime/engine/golden_model.h"

static std::atomic<uint64_t> n_new{0};

static void* counted(size_t bytes, size_t align) {
  n_new.fetch_add(1, std::memory_order_relaxed);
  void* out = std::aligned_alloc(align, (bytes + align - 1) / align * align);
  if (out == nullptr) throw std::bad_alloc();
  return out;
}
void* operator new(size_t bytes) {
  return counted(bytes, alignof(std::max_align_t));
}
void* operator new(size_t bytes, std::align_val_t align) {
  return counted(bytes, static_cast<size_t>(align));
}
void operator delete(void* data) noexcept {
  std::free(data);
}
void operator delete(void* data, size_t) noexcept {
  std::free(data);
}
void operator delete(void* data, std::align_val_t) noexcept {
  std::free(data);
}
void operator delete(void* data, size_t, std::align_val_t) noexcept {
  std::free(data);
}

namespace splitd {
namespace {

using Edit = TimelineRequest::Edit;

class StageAllocations : public testing::TestWithParam<std::string> {
 protected:
  StageAllocations() : model_(GetParam()), pool_(1) {
    backend_ = model_.backend(*kernels::runnable_tables().back(), pool_, false);
    stage_ = std::make_unique<LocalStage>(*backend_);
    session_ = *stage_->open({500, 32, KvType::f16});
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
  const uint64_t before = n_new.load();
  EXPECT_GT(before, 100u);
  for (; id < 450; ++id) step(id - 1, id, one);
  EXPECT_EQ(n_new.load(), before);
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
  const uint64_t before = n_new.load();
  grow(100);
  EXPECT_EQ(n_new.load(), before);
}

INSTANTIATE_TEST_SUITE_P(Golden, StageAllocations,
                         testing::Values("gemma3_text", "llama", "qwen3_moe"),
                         [](const auto& test) { return test.param; });

}  // namespace
}  // namespace splitd
