// Owns: messages → the prompt text that a model was trained on, by the model's own Jinja template.
// A template is untrusted: steps, depth and output are bounded, and nothing outside the input can
// be reached. The rendered text remembers which bytes came from messages and tools.
// A ChatTemplate is immutable: rendering is thread-safe.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "runtime/base/json.h"
#include "runtime/base/result.h"
#include "runtime/model/marked_text.h"

namespace splitd {

struct RenderOptions {
  int64_t now = 0;  // seconds since the epoch, shown in UTC by strftime_now
};

class ChatTemplate {
 public:
  // A template's source, and the variables that every rendering sees (bos_token, eos_token, …).
  static Result<ChatTemplate> parse(std::string source,
                                    std::map<std::string, std::string> variables = {});
  // The template of a model: DIR/chat_template.jinja, else DIR/tokenizer_config.json (one string,
  // or a list of named ones), or the metadata of a .gguf file. `name` picks among named ones;
  // empty is "default", or "tool_use" where the input has tools and there is one.
  static Result<ChatTemplate> open(const std::string& path, std::string_view name = {});

  ChatTemplate(ChatTemplate&&) noexcept;
  ChatTemplate& operator=(ChatTemplate&&) noexcept;
  ~ChatTemplate();

  // {"messages": […], "tools": […], "add_generation_prompt": true, "continue_final_message": true,
  // …any other variable…}; without "messages" the object is simply the context (tools/CLI.md).
  [[nodiscard]] Result<MarkedText> render(Json input, const RenderOptions& options = {}) const;

 private:
  struct Impl;
  explicit ChatTemplate(std::unique_ptr<const Impl> impl);
  std::unique_ptr<const Impl> impl_;
};

}  // namespace splitd
