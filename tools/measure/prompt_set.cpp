#include "tools/measure/prompt_set.h"

#include <algorithm>
#include <filesystem>
#include <system_error>

#include "runtime/base/files.h"
#include "runtime/base/utf8.h"

namespace splitd::cli {
namespace {

constexpr uint64_t kMostBytes = uint64_t{1} << 20;  // of a file
constexpr std::string_view kMark = "=== ";
constexpr size_t kLongestCycle = 64;
constexpr size_t kLeastRounds = 3;
constexpr size_t kLeastLoop = 24;  // tokens

Error fault(std::string_view path, size_t line, const std::string& what) {
  return usage_error(std::string(path) + ":" + std::to_string(line) + ": " + what);
}

}  // namespace

Result<std::vector<BenchPrompt>> parse_prompts(std::string_view text, std::string_view path) {
  if (!utf8_is_valid(text)) return usage_error(std::string(path) + " is not UTF-8");
  std::vector<BenchPrompt> prompts;
  size_t n_line = 0;
  while (!text.empty()) {
    const size_t end = text.find('\n');
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    ++n_line;
    if (!line.starts_with(kMark)) {
      if (prompts.empty()) return fault(path, n_line, "text before the first '=== NAME'");
      prompts.back().text.append(line).push_back('\n');
      continue;
    }
    BenchPrompt prompt;
    prompt.name = line.substr(kMark.size());
    if (prompt.name.ends_with(" raw")) {
      prompt.raw = true;
      prompt.name.resize(prompt.name.size() - 4);
    }
    for (const BenchPrompt& other : prompts) {
      if (other.name == prompt.name) return fault(path, n_line, "a second " + prompt.name);
    }
    prompts.push_back(std::move(prompt));
  }
  if (prompts.empty()) return usage_error(std::string(path) + ": no '=== NAME' begins a prompt");
  for (BenchPrompt& prompt : prompts) {
    if (!prompt.text.empty()) prompt.text.pop_back();
    if (prompt.text.empty())
      return usage_error(std::string(path) + ": " + prompt.name + " is empty");
  }
  return prompts;
}

Result<std::vector<PromptSet>> read_prompt_sets(const std::string& path) {
  std::vector<std::filesystem::path> files;
  if (is_directory(path)) {
    std::error_code failed;
    for (std::filesystem::directory_iterator it(path, failed), end; !failed && it != end;
         it.increment(failed)) {
      if (it->path().extension() == ".txt") files.push_back(it->path());
    }
    std::sort(files.begin(), files.end());
    if (files.empty()) return usage_error(path + ": no .txt file of prompts there");
  } else {
    files.emplace_back(path);
  }
  std::vector<PromptSet> sets;
  for (const std::filesystem::path& file : files) {
    SPLITD_ASSIGN(const std::string text, read_file(file.string(), kMostBytes));
    SPLITD_ASSIGN(std::vector<BenchPrompt> prompts, parse_prompts(text, file.string()));
    sets.push_back({file.stem().string(), std::move(prompts)});
  }
  return sets;
}

size_t text_before_loop(std::span<const uint32_t> tokens) {
  size_t text = tokens.size();
  for (size_t cycle = 1; cycle <= kLongestCycle && cycle < tokens.size(); ++cycle) {
    size_t begin = tokens.size() - cycle;  // from here on the text is periodic
    while (begin > 0 && tokens[begin - 1] == tokens[begin - 1 + cycle]) --begin;
    const size_t n = tokens.size() - begin;
    if (n >= kLeastRounds * cycle && n >= kLeastLoop) text = std::min(text, begin + cycle);
  }
  return text;
}

}  // namespace splitd::cli
