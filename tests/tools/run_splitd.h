// build/splitd itself, behind an emulator where this is a cross build.
#pragma once

#include "tests/tools/process.h"

namespace splitd {

[[nodiscard]] inline ProcessResult run_splitd(std::vector<std::string> words,
                                              const ProcessOptions& options = {}) {
  words.insert(words.begin(), SPLITD_BINARY);
  if (*SPLITD_EMULATOR != '\0') words.insert(words.begin(), SPLITD_EMULATOR);
  return run_process(words, options);
}

}  // namespace splitd
