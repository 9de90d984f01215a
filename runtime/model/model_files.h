// Owns: a model opened: its config and its mapped weights, checked against each other once, from a
// Hugging Face directory (one file, shards, or a partial download that holds some layers and every
// norm) or a GGUF file. Opening reads headers and touches no weights. Refuses tensors that are
// missing, misshapen, of a type that cannot be computed with, or that the config knows nothing of.
// Const methods are thread-safe.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/base/mapped_file.h"
#include "runtime/base/result.h"
#include "runtime/base/sha256.h"
#include "runtime/model/config.h"
#include "runtime/model/formats/gguf.h"
#include "runtime/model/formats/tensor_files.h"
#include "runtime/model/schema.h"
#include "runtime/model/weights.h"

namespace splitd {

inline constexpr uint64_t kMaxConfigBytes = uint64_t{4} << 20;
// In the metadata of safetensors files that `convert` wrote: the fingerprint of what it read.
inline constexpr std::string_view kFingerprintKey = "splitd.fingerprint";

// Where one tensor of the schema lies: rows (vectors of its last dimension) of a stored tensor.
struct StoredRows {
  const TensorInfo* tensor = nullptr;
  uint64_t first_row = 0;
  uint64_t n_rows = 0;
};

struct FileRange {
  uint32_t file = 0;  // index into files().files()
  uint64_t begin = 0;
  uint64_t end = 0;

  bool operator==(const FileRange&) const = default;
};

// config.json, and what generation_config.json adds to it. Needs no weights.
[[nodiscard]] Result<ModelConfig> read_model_config(const std::string& directory);

// By its name or its first bytes.
[[nodiscard]] bool is_gguf(const std::string& path);

class ModelFiles {
 public:
  // With FileAccess::read the weights are not mapped: files().read() alone works.
  static Result<ModelFiles> open(const std::string& path, FileAccess access = FileAccess::mapped);

  const std::string& path() const { return path_; }
  const ModelConfig& config() const { return config_; }
  const TensorFiles& files() const { return gguf_ ? gguf_->files() : *tensors_; }
  const Gguf* gguf() const { return gguf_ ? &*gguf_ : nullptr; }  // nullptr: a directory
  // What Tokenizer::open and ChatTemplate::open take; empty when there is no tokenizer here.
  const std::string& tokenizer_path() const { return tokenizer_path_; }

  // Which parts are here. A partial directory lacks some.
  bool has_layer(uint32_t layer) const { return has_layer_[layer]; }
  bool has_embedding() const { return has_embedding_; }
  bool has_head() const { return has_head_; }  // or, when tied, the embedding
  bool is_whole() const;
  // "layers 0-3 and 28-31 of 32, the embedding": what is here, for messages.
  std::string parts_text() const;

  // The tensor of the schema, as stored; nothing when it is not here.
  std::optional<StoredRows> find(const TensorSpec& spec) const;
  TensorView view(const StoredRows& rows, std::deque<std::array<uint64_t, 2>>& shapes) const;

  // Views of these layers, and of the embedding and the head where asked for; the final norm is
  // always there. Refuses what is not here and what cannot be computed with as it is stored.
  Result<ModelWeights> weights(LayerRange range, bool embedding, bool head) const;

  // The byte ranges of one layer's tensors, merged where they touch.
  std::vector<FileRange> layer_ranges(uint32_t layer) const;
  void advise_layer(uint32_t layer, MappedFile::Advice advice) const;

  // Identifies the whole model, from any part of it: README.md.
  Result<Sha256Digest> fingerprint() const;

 private:
  // How the names of a directory begin: multimodal files put the text model under a prefix.
  struct Naming {
    std::string model = "model.";
    std::string head = "lm_head.weight";
  };

  ModelFiles() = default;
  static Result<ModelFiles> open_directory(const std::string& path, FileAccess access);
  static Result<ModelFiles> open_gguf(const std::string& path, FileAccess access);
  Status check_tensors();
  Status check_tensor(const TensorSpec& spec, const StoredRows& rows) const;
  Status check_layer(uint32_t layer, std::vector<bool>& known);
  Status check_strangers(const std::vector<bool>& known) const;
  Status find_quantised();
  Status read_quantised(const TensorSpec& spec, std::string_view name);
  const TensorInfo* find_stored(std::string_view name) const;
  std::string stacked_name(const TensorSpec& spec) const;
  void find_naming();
  std::string stored_name(const TensorSpec& spec) const;
  Shape stored_shape(const TensorSpec& spec, const TensorInfo& tensor) const;
  bool is_stacked(const TensorSpec& spec, const TensorInfo& tensor) const;
  const std::string& file_of(const TensorInfo& tensor) const;
  Result<ModelWeights> take_tables(bool embedding, bool head, ModelWeights out) const;

  std::string path_;
  std::string tokenizer_path_;
  ModelConfig config_;
  std::optional<TensorFiles> tensors_;  // exactly one of these two
  std::optional<Gguf> gguf_;
  Naming naming_;
  std::vector<bool> has_layer_;
  bool has_embedding_ = false;
  bool has_head_ = false;
};

}  // namespace splitd
