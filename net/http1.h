// Owns: HTTP/1.1 messages as bytes: a response parser, the decoder of bodies (which a request
// parser will share) and a request writer. Knows no sockets: it consumes what it is given, in any
// pieces, and says when it is done. Refuses everything that two parsers could read differently: a
// length beside chunks, a second length, codings other than chunked, folded or unclean fields.
// After an error the parser is of no more use.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "net/http_fields.h"
#include "runtime/base/result.h"

namespace splitd::net {

// Leaves room to add offsets without overflow.
inline constexpr uint64_t kMaxBodyBytes = uint64_t{1} << 62;

enum class BodyKind : uint8_t { none, length, chunked, until_close };

class BodyDecoder {
 public:
  BodyDecoder() = default;  // of a message without a body
  BodyDecoder(BodyKind kind, uint64_t length);

  struct Step {
    size_t consumed = 0;              // from the front of what was given
    std::span<const std::byte> data;  // a part of it that belongs to the body
  };
  // One step; the caller goes on until all is consumed or done(). Consumes at least one byte of a
  // non-empty input unless done().
  Result<Step> decode(std::span<const std::byte> bytes);
  bool done() const { return state_ == State::done; }
  // The connection ended; an error if the body had not.
  Status end_of_stream();

  BodyKind kind() const { return kind_; }
  // Where known beforehand.
  std::optional<uint64_t> length() const;

 private:
  enum class State : uint8_t { done, data, until_close, chunk_size, chunk_end, trailer };
  Status take_line();

  BodyKind kind_ = BodyKind::none;
  State state_ = State::done;
  uint64_t length_ = 0;
  uint64_t left_ = 0;  // of the body or of the chunk
  size_t trailer_bytes_ = 0;
  LineReader line_;
};

struct HttpResponseHead {
  int status = 0;
  int minor_version = 1;  // HTTP/1.<this>
  HttpFields fields;
};

// What the request was decides whether the answer has a body.
enum class AnswerTo : uint8_t { get, head, connect };

class HttpResponseParser {
 public:
  explicit HttpResponseParser(AnswerTo request = AnswerTo::get) : request_(request) {}

  // Consumes bytes up to the end of the head and not one more. Interim answers (1xx) are dropped,
  // except 101, which ends HTTP on the connection.
  Result<size_t> parse_head(std::span<const std::byte> bytes);
  bool head_done() const { return head_done_; }
  const HttpResponseHead& head() const { return head_; }

  // From head_done() on.
  Result<BodyDecoder::Step> parse_body(std::span<const std::byte> bytes) {
    return body_.decode(bytes);
  }
  const BodyDecoder& body() const { return body_; }
  bool done() const { return head_done_ && body_.done(); }
  // The connection ended: an error unless the message may end so.
  Status end_of_stream();
  // Whether another request may follow on this connection, once done().
  bool reusable() const;

 private:
  Status take_line();
  Status parse_status_line(std::string_view line);
  Status start_body();

  AnswerTo request_;
  HttpResponseHead head_;
  bool has_status_ = false;
  bool head_done_ = false;
  int interim_heads_ = 0;
  size_t head_bytes_ = 0;
  LineReader line_;
  BodyDecoder body_;
};

// Exactly one decimal number, no sign, no blanks; nothing else.
[[nodiscard]] std::optional<uint64_t> parse_decimal(std::string_view text);

// "bytes 0-499/1234": which part of how much an answer holds. `total` is nothing for '*'.
struct ContentRange {
  uint64_t begin = 0;
  uint64_t end = 0;  // one past the last byte
  std::optional<uint64_t> total;
};
// Nothing for what is not exactly that, for empty ranges and for ones beyond the total.
[[nodiscard]] std::optional<ContentRange> parse_content_range(std::string_view value);

// The head of a request, blank line included. Refuses what would break out of a line. `fields` must
// not hold Content-Length, which is written for a body of `body_bytes`.
[[nodiscard]] Result<std::string> make_request_head(std::string_view method,
                                                    std::string_view target,
                                                    const HttpFields& fields,
                                                    std::optional<uint64_t> body_bytes = {});

}  // namespace splitd::net
