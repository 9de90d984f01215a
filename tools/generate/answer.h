// Owns: one answer: from prompt ids to text that is written as it is known, stopped where the user
// said, and what --json reports about it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "runtime/decode/session.h"
#include "tools/command.h"
#include "tools/generate/text_model.h"

namespace splitd::cli {

struct Answer {
  std::string text;           // without the stop token, cut at a stop string
  std::vector<uint32_t> ids;  // with the stop token
  bool stopped = false;       // by EOS or a stop string; else by length
  uint64_t seed = 0;
  std::string decoder;  // what guessed ahead
  Generated statistics;
  std::optional<NetworkUse> network;  // of this answer
};

// Generates after `prompt` as the flags say. Text goes to `stream` as it comes, where that is not
// nullptr. An interrupt ends it with ErrorKind::interrupted; what was written stays in `answer`.
[[nodiscard]] Status answer_prompt(Context& context, TextModel& model,
                                   const std::vector<uint32_t>& prompt, Output* stream,
                                   Answer& answer);

// The object of tools/CLI.md, without a newline.
[[nodiscard]] std::string answer_json(const Answer& answer, double load_ms);

}  // namespace splitd::cli
