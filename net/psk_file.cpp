#include "net/psk_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "net/limits.h"
#include "runtime/base/files.h"

namespace splitd::net {
namespace {

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// Empty where it is not exactly 64 digits.
Secret parse_key(std::string_view hex) {
  std::string key;
  if (hex.size() != 2 * kPskBytes) return {};
  key.reserve(kPskBytes);
  for (size_t i = 0; i < hex.size(); i += 2) {
    const int high = hex_digit(hex[i]);
    const int low = hex_digit(hex[i + 1]);
    if (high < 0 || low < 0) {
      Secret::wipe(key);
      return {};
    }
    key.push_back(static_cast<char>(high * 16 + low));
  }
  return Secret(std::move(key));
}

}  // namespace

bool is_psk_identity(std::string_view identity) {
  if (identity.empty() || identity.size() > limits::kMaxPskIdentityBytes) return false;
  return std::all_of(identity.begin(), identity.end(), [](char c) { return c > 0x20 && c < 0x7f; });
}

Result<Secret> read_secret_file(const std::string& path, uint64_t max_bytes) {
  const FileDescriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file.valid()) return system_error("cannot open " + path);
  struct stat info {};
  if (::fstat(file.get(), &info) != 0) return system_error("cannot look at " + path);
  if ((info.st_mode & 077) != 0) {
    return failed(path + ": others can read this file of keys; take their rights away (chmod 600 " +
                  path + ")");
  }
  Result<std::string> text = read_all(file.get(), max_bytes);
  if (!text.ok()) return std::move(text.take_error()).within(path);
  return Secret(std::move(*text));
}

Status write_secret_file(const std::string& path, std::string_view text) {
  const FileDescriptor file(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (!file.valid() && errno == EEXIST) {
    return usage_error(path + " is there already, and keys are never written over others");
  }
  if (!file.valid()) return system_error("cannot create " + path);
  Status status = write_all(file.get(), text);
  if (status.ok() && ::fsync(file.get()) != 0) status = system_error("cannot sync");
  if (status.ok()) return {};
  ::unlink(path.c_str());
  return std::move(status.take_error()).within(path);
}

Result<std::vector<PskEntry>> parse_psk_text(std::string_view text, const std::string& name) {
  std::vector<PskEntry> entries;
  size_t number = 0;
  while (!text.empty()) {
    ++number;
    const size_t end = text.find('\n');
    std::string_view line = text.substr(0, end);
    text.remove_prefix(end == text.npos ? text.size() : end + 1);
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.empty() || line.starts_with('#')) continue;
    const std::string at = name + ":" + std::to_string(number);
    const size_t blank = line.find(' ');
    const std::string_view identity = line.substr(0, blank);
    if (blank == line.npos || !is_psk_identity(identity)) {
      return failed(at + ": expected an identity (1 to " +
                    std::to_string(limits::kMaxPskIdentityBytes) +
                    " visible ASCII characters), a blank and 64 hexadecimal digits");
    }
    Secret key = parse_key(line.substr(blank + 1));
    if (key.empty()) {
      return failed(at + ": the key of " + quoted(identity) + " is not 64 hexadecimal digits");
    }
    for (const PskEntry& entry : entries) {
      if (entry.identity == identity) {
        return failed(at + ": a second key for the identity " + quoted(identity));
      }
    }
    entries.push_back({std::string(identity), std::move(key)});
  }
  if (entries.empty()) return failed(name + ": no key in it");
  return entries;
}

Result<std::vector<PskEntry>> load_psk_file(const std::string& path) {
  SPLITD_ASSIGN(const Secret text, read_secret_file(path, limits::kMaxPskFileBytes));
  return parse_psk_text(text.reveal(), path);
}

}  // namespace splitd::net
