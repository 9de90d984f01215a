// Owns: how the interpreter stops. Inside splitd::jinja an error is thrown as a Failure, because
// every step of an evaluation can fail; ChatTemplate catches it, adds the line and column, and
// returns an Error. Nothing thrown here leaves the room.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

namespace splitd::jinja {

inline constexpr uint32_t kNoOffset = UINT32_MAX;

struct Failure {
  enum class Cause : uint8_t {
    syntax,   // the template cannot be read
    runtime,  // what it does with this input makes no sense (Python would raise)
    refused,  // the template called raise_exception
    limit,    // a bound of Limits was reached
  };
  Cause cause = Cause::runtime;
  std::string message;
  uint32_t offset = kNoOffset;  // in the template's source, where the thrower knew it
};

[[noreturn]] inline void fail(std::string message) {
  throw Failure{Failure::Cause::runtime, std::move(message), kNoOffset};
}
[[noreturn]] inline void fail_limit(std::string message) {
  throw Failure{Failure::Cause::limit, std::move(message), kNoOffset};
}
[[noreturn]] inline void fail_syntax(std::string message, uint32_t offset) {
  throw Failure{Failure::Cause::syntax, std::move(message), offset};
}

// "'text'": how messages name things.
inline std::string quoted(std::string_view text) {
  std::string out = "'";
  out += text;
  out += '\'';
  return out;
}

}  // namespace splitd::jinja
