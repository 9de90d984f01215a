#include "runtime/decode/row_sketch.h"

#include <algorithm>
#include <cmath>

#include "runtime/engine/backend.h"

namespace splitd {

void sketch_row(std::span<const float> row, std::span<float> sketch) {
  std::fill(sketch.begin(), sketch.end(), 0.0f);
  for (size_t i = 0; i < row.size(); ++i) {
    const uint32_t hash = (static_cast<uint32_t>(i) + 1) * 0x9E3779B1u;
    const size_t at = (hash >> 8) % kSketch;
    sketch[at] += (hash >> 31) != 0 ? row[i] : -row[i];
  }
  double sum = 0;
  for (const float x : sketch) sum += double{x} * double{x};
  const double scale = sum > 0 && std::isfinite(sum) ? 1 / std::sqrt(sum) : 0;
  for (float& x : sketch) x = scale == 0 ? 0 : static_cast<float>(double{x} * scale);
}

std::span<const float> TokenSketches::of(uint32_t token) {
  if (tokens_.empty()) {
    tokens_.resize(kSlots);
    sketches_.resize(kSlots * kSketch);
    row_.resize(embedding_.config().d_model);
  }
  const size_t slot = token % kSlots;
  const std::span<float> sketch = std::span(sketches_).subspan(slot * kSketch, kSketch);
  if (tokens_[slot] == token + 1) return sketch;
  embedding_.embed({&token, 1}, row_.data());
  sketch_row(row_, sketch);
  tokens_[slot] = token + 1;
  return sketch;
}

}  // namespace splitd
