// Owns: writing a model as a Hugging Face directory in another dtype: from GGUF (dequantised, rows
// and norms back in transformers' form) or from a directory; as floats, or as splitd's own
// quantised rows (formats/QUANTISED.md). A block of rows is in memory at a time, read and not
// mapped. The directory appears whole or not at all; a run that was killed or interrupted is taken
// up by the next one and ends with the same bytes. Refuses a value that the new dtype cannot hold.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "runtime/base/progress.h"
#include "runtime/base/result.h"
#include "runtime/base/sha256.h"
#include "runtime/model/formats/dtype.h"
#include "runtime/model/quantise_feedback.h"
#include "runtime/model/schema.h"
#include "runtime/model/weights.h"

namespace splitd {

struct ConvertOptions {
  DType dtype = DType::bf16;  // F32, F16 or BF16; Q8 or Q4
  // Only these layers' matrices, and every norm: a partial directory.
  std::optional<LayerRange> layers;
  uint64_t max_shard_bytes = 5'000'000'000;
  // Of Q8 and Q4: what a matrix is quantised by, nullptr for its numbers alone. Asked for in the
  // order of the layers; good until it is asked again.
  std::function<Result<const Feedback*>(const TensorSpec&)> feedback;
  std::string feedback_id;  // changes with what it answers
  uint32_t threads = 0;     // that quantise; 0: as many as the machine has
  ProgressFn progress;      // bytes written of all weight bytes
};

// What quantising did to one layer, or to the embedding or the head.
struct ConvertLoss {
  std::string name;  // "layer 3", "embedding", "head"
  QuantisationLoss loss;
};

struct ConvertReport {
  uint64_t tensors = 0;
  uint64_t weight_bytes = 0;
  uint32_t files = 0;  // of weights
  bool tokenizer = false;
  Sha256Digest fingerprint{};
  uint64_t resumed_bytes = 0;  // of weights that an earlier run had written
  // Of Q8 and Q4:
  std::vector<ConvertLoss> losses;
  uint64_t quantised_values = 0;
  uint64_t quantised_bytes = 0;    // with the padding of rows
  double bits_per_weight() const;  // of the quantised matrices
};

// `directory` must not exist, or be empty.
[[nodiscard]] Result<ConvertReport> convert_model(const std::string& source,
                                                  const std::string& directory,
                                                  const ConvertOptions& options);

}  // namespace splitd
