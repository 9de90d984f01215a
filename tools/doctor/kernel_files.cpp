#include "tools/doctor/kernel_files.h"

#include <charconv>

#include "runtime/base/files.h"

namespace splitd::cli {
namespace {

constexpr uint64_t kMaxBytes = uint64_t{16} << 20;  // /proc/cpuinfo of a machine with 512 cores

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kBlanks = " \t\r\n";
  const size_t begin = text.find_first_not_of(kBlanks);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kBlanks) - begin + 1);
}

}  // namespace

std::string kernel_file(const std::string& path) {
  const Result<std::string> text = read_file(path, kMaxBytes);
  if (!text) return {};
  const std::string_view all = *text;
  return std::string(trimmed(all.substr(0, all.find_first_of(std::string_view("\n\0", 2)))));
}

uint64_t kernel_number(std::string_view text) {
  uint64_t value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

std::string kernel_field(const std::string& path, std::string_view key) {
  const Result<std::string> text = read_file(path, kMaxBytes);
  if (!text) return {};
  std::string_view rest = *text;
  while (!rest.empty()) {
    const std::string_view line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(line.size() + 1, rest.size()));
    const size_t colon = line.find(':');
    if (colon != std::string_view::npos && trimmed(line.substr(0, colon)) == key) {
      return std::string(trimmed(line.substr(colon + 1)));
    }
  }
  return {};
}

}  // namespace splitd::cli
