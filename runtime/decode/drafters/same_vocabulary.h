// Owns: whether a small model may guess for a large one: a token id has to mean the same to both.
#pragma once

#include "runtime/base/result.h"
#include "runtime/model/model_files.h"

namespace splitd {

// Compares the texts of all tokens where both have a tokenizer (a table that is padded to another
// size is fine then), else the sizes. The message names both models and the first difference.
[[nodiscard]] Status check_same_vocabulary(const ModelFiles& model, const ModelFiles& draft);

}  // namespace splitd
