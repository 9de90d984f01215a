// Owns: how config.json spells rotary embeddings: rope_theta beside rope_scaling (transformers 4)
// or everything in rope_parameters (5), one for all layers or one per layer type. Refuses kinds of
// scaling that are not supported by name. Pure.
#pragma once

#include "runtime/model/config.h"
#include "runtime/model/config_families.h"
#include "runtime/model/config_reader.h"

namespace splitd {

// Fills config.ropes; needs d_head and n_ctx. Index 0 is that of layers without a window; families
// whose window layers have their own rope get it as index 1.
[[nodiscard]] Status read_ropes(const ConfigReader& reader, const Family& family,
                                ModelConfig& config);

// What longrope multiplies cos and sin by when the config does not say: 1 up to the original
// context, then growing with the logarithm of the extension.
[[nodiscard]] float longrope_attention_factor(double extension, uint64_t original_ctx);

}  // namespace splitd
