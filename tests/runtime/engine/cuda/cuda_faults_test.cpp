// What the CUDA backend does where the device fails: emulated, as no real one does so on request.
// Nothing computed by a broken device is ever given as a result, who asks is told what broke, and
// what is refused for want of memory leaves the others as they were.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "runtime/engine/local_stage.h"
#include "tests/runtime/engine/cuda/cuda_model.h"
#include "tests/runtime/engine/cuda/cuda_sessions.h"

namespace splitd {
namespace {

const std::vector<KvShape> kSessions = {{40, 8, KvType::f16}, {40, 8, KvType::f16}};
const Wanted kStep{.session = 0, .parents = chain(2), .commit = true};

class CudaFaults : public testing::Test {
 protected:
  CudaFaults() : model_(kSmallShape, DType::bf16, true) {
    const std::unique_ptr<Backend> sound = cuda_backend(model_, false);
    CudaSessions sessions(*sound, kSessions);
    for (int i = 0; i < 4; ++i) expected_.push_back(sessions.run({kStep}));
  }
  ~CudaFaults() override {
    emulated::repair_device();
    emulated::set_memory(size_t{8} << 30);
  }

  static bool all_nan(const std::vector<float>& rows) {
    return !rows.empty() &&
           std::all_of(rows.begin(), rows.end(), [](float value) { return std::isnan(value); });
  }

  // The device breaks at call `n` of the fourth step, which is replayed where there are graphs.
  // Returns whether the step came so far.
  bool break_at(size_t n, bool asynchronous, bool graphs) {
    const std::unique_ptr<Backend> backend = cuda_backend(model_, graphs);
    CudaSessions sessions(*backend, kSessions);
    for (size_t i = 0; i < 3; ++i) EXPECT_EQ(sessions.run({kStep}), expected_[i]);
    emulated::break_device(n, asynchronous);
    const std::vector<float> rows = sessions.run({kStep});
    const bool broke = !backend->fault().ok();
    if (!broke) {
      EXPECT_EQ(rows, expected_[3]);
    } else {
      EXPECT_TRUE(all_nan(rows)) << "call " << n;
      EXPECT_NE(backend->fault().error().message.find("illegal memory access"), std::string::npos);
      EXPECT_TRUE(all_nan(sessions.run({kStep})));
      std::vector<float> row(model_.config().d_model, 1.0f), out(row.size()), logits(256);
      backend->norm(row, out.data());
      EXPECT_TRUE(all_nan(out));
      backend->project(row, logits.data());
      EXPECT_TRUE(all_nan(logits));
      const Result<std::unique_ptr<Kv>> refused = backend->make_kv(kSessions[0]);
      EXPECT_FALSE(refused.ok());
    }
    emulated::repair_device();
    return broke;
  }

