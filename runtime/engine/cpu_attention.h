// Owns: dividing one layer's attention among threads: by kv head and tiles of rows, or, for few
// rows over a long context, by kv head and splits of 1024 positions. Either gives the same bits.
// Not thread-safe.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/kernels.h"
#include "runtime/engine/aligned_buffer.h"
#include "runtime/engine/backend.h"
#include "runtime/engine/cpu_kv.h"
#include "runtime/engine/thread_pool.h"
#include "runtime/model/config.h"

namespace splitd {

class CpuAttention {
 public:
  CpuAttention(const kernels::KernelTable& table, ThreadPool& pool, const ModelConfig& config)
      : table_(table), pool_(pool), config_(config), scratch_(pool.n_thread()) {}

  // Says what the rows of the next layers are; they must stay until the next begin(). Rows of one
  // session stand together.
  void begin(std::span<const BatchRow> rows);

  // qkv: (n, n_head + 2·n_kv_head, d_head), roped. K and V of the row go into its slot.
  void write_kv(size_t row, uint32_t layer, const float* qkv) const;

  // The q part of each row of qkv (n, qkv_stride) becomes the result.
  void run(uint32_t layer, float* qkv, size_t qkv_stride);

 private:
  struct Group {  // the rows of one session
    CpuKv* kv;
    size_t begin, end;
    uint32_t last_position;
  };
  struct Task {
    uint32_t group, kv_head;
    size_t begin, end;  // rows
    uint32_t split;     // kNoSplit: all of the context
    uint32_t first_split;
    size_t partials;  // where in partials_
  };
  static constexpr uint32_t kNoSplit = UINT32_MAX;
  static constexpr size_t kMostRows = 64;  // of a task

  uint32_t lo(uint32_t layer, uint32_t position) const;
  void map_paths();
  void plan(uint32_t layer);
  void plan_splits(uint32_t layer, uint32_t group, size_t partial_begin);
  size_t partial_bytes(uint32_t layer, const Group& group) const;
  void do_task(const Task& task, uint32_t layer, float* qkv, size_t qkv_stride, uint32_t thread,
               bool merge);

  const kernels::KernelTable& table_;
  ThreadPool& pool_;
  const ModelConfig& config_;
  std::span<const BatchRow> rows_;
  std::vector<Group> groups_;
  std::vector<uint64_t> windows_;   // the distinct windows of the config
  std::vector<uint32_t> paths_;     // by window, by row: slots of the layer's cache
  std::vector<size_t> path_begin_;  // by window and row
  std::vector<Task> tasks_;
  std::vector<Task> merges_;
  AlignedBuffer partials_;
  std::vector<AlignedBuffer> scratch_;  // by thread
};

}  // namespace splitd
