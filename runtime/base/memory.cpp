// /proc/meminfo, and memory.max of a version 2 control group.
#include "runtime/base/memory.h"

#include <algorithm>
#include <charconv>
#include <optional>
#include <string>
#include <string_view>

#include "runtime/base/files.h"

#if defined(__GLIBC__)
#include <malloc.h>
#endif

namespace splitd {
namespace {

// The number behind `key` ("MemAvailable: 123 kB"), or at the beginning without one.
std::optional<uint64_t> number_in(const char* path, std::string_view key) {
  const Result<std::string> text = read_file(path);
  if (!text) return std::nullopt;
  size_t at = text->find(key);
  if (at == std::string::npos) return std::nullopt;
  at = text->find_first_not_of(" \t", at + key.size());
  if (at == std::string::npos) return std::nullopt;
  uint64_t value = 0;
  const char* end = text->data() + text->size();
  if (std::from_chars(text->data() + at, end, value).ec != std::errc()) return std::nullopt;
  return value;
}

}  // namespace

uint64_t available_memory_bytes() {
  uint64_t available = number_in("/proc/meminfo", "MemAvailable:").value_or(0) << 10;
  // Inside a container the group's own files stand at the root. The page cache counts as used
  // there, and is given up for whoever needs memory.
  const std::optional<uint64_t> most = number_in("/sys/fs/cgroup/memory.max", "");
  const std::optional<uint64_t> used = number_in("/sys/fs/cgroup/memory.current", "");
  if (!most || !used) return available;
  const uint64_t cached = number_in("/sys/fs/cgroup/memory.stat", "\nfile ").value_or(0);
  const uint64_t held = *used - std::min(*used, cached);
  return std::min(available, *most - std::min(*most, held));
}

void give_back_memory() {
#if defined(__GLIBC__)
  malloc_trim(0);
#endif
}

}  // namespace splitd
