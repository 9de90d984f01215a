// `splitd help [COMMAND]`: the list of commands, or one command's own help.
#include "tools/help.h"

#include "tools/app.h"
#include "tools/commands.h"

namespace splitd::cli {
namespace {

Status run_help(Context& context) {
  const std::vector<Command> commands = all_commands();
  if (!context.given("COMMAND")) {
    context.out().write(overview(commands));
    return {};
  }
  const Command* command = find_command(commands, context.argument("COMMAND"));
  if (command == nullptr) return unknown_command(commands, context.argument("COMMAND"));
  context.out().write(command_help(*command));
  return {};
}

}  // namespace

Command help_command() {
  return {.name = "help",
          .summary = "the list of commands, or one command's flags",
          .positionals = {{.name = "COMMAND",
                           .help = "what to explain",
                           .completes = Completes::command,
                           .optional = true}},
          .examples = {{"splitd help tokenize"}},
          .run = run_help};
}

}  // namespace splitd::cli
