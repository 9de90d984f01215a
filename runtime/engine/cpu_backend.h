// Owns: the backend that computes on the CPU with the kernels of one table and one thread pool.
#pragma once

#include <memory>

#include "kernels/kernels.h"
#include "runtime/base/result.h"
#include "runtime/engine/backend.h"
#include "runtime/engine/cpu_matmul.h"
#include "runtime/engine/cpu_panels.h"
#include "runtime/engine/thread_pool.h"

namespace splitd {

struct CpuOptions {
  const kernels::KernelTable* table = nullptr;
  ThreadPool* pool = nullptr;
  bool exact = false;           // --compute f32: activations are never rounded below fp32
  MatmulObserver observe = {};  // for calibrating: sees what enters each product
  // Where given, quantised matrices are laid out there, and it has to outlive the backend. Exact
  // products are made of dequantised rows, which are as well taken from the file.
  CpuPanels* panels = nullptr;
  ProgressFn progress = {};  // of that, in bytes
};

// Weights are used in place, but for those laid out, and must outlive the backend. Refuses what the
// kernels cannot compute.
[[nodiscard]] Result<std::unique_ptr<Backend>> make_cpu_backend(const ModelConfig& config,
                                                                const ModelWeights& weights,
                                                                const CpuOptions& options);

}  // namespace splitd
