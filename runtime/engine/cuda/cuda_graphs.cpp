// Capturing behind cuda_graphs.h.
#include "runtime/engine/cuda/cuda_graphs.h"

#include <algorithm>
#include <bit>

namespace splitd {

CudaGraph::~CudaGraph() {
  if (graph_ != nullptr) cudaGraphExecDestroy(graph_);
}

uint32_t CudaGraphs::bucket(size_t n_row) const {
  const auto n = static_cast<uint32_t>(n_row);
  return enabled_ && n_row <= kMostRows ? std::bit_ceil(n) : n;
}

void CudaGraphs::disable() {
  enabled_ = false;
  clear();
  cudaGetLastError();  // a refusal is no fault of the device's
}

// Its place, or that of the one that was not used for longest.
CudaGraphs::Step& CudaGraphs::entry(const Key& key) {
  const auto at =
      std::find_if(steps_.begin(), steps_.end(), [&](const Step& step) { return step.key == key; });
  if (at != steps_.end()) return *at;
  if (steps_.size() < kMostSteps) return steps_.emplace_back(Step{.key = key});
  Step& oldest = *std::min_element(steps_.begin(), steps_.end(), [](const Step& a, const Step& b) {
    return a.last_used < b.last_used;
  });
  oldest = Step{.key = key};
  return oldest;
}

const std::vector<CudaGraph>* CudaGraphs::find(CudaStep& step, LayerRange layers, CudaLayers& to,
                                               cudaStream_t stream) {
  if (!enabled_) return nullptr;
  CudaSegment& rows = step.segments[0];
  rows.n_split = std::min(std::bit_ceil(rows.n_split), to.most_splits());
  Step& known = entry({layers, step.m, rows.n_split, rows.kv_type});
  found_ = static_cast<size_t>(&known - steps_.data());
  known.last_used = ++n_step_;
  if (!known.has_run) return nullptr;
  if (known.runs.empty() && capture(known, step, to, stream) != cudaSuccess) {
    disable();
    return nullptr;
  }
  return &known.runs;
}

cudaError_t CudaGraphs::capture(Step& step, const CudaStep& launches, CudaLayers& to,
                                cudaStream_t stream) {
  const LayerRange layers = step.key.layers;
  const uint32_t n_run = std::min(kMostRuns, layers.end - layers.begin);
  for (uint32_t i = 0; i < n_run; ++i) {
    // Other threads may use other devices meanwhile.
    cudaError_t error = cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal);
    if (error != cudaSuccess) return error;
    const cudaError_t launched = to.run(launches, part(layers, i, n_run), layers, stream);
    cudaGraph_t graph = nullptr;
    error = cudaStreamEndCapture(stream, &graph);  // always, or the stream stays as it is
    cudaGraphExec_t executable = nullptr;
    if (launched != cudaSuccess) error = launched;
    if (error == cudaSuccess) error = cudaGraphInstantiateWithFlags(&executable, graph, 0);
    if (graph != nullptr) cudaGraphDestroy(graph);
    if (error != cudaSuccess) return error;
    step.runs.emplace_back(executable);
  }
  return cudaSuccess;
}

}  // namespace splitd
