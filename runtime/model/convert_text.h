// Owns: what stands beside the weights of a converted model: config.json, generation_config.json,
// the tokenizer's files and the chat template. From GGUF they are made of its metadata; from a
// directory they are copied, with the dtype changed. Needs the target directory to itself.
#pragma once

#include <string>

#include "runtime/base/result.h"
#include "runtime/model/model_files.h"

namespace splitd {

// Returns whether there is a tokenizer among them.
[[nodiscard]] Result<bool> write_model_texts(const ModelFiles& model, DType dtype,
                                             const std::string& directory);

}  // namespace splitd
