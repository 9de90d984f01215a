#include "tools/commands.h"

namespace splitd::cli {

std::vector<Command> all_commands() {
  std::vector<Command> commands = {run_command(),        inspect_command(),  tokenize_command(),
                                   detokenize_command(), template_command(), dump_command(),
                                   perplexity_command(), convert_command()};
#ifdef SPLITD_NET
  commands.insert(commands.begin() + 1, {cloud_command(), local_command()});
  commands.push_back(pull_command());
  commands.push_back(keygen_command());
#endif
  commands.push_back(bench_command());
  commands.push_back(doctor_command());
  commands.push_back(completion_command());
  commands.push_back(help_command());
  return commands;
}

}  // namespace splitd::cli
