// Owns: how a call says that it failed. Status and Result<T> carry an Error whose message names the
// thing, the value and what would be accepted; its kind is the exit code a command ends with.
// Nothing in the library throws across its boundary, aborts or exits. Thread-safe as any value is.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

namespace splitd {

// The numbers are the command line's exit codes (tools/CLI.md).
enum class ErrorKind : int {
  failed = 1,  // the work could not be done here: disk, memory, permission
  usage = 2,   // the caller asked for something that does not exist or make sense
  peer = 3,    // the other machine refused, vanished or spoke nonsense
  model = 4,   // a model file is broken, hostile or not supported
  interrupted = 130,
};

struct Error {
  ErrorKind kind = ErrorKind::failed;
  std::string message;

  // "config.json: <message>": says where, as it passes a caller who knows.
  Error within(std::string_view where) && {
    message.insert(0, ": ");
    message.insert(0, where);
    return std::move(*this);
  }
};

[[nodiscard]] inline Error failed(std::string message) {
  return {ErrorKind::failed, std::move(message)};
}
[[nodiscard]] inline Error usage_error(std::string message) {
  return {ErrorKind::usage, std::move(message)};
}
[[nodiscard]] inline Error peer_error(std::string message) {
  return {ErrorKind::peer, std::move(message)};
}
[[nodiscard]] inline Error model_error(std::string message) {
  return {ErrorKind::model, std::move(message)};
}

class [[nodiscard]] Status {
 public:
  Status() = default;
  Status(Error error) : error_(std::move(error)) {}  // NOLINT: `return failed("…");` is the point

  bool ok() const { return !error_; }
  explicit operator bool() const { return ok(); }
  const Error& error() const { return *error_; }
  Error&& take_error() { return std::move(*error_); }

 private:
  std::optional<Error> error_;
};

// A T or an Error. Reading the wrong one is a bug in the caller: value() of an error is undefined.
template <class T>
class [[nodiscard]] Result {
 public:
  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}      // NOLINT
  Result(Error error) : state_(std::in_place_index<1>, std::move(error)) {}  // NOLINT

  bool ok() const { return state_.index() == 0; }
  explicit operator bool() const { return ok(); }

  T& value() & { return *std::get_if<0>(&state_); }
  const T& value() const& { return *std::get_if<0>(&state_); }
  T&& value() && { return std::move(*std::get_if<0>(&state_)); }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T&& operator*() && { return std::move(*this).value(); }
  T* operator->() { return std::get_if<0>(&state_); }
  const T* operator->() const { return std::get_if<0>(&state_); }

  const Error& error() const { return *std::get_if<1>(&state_); }
  Error&& take_error() { return std::move(*std::get_if<1>(&state_)); }

 private:
  std::variant<T, Error> state_;
};

}  // namespace splitd

#define SPLITD_CONCAT_(a, b) a##b
#define SPLITD_CONCAT(a, b) SPLITD_CONCAT_(a, b)

// Leaves the function with the error of a Status.
#define SPLITD_TRY(expression)                                    \
  do {                                                            \
    ::splitd::Status splitd_status_ = (expression);               \
    if (!splitd_status_.ok()) return splitd_status_.take_error(); \
  } while (false)

// SPLITD_ASSIGN(auto file, open(path)): declares and fills, or leaves with the error of a Result.
#define SPLITD_ASSIGN(declaration, expression) \
  SPLITD_ASSIGN_(declaration, expression, SPLITD_CONCAT(splitd_result_, __LINE__))
#define SPLITD_ASSIGN_(declaration, expression, temporary) \
  auto temporary = (expression);                           \
  if (!temporary.ok()) return temporary.take_error();      \
  declaration = std::move(temporary).value()
