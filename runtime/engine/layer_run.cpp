// Requests → batches behind layer_run.h.
#include "runtime/engine/layer_run.h"

#include <algorithm>
#include <string>
#include <utility>

#include "runtime/engine/not_finite.h"

namespace splitd {

Result<LayerRun> LayerRun::open(Backend& backend, LayerRange range, const KvShape& shape) {
  // First what may not fit, which is refused with the numbers.
  std::unique_ptr<Kv> kv;
  if (range.begin != range.end) {
    SPLITD_ASSIGN(kv, backend.make_kv(shape));
  }
  LayerRun out(backend, range, shape);
  out.kv_ = std::move(kv);
  return out;
}

// A layer at a time only where somebody looks.
bool LayerRun::forward(std::span<const BatchRow> rows, size_t first_row, float* hidden,
                       const std::function<bool()>& go_on, const EachLayer& each_layer) {
  if (!each_layer) return backend_->forward(rows, hidden, range_, go_on);
  const size_t n_value = rows.size() * backend_->config().d_model;
  for (uint32_t layer = range_.begin; layer < range_.end; ++layer) {
    if (!backend_->forward(rows, hidden, {layer, layer + 1}, go_on)) return false;
    each_layer(layer, first_row, {hidden, n_value});
  }
  return true;
}

Status LayerRun::run(const TimelineRequest& request, float* hidden,
                     const std::function<bool()>& go_on, const EachLayer& each_layer) {
  SPLITD_TRY(timeline_.check(request));
  if (request.append && !timeline_.lives_after(request)) {
    return usage_error("base " + std::to_string(request.append->base) + ": the row is dead");
  }
  const Timeline::Applied applied = timeline_.apply(request);
  if (kv_ == nullptr) return {};
  backend_->move_rows(*kv_, applied.moves);

  const bool bulk = request.append && request.append->bulk && backend_->takes_bulk();
  rows_.clear();
  paths_.clear();
  path_begin_.clear();
  const uint32_t n_unread = request.append ? request.append->n_unread : 0;
  for (const RowPlace& row : applied.rows) {
    const bool is_read = rows_.size() >= n_unread;
    const bool pending = row.position >= timeline_.n_committed();
    const uint32_t n_committed = pending ? timeline_.n_committed() : row.position + 1;
    rows_.push_back({kv_.get(), row.position, row.slot, n_committed, nullptr, bulk, is_read});
    path_begin_.push_back(paths_.size());
    if (!pending) continue;
    paths_.resize(paths_.size() + row.position + 1 - n_committed);
    timeline_.pending_path(row.id, std::span(paths_).subspan(path_begin_.back()));
  }
  for (size_t i = 0; i < rows_.size(); ++i) rows_[i].path = paths_.data() + path_begin_[i];

  const size_t d = backend_->config().d_model;
  for (size_t at = 0; at < rows_.size();) {
    const size_t n = std::min<size_t>(rows_.size() - at, backend_->max_rows());
    const std::span<const BatchRow> piece = std::span(rows_).subspan(at, n);
    input_.assign(hidden + at * d, hidden + (at + n) * d);
    if (!forward(piece, at, hidden + at * d, go_on, each_layer)) {
      return Error{ErrorKind::interrupted, "interrupted"};
    }
    for (size_t row = 0; row < n; ++row) {
      if (first_not_finite({hidden + (at + row) * d, d}) == d) continue;
      const std::string name = "row " + std::to_string(at + row) + " (position " +
                               std::to_string(piece[row].position) + ")";
      return name_broken_layer(*backend_, range_, piece[row], name,
                               std::span(input_).subspan(row * d, d));
    }
    at += n;
  }
  return {};
}

}  // namespace splitd
