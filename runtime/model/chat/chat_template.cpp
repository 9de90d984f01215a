// Ties the room together: sources are compiled once, each rendering has an interpreter of its own,
// and what it throws becomes an Error with a line and a column.
#include "runtime/model/chat/chat_template.h"

#include <algorithm>

#include "runtime/base/utf8.h"
#include "runtime/model/chat/chat_input.h"
#include "runtime/model/chat/lexer.h"
#include "runtime/model/chat/parser.h"
#include "runtime/model/chat/template_files.h"

namespace splitd {

using jinja::Failure;

// One template's program and the source it points into.
struct CompiledTemplate {
  explicit CompiledTemplate(std::string normalized)
      : source(std::move(normalized)), arena(size_t{512} << 20) {}

  std::string source;
  jinja::Arena arena;
  const jinja::Program* program = nullptr;
};

struct ChatTemplate::Impl {
  std::map<std::string, std::string> variables;
  std::unique_ptr<CompiledTemplate> main;
  // For inputs with tools, where the model has a template of its own for them. One that cannot be
  // parsed is an error only when it is wanted.
  std::optional<Result<std::unique_ptr<CompiledTemplate>>> tool_use;
};

// "line 3, column 14", counted in characters from 1.
static std::string place_of(std::string_view source, uint32_t offset) {
  const std::string_view before = source.substr(0, offset);
  const size_t line = static_cast<size_t>(std::count(before.begin(), before.end(), '\n')) + 1;
  const size_t begin = before.rfind('\n') + 1;
  const size_t column = utf8_length(before.substr(begin)) + 1;
  return "line " + std::to_string(line) + ", column " + std::to_string(column);
}

static Error to_error(const Failure& failure, std::string_view source, uint32_t position) {
  const uint32_t offset = failure.offset != jinja::kNoOffset ? failure.offset : position;
  const std::string place = place_of(source, offset);
  switch (failure.cause) {
    case Failure::Cause::refused:
      return usage_error("the chat template refused this input: " + failure.message + " (" + place +
                         ")");
    case Failure::Cause::runtime:
      return usage_error("chat template, " + place + ": " + failure.message);
    case Failure::Cause::limit:
      return model_error("chat template, " + place + ": " + failure.message);
    case Failure::Cause::syntax:
      break;
  }
  return model_error("chat template, " + place + ": " + failure.message);
}

static Result<std::unique_ptr<CompiledTemplate>> compile(const std::string& source) {
  if (source.size() > ChatTemplate::kMaxSourceBytes) {
    return model_error("the chat template has " + std::to_string(source.size()) +
                       " bytes; at most " + std::to_string(ChatTemplate::kMaxSourceBytes) +
                       " are accepted");
  }
  const size_t valid = utf8_valid_prefix(source);
  if (valid != source.size()) {
    return model_error("the chat template is not UTF-8 at byte " + std::to_string(valid));
  }
  auto compiled = std::make_unique<CompiledTemplate>(jinja::normalize_source(source));
  try {
    compiled->program = jinja::parse_program(compiled->source, compiled->arena);
  } catch (const Failure& failure) {
    return to_error(failure, compiled->source, 0);
  }
  return compiled;
}

ChatTemplate::ChatTemplate(std::unique_ptr<const Impl> impl) : impl_(std::move(impl)) {}
ChatTemplate::ChatTemplate(ChatTemplate&&) noexcept = default;
ChatTemplate& ChatTemplate::operator=(ChatTemplate&&) noexcept = default;
ChatTemplate::~ChatTemplate() = default;

Result<ChatTemplate> ChatTemplate::parse(std::string source,
                                         std::map<std::string, std::string> variables) {
  auto impl = std::make_unique<Impl>();
  SPLITD_ASSIGN(impl->main, compile(source));
  impl->variables = std::move(variables);
  return ChatTemplate(std::move(impl));
}

static std::string names_of(const std::map<std::string, std::string>& templates) {
  std::string names;
  for (const auto& [name, source] : templates) names += (names.empty() ? "" : ", ") + name;
  return names;
}

Result<ChatTemplate> ChatTemplate::open(const std::string& path, std::string_view name) {
  SPLITD_ASSIGN(TemplateFiles files, read_template_files(path));
  const auto& templates = files.templates;
  auto chosen = templates.find(name.empty() ? "default" : std::string(name));
  if (chosen == templates.end() && name.empty() && templates.size() == 1)
    chosen = templates.begin();
  if (chosen == templates.end()) {
    const std::string wanted = name.empty() ? "default" : std::string(name);
    Error error = name.empty() ? model_error("") : usage_error("");
    error.message =
        path + ": no chat template is named \"" + wanted + "\"; there are: " + names_of(templates);
    return error;
  }
  auto impl = std::make_unique<Impl>();
  Result<std::unique_ptr<CompiledTemplate>> main = compile(chosen->second);
  if (!main) return std::move(main).take_error().within(path);
  impl->main = std::move(main).value();
  const auto tool_use = templates.find("tool_use");
  if (name.empty() && tool_use != templates.end() && tool_use != chosen) {
    impl->tool_use = compile(tool_use->second);
  }
  impl->variables = std::move(files.variables);
  return ChatTemplate(std::move(impl));
}

const std::map<std::string, std::string>& ChatTemplate::variables() const {
  return impl_->variables;
}

static MarkedText to_marked(jinja::TextBuilder& out) {
  MarkedText marked;
  marked.text = std::move(out.bytes());
  marked.literal.reserve(out.marks().size());
  for (const jinja::Mark mark : out.marks()) marked.literal.push_back({mark.begin, mark.end});
  return marked;
}

Result<MarkedText> ChatTemplate::render(Json input, const RenderOptions& options) const {
  const CompiledTemplate* chosen = impl_->main.get();
  const std::optional<Json> tools = input.find("tools");
  if (impl_->tool_use && tools && !tools->is_null() && input.find("messages")) {
    if (!impl_->tool_use->ok()) return impl_->tool_use->error();
    chosen = impl_->tool_use->value().get();
  }
  const jinja::Bounds bounds{options.limits.max_steps, options.limits.max_memory_bytes,
                             std::min(options.limits.max_output_bytes, jinja::kMaxTextBytes)};
  std::optional<jinja::Interpreter> in;
  try {
    in.emplace(*chosen->program, bounds, options.now);
  } catch (const Failure& failure) {  // limits below what the globals need
    return to_error(failure, chosen->source, 0);
  }
  jinja::ChatRequest request;
  MarkedText marked;
  bool rendering = false;
  try {
    request = read_chat_input(*in, input, options, chosen->source, impl_->variables);
    rendering = true;
    in->render();
    rendering = false;
    marked = to_marked(in->output());
    finish_chat_text(request, marked);
  } catch (const Failure& failure) {
    if (rendering) return to_error(failure, chosen->source, in->position());
    // About the request, not about a place in the template.
    return failure.cause == Failure::Cause::limit ? usage_error("the input " + failure.message)
                                                  : usage_error(failure.message);
  }
  return marked;
}

}  // namespace splitd
