#include "runtime/split/resume.h"

#include <sys/random.h>

#include <cerrno>

#include "runtime/base/files.h"

namespace splitd {

Result<ResumeToken> ResumeToken::random() {
  ResumeToken token;
  size_t got = 0;
  while (got < kBytes) {
    const ssize_t n = ::getrandom(token.bytes_.data() + got, kBytes - got, 0);
    if (n < 0 && errno != EINTR) return system_error("getrandom");
    if (n > 0) got += static_cast<size_t>(n);
  }
  return token;
}

ResumeToken ResumeToken::of_hex(std::string_view hex) {
  const auto digit = [](char c) { return static_cast<uint8_t>(c <= '9' ? c - '0' : c - 'a' + 10); };
  ResumeToken token;
  for (size_t i = 0; i < kBytes; ++i) {
    token.bytes_[i] = static_cast<uint8_t>(digit(hex[2 * i]) << 4 | digit(hex[2 * i + 1]));
  }
  return token;
}

std::string ResumeToken::hex() const {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string out;
  for (const uint8_t byte : bytes_) {
    out += kDigits[byte >> 4];
    out += kDigits[byte & 15];
  }
  return out;
}

bool ResumeToken::operator==(const ResumeToken& other) const {
  uint8_t different = 0;
  for (size_t i = 0; i < kBytes; ++i) {
    different = static_cast<uint8_t>(different | (bytes_[i] ^ other.bytes_[i]));
  }
  return different == 0;
}

}  // namespace splitd
