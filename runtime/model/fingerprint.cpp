// The model's fingerprint: DESIGN.md §6, spelled out in README.md.
#include <algorithm>
#include <bit>
#include <cctype>
#include <utility>

#include "runtime/model/formats/dequantize.h"
#include "runtime/model/model_files.h"

namespace splitd {
namespace {

std::optional<Sha256Digest> parse_digest(std::string_view text) {
  Sha256Digest digest;
  if (text.size() != 2 * digest.size()) return std::nullopt;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    int nibble = -1;
    if (c >= '0' && c <= '9') nibble = c - '0';
    if (c >= 'a' && c <= 'f') nibble = c - 'a' + 10;
    if (nibble < 0) return std::nullopt;
    const int high = i % 2 == 0 ? 0 : digest[i / 2] << 4;
    digest[i / 2] = static_cast<uint8_t>(high | nibble);
  }
  return digest;
}

// A norm as transformers stores it, as little-endian f32: the same bytes whatever it is stored as.
void hash_norm(const TensorView& view, bool one_added, Sha256& hash) {
  std::vector<float> values(view.shape.empty() ? 1 : view.shape.back());
  dequantize(view.dtype, view.data, values.size(), values.data());
  std::string bytes;
  bytes.reserve(values.size() * 4);
  for (float value : values) {
    if (one_added) value -= 1.0f;
    const uint32_t bits = std::bit_cast<uint32_t>(value);
    for (int shift = 0; shift < 32; shift += 8) bytes += static_cast<char>(bits >> shift);
  }
  hash.update(bytes);
}

}  // namespace

Result<Sha256Digest> ModelFiles::fingerprint() const {
  const auto stored = files().metadata().find(std::string(kFingerprintKey));
  if (!gguf_ && stored != files().metadata().end()) {
    const std::optional<Sha256Digest> digest = parse_digest(stored->second);
    if (digest) return *digest;
    return model_error(path_ + ": the metadata " + std::string(kFingerprintKey) + " is " +
                       quoted_name(stored->second) + "; accepted: 64 lower-case hex digits");
  }
  std::vector<std::pair<std::string, TensorSpec>> tensors;
  for (TensorSpec& spec : model_schema(config_)) {
    std::string name = hf_name(spec, config_);
    tensors.emplace_back(std::move(name), std::move(spec));
  }
  std::sort(tensors.begin(), tensors.end(),
            [](const auto& a, const auto& b) { return a.first < b.first; });

  Sha256 hash;
  hash.update("splitd model 1\n");
  hash.update(canonical_config(config_));
  hash.update("\n");
  for (const auto& [name, spec] : tensors) hash.update(name + " " + shape_text(spec.shape) + "\n");
  const bool one_added = gguf_ && config_.norm_plus_one;
  for (const auto& [name, spec] : tensors) {
    if (!is_norm(spec.slot)) continue;
    hash_norm(files().view(*find(spec)->tensor), one_added, hash);
  }
  return hash.finish();
}

}  // namespace splitd
