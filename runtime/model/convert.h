// Owns: writing a model as a Hugging Face directory in another dtype: from GGUF (dequantised, rows
// and norms back in transformers' form) or from a directory. One tensor is in memory at a time; the
// directory appears whole or not at all. Refuses a value that the new dtype cannot hold.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "runtime/base/progress.h"
#include "runtime/base/result.h"
#include "runtime/base/sha256.h"
#include "runtime/model/formats/dtype.h"
#include "runtime/model/weights.h"

namespace splitd {

struct ConvertOptions {
  DType dtype = DType::bf16;  // F32, F16 or BF16
  // Only these layers' matrices, and every norm: a partial directory.
  std::optional<LayerRange> layers;
  uint64_t max_shard_bytes = 5'000'000'000;
  ProgressFn progress;  // bytes written of all weight bytes
};

struct ConvertReport {
  uint64_t tensors = 0;
  uint64_t weight_bytes = 0;
  uint32_t files = 0;  // of weights
  bool tokenizer = false;
  Sha256Digest fingerprint{};
};

// `directory` must not exist, or be empty.
[[nodiscard]] Result<ConvertReport> convert_model(const std::string& source,
                                                  const std::string& directory,
                                                  const ConvertOptions& options);

}  // namespace splitd
