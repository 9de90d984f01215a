#include "tools/generate/chat.h"

#include "runtime/base/utf8.h"
#include "tools/generate/answer.h"
#include "tools/generate/line_reader.h"
#include "tools/interrupt.h"
#include "tools/now.h"

namespace splitd::cli {
namespace {

void say(Context& context, std::string_view text) {
  context.err().write(text);
  (void)context.err().flush();  // a terminal that went away is noticed at stdin
}

// One turn: the message is in the history afterwards, with its answer as far as that came, or
// neither is. Interrupted is no failure here.
Status take_turn(Context& context, TextModel& model, std::string line,
                 std::vector<Message>& messages) {
  messages.push_back({"user", utf8_replace_invalid(line)});
  const auto ask = [&]() -> Result<Answer> {
    SPLITD_ASSIGN(const int64_t now, current_time());
    SPLITD_ASSIGN(const std::vector<uint32_t> ids, model.chat_ids(messages, now));
    const bool json = context.flag("json");
    Answer answer;
    Status status = answer_prompt(context, model, ids, json ? nullptr : &context.out(), answer);
    if (!status.ok() && status.error().kind != ErrorKind::interrupted) return status.take_error();
    if (json) context.out().write(answer_json(answer, model.load_ms()));
    context.out().write("\n");
    SPLITD_TRY(context.out().flush());
    return answer;
  };
  Result<Answer> answer = ask();
  if (answer) {
    messages.push_back({"assistant", std::move(answer->text)});
    return {};
  }
  messages.pop_back();
  // What can be said differently does not end the conversation.
  if (answer.error().kind != ErrorKind::usage) return answer.take_error();
  context.log().warning(answer.error().message);
  return {};
}

}  // namespace

std::vector<Message> opening_messages(const Context& context) {
  if (!context.given("system")) return {};
  return {{"system", context.text("system")}};
}

Status chat(Context& context, TextModel& model) {
  if (Result<const ChatTemplate*> known = model.chat_template(); !known) return known.take_error();
  model.expect_growth();
  SPLITD_TRY(model.read_ahead(context.progress()));
  context.end_progress();
  if (!context.quiet()) {
    say(context, "Ctrl-C stops an answer, Ctrl-D leaves, /clear begins anew.\n");
  }
  std::vector<Message> messages = opening_messages(context);
  LineReader reader(context);
  std::string line;
  int n_interrupt = 0;  // since the last line
  while (true) {
    say(context, "> ");
    SPLITD_ASSIGN(const LineReader::Got got, reader.next(line));
    if (got == LineReader::Got::end) {
      say(context, "\n");
      return {};
    }
    if (got == LineReader::Got::interrupted) {
      say(context, "\n");
      if (++n_interrupt == 2) return interrupted_error();
      forget_interrupt();
      say(context, "(Ctrl-C again or Ctrl-D leaves)\n");
      continue;
    }
    n_interrupt = 0;
    if (line.empty()) continue;
    if (line == "/clear") {
      messages = opening_messages(context);
      continue;
    }
    SPLITD_TRY(take_turn(context, model, line, messages));
    if (context.cancelled()) n_interrupt = 1;
    forget_interrupt();
  }
}

}  // namespace splitd::cli
