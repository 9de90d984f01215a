#include "runtime/model/hub/part_plan.h"

#include <algorithm>
#include <charconv>
#include <set>

#include "runtime/model/formats/quantised.h"
#include "runtime/model/formats/safetensors_writer.h"

namespace splitd {
namespace {

// How the text model's tensors begin, plain models first: multimodal ones put it under a prefix.
constexpr std::string_view kPrefixes[] = {"model.", "language_model.model.",
                                          "model.language_model.", "language_model.", ""};
// The largest known models have 126 layers.
constexpr uint32_t kMaxLayers = 4096;

}  // namespace

std::string PartRequest::name() const {
  switch (kind) {
    case Kind::whole:
      return "";
    case Kind::layers:
      return "layers-" + std::to_string(begin) + "-" + std::to_string(end);
    case Kind::ends:
      return "head-" + std::to_string(head) + "-tail-" + std::to_string(tail);
    case Kind::body:
      if (head == 0 && tail == 0) return "body";
      return "body-" + std::to_string(head) + "-" + std::to_string(tail);
  }
  return "";
}

std::string Part::layers_text() const {
  std::string out;
  for (size_t i = 0; i < layers.size(); ++i) {
    if (!layers[i]) continue;
    size_t end = i + 1;
    while (end < layers.size() && layers[end]) ++end;
    out += (out.empty() ? "" : ",") + std::to_string(i) + ":" + std::to_string(end);
    i = end;
  }
  return out;
}

std::optional<uint32_t> TensorNames::layer_of(std::string_view name) const {
  constexpr std::string_view kLayers = "layers.";
  if (!name.starts_with(prefix_)) return std::nullopt;
  name.remove_prefix(prefix_.size());
  if (!name.starts_with(kLayers)) return std::nullopt;
  name.remove_prefix(kLayers.size());
  uint32_t layer = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), layer);
  const auto used = static_cast<size_t>(end - name.data());
  const bool plain = error == std::errc() && used > 0 && (name[0] != '0' || used == 1);
  if (!plain || used >= name.size() || name[used] != '.' || layer >= kMaxLayers) {
    return std::nullopt;
  }
  return layer;
}

Result<TensorNames> TensorNames::learn(const std::vector<std::string_view>& names) {
  const std::set<std::string_view> all(names.begin(), names.end());
  TensorNames out;
  for (const std::string_view prefix : kPrefixes) {
    // Every text model has a final norm, and vision towers have none of these names.
    if (!all.contains(std::string(prefix) + "norm.weight")) continue;
    out.prefix_ = prefix;
    std::set<uint32_t> layers;
    for (const std::string_view name : names) {
      if (const std::optional<uint32_t> layer = out.layer_of(name)) layers.insert(*layer);
    }
    out.n_layer_ = static_cast<uint32_t>(layers.size());
    if (layers.empty()) continue;
    if (*layers.rbegin() + 1 != out.n_layer_) {
      return model_error("the tensors name layer " + std::to_string(*layers.rbegin()) +
                         ", but only " + std::to_string(out.n_layer_) + " layers");
    }
    return out;
  }
  return model_error(
      "no layers found among the tensors (expected names like "
      "model.layers.0.self_attn.q_proj.weight): only the whole model can be pulled");
}

bool TensorNames::is_norm(std::string_view name) const {
  if (!name.starts_with(prefix_) || !name.ends_with("norm.weight")) return false;
  return layer_of(name).has_value() || name.substr(prefix_.size()) == "norm.weight";
}

bool TensorNames::needs(const Part& part, std::string_view name) const {
  name = without_quantised_suffix(name);
  if (is_norm(name)) return true;
  if (const std::optional<uint32_t> layer = layer_of(name)) return part.layers[*layer];
  if (!part.ends) return false;
  if (name.ends_with("lm_head.weight") || name.ends_with("lm_head.bias")) return !part.no_head;
  return name.starts_with(prefix_) && name.substr(prefix_.size()).starts_with("embed_tokens.");
}

Result<Part> resolve_part(const PartRequest& request, uint32_t n_layer, bool tied) {
  using Kind = PartRequest::Kind;
  Part part;
  part.no_head = tied;
  part.layers.assign(n_layer, request.kind == Kind::whole || request.kind == Kind::body);
  part.ends = request.kind == Kind::whole || request.kind == Kind::ends;
  const auto set = [&](uint64_t begin, uint64_t end, bool value) {
    std::fill(part.layers.begin() + static_cast<std::ptrdiff_t>(begin),
              part.layers.begin() + static_cast<std::ptrdiff_t>(end), value);
  };
  const std::string has = "the model has " + std::to_string(n_layer) + " layers";
  if (request.kind == Kind::layers) {
    if (request.begin >= request.end || request.end > n_layer) {
      return usage_error("--layers " + std::to_string(request.begin) + ":" +
                         std::to_string(request.end) + ": " + has);
    }
    set(request.begin, request.end, true);
    return part;
  }
  if (uint64_t{request.head} + request.tail > n_layer) {
    return usage_error("--head " + std::to_string(request.head) + " --tail " +
                       std::to_string(request.tail) + ": " + has);
  }
  const bool in_ends = request.kind != Kind::body;
  set(0, request.head, in_ends);
  set(n_layer - request.tail, n_layer, in_ends);
  if (request.kind == Kind::body && request.head + request.tail == n_layer) {
    return usage_error("--head " + std::to_string(request.head) + " --tail " +
                       std::to_string(request.tail) + " leave no layer to the body: " + has);
  }
  return part;
}

Result<PartLayout> plan_part(const SafetensorsHeader& source, const TensorNames& names,
                             const Part& part, std::map<std::string, std::string> metadata) {
  PartLayout out;
  for (const auto& [key, value] : source.metadata) metadata.emplace(key, value);
  uint64_t data_bytes = 0;
  for (const TensorInfo& tensor : source.tensors) {
    if (!names.needs(part, tensor.name)) continue;
    if (names.is_norm(tensor.name) && tensor.shape.size() != 1) {
      return model_error("tensor " + quoted_name(tensor.name) + " is a norm with the shape " +
                         shape_text(tensor.shape) + ", expected one dimension");
    }
    out.tensors.push_back(tensor);
    PartLayout::Piece* last = out.pieces.empty() ? nullptr : &out.pieces.back();
    if (last != nullptr && last->remote + last->bytes == tensor.begin) {
      last->bytes += tensor.bytes;
    } else if (tensor.bytes > 0) {
      out.pieces.push_back({data_bytes, tensor.begin, tensor.bytes});
    }
    data_bytes += tensor.bytes;  // no overflow: all of them lie in one file
  }
  SPLITD_ASSIGN(out.header, make_safetensors_header(out.tensors, metadata));
  for (PartLayout::Piece& piece : out.pieces) piece.local += out.header.size();
  out.bytes = out.header.size() + data_bytes;
  return out;
}

}  // namespace splitd
