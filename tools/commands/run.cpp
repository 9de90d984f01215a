// `splitd run`: the whole model on this machine, one prompt, many prompts, or a chat.
#include <string>

#include "tools/commands.h"
#include "tools/generate/options.h"
#include "tools/generate/prompts.h"
#include "tools/model_path.h"

namespace splitd::cli {

static Status run_run(Context& context) {
  SPLITD_TRY(check_prompt_flags(context));
  SPLITD_TRY(check_decoder_flags(context));
  SPLITD_ASSIGN(EngineOptions engine, read_engine_options(context));
  engine.progress = context.progress();
  SPLITD_ASSIGN(const std::string path, resolve_model(context.argument("MODEL")));
  SPLITD_ASSIGN(const std::unique_ptr<TextModel> model, TextModel::open(path, engine));
  return answer_prompts(context, *model);
}

Command run_command() {
  return {.name = "run",
          .summary = "generate text with the whole model on this machine",
          .positionals = {{.name = "MODEL",
                           .help = "a model directory, or org/name that was pulled",
                           .completes = Completes::model},
                          prompt_argument()},
          .flags = {prompt_flags(), sampling_flags(), decoder_flags("sequential"), engine_flags()},
          .examples = {{"splitd run ./SmolLM2 'Why is the sky blue?'"},
                       {"splitd run ./SmolLM2 --raw 'Once upon a time' -n 50 --json"}},
          .run = run_run};
}

}  // namespace splitd::cli
