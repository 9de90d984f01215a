// Owns: a conversation on a terminal. The history is the prompt of each turn, and what a session
// has computed of it stays. An interrupt stops an answer; two without a line between them, or the
// end of stdin, leave.
#pragma once

#include <vector>

#include "tools/command.h"
#include "tools/generate/text_model.h"

namespace splitd::cli {

// The system message, where --system gives one.
[[nodiscard]] std::vector<Message> opening_messages(const Context& context);

[[nodiscard]] Status chat(Context& context, TextModel& model);

}  // namespace splitd::cli
