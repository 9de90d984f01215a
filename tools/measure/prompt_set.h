// Owns: prompts by content type, as files of them hold them (tests/prompts/README.md), and where a
// generated text begins to go in circles. Refuses files without prompts, names given twice and
// texts that are not UTF-8.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/base/result.h"

namespace splitd::cli {

struct BenchPrompt {
  std::string name;
  std::string text;
  bool raw = false;  // continued as it stands
};

struct PromptSet {
  std::string type;  // the file's name without its ending
  std::vector<BenchPrompt> prompts;
};

[[nodiscard]] Result<std::vector<BenchPrompt>> parse_prompts(std::string_view text,
                                                             std::string_view path);

// A file, or all *.txt of a directory, by name.
[[nodiscard]] Result<std::vector<PromptSet>> read_prompt_sets(const std::string& path);

// Small models fall into repeating themselves, which every drafter guesses: such tokens say nothing
// about text. A text that ends in a cycle of at most 64 tokens, gone through at least three times
// and over at least 24 tokens, is text up to the end of the cycle's first round. The number of
// tokens that are text: all of them where nothing repeats.
[[nodiscard]] size_t text_before_loop(std::span<const uint32_t> tokens);

}  // namespace splitd::cli
