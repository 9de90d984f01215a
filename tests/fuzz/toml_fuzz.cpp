// Any bytes as a configuration file: an answer, soon, and an error that names its line.
#include <cstdlib>
#include <string_view>

#include "tests/tools/sample_command.h"
#include "tools/config_file.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace splitd::cli;
  if (size > kMaxConfigBytes) return 0;
  static const std::vector<Command> commands = {sample_command(), other_command()};
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  Arguments arguments;
  const splitd::Status status = apply_config(text, "f", commands, commands[0], arguments);
  if (status.ok()) return 0;
  const std::string& message = status.error().message;
  const bool has_line = message.starts_with("f:") && message[2] >= '1' && message[2] <= '9';
  if (!has_line || status.error().kind != splitd::ErrorKind::usage) std::abort();
  return 0;
}
