// Owns: resume tokens: 128 random bits that name a session to whoever was given them. Comparing
// takes the same time wherever two tokens differ. Immutable, thread-safe.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "runtime/base/result.h"

namespace splitd {

class ResumeToken {
 public:
  static constexpr size_t kBytes = 16;

  static Result<ResumeToken> random();  // from the system
  // Requires 32 lower-case hex digits, as HelloMessage::resume has them.
  static ResumeToken of_hex(std::string_view hex);

  std::string hex() const;
  bool operator==(const ResumeToken& other) const;

 private:
  std::array<uint8_t, kBytes> bytes_{};
};

}  // namespace splitd
