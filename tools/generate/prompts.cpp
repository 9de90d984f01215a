#include "tools/generate/prompts.h"

#include <algorithm>

#include "runtime/base/json.h"
#include "runtime/base/utf8.h"
#include "tools/generate/answer.h"
#include "tools/generate/chat.h"
#include "tools/generate/line_reader.h"
#include "tools/generate/options.h"
#include "tools/now.h"

namespace splitd::cli {
namespace {

Result<std::vector<uint32_t>> ids_of(Context& context, TextModel& model, std::string_view prompt) {
  if (prompt.empty()) return usage_error("the prompt is empty");
  if (context.flag("raw")) return model.raw_ids(prompt);
  std::vector<Message> messages = opening_messages(context);
  messages.push_back({"user", utf8_replace_invalid(prompt)});
  SPLITD_ASSIGN(const int64_t now, current_time());
  return model.chat_ids(messages, now);
}

Status answer_one(Context& context, TextModel& model, const std::vector<uint32_t>& ids) {
  const bool json = context.flag("json");
  Answer answer;
  Status status = answer_prompt(context, model, ids, json ? nullptr : &context.out(), answer);
  if (status.ok() && json) context.out().write(answer_json(answer, model.load_ms()));
  // An answer that was cut short ends its line too.
  if (status.ok() || (!json && !answer.text.empty())) context.out().write("\n");
  SPLITD_TRY(status);
  return context.out().flush();
}

// An answer may hold line ends of its own; as \n it stays one line.
std::string on_one_line(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '\n' || c == '\r' || c == '\\') {
      out += c == '\n' ? "\\n" : c == '\r' ? "\\r" : "\\\\";
    } else {
      out += c;
    }
  }
  return out;
}

// What is written for one line, without its end.
Result<std::string> answer_line(Context& context, TextModel& model, std::string_view prompt) {
  SPLITD_ASSIGN(const std::vector<uint32_t> ids, ids_of(context, model, prompt));
  Answer answer;
  SPLITD_TRY(answer_prompt(context, model, ids, nullptr, answer));
  return context.flag("json") ? answer_json(answer, model.load_ms()) : on_one_line(answer.text);
}

// A line that fails is answered by an error, and those behind it all the same.
class Lines {
 public:
  Lines(Context& context, TextModel& model) : context_(context), model_(model) {}

  Status answer(std::string_view prompt) {
    ++n_line_;
    Result<std::string> text = answer_line(context_, model_, prompt);
    if (!text && text.error().kind == ErrorKind::interrupted) return text.take_error();
    if (!text) {
      const std::string& reason = text.error().message;
      context_.log().warning("line " + std::to_string(n_line_) + ": " + reason);
      if (context_.flag("json")) {
        context_.out().write(
            JsonWriter().begin_object().field("error", reason).end_object().take());
      }
      ++n_failed_;
      if (!first_) first_ = text.error().kind;
    } else {
      context_.out().write(*text);
    }
    context_.out().write("\n");
    return context_.out().flush();
  }
  Status end() const {
    if (n_failed_ == 0) return {};
    return Error{*first_, std::to_string(n_failed_) + " of " + std::to_string(n_line_) +
                              " lines could not be answered"};
  }

 private:
  Context& context_;
  TextModel& model_;
  size_t n_line_ = 0, n_failed_ = 0;
  std::optional<ErrorKind> first_;
};

Status answer_lines(Context& context, TextModel& model) {
  Lines lines(context, model);
  if (context.given("PROMPT")) {
    std::string_view rest = context.argument("PROMPT");
    while (!rest.empty()) {
      const size_t end = std::min(rest.find('\n'), rest.size());
      SPLITD_TRY(lines.answer(rest.substr(0, end)));
      rest.remove_prefix(std::min(end + 1, rest.size()));
    }
    return lines.end();
  }
  LineReader reader(context);
  std::string line;
  while (true) {
    SPLITD_ASSIGN(const LineReader::Got got, reader.next(line));
    if (got == LineReader::Got::interrupted) return interrupted_error();
    if (got == LineReader::Got::end) return lines.end();
    SPLITD_TRY(lines.answer(line));
  }
}

}  // namespace

Positional prompt_argument() {
  return {.name = "PROMPT",
          .help = "by default all of stdin, or a chat on a terminal",
          .optional = true};
}

FlagGroup prompt_flags() {
  return {
      .title = "Prompt",
      .flags = {{.name = "raw", .help = "no chat template: the prompt is continued as it stands"},
                {.name = "ids", .kind = FlagKind::integers, .help = "the prompt as token ids"},
                {.name = "system",
                 .kind = FlagKind::text,
                 .metavar = "TEXT",
                 .help = "the system message"},
                {.name = "lines", .help = "a prompt a line of stdin, an answer a line of stdout"},
                {.name = "json", .help = "one JSON object a prompt"}}};
}

Status check_prompt_flags(const Context& context) {
  if (context.given("ids") && (context.given("PROMPT") || context.flag("lines"))) {
    return usage_error("--ids is the prompt: PROMPT and --lines do not go with it");
  }
  if (context.given("system") && (context.flag("raw") || context.given("ids"))) {
    return usage_error("--system needs the chat template, which --raw and --ids leave out");
  }
  return {};
}

Status answer_prompts(Context& context, TextModel& model) {
  if (context.given("ids")) {
    SPLITD_ASSIGN(const std::vector<uint32_t> ids, read_ids(context, model.config().n_vocab));
    return answer_one(context, model, ids);
  }
  if (context.flag("lines")) return answer_lines(context, model);
  const bool given = context.given("PROMPT");
  if (!given && context.stdin_is_terminal() && !context.flag("raw")) return chat(context, model);
  std::string text;
  if (given) {
    text = context.argument("PROMPT");
  } else {
    SPLITD_ASSIGN(text, context.read_stdin());
  }
  SPLITD_ASSIGN(const std::vector<uint32_t> ids, ids_of(context, model, text));
  return answer_one(context, model, ids);
}

}  // namespace splitd::cli