  SyntheticModel model_;
  std::vector<std::vector<float>> expected_;
};

TEST_F(CudaFaults, NoCallOfAReplayedStepIsMissed) {
  for (const bool asynchronous : {false, true}) {
    size_t n = 0;
    while (break_at(n, asynchronous, true)) ++n;
    EXPECT_GE(n, 6u) << "a copy, three graphs, a copy, a wait";
    EXPECT_LT(n, 16u);
  }
}

TEST_F(CudaFaults, NoCallOfALaunchedStepIsMissed) {
  size_t n = 0;
  while (break_at(n, n % 2 == 0, false)) n += 5;
  EXPECT_GT(n, 30u);
}

// What is under construction when the device breaks is refused, and everything it took given back.
TEST_F(CudaFaults, ABackendIsMadeWholeOrNotAtAll) {
  const size_t before = emulated::allocated();
  size_t n_refused = 0;
  for (size_t n = 0;; n += 9) {
    emulated::break_device(n, false);
    Result<std::unique_ptr<Backend>> made = make_cuda_backend(
        model_.config(), model_.weights(), {.table = kernels::runnable_tables()[0]});
    emulated::repair_device();
    if (made.ok()) break;
    ++n_refused;
    EXPECT_NE(made.error().message.find("the GPU could not"), std::string::npos);
    EXPECT_EQ(emulated::allocated(), before);
  }
  EXPECT_GT(n_refused, 5u);
}

// Through a stage: the request is answered with what broke, not with rows.
TEST_F(CudaFaults, AStageSaysWhatBroke) {
  const std::unique_ptr<Backend> backend = cuda_backend(model_, true);
  LocalStage stage(*backend);
  const SessionId session = *stage.open(kSessions[0]);
  const std::vector<uint32_t> tokens{1, 2};
  std::vector<float> rows(2 * model_.config().d_model);
  StageReply reply;
  for (uint32_t seq = 1; seq <= 4; ++seq) {
    if (seq == 4) emulated::break_device(2, true);
    backend->embed(tokens, rows.data());
    StageRequest request{.seq = seq, .ack = seq - 1, .timeline = {}, .rows = rows};
    const RowId first = 2 * (seq - 1);
    request.timeline.append =
        Frame{.first = first, .base = seq == 1 ? kNoRow : first - 1, .n_row = 2, .commit = true};
    ASSERT_TRUE(stage.submit(session, request).ok());
    ASSERT_TRUE(stage.next(session, Deadline::max(), reply).ok());
    ASSERT_EQ(reply.error.has_value(), seq == 4);
  }
  EXPECT_NE(reply.error->message.find("illegal memory access"), std::string::npos);
  EXPECT_TRUE(reply.rows.empty());
  EXPECT_FALSE(stage.open(kSessions[0]).ok());
}

// Whatever part of a session's memory is missing, who is there goes on, from graphs.
TEST_F(CudaFaults, ASessionThatDoesNotFitIsRefused) {
  const std::unique_ptr<Backend> backend = cuda_backend(model_, true);
  CudaSessions sessions(*backend, kSessions);
  EXPECT_EQ(sessions.run({kStep}), expected_[0]);
  const KvShape large{200000, 8, KvType::f16};
  const size_t before = emulated::allocated(), need = backend->kv_bytes(large);
  size_t i = 1;
  for (const size_t free_bytes : {need - 1, need, need + 4096}) {
    emulated::set_memory(before + free_bytes);
    const Result<std::unique_ptr<Kv>> refused = backend->make_kv(large);
    ASSERT_FALSE(refused.ok());
    EXPECT_NE(refused.error().message.find("MiB on the GPU"), std::string::npos);
    EXPECT_NE(refused.error().message.find("MiB are free"), std::string::npos)
        << refused.error().message;
    EXPECT_EQ(emulated::allocated(), before);
    EXPECT_EQ(sessions.run({kStep}), expected_[i++]);
    EXPECT_TRUE(backend->fault().ok());
  }
  emulated::set_memory(before + 2 * need + (size_t{256} << 20));
  EXPECT_TRUE(backend->make_kv(large).ok());
}

// A batch that nobody wants any more ends where it was asked, and touches no other session.
TEST_F(CudaFaults, AnAbandonedBatchLeavesTheOthers) {
  for (const bool graphs : {true, false}) {
    const std::unique_ptr<Backend> backend = cuda_backend(model_, graphs);
    CudaSessions sessions(*backend, kSessions);
    const Wanted dead{.session = 1, .parents = chain(2), .commit = true};
    for (size_t i = 0; i < expected_.size(); ++i) {
      size_t n_asked = 0;
      const size_t n_launched = emulated::calls().n_launch + emulated::calls().n_graph_launch;
      EXPECT_TRUE(sessions.run({dead}, [&] { return n_asked++ < i % 3; }).empty());
      EXPECT_EQ(n_asked, i % 3 + 1);
      const size_t n_more = emulated::calls().n_launch + emulated::calls().n_graph_launch;
      EXPECT_EQ(n_more == n_launched, i % 3 == 0);
      EXPECT_EQ(sessions.run({kStep}), expected_[i]);
    }
  }
}

}  // namespace
}  // namespace splitd
