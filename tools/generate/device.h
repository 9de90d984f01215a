// Owns: which device computes, from --device, and making a backend on it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "kernels/kernels.h"
#include "runtime/base/progress.h"
#include "runtime/base/result.h"
#include "runtime/engine/backend.h"
#include "runtime/engine/cpu_panels.h"
#include "runtime/engine/thread_pool.h"

namespace splitd::cli {

struct DeviceChoice {
  bool is_cuda = false;
  int index = 0;              // of CUDA's devices
  bool is_fixed = false;      // somebody asked for it: nothing else will do
  std::string why = {};       // this one was taken, for `doctor` and --verbose
  uint64_t memory_bytes = 0;  // of the GPU
};

// "auto", "cpu", "cuda", "cuda:1". Refuses another spelling, and a GPU that is not there or cannot
// run this build's kernels, with the reason.
[[nodiscard]] Result<DeviceChoice> choose_device(std::string_view text);

struct DeviceOptions {
  const kernels::KernelTable* table = nullptr;
  ThreadPool* pool = nullptr;
  bool exact = false;
  CpuPanels* panels = nullptr;  // of the CPU's
  ProgressFn progress = {};     // of uploading, or laying out
};

// On the device of the choice. A GPU that was not asked for by name and cannot take this model
// leaves it to the CPU, and the reason in `choice`.
[[nodiscard]] Result<std::unique_ptr<Backend>> make_backend(DeviceChoice& choice,
                                                            const ModelConfig& config,
                                                            const ModelWeights& weights,
                                                            const DeviceOptions& options);

}  // namespace splitd::cli
