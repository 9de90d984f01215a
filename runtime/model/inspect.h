// Owns: what there is to know about a path without computing anything: a model (directory or GGUF),
// a config without weights, or a lone safetensors file. Refuses what could not be loaded, with the
// reason. Reads headers and norms; verify.h reads the rest.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "runtime/base/result.h"
#include "runtime/base/sha256.h"
#include "runtime/model/model_files.h"

namespace splitd {

struct DTypeUse {
  DType dtype = DType::f32;
  uint64_t tensors = 0;
  uint64_t bytes = 0;
};

class Inspection {
 public:
  static Result<Inspection> open(const std::string& path);

  // Exactly one of these three cases.
  const ModelFiles* model() const { return model_ ? &*model_ : nullptr; }  // config and weights
  bool is_bare_config() const { return !model_ && !tensors_; }
  bool is_bare_tensors() const { return tensors_.has_value(); }

  const ModelConfig* config() const;  // nullptr for bare tensors
  const TensorFiles* files() const;   // nullptr for a bare config
  const std::optional<Sha256Digest>& fingerprint() const { return fingerprint_; }  // of a model

  std::vector<DTypeUse> dtypes() const;  // most bytes first
  uint64_t weight_bytes() const;
  uint64_t numbers() const;                   // in all stored tensors
  std::vector<uint64_t> layer_bytes() const;  // of a model, one per layer; 0: not here
  uint64_t slot_bytes(Slot slot) const;       // of a model: embedding, final norm or head
  uint64_t kv_bytes_per_token(uint32_t bytes_per_number) const;  // with a config
  double open_ms() const { return open_ms_; }  // config, headers and checks, without fingerprint

 private:
  Inspection() = default;

  std::optional<ModelFiles> model_;
  std::optional<ModelConfig> config_;
  std::optional<TensorFiles> tensors_;
  std::optional<Sha256Digest> fingerprint_;
  double open_ms_ = 0.0;
};

// Memory that this process occupies now; nothing where the system does not tell.
[[nodiscard]] std::optional<uint64_t> process_resident_bytes();

}  // namespace splitd
