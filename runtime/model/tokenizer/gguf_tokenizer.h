// Owns: GGUF metadata → the tokenizer.json that the model would have had. Byte-level vocabularies
// ("gpt2") are split by the patterns that `tokenizer.ggml.pre` names; scored ones ("llama") get
// the merges that their scores imply. What cannot be said exactly is refused by name.
#pragma once

#include <string>

#include "runtime/base/result.h"
#include "runtime/model/formats/gguf.h"

namespace splitd {

// The text of a tokenizer.json.
[[nodiscard]] Result<std::string> tokenizer_json_from_gguf(const Gguf& gguf);

}  // namespace splitd
