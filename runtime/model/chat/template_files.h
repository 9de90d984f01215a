// Owns: where a model keeps its chat templates and the special tokens they name.
#pragma once

#include <map>
#include <string>

#include "runtime/base/result.h"

namespace splitd {

struct TemplateFiles {
  // By name; a model with a single template calls it "default".
  std::map<std::string, std::string> templates;
  std::map<std::string, std::string> variables;  // bos_token, eos_token, …
};

// Of a Hugging Face directory or a .gguf file. Fails where there is no template.
[[nodiscard]] Result<TemplateFiles> read_template_files(const std::string& path);

}  // namespace splitd
