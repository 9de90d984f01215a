// Owns: finding NaN and infinity among hidden states, and naming the layer that made them. Nothing
// is checked between layers while all is well: the row that came out broken is run again.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "runtime/base/result.h"
#include "runtime/engine/backend.h"

namespace splitd {

// The first value that is NaN or infinite; values.size() when there is none.
[[nodiscard]] size_t first_not_finite(std::span<const float> values);

// `row` says which one to whoever reads it: "row 2 (position 17)". It came out of `layer` like
// this.
[[nodiscard]] Error layer_not_finite(uint32_t layer, std::string_view row,
                                     std::span<const float> hidden);

// For a row that came out of `range` not finite: runs it again, a layer at a time, from `input`
// (d_model, finite). It writes the same keys and values into the same slots.
[[nodiscard]] Error name_broken_layer(Backend& backend, LayerRange range, const BatchRow& place,
                                      std::string_view row, std::span<const float> input);

}  // namespace splitd
