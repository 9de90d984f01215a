// `splitd template`: messages on stdin → the prompt that the model's chat template makes of them.
#include "runtime/model/chat/chat_template.h"
#include "tools/commands.h"
#include "tools/commands/text_input.h"
#include "tools/model_path.h"
#include "tools/now.h"

namespace splitd::cli {
namespace {

Status run_template(Context& context) {
  SPLITD_ASSIGN(const std::string path, resolve_model(context.argument("MODEL")));
  SPLITD_ASSIGN(const ChatTemplate chat, ChatTemplate::open(path, context.text("name")));
  RenderOptions options;
  SPLITD_ASSIGN(options.now, current_time());
  if (context.flag("batch")) {
    return answer_batch(context, [&](Json item) -> Result<std::string> {
      SPLITD_ASSIGN(const MarkedText prompt, chat.render(item, options));
      return JsonWriter().string(prompt.text).take();
    });
  }
  SPLITD_ASSIGN(const JsonDoc doc, read_stdin_json(context));
  SPLITD_ASSIGN(const MarkedText prompt, chat.render(doc.root(), options));
  context.out().write(prompt.text);
  return {};
}

}  // namespace

Command template_command() {
  return {
      .name = "template",
      .summary = "messages (JSON on stdin) → the rendered prompt, byte-exact",
      .positionals = {{.name = "MODEL",
                       .help = "a directory with a chat template, a .gguf file, or org/name that "
                               "was pulled",
                       .completes = Completes::model}},
      .flags = {{.flags = {{.name = "name",
                            .kind = FlagKind::text,
                            .metavar = "NAME",
                            .help = "one of several named templates (by default \"tool_use\" "
                                    "where there are tools, else \"default\")"},
                           {.name = "batch",
                            .help = "stdin is a JSON array of inputs; the answer an array of "
                                    "strings, {\"error\": …} for an item that fails"}}}},
      .examples = {{"splitd template ./SmolLM2 < messages.json"}},
      .notes =
          "stdin is {\"messages\": […], \"tools\": […], \"add_generation_prompt\": true, "
          "\"continue_final_message\": …, and any other variable}; without \"messages\" the "
          "object is simply the context. strftime_now shows SOURCE_DATE_EPOCH where it is "
          "set.",
      .run = run_template};
}

}  // namespace splitd::cli
