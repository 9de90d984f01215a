// Requests → batches behind layer_run.h.
#include "runtime/engine/layer_run.h"

#include <algorithm>
#include <utility>

namespace splitd {

Result<LayerRun> LayerRun::open(Backend& backend, LayerRange range, const KvShape& shape) {
  LayerRun out(backend, range, shape);
  if (range.begin == range.end) return out;
  SPLITD_ASSIGN(out.kv_, backend.make_kv(shape));
  return out;
}

Status LayerRun::run(const TimelineRequest& request, float* hidden,
                     const std::function<bool()>& go_on) {
  SPLITD_TRY(timeline_.check(request));
  const Timeline::Applied applied = timeline_.apply(request);
  if (kv_ == nullptr) return {};
  backend_->move_rows(*kv_, applied.moves);

  rows_.clear();
  paths_.clear();
  path_begin_.clear();
  for (const RowPlace& row : applied.rows) {
    if (row.born_dead) return usage_error("rows under a dead base");
    const bool pending = row.position >= timeline_.n_committed();
    const uint32_t n_committed = pending ? timeline_.n_committed() : row.position + 1;
    rows_.push_back({kv_.get(), row.position, row.slot, n_committed, nullptr});
    path_begin_.push_back(paths_.size());
    if (!pending) continue;
    paths_.resize(paths_.size() + row.position + 1 - n_committed);
    timeline_.pending_path(row.id, std::span(paths_).subspan(path_begin_.back()));
  }
  for (size_t i = 0; i < rows_.size(); ++i) rows_[i].path = paths_.data() + path_begin_[i];

  const size_t d = backend_->config().d_model;
  for (size_t at = 0; at < rows_.size();) {
    const size_t n = std::min<size_t>(rows_.size() - at, backend_->max_rows());
    if (!backend_->forward(std::span(rows_).subspan(at, n), hidden + at * d, range_, go_on)) {
      return Error{ErrorKind::interrupted, "interrupted"};
    }
    at += n;
  }
  return {};
}

}  // namespace splitd
