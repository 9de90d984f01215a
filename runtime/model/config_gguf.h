// Owns: GGUF metadata → the same ModelConfig that config.json gives. Architectures llama (with
// Mistral, NeMo, SmolLM2), qwen2, qwen3, qwen3moe, phi3, gemma2, gemma3; others are refused by
// name. Some facts are not in the metadata but in the tensors (tied head, biases, dense layers,
// rope factors) or follow from the model's size (Gemma 27B's attention scale): taken from there.
// Pure.
#pragma once

#include "runtime/base/result.h"
#include "runtime/model/config.h"
#include "runtime/model/formats/gguf.h"

namespace splitd {

[[nodiscard]] Result<ModelConfig> read_gguf_config(const Gguf& gguf);

}  // namespace splitd
