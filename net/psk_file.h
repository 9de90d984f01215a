// Owns: files of pre-shared keys, one `identity hex64` a line (64 hexadecimal digits, 32 bytes),
// and the rule that a file of secrets belongs to its owner alone. Refuses: a file that group or
// others can read or write, a second line for an identity, identities that are not 1 to 64 visible
// ASCII characters. Blank lines and lines that begin with '#' are skipped. Messages never hold a
// key.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "net/text.h"
#include "runtime/base/result.h"

namespace splitd::net {

struct PskEntry {
  std::string identity;
  Secret key;  // 32 bytes
};

inline constexpr size_t kPskBytes = 32;

[[nodiscard]] Result<std::vector<PskEntry>> load_psk_file(const std::string& path);
// The text of such a file; `name` begins messages.
[[nodiscard]] Result<std::vector<PskEntry>> parse_psk_text(std::string_view text,
                                                           const std::string& name);
[[nodiscard]] bool is_psk_identity(std::string_view identity);

// The whole file, refused where others could read it.
[[nodiscard]] Result<Secret> read_secret_file(const std::string& path, uint64_t max_bytes);
// A new file that only its owner can read. Never over another one; nothing is left of a failure.
[[nodiscard]] Status write_secret_file(const std::string& path, std::string_view text);

}  // namespace splitd::net
