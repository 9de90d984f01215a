// Owns: what a batch tells the device: its rows' places, the turns of their positions, their hidden
// states and paths, laid out in one pinned block and sent with one copy; and the hidden states on
// their way back. Allocates only when it is made and for sessions with more pending rows. Not
// thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "runtime/base/result.h"
#include "runtime/engine/backend.h"
#include "runtime/engine/cuda/cuda_layers.h"
#include "runtime/engine/cuda/device_memory.h"
#include "runtime/engine/rope_frequencies.h"
#include "runtime/model/config.h"

namespace splitd {

class CudaBatch {
 public:
  // `config` must outlive it.
  static Result<CudaBatch> make(const ModelConfig& config, uint32_t max_rows);

  // Paths of up to so many pending rows each. Requires that nothing is under way.
  Status reserve_paths(uint32_t max_pending);

  // At most max_rows rows of CudaKv, and hidden (n, d_model), padded with dead rows to `bucket`
  // where is_fixed() comes true of it. The batch before must be through.
  cudaError_t send(std::span<const BatchRow> rows, const float* hidden, uint32_t bucket,
                   cudaStream_t stream);
  // As sent last.
  CudaStep& step() { return step_; }
  // Everything lies where it lies in each batch of this bucket, and attention is one segment: what
  // is launched for one of them serves the others.
  bool is_fixed() const { return is_fixed_; }
  uint64_t bytes() const { return device_.bytes(); }
  // Asks for the hidden states; hidden() holds them once the stream has come so far.
  cudaError_t fetch(cudaStream_t stream);
  std::span<const float> hidden() const;

 private:
  // Where the parts of a batch of m rows begin. Hidden states are last: those of dead rows are not
  // sent.
  struct Layout {
    size_t turns = 0;
    size_t paths = 0;
    size_t hidden = 0;
    size_t end = 0;
  };

  CudaBatch(const ModelConfig& config, uint32_t max_rows);
  Layout layout(size_t m, size_t n_path) const;
  void describe(std::span<const BatchRow> rows, const Layout& at);
  void add_turns(const BatchRow& row, float* turns) const;
  void add_to_segments(const BatchRow& row, uint32_t index);

  const ModelConfig* config_;
  uint32_t max_rows_;
  std::vector<RopeFrequencies> frequencies_;  // by config rope
  size_t n_rotary_ = 0;                       // of all ropes
  PinnedBuffer host_;
  DeviceBuffer device_;
  CudaStep step_;
  bool is_fixed_ = false;
  size_t n_row_ = 0;  // alive
  size_t hidden_at_ = 0;
  std::vector<CudaSegment> segments_;
};

}  // namespace splitd
