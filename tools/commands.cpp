#include "tools/commands.h"

namespace splitd::cli {

std::vector<Command> all_commands() {
  std::vector<Command> commands;
#ifdef SPLITD_HAS_INSPECT
  commands.push_back(inspect_command());
#endif
#ifdef SPLITD_HAS_TOKENIZE
  commands.push_back(tokenize_command());
  commands.push_back(detokenize_command());
#endif
#ifdef SPLITD_HAS_TEMPLATE
  commands.push_back(template_command());
#endif
#ifdef SPLITD_HAS_CONVERT
  commands.push_back(convert_command());
#endif
#ifdef SPLITD_HAS_PULL
  commands.push_back(pull_command());
#endif
  commands.push_back(doctor_command());
  commands.push_back(completion_command());
  commands.push_back(help_command());
  return commands;
}

}  // namespace splitd::cli
