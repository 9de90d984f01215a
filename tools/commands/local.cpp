// `splitd local`: a model whose ends are computed here and whose other layers on a body.
#include <string>

#include "tools/commands.h"
#include "tools/generate/options.h"
#include "tools/generate/prompts.h"
#include "tools/model_path.h"
#include "tools/network/ends.h"
#include "tools/network/tls_flags.h"

namespace splitd::cli {

static Status run_local(Context& context) {
  SPLITD_TRY(check_prompt_flags(context));
  SPLITD_TRY(check_decoder_flags(context));
  SPLITD_ASSIGN(EngineOptions engine, read_engine_options(context));
  engine.progress = context.progress();
  SPLITD_ASSIGN(const BodyChoice choice, read_body_flags(context));
  SPLITD_ASSIGN(const std::string path, resolve_model(context.argument("MODEL")));
  SPLITD_ASSIGN(const std::unique_ptr<TextModel> model, open_ends(context, path, engine, choice));
  return answer_prompts(context, *model);
}

Command local_command() {
  return {.name = "local",
          .summary = "generate text, with the layers between on a body",
          .positionals = {{.name = "MODEL",
                           .help = "a model directory, or org/name that was pulled",
                           .completes = Completes::model},
                          prompt_argument()},
          .flags = {body_flags(), tls_flags(), prompt_flags(), sampling_flags(),
                    decoder_flags("auto"), engine_flags()},
          .examples = {{"splitd local ./SmolLM2 --body gpu.lan:7777 --psk-file pair.psk"},
                       {"splitd local ./SmolLM2 'Why is the sky blue?' --body 127.0.0.1:7777"}},
          .run = run_local};
}

}  // namespace splitd::cli
