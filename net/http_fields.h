// Owns: the fields (headers) of an HTTP message, and reading a message line by line. Strict as RFC
// 9112 allows: lines end in CRLF, names are tokens right before their colon, no folding, no control
// characters. Both heads, chunk lines and trailers are read with it.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/base/result.h"

namespace splitd::net {

struct HttpField {
  std::string name;
  std::string value;  // without surrounding blanks
};

class HttpFields {
 public:
  void add(std::string name, std::string value) {
    fields_.push_back({std::move(name), std::move(value)});
  }
  // Names are compared without case. The first value; nothing if there is none.
  std::optional<std::string_view> find(std::string_view name) const;
  size_t count(std::string_view name) const;
  // Whether a comma-separated list ("Connection: close, x") has this member, in any such field.
  bool lists(std::string_view name, std::string_view member) const;

  size_t size() const { return fields_.size(); }
  auto begin() const { return fields_.begin(); }
  auto end() const { return fields_.end(); }

 private:
  std::vector<HttpField> fields_;
};

[[nodiscard]] bool is_http_token(std::string_view text);
// What may stand behind the colon: no control characters but TAB, so no line break either.
[[nodiscard]] bool is_field_value(std::string_view text);
[[nodiscard]] Result<HttpField> parse_field(std::string_view line);
[[nodiscard]] std::string_view trim_blanks(std::string_view text);  // SP and HTAB

// Collects one line that may arrive in pieces.
class LineReader {
 public:
  // Takes bytes up to and including the line's end; how many were taken. A line of more than
  // `most` bytes, a bare CR and a bare LF are errors. complete() afterwards says whether to go on.
  Result<size_t> feed(std::span<const std::byte> bytes, size_t most);
  bool complete() const { return complete_; }
  std::string_view line() const { return line_; }  // without CRLF, once complete
  void next();                                     // forgets the line

 private:
  std::string line_;
  bool saw_cr_ = false;
  bool complete_ = false;
};

}  // namespace splitd::net
