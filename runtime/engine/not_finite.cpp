#include "runtime/engine/not_finite.h"

#include <bit>
#include <string>
#include <vector>

namespace splitd {

size_t first_not_finite(std::span<const float> values) {
  for (size_t i = 0; i < values.size(); ++i) {
    constexpr uint32_t kExponent = 0x7f800000;  // all ones: infinite or NaN
    if ((std::bit_cast<uint32_t>(values[i]) & kExponent) == kExponent) return i;
  }
  return values.size();
}

Error layer_not_finite(uint32_t layer, std::string_view row, std::span<const float> hidden) {
  return model_error("layer " + std::to_string(layer) + ": " + std::string(row) +
                     " is not finite at column " + std::to_string(first_not_finite(hidden)) +
                     ": NaN or infinity in the weights, or values beyond the type of the KV");
}

Error name_broken_layer(Backend& backend, LayerRange range, const BatchRow& place,
                        std::string_view row, std::span<const float> input) {
  if (Status fault = backend.fault(); !fault.ok()) return fault.take_error();
  std::vector<float> hidden(input.begin(), input.end());
  for (uint32_t layer = range.begin;; ++layer) {
    backend.forward({&place, 1}, hidden.data(), {layer, layer + 1}, [] { return true; });
    if (first_not_finite(hidden) != hidden.size()) return layer_not_finite(layer, row, hidden);
    if (layer + 1 == range.end) {
      return model_error(std::string(row) +
                         " is not finite beside the rows of its chunk, alone it"
                         " is: one of them has values beyond the type of the KV");
    }
  }
}

}  // namespace splitd
