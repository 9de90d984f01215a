// Owns: what a conversion will write: which tensors, as what, in which order and in which files.
// Quantised matrices of a layer lie together, aligned to 64 bytes; what stays as it is follows them
// in each file. Says by which rule a matrix is kept wider. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "runtime/model/convert_rows.h"
#include "runtime/model/model_files.h"

namespace splitd {

struct ConvertOptions;

struct ConvertItem {
  TensorInfo output;  // name, dtype, shape and bytes as the file has them
  DType to = DType::bf16;
  RowSource source;
  std::optional<TensorSpec> spec;  // nothing: no tensor of the text model
};

struct ConvertShard {
  std::string name;
  size_t begin = 0;  // items
  size_t end = 0;
  uint64_t bytes = 0;
};

struct ConvertPlan {
  std::vector<ConvertItem> items;
  std::vector<ConvertShard> shards;
  uint64_t bytes = 0;  // of all tensors
};

[[nodiscard]] ConvertPlan plan_conversion(const ModelFiles& model, const ConvertOptions& options);

// What a matrix of this slot becomes where `to` is Q8 or Q4; nothing: it stays as it is stored.
// The rule is written down in formats/QUANTISED.md.
[[nodiscard]] std::optional<DType> quantised_type(const ModelConfig& config, const TensorSpec& spec,
                                                  DType to);

}  // namespace splitd
