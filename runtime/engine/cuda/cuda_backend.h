// Owns: the backend that computes on one CUDA GPU. Weights and KV lie in its memory; hidden states
// come and go with each batch. Nothing is allocated per batch.
// What fails on the device once a batch has begun is remembered: fault() says it, every later batch
// is refused by NaN in its rows, which no stage passes on.
#pragma once

#include <memory>

#include "kernels/kernels.h"
#include "runtime/base/progress.h"
#include "runtime/base/result.h"
#include "runtime/engine/backend.h"

namespace splitd {

struct CudaOptions {
  int device = 0;
  const kernels::KernelTable* table = nullptr;  // for embedding rows, which stay on the host
  bool exact = false;                           // --compute f32
  bool graphs = true;                           // steps are captured and replayed
  bool bulk = true;                             // bulk chunks as such, where cuBLAS is found
  ProgressFn progress = {};                     // bytes of weights on the device
  // Set after each batch, for benches: from its first copy to its last on the device's clock.
  double* device_ms = nullptr;
};

// Weights are uploaded; only the embedding table has to outlive the backend. Refuses what the
// kernels cannot compute and what does not fit, with both numbers.
[[nodiscard]] Result<std::unique_ptr<Backend>> make_cuda_backend(const ModelConfig& config,
                                                                 const ModelWeights& weights,
                                                                 const CudaOptions& options);

}  // namespace splitd
