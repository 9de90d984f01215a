// Sessions of one backend, driven by hand: each batch holds a frame of some of them.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "runtime/engine/backend.h"
#include "runtime/engine/timeline.h"

namespace splitd {

// What one session does in a batch: commits the path to pending row `keep` of its last frame, then
// appends a tree, or with `commit` a chain.
struct Wanted {
  uint32_t session = 0;
  int keep = -1;  // −1: nothing
  std::vector<int32_t> parents = {};
  bool commit = false;
};

class CudaSessions {
 public:
  CudaSessions(Backend& backend, const std::vector<KvShape>& shapes)
      : backend_(backend), d_(backend.config().d_model) {
    for (const KvShape& shape : shapes) {
      Result<std::unique_ptr<Kv>> kv = backend.make_kv(shape);
      EXPECT_TRUE(kv.ok()) << kv.error().message;
      sessions_.push_back({Timeline(shape.n_ctx, shape.max_pending), std::move(*kv), 0});
    }
  }

  // Hidden states after all layers; empty: go_on stopped it.
  std::vector<float> run(
      const std::vector<Wanted>& batch, const std::function<bool()>& go_on = [] { return true; }) {
    std::vector<BatchRow> rows;
    std::vector<uint32_t> tokens;
    std::deque<std::vector<uint32_t>> paths;
    for (const Wanted& wanted : batch) {
      Session& session = sessions_[wanted.session];
      Timeline& timeline = session.timeline;
      TimelineRequest request;
      if (wanted.keep >= 0) {
        request.edit = TimelineRequest::Edit::keep;
        request.keep = session.first + static_cast<uint32_t>(wanted.keep);
      }
      const RowId base = wanted.keep >= 0 ? request.keep : timeline.last_committed();
      session.first = timeline.next_id();
      request.append = Frame{.first = session.first,
                             .base = base,
                             .n_row = static_cast<uint32_t>(wanted.parents.size()),
                             .parents = wanted.parents,
                             .commit = wanted.commit};
      EXPECT_TRUE(timeline.check(request).ok());
      const Timeline::Applied applied = timeline.apply(request);
      backend_.move_rows(*session.kv, applied.moves);
      for (const RowPlace& row : applied.rows) {
        const bool pending = row.position >= timeline.n_committed();
        const uint32_t n_committed = pending ? timeline.n_committed() : row.position + 1;
        paths.emplace_back(row.position + 1 - n_committed);
        if (pending) timeline.pending_path(row.id, paths.back());
        rows.push_back(
            {session.kv.get(), row.position, row.slot, n_committed, paths.back().data()});
        tokens.push_back((row.id * 37 + row.position * 11 + wanted.session * 5) % 256);
      }
    }
    std::vector<float> hidden(tokens.size() * d_);
    backend_.embed(tokens, hidden.data());
    if (!backend_.forward(rows, hidden.data(), backend_.layers(), go_on)) return {};
    return hidden;
  }

 private:
  struct Session {
    Timeline timeline;
    std::unique_ptr<Kv> kv;
    RowId first;  // of its last frame
  };

  Backend& backend_;
  size_t d_;
  std::vector<Session> sessions_;
};

// A chain of n rows below the base.
inline std::vector<int32_t> chain(int n) {
  std::vector<int32_t> out;
  for (int i = 0; i < n; ++i) out.push_back(i - 1);
  return out;
}

}  // namespace splitd
