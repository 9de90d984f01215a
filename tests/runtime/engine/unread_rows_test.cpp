// Rows whose result nobody reads: the last layer leaves them as they were, the rows that are read
// and all that comes after keep every bit.
#include <algorithm>

#include "runtime/engine/layer_run.h"
#include "runtime/engine/local_stage.h"
#include "tests/runtime/engine/golden_model.h"

namespace splitd {
namespace {

class UnreadRows : public testing::TestWithParam<std::string> {
 protected:
  UnreadRows() : model_(GetParam()), pool_(2) {
    for (const Json prompt : model_.json().find("prompts")->elements()) {
      const auto some = integers<uint32_t>(*prompt.find("tokens"));
      if (some.size() > tokens_.size()) tokens_ = some;
    }
  }

  std::vector<float> embed(Backend& backend, size_t first, size_t n) const {
    std::vector<float> rows(n * model_.config().d_model);
    backend.embed(std::span(tokens_).subspan(first, n), rows.data());
    return rows;
  }

  // The tokens in two chunks and a row by itself; `unread` of either chunk.
  static TimelineRequest chunk(size_t first, size_t n, size_t unread) {
    TimelineRequest request;
    request.append = Frame{.first = static_cast<RowId>(first),
                           .base = first == 0 ? kNoRow : static_cast<RowId>(first - 1),
                           .n_row = static_cast<uint32_t>(n),
                           .commit = true,
                           .n_unread = static_cast<uint32_t>(unread)};
    return request;
  }

  GoldenModel model_;
  ThreadPool pool_;
  std::vector<uint32_t> tokens_;
};

TEST_P(UnreadRows, ChangeNoBitOfOthers) {
  const size_t d = model_.config().d_model, n = tokens_.size() - 1, cut = n / 2;
  ASSERT_GE(cut, 4u);
  for (const bool exact : {true, false}) {
    const auto backend = model_.backend(*kernels::runnable_tables().back(), pool_, exact);
    const KvShape shape{static_cast<uint32_t>(n + 1), 0, KvType::f16};
    const auto rows_of = [&](size_t unread_first, size_t unread_second) {
      LayerRun run = std::move(*LayerRun::open(*backend, backend->layers(), shape));
      std::vector<float> all;
      const auto compute = [&](size_t first, size_t n_row, size_t unread) {
        std::vector<float> rows = embed(*backend, first, n_row);
        EXPECT_TRUE(run.run(chunk(first, n_row, unread), rows.data(), [] { return true; }).ok());
        all.insert(all.end(), rows.begin(), rows.end());
      };
      compute(0, cut, unread_first);
      compute(cut, n - cut, unread_second);
      compute(n, 1, 0);
      return all;
    };
    const std::vector<float> full = rows_of(0, 0);
    const auto row = [d](const std::vector<float>& rows, size_t i) {
      return std::vector<float>(rows.begin() + static_cast<std::ptrdiff_t>(i * d),
                                rows.begin() + static_cast<std::ptrdiff_t>((i + 1) * d));
    };
    for (const size_t read : {size_t{1}, size_t{3}}) {
      const std::vector<float> some = rows_of(cut, n - cut - read);
      for (size_t i = 0; i < n + 1; ++i) {
        // A row that did go through the last layer is not what went into it.
        EXPECT_EQ(row(some, i) == row(full, i), i + read >= n) << i;
      }
    }
  }
}

TEST_P(UnreadRows, AreTheStagesTooBesideAnotherSession) {
  const size_t d = model_.config().d_model, n = tokens_.size();
  const auto backend = model_.backend(*kernels::runnable_tables().back(), pool_, true);
  const auto last_row = [&](size_t unread) {
    LocalStage stage(*backend);
    std::vector<float> rows = embed(*backend, 0, n), out;
    const SessionId one = *stage.open({static_cast<uint32_t>(n), 0, KvType::f32});
    const SessionId two = *stage.open({static_cast<uint32_t>(n), 0, KvType::f32});
    EXPECT_TRUE(stage.submit(one, {1, 0, chunk(0, n, unread), rows}).ok());
    EXPECT_TRUE(stage.submit(two, {1, 0, chunk(0, n, 0), rows}).ok());
    StageReply reply;
    for (const SessionId session : {one, two}) {
      EXPECT_TRUE(stage.next(session, Deadline::max(), reply).ok());
      EXPECT_EQ(reply.ids.size(), n);
      const size_t begin = session == one ? (n - 1) * d : 0;
      out.insert(out.end(), reply.rows.begin() + static_cast<std::ptrdiff_t>(begin),
                 reply.rows.end());
    }
    return out;
  };
  EXPECT_EQ(last_row(n - 1), last_row(0));
}

INSTANTIATE_TEST_SUITE_P(Golden, UnreadRows, testing::ValuesIn(golden_model_names()),
                         [](const auto& test) { return test.param; });

}  // namespace
}  // namespace splitd
