// Owns: ModelConfig → config.json and generation_config.json, in the spelling of transformers 4,
// which version 5 and every other engine read too. Reading it back gives the same ModelConfig.
// Pure.
#pragma once

#include <optional>
#include <string>

#include "runtime/base/json.h"
#include "runtime/model/config.h"

namespace splitd {

// `dtype` is F32, F16 or BF16; `pad` is not part of a ModelConfig, but other software asks for it.
[[nodiscard]] std::string write_config_json(const ModelConfig& config, DType dtype,
                                            std::optional<uint32_t> pad);
[[nodiscard]] std::string write_generation_config_json(const ModelConfig& config,
                                                       std::optional<uint32_t> pad);

// An existing config.json that says another dtype and nothing else new. Q8 and Q4 leave the dtype,
// which is then what is not quantised has, and add quantization_config, by which other software
// refuses the model; of another dtype that is taken away.
[[nodiscard]] std::string replace_config_dtype(Json config, DType dtype);

}  // namespace splitd
