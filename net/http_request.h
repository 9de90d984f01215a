// Owns: HTTP/1.1 requests as a server reads them, and the head of its answer. Incremental, knows no
// sockets. Refuses everything that two parsers could read differently (a second length, a length
// beside chunks, codings other than chunked, folded or unclean fields, bare CR or LF, more or less
// than one Host), targets that are no path, and versions other than 1.0 and 1.1. After an error the
// parser is of no more use; status() is what the answer says.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "net/http1.h"
#include "net/limits.h"

namespace splitd::net {

struct HttpRequestHead {
  std::string method;
  std::string target;     // "/path?query", or "*" of OPTIONS
  int minor_version = 1;  // HTTP/1.<this>
  HttpFields fields;
};

class HttpRequestParser {
 public:
  explicit HttpRequestParser(size_t max_head_bytes = limits::kMaxRequestHeadBytes)
      : max_head_bytes_(max_head_bytes) {}

  // Consumes bytes up to the end of the head and not one more.
  Result<size_t> parse_head(std::span<const std::byte> bytes);
  bool head_done() const { return head_done_; }
  const HttpRequestHead& head() const { return head_; }

  // From head_done() on. A request without a length has no body.
  Result<BodyDecoder::Step> parse_body(std::span<const std::byte> bytes) {
    return body_.decode(bytes);
  }
  const BodyDecoder& body() const { return body_; }
  bool done() const { return head_done_ && body_.done(); }
  // After an error: the status to refuse with.
  int status() const { return status_; }

 private:
  Status take_line();
  Status parse_request_line(std::string_view line);
  Status finish_head();
  Error refuse(int status, std::string message);

  size_t max_head_bytes_;
  HttpRequestHead head_;
  bool has_request_line_ = false;
  bool head_done_ = false;
  int status_ = 400;
  size_t head_bytes_ = 0;
  LineReader line_;
  BodyDecoder body_;
};

// "Not Found"; "?" for a status that splitd does not use.
[[nodiscard]] std::string_view http_reason(int status);

// The head of an answer, blank line included, with Content-Length. `fields` are the server's own.
[[nodiscard]] std::string make_response_head(int status, const HttpFields& fields,
                                             uint64_t body_bytes);

}  // namespace splitd::net
