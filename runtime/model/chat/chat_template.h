// Owns: messages → the prompt text that a model was trained on, by the model's own Jinja template.
// A template is untrusted: steps, depth and output are bounded, and nothing outside the input can
// be reached. The rendered text remembers which bytes came from messages and tools.
// A ChatTemplate is immutable: rendering is thread-safe.
//
// Rendering does what transformers 5 does with Jinja2's ImmutableSandboxedEnvironment. Errors name
// line and column. What cannot be parsed, or passes a limit, is the model's fault (model_error);
// what fails or is refused (raise_exception) for this input is a usage error.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/base/json.h"
#include "runtime/base/result.h"
#include "runtime/model/marked_text.h"

namespace splitd {

// What one rendering may cost. A conversation of 200 messages takes some twenty thousand steps of
// about 20 ns; templates that compare every message with every other take more.
struct RenderLimits {
  uint64_t max_steps = 20'000'000;
  size_t max_memory_bytes = size_t{256} << 20;
  size_t max_output_bytes = size_t{64} << 20;
};

struct RenderOptions {
  // Seconds since the epoch, shown by strftime_now as they are: the caller who wants local time
  // adds its offset.
  int64_t now = 0;
  // transformers 5 drops the keys of a message whose value is null before it renders (the default
  // here); transformers 4, and templates that test `content is none`, want them.
  bool keep_nulls = false;
  RenderLimits limits = {};
};

class ChatTemplate {
 public:
  static constexpr size_t kMaxSourceBytes = size_t{1} << 20;

  // A template's source, and the variables that every rendering sees (bos_token, eos_token, …).
  static Result<ChatTemplate> parse(std::string source,
                                    std::map<std::string, std::string> variables = {});
  // The template of a model: DIR/chat_template.jinja and DIR/additional_chat_templates/*.jinja,
  // else DIR/tokenizer_config.json (one string, or a list of named ones), else
  // DIR/chat_template.json, or the metadata of a .gguf file. `name` picks among named ones; empty
  // is "default", or "tool_use" where the input has tools and there is one.
  static Result<ChatTemplate> open(const std::string& path, std::string_view name = {});

  ChatTemplate(ChatTemplate&&) noexcept;
  ChatTemplate& operator=(ChatTemplate&&) noexcept;
  ~ChatTemplate();

  // {"messages": […], "tools": […], "add_generation_prompt": true, "continue_final_message": true,
  // …any other variable…}; without "messages" the object is simply the context (tools/CLI.md), to
  // which nothing is added. All strings of the input are literal in the result, wherever they came
  // from in it.
  [[nodiscard]] Result<MarkedText> render(Json input, const RenderOptions& options = {}) const;

  const std::map<std::string, std::string>& variables() const;

 private:
  struct Impl;
  explicit ChatTemplate(std::unique_ptr<const Impl> impl);
  std::unique_ptr<const Impl> impl_;
};

}  // namespace splitd
