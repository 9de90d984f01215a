// Any bytes as a chat template: it is refused, fails or renders, within its limits. What it renders
// is UTF-8, and the ranges it marks are in order and at character boundaries.
#include <cstdlib>
#include <string>

#include "runtime/base/utf8.h"
#include "runtime/model/chat/chat_template.h"

static constexpr std::string_view kInput =
    R"({"messages": [{"role": "system", "content": "Sys é"}, {"role": "user", "content": "Hi <b>"},
        {"role": "assistant", "content": null, "tool_calls": [{"function": {"name": "f",
         "arguments": {"x": [1, 2.5, true, null], "y": "\n🙂"}}}]}, {"role": "tool", "content": "7"}],
        "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}],
        "x": 5, "s": "a,b c", "xs": [3, 1, 2], "d": {"a": 1, "b": [1]}, "add_generation_prompt": true})";

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace splitd;
  const std::string source(reinterpret_cast<const char*>(data), size);
  const Result<ChatTemplate> parsed = ChatTemplate::parse(source, {{"bos_token", "<s>"}});
  if (!parsed) return 0;
  const Result<JsonDoc> input = JsonDoc::parse_view(kInput);
  RenderOptions options;
  options.limits.max_steps = 200'000;
  options.limits.max_memory_bytes = size_t{32} << 20;
  options.limits.max_output_bytes = size_t{4} << 20;
  const Result<MarkedText> rendered = parsed->render(input->root(), options);
  if (!rendered) return 0;
  if (!utf8_is_valid(rendered->text)) std::abort();
  size_t at = 0;
  for (const ByteRange range : rendered->literal) {
    if (range.begin >= range.end || range.end > rendered->text.size()) std::abort();
    if (range.begin < at || (range.begin == at && at != 0)) std::abort();
    at = range.end;
    const auto inside = [&](size_t i) {
      return i < rendered->text.size() &&
             (static_cast<unsigned char>(rendered->text[i]) & 0xc0) == 0x80;
    };
    if (inside(range.begin) || inside(range.end)) std::abort();
  }
  return 0;
}
