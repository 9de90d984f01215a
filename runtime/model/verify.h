// Owns: reading every number of a model's weights and naming those that are not finite. As fast as
// the memory or the disk gives the bytes; pages that were read are let go again. For GGUF blocks
// the scales are looked at: a block is finite when they are.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "runtime/base/progress.h"
#include "runtime/base/result.h"
#include "runtime/model/formats/tensor_files.h"

namespace splitd {

struct NonFinite {
  std::string tensor;
  uint64_t row = 0;     // of the first one: rows are vectors of the last dimension
  uint64_t column = 0;  // of a block: its first value's; Q8, Q4: in the first bad panel
  uint64_t count = 0;   // numbers, or blocks
};

struct VerifyReport {
  uint64_t bytes = 0;          // that were read
  uint64_t skipped_bytes = 0;  // of types that hold integers
  double seconds = 0.0;
  std::vector<NonFinite> non_finite;  // by name of the tensor
};

// `threads` 0: as many as the machine has. Fails only when cancelled.
[[nodiscard]] Result<VerifyReport> verify_weights(const TensorFiles& files, uint32_t threads = 0,
                                                  const ProgressFn& progress = {});

}  // namespace splitd
