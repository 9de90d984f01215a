// `splitd run`: the whole model on this machine, one prompt, many prompts, or a chat.
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <string>

#include "runtime/base/utf8.h"
#include "tools/commands.h"
#include "tools/generate/answer.h"
#include "tools/generate/options.h"
#include "tools/generate/text_model.h"
#include "tools/interrupt.h"
#include "tools/model_path.h"
#include "tools/now.h"

namespace splitd::cli {
namespace {

using Clock = std::chrono::steady_clock;

struct Run {
  Context& context;
  TextModel& model;
  std::string path;
  double load_ms = 0;

  Result<std::vector<uint32_t>> ids_of(const std::string& prompt) const;
  Status one(const std::vector<uint32_t>& ids) const;
  Status lines(const std::string& text) const;
  Status chat() const;
};

std::vector<Message> opening(const Context& context) {
  if (!context.given("system")) return {};
  return {{"system", context.text("system")}};
}

Result<std::vector<uint32_t>> Run::ids_of(const std::string& prompt) const {
  if (context.flag("raw")) return model.raw_ids(prompt);
  std::vector<Message> messages = opening(context);
  messages.push_back({"user", utf8_replace_invalid(prompt)});
  SPLITD_ASSIGN(const int64_t now, current_time());
  return model.chat_ids(messages, now);
}

Status Run::one(const std::vector<uint32_t>& ids) const {
  SPLITD_ASSIGN(const SamplingOptions sampling,
                read_sampling(context, path, model.config().n_vocab));
  const bool json = context.flag("json");
  Answer answer;
  SPLITD_TRY(answer_prompt(context, model, ids, sampling, json ? nullptr : &context.out(), answer));
  if (json) context.out().write(answer_json(answer, load_ms));
  context.out().write("\n");
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

Status Run::lines(const std::string& text) const {
  std::string_view rest = text;
  while (!rest.empty()) {
    const size_t end = std::min(rest.find('\n'), rest.size());
    SPLITD_ASSIGN(const std::vector<uint32_t> ids, ids_of(std::string(rest.substr(0, end))));
    rest.remove_prefix(std::min(end + 1, rest.size()));
    SPLITD_ASSIGN(const SamplingOptions sampling,
                  read_sampling(context, path, model.config().n_vocab));
    Answer answer;
    SPLITD_TRY(answer_prompt(context, model, ids, sampling, nullptr, answer));
    context.out().write(context.flag("json") ? answer_json(answer, load_ms)
                                             : on_one_line(answer.text));
    context.out().write("\n");
    SPLITD_TRY(context.out().flush());
  }
  return {};
}

// A conversation on a terminal. Each turn continues the session: what was computed stays.
Status Run::chat() const {
  std::vector<Message> messages = opening(context);
  std::string typed;
  while (true) {
    context.err().write("> ");
    SPLITD_TRY(context.err().flush());
    typed.clear();
    char c = 0;
    ssize_t got = 0;
    while ((got = ::read(context.stdin_fd(), &c, 1)) == 1 && c != '\n') typed += c;
    if (got <= 0 && typed.empty()) return {};
    if (typed.empty()) continue;
    messages.push_back({"user", utf8_replace_invalid(typed)});
    SPLITD_ASSIGN(const int64_t now, current_time());
    SPLITD_ASSIGN(const std::vector<uint32_t> ids, model.chat_ids(messages, now));
    SPLITD_ASSIGN(const SamplingOptions sampling,
                  read_sampling(context, path, model.config().n_vocab));
    Answer answer;
    Status status = answer_prompt(context, model, ids, sampling, &context.out(), answer);
    if (!status.ok() && status.error().kind != ErrorKind::interrupted) return status;
    forget_interrupt();  // it stopped the answer, not the program
    context.out().write("\n");
    SPLITD_TRY(context.out().flush());
    messages.push_back({"assistant", answer.text});
  }
}

Status run_run(Context& context) {
  SPLITD_ASSIGN(const std::string path, resolve_model(context.argument("MODEL")));
  SPLITD_ASSIGN(const EngineOptions engine, read_engine_options(context));
  const Clock::time_point start = Clock::now();
  SPLITD_ASSIGN(const std::unique_ptr<TextModel> model, TextModel::open(path, engine));
  const double load_ms = std::chrono::duration<double, std::milli>(Clock::now() - start).count();
  const Run run{context, *model, path, load_ms};

  if (context.given("ids")) {
    SPLITD_ASSIGN(const std::vector<uint32_t> ids, read_ids(context, model->config().n_vocab));
    return run.one(ids);
  }
  const bool given = context.given("PROMPT");
  if (!given && !context.flag("lines") && context.stdin_is_terminal() && !context.flag("raw")) {
    return run.chat();
  }
  std::string text;
  if (given) {
    text = context.argument("PROMPT");
  } else {
    SPLITD_ASSIGN(text, context.read_stdin());
  }
  if (context.flag("lines")) return run.lines(text);
  SPLITD_ASSIGN(const std::vector<uint32_t> ids, run.ids_of(text));
  return run.one(ids);
}

}  // namespace

Command run_command() {
  return {
      .name = "run",
      .summary = "generate text with the whole model on this machine",
      .positionals = {{.name = "MODEL",
                       .help = "a model directory, or org/name that was pulled",
                       .completes = Completes::model},
                      {.name = "PROMPT",
                       .help = "by default all of stdin, or a chat on a terminal",
                       .optional = true}},
      .flags =
          {{.title = "Prompt",
            .flags =
                {{.name = "raw", .help = "no chat template: the prompt is continued as it stands"},
                 {.name = "ids", .kind = FlagKind::integers, .help = "the prompt as token ids"},
                 {.name = "system",
                  .kind = FlagKind::text,
                  .metavar = "TEXT",
                  .help = "the system message"},
                 {.name = "lines", .help = "a prompt a line of stdin, an answer a line of stdout"},
                 {.name = "json", .help = "one JSON object a prompt"}}},
           sampling_flags(),
           engine_flags()},
      .examples = {{"splitd run ./SmolLM2 'Why is the sky blue?'"},
                   {"splitd run ./SmolLM2 --raw 'Once upon a time' -n 50 --json"}},
      .run = run_run};
}

}  // namespace splitd::cli
