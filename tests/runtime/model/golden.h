// Where the golden models lie, and small helpers that several tests of this room share.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "runtime/base/files.h"
#include "runtime/base/json.h"
#include "runtime/model/config.h"

namespace splitd {

inline const std::vector<std::string>& golden_names() {
  static const std::vector<std::string> names = {"gemma2",
                                                 "gemma3_text",
                                                 "gemma3_text_v4",
                                                 "llama",
                                                 "llama_bf16",
                                                 "llama_bias",
                                                 "llama_f16_mha",
                                                 "llama_sharded",
                                                 "mistral_nemo",
                                                 "qwen2",
                                                 "llama_tied_llama3rope",
                                                 "llama_tied_llama3rope_v4",
                                                 "qwen3",
                                                 "qwen3_moe",
                                                 "qwen3_moe_v4",
                                                 "mistral_window",
                                                 "smollm2_like",
                                                 "phi3_longrope_long",
                                                 "phi3_longrope_short"};
  return names;
}

inline std::string golden_model(std::string_view name) {
  return std::string(SPLITD_TEST_DATA) + "/golden/models/" + std::string(name);
}

// The config, or nothing but its error's text in `family`.
inline Result<ModelConfig> config_of(std::string_view json) {
  SPLITD_ASSIGN(const JsonDoc doc, JsonDoc::parse(std::string(json)));
  return parse_config(doc.root());
}

inline std::string error_of(std::string_view json) {
  const Result<ModelConfig> config = config_of(json);
  return config.ok() ? "accepted" : config.error().message;
}

// `text` with the first `from` replaced by `to`; the test fails loudly where there is none.
inline std::string replaced(std::string text, std::string_view from, std::string_view to) {
  const size_t at = text.find(from);
  if (at == std::string::npos) return "no such text: " + std::string(from);
  return text.replace(at, from.size(), to);
}

}  // namespace splitd
