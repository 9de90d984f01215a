// Owns: where the library's few messages go. There is no global logger: whoever makes an object
// that may speak gives it a Log. A default Log is silent. Messages hold no tensor content, no
// prompt text and no secret.
#pragma once

#include <functional>
#include <string_view>
#include <utility>

namespace splitd {

enum class LogLevel { debug, info, warning };

class Log {
 public:
  using Sink = std::function<void(LogLevel, std::string_view)>;
  Log() = default;
  explicit Log(Sink sink) : sink_(std::move(sink)) {}

  void debug(std::string_view message) const { write(LogLevel::debug, message); }
  void info(std::string_view message) const { write(LogLevel::info, message); }
  void warning(std::string_view message) const { write(LogLevel::warning, message); }

 private:
  void write(LogLevel level, std::string_view message) const {
    if (sink_) sink_(level, message);
  }
  Sink sink_;
};

}  // namespace splitd
