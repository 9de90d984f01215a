// Owns: which tensors of a model a part of it needs, by name alone, and what the smaller
// safetensors file looks like that holds them. Pure: headers in, byte ranges out.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/base/result.h"
#include "runtime/model/formats/safetensors.h"

namespace splitd {

// What a user asks for. Layers are counted from 0; a range is [begin, end).
struct PartRequest {
  enum class Kind : uint8_t { whole, layers, ends, body };
  Kind kind = Kind::whole;
  uint32_t begin = 0;  // layers
  uint32_t end = 0;
  uint32_t head = 0;  // ends; body: what the ends hold is left out
  uint32_t tail = 0;

  bool operator==(const PartRequest&) const = default;
  // "layers-4-8", "head-2-tail-1", "body", "body-2-1"; empty for the whole model.
  std::string name() const;
};

// The part of one model, its layers known.
struct Part {
  std::vector<bool> layers;
  bool ends = false;     // the embedding, the head, the tokenizer
  bool no_head = false;  // the embedding is the head: a copy stored beside it is never read

  std::string layers_text() const;  // "0:2,30:32"
};

// Tensor names as one model spells them.
class TensorNames {
 public:
  // `names`: all of the model's. Fails where no layers are found under any known spelling.
  static Result<TensorNames> learn(const std::vector<std::string_view>& names);

  uint32_t n_layer() const { return n_layer_; }
  bool is_norm(std::string_view name) const;  // one that every part holds
  bool needs(const Part& part, std::string_view name) const;

 private:
  std::optional<uint32_t> layer_of(std::string_view name) const;
  std::string prefix_;  // "model." where tensors are "model.layers.0.…"
  uint32_t n_layer_ = 0;
};

[[nodiscard]] Result<Part> resolve_part(const PartRequest& request, uint32_t n_layer, bool tied);

// One file made of parts of another.
struct PartLayout {
  std::string header;  // the new file's first bytes
  uint64_t bytes = 0;  // of the new file
  std::vector<TensorInfo> tensors;
  struct Piece {
    uint64_t local = 0;   // offset in the new file
    uint64_t remote = 0;  // offset in the source
    uint64_t bytes = 0;
  };
  std::vector<Piece> pieces;  // ascending by local; neighbours in the source are one
};

// Norms that are not 1-D are left to the layer they belong to.
[[nodiscard]] Result<PartLayout> plan_part(const SafetensorsHeader& source,
                                           const TensorNames& names, const Part& part,
                                           std::map<std::string, std::string> metadata);

}  // namespace splitd
