#include "tools/app.h"

#include "tools/config_file.h"
#include "tools/help.h"
#include "tools/suggest.h"

namespace splitd::cli {
namespace {

Status run_command(std::span<const Command> commands, const Command& command,
                   std::span<const std::string> words, Streams streams) {
  SPLITD_ASSIGN(Arguments arguments, Arguments::parse(command, words));
  const Value* help = arguments.find("help");
  if (help != nullptr && std::get<bool>(*help)) {
    Output out(streams.out, "stdout");
    out.write(command_help(command));
    return out.flush();
  }
  if (const Value* path = arguments.find("config")) {
    const std::string file = std::get<std::string>(*path);
    SPLITD_TRY(read_config(file, commands, command, arguments));
  }
  Context context(command, std::move(arguments), streams);
  Status status = command.run(context);
  context.end_progress();
  Status written = context.out().flush();
  (void)context.err().flush();
  // What the command itself has to say comes first: a failed write may be its consequence.
  return status.ok() ? std::move(written) : std::move(status);
}

Status dispatch(std::span<const Command> commands, std::span<const std::string> words,
                Streams streams) {
  const std::string& first = words.front();
  if (first == "--help" || first == "-h" || first == "--version") {
    Output out(streams.out, "stdout");
    out.write(first == "--version" ? "splitd " + std::string(version()) + "\n"
                                   : overview(commands));
    return out.flush();
  }
  if (first.starts_with('-')) {
    return usage_error("unknown flag " + quoted(first) +
                       ": flags stand behind the command; 'splitd help' lists the commands");
  }
  const Command* command = find_command(commands, first);
  if (command == nullptr) return unknown_command(commands, first);
  return run_command(commands, *command, words.subspan(1), streams);
}

}  // namespace

std::string_view version() {
  return SPLITD_VERSION;
}

const Command* find_command(std::span<const Command> commands, std::string_view name) {
  for (const Command& command : commands) {
    if (command.name == name) return &command;
  }
  return nullptr;
}

Error unknown_command(std::span<const Command> commands, std::string_view name) {
  std::vector<std::string_view> names;
  for (const Command& command : commands) names.push_back(command.name);
  std::string hint = did_you_mean(name, names);
  if (hint.empty()) hint = "; 'splitd help' lists them";
  return usage_error("unknown command " + quoted(name) + hint);
}

int run_app(std::span<const Command> commands, std::span<const std::string> words,
            Streams streams) {
  Output err(streams.err, "stderr");
  if (words.empty()) {  // somebody's first try
    err.write(overview(commands));
    return static_cast<int>(ErrorKind::usage);
  }
  const Status status = dispatch(commands, words, streams);
  if (status.ok()) return 0;
  err.write("splitd: " + printable(status.error().message) + "\n");
  return static_cast<int>(status.error().kind);
}

}  // namespace splitd::cli
