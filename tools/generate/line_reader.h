// Owns: lines out of a descriptor as they come, for a person who types and for a program that waits
// for each answer before it writes on. Not thread-safe.
#pragma once

#include <cstdint>
#include <string>

#include "runtime/base/result.h"
#include "tools/command.h"

namespace splitd::cli {

class LineReader {
 public:
  enum class Got : uint8_t { line, end, interrupted };

  explicit LineReader(const Context& context) : context_(context) {}

  // The next line, without its end (LF or CRLF). At the end of the stream what stands behind the
  // last line end is a line, unless it is empty. After an interrupt what was typed is forgotten.
  Result<Got> next(std::string& line);

 private:
  const Context& context_;
  std::string buffer_;
  size_t n_searched_ = 0;  // of buffer_, without a line end
  bool at_end_ = false;
};

}  // namespace splitd::cli
