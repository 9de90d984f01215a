// Owns: where prompts come from and where answers go, the same for every command that generates:
// an argument, token ids, all of stdin, a prompt a line, or a conversation on a terminal.
#pragma once

#include "tools/command.h"
#include "tools/generate/text_model.h"

namespace splitd::cli {

[[nodiscard]] FlagGroup prompt_flags();  // --raw, --ids, --system, --lines, --json
[[nodiscard]] Positional prompt_argument();

// Refuses flags that contradict each other; before anything is opened.
[[nodiscard]] Status check_prompt_flags(const Context& context);

// Answers what the command was asked, with its PROMPT, prompt_flags() and sampling_flags().
[[nodiscard]] Status answer_prompts(Context& context, TextModel& model);

}  // namespace splitd::cli
