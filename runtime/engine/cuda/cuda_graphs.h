// Owns: steps captured as CUDA graphs, so that a layer costs the host one launch less than it has
// kernels. What a launch depends on is the key (cuda_layers.h): bucket of rows, splits, type of KV,
// layers. All else is read from device memory, which lies where it lay at the capture. A key's
// first batch is launched plainly: it loads the kernels, and what comes once costs no capture.
// Whatever a capture or a replay fails with, the step is launched plainly, and every later one.
//
// A step is some graphs, each of a run of layers, not one: a batch whose rows have all died is
// abandoned where a run ends (DESIGN §3). The other ways cost each batch what few need: a flag that
// every kernel looks at, before it may load its weights; conditional nodes, which want a driver of
// 12.4 and hold each layer in a graph of its own anyway.
// Not thread-safe.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <utility>
#include <vector>

#include "runtime/engine/cuda/cuda_layers.h"

namespace splitd {

// One executable graph.
class CudaGraph {
 public:
  explicit CudaGraph(cudaGraphExec_t graph) : graph_(graph) {}
  CudaGraph(CudaGraph&& other) noexcept : graph_(std::exchange(other.graph_, nullptr)) {}
  CudaGraph& operator=(CudaGraph&& other) noexcept {
    std::swap(graph_, other.graph_);
    return *this;
  }
  ~CudaGraph();
  cudaError_t launch(cudaStream_t stream) const { return cudaGraphLaunch(graph_, stream); }

 private:
  cudaGraphExec_t graph_;
};

class CudaGraphs {
 public:
  static constexpr uint32_t kMostRows = 64;  // more are busy for longer than launching takes
  static constexpr uint32_t kMostRuns = 8;   // of a step

  explicit CudaGraphs(bool enabled) : enabled_(enabled) {}

  // So many rows are padded to: the columns of the products' tiles, and what fills few of them.
  uint32_t bucket(size_t n_row) const;
  // Another batch, which may be no step.
  void begin() { found_ = kMostSteps; }
  // The graphs of this step, run by run; nullptr: launch it plainly. Captures those of a step that
  // it has seen. Requires a step of bucket() rows in one segment.
  const std::vector<CudaGraph>* find(CudaStep& step, LayerRange layers, CudaLayers& to,
                                     cudaStream_t stream);
  // The batch of the last find() went through: its kernels are loaded.
  void ran() {
    if (found_ < steps_.size()) steps_[found_].has_run = true;
  }
  // Memory that captured launches use has moved. Requires that nothing runs.
  void clear() {
    steps_.clear();
    found_ = kMostSteps;
  }
  // A replay failed.
  void disable();

  // Run i of n.
  static LayerRange part(LayerRange layers, uint32_t i, uint32_t n) {
    const uint32_t n_layer = layers.end - layers.begin;
    return {layers.begin + n_layer * i / n, layers.begin + n_layer * (i + 1) / n};
  }

 private:
  static constexpr size_t kMostSteps = 64;
  struct Key {
    LayerRange layers;
    uint32_t m = 0;
    uint32_t n_split = 0;
    kernels::cuda::KvType kv_type = kernels::cuda::KvType::f16;
    bool operator==(const Key&) const = default;
  };
  struct Step {
    Key key;
    uint64_t last_used = 0;
    std::vector<CudaGraph> runs = {};
    bool has_run = false;  // plainly, from end to end
  };

  Step& entry(const Key& key);
  cudaError_t capture(Step& step, const CudaStep& launches, CudaLayers& to, cudaStream_t stream);

  bool enabled_;
  uint64_t n_step_ = 0;
  std::vector<Step> steps_;
  size_t found_ = kMostSteps;  // of steps_, by the last find(); kMostSteps: nothing
};

}  // namespace splitd
