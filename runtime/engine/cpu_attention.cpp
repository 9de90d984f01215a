// Tasks behind cpu_attention.h.
#include "runtime/engine/cpu_attention.h"

#include <algorithm>
#include <array>

namespace splitd {

using kernels::kAttentionSplit;

// Fewer tasks than this for each thread, over at least so long a context: splits pay.
static constexpr size_t kTasksPerThread = 4;
static constexpr uint32_t kLongContext = 2 * kAttentionSplit;

uint32_t CpuAttention::lo(uint32_t layer, uint32_t position) const {
  const uint64_t window = config_.layers[layer].window;
  if (window == 0 || position < window) return 0;
  return static_cast<uint32_t>(position - window + 1);
}

void CpuAttention::begin(std::span<const BatchRow> rows) {
  rows_ = rows;
  groups_.clear();
  for (size_t i = 0; i < rows.size(); ++i) {
    auto* kv = static_cast<CpuKv*>(rows[i].kv);
    if (groups_.empty() || groups_.back().kv != kv) groups_.push_back({kv, i, i, 0});
    Group& group = groups_.back();
    group.end = i + 1;
    group.last_position = std::max(group.last_position, rows[i].position);
  }
  map_paths();
}

// The pending slots of every row, as the caches of each kind of layer count them.
void CpuAttention::map_paths() {
  if (windows_.empty()) {
    for (const LayerConfig& layer : config_.layers) windows_.push_back(layer.window);
    std::sort(windows_.begin(), windows_.end());
    windows_.erase(std::unique(windows_.begin(), windows_.end()), windows_.end());
  }
  paths_.clear();
  path_begin_.clear();
  for (const uint64_t window : windows_) {
    for (const BatchRow& row : rows_) {
      path_begin_.push_back(paths_.size());
      const auto* kv = static_cast<const CpuKv*>(row.kv);
      const SlotMap slots = kv->slots_of_window(window);
      for (uint32_t i = 0; i + row.n_committed < row.position + 1; ++i) {
        paths_.push_back(slots(row.path[i]));
      }
    }
  }
}

void CpuAttention::write_kv(size_t row, uint32_t layer, const float* qkv) const {
  const auto* kv = static_cast<const CpuKv*>(rows_[row].kv);
  const uint32_t slot = kv->slots(layer)(rows_[row].slot);
  const size_t d_head = config_.d_head;
  const float* k = qkv + config_.n_head * d_head;
  const float* v = k + config_.n_kv_head * d_head;
  for (uint32_t head = 0; head < config_.n_kv_head; ++head) {
    table_.attention.write_k(kv->type(), k + head * d_head, d_head, slot, kv->k(layer, head));
    table_.attention.write_v(kv->type(), v + head * d_head, d_head, slot, kv->v(layer, head));
  }
}

// Of one kv head; 0 where the group is not divided into splits.
size_t CpuAttention::partial_bytes(uint32_t layer, const Group& group) const {
  const size_t n_row = group.end - group.begin;
  const uint32_t first = lo(layer, rows_[group.begin].position);
  const bool few = n_row <= 8 && n_row * config_.n_kv_head < kTasksPerThread * pool_.n_thread() * 8;
  if (pool_.n_thread() == 1 || !few || group.last_position - first < kLongContext) return 0;
  const uint32_t n_split = group.last_position / kAttentionSplit - first / kAttentionSplit + 1;
  const size_t one =
      table_.attention.partial_bytes(config_.d_head, config_.n_head / config_.n_kv_head);
  return one * n_row * n_split;
}

void CpuAttention::plan(uint32_t layer) {
  tasks_.clear();
  merges_.clear();
  const size_t group_heads = config_.n_head / config_.n_kv_head;
  const size_t tile = std::clamp<size_t>(table_.attention.tile_rows(group_heads), 1, kMostRows);
  size_t partials = 0;
  for (uint32_t g = 0; g < groups_.size(); ++g) {
    const size_t bytes = partial_bytes(layer, groups_[g]);
    if (bytes != 0) {
      plan_splits(layer, g, partials);
      partials += bytes * config_.n_kv_head;
      continue;
    }
    for (uint32_t head = 0; head < config_.n_kv_head; ++head) {
      for (size_t row = groups_[g].begin; row < groups_[g].end; row += tile) {
        const size_t end = std::min(groups_[g].end, row + tile);
        tasks_.push_back({g, head, row, end, kNoSplit, 0, 0});
      }
    }
  }
  partials_.bytes(partials);
  // Of all threads now: which of them will claim a task is not known.
  const size_t scratch = table_.attention.scratch_bytes(config_.d_head, group_heads);
  for (AlignedBuffer& buffer : scratch_) buffer.bytes(scratch);
}

void CpuAttention::plan_splits(uint32_t layer, uint32_t g, size_t partial_begin) {
  const Group& group = groups_[g];
  uint32_t first = UINT32_MAX;
  for (size_t i = group.begin; i < group.end; ++i) {
    first = std::min(first, lo(layer, rows_[i].position) / kAttentionSplit);
  }
  const size_t bytes = partial_bytes(layer, group);
  for (uint32_t head = 0; head < config_.n_kv_head; ++head) {
    const size_t partials = partial_begin + head * bytes;
    merges_.push_back({g, head, group.begin, group.end, 0, first, partials});
    for (uint32_t split = first; split <= group.last_position / kAttentionSplit; ++split) {
      tasks_.push_back({g, head, group.begin, group.end, split, first, partials});
    }
  }
}

void CpuAttention::do_task(const Task& task, uint32_t layer, float* qkv, size_t qkv_stride,
                           uint32_t thread, bool merge) {
  const Group& group = groups_[task.group];
  const uint32_t n_head = config_.n_head / config_.n_kv_head;
  const auto window =
      std::lower_bound(windows_.begin(), windows_.end(), config_.layers[layer].window);
  const size_t path_row = static_cast<size_t>(window - windows_.begin()) * rows_.size();
  std::array<kernels::AttentionRow, kMostRows> rows;
  for (size_t i = task.begin; i < task.end; ++i) {
    const BatchRow& row = rows_[i];
    float* q = qkv + i * qkv_stride + size_t{task.kv_head} * n_head * config_.d_head;
    rows[i - task.begin] = {.q = q,
                            .out = q,
                            .position = row.position,
                            .lo = lo(layer, row.position),
                            .n_committed = std::min(row.n_committed, row.position + 1),
                            .path = paths_.data() + path_begin_[path_row + i]};
  }
  const size_t scratch = table_.attention.scratch_bytes(config_.d_head, n_head);
  const kernels::AttentionArgs args{.rows = rows.data(),
                                    .n_row = task.end - task.begin,
                                    .k = group.kv->k(layer, task.kv_head),
                                    .v = group.kv->v(layer, task.kv_head),
                                    .type = group.kv->type(),
                                    .d_head = config_.d_head,
                                    .n_head = n_head,
                                    .ring = group.kv->slots(layer).ring,
                                    .scale = config_.attn_scale,
                                    .softcap = config_.attn_softcap,
                                    .scratch = scratch_[thread].bytes(scratch)};
  std::byte* partials = partials_.bytes(0) + task.partials;
  if (merge) {
    table_.attention.merge(args, task.first_split, partials);
  } else if (task.split == kNoSplit) {
    table_.attention.run(args);
  } else {
    table_.attention.run_split(args, task.split, task.first_split, partials);
  }
}

void CpuAttention::run(uint32_t layer, float* qkv, size_t qkv_stride) {
  plan(layer);
  pool_.run(static_cast<uint32_t>(tasks_.size()), [&](uint32_t piece, uint32_t thread) {
    do_task(tasks_[piece], layer, qkv, qkv_stride, thread, false);
  });
  pool_.run(static_cast<uint32_t>(merges_.size()), [&](uint32_t piece, uint32_t thread) {
    do_task(merges_[piece], layer, qkv, qkv_stride, thread, true);
  });
}

}  // namespace splitd
