// Owns: the list of commands, in the order that `splitd help` shows.
#pragma once

#include <vector>

#include "tools/command.h"

namespace splitd::cli {

Command run_command();
Command dump_command();
Command perplexity_command();
Command inspect_command();
Command convert_command();
Command tokenize_command();
Command detokenize_command();
Command template_command();
Command bench_command();
Command doctor_command();
Command completion_command();
Command help_command();
#ifdef SPLITD_NET
Command local_command();
Command pull_command();
Command cloud_command();
Command keygen_command();
#endif

[[nodiscard]] std::vector<Command> all_commands();

}  // namespace splitd::cli
