// Owns: one session of a range of layers, run on the caller's thread: how the ends of a split (head
// and tail) compute, and tests. Keeps one timeline and the KV beside it; rows come back at once.
// A backend without layers is fine: rows pass through. Not thread-safe; the backend must outlive
// it.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "runtime/base/result.h"
#include "runtime/engine/backend.h"
#include "runtime/engine/timeline.h"

namespace splitd {

class LayerRun {
 public:
  // The layers of `range`, which is the backend's own or empty.
  static Result<LayerRun> open(Backend& backend, LayerRange range, const KvShape& shape);

  // Applies the request; `hidden` (n_row of its frame, d_model) goes through the layers in place,
  // in pieces of max_rows(). Refuses what the timeline refuses. go_on false: interrupted, and the
  // new rows mean nothing until they are cut off.
  [[nodiscard]] Status run(const TimelineRequest& request, float* hidden,
                           const std::function<bool()>& go_on);

  const Timeline& timeline() const { return timeline_; }

 private:
  LayerRun(Backend& backend, LayerRange range, const KvShape& shape)
      : backend_(&backend), range_(range), timeline_(shape.n_ctx, shape.max_pending) {}

  Backend* backend_;
  LayerRange range_;
  Timeline timeline_;
  std::unique_ptr<Kv> kv_;  // nullptr without layers
  std::vector<BatchRow> rows_;
  std::vector<uint32_t> paths_;
  std::vector<size_t> path_begin_;
};

}  // namespace splitd
