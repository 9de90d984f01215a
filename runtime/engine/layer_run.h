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
  // in pieces of max_rows(). Refuses what the timeline refuses, and rows under a dead base: nobody
  // sends ahead here. go_on false: interrupted, and the
  // new rows mean nothing until they are cut off. Rows that are not finite after a layer are an
  // error of ErrorKind::model that names the layer. `each_layer` sees the hidden states of the
  // frame's rows from `first_row` on after each layer, in order.
  using EachLayer =
      std::function<void(uint32_t layer, size_t first_row, std::span<const float> hidden)>;
  [[nodiscard]] Status run(const TimelineRequest& request, float* hidden,
                           const std::function<bool()>& go_on, const EachLayer& each_layer = {});

  const Timeline& timeline() const { return timeline_; }

 private:
  LayerRun(Backend& backend, LayerRange range, const KvShape& shape)
      : backend_(&backend), range_(range), timeline_(shape.n_ctx, shape.max_pending) {}
  bool forward(std::span<const BatchRow> rows, size_t first_row, float* hidden,
               const std::function<bool()>& go_on, const EachLayer& each_layer);

  Backend* backend_;
  LayerRange range_;
  Timeline timeline_;
  std::unique_ptr<Kv> kv_;  // nullptr without layers
  std::vector<BatchRow> rows_;
  std::vector<uint32_t> paths_;
  std::vector<size_t> path_begin_;
  std::vector<float> input_;  // of the piece at hand
};

}  // namespace splitd
