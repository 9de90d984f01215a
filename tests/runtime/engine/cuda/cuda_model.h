// A small model for tests of the CUDA backend, so small that the emulation has it in milliseconds a
// row: a dense layer, one of experts, one with a window.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <utility>

#include "kernels/select.h"
#include "runtime/engine/cuda/cuda_backend.h"
#include "tests/runtime/engine/cuda/needs_device.h"
#include "tools/bench/synthetic_model.h"

namespace splitd {

inline constexpr SyntheticShape kSmallShape{.name = "small",
                                            .d_model = 32,
                                            .n_head = 2,
                                            .n_kv_head = 1,
                                            .d_head = 16,
                                            .d_ff = 64,
                                            .n_layer = 3,
                                            .n_expert = 4,
                                            .n_expert_used = 2,
                                            .d_ff_expert = 32,
                                            .window = 12};

inline std::unique_ptr<Backend> cuda_backend(const SyntheticModel& model, bool graphs) {
  Result<std::unique_ptr<Backend>> made = make_cuda_backend(
      model.config(), model.weights(), {.table = kernels::runnable_tables()[0], .graphs = graphs});
  EXPECT_TRUE(made.ok()) << made.error().message;
  return std::move(*made);
}

}  // namespace splitd
