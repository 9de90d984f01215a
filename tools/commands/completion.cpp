// `splitd completion bash|zsh`: the script on stdout.
#include "tools/completion.h"

#include "tools/commands.h"

namespace splitd::cli {
namespace {

Status run_completion(Context& context) {
  const std::vector<Command> commands = all_commands();
  const bool bash = context.argument("SHELL") == "bash";
  context.out().write(bash ? bash_completion(commands) : zsh_completion(commands));
  return {};
}

}  // namespace

Command completion_command() {
  return {.name = "completion",
          .summary = "a script that completes splitd's commands and flags",
          .positionals = {{.name = "SHELL", .help = "bash or zsh", .choices = "bash|zsh"}},
          .examples = {{"splitd completion bash", "source <(splitd completion bash)"},
                       {"splitd completion zsh", "source <(splitd completion zsh)"}},
          .run = run_completion};
}

}  // namespace splitd::cli
