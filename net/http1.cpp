#include "net/http1.h"

#include <charconv>

#include "net/limits.h"
#include "net/text.h"

namespace splitd::net {
std::optional<uint64_t> parse_decimal(std::string_view text) {
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::optional<ContentRange> parse_content_range(std::string_view value) {
  constexpr std::string_view kUnit = "bytes ";
  if (!value.starts_with(kUnit)) return std::nullopt;
  value.remove_prefix(kUnit.size());
  const size_t dash = value.find('-');
  const size_t slash = value.find('/');
  if (dash == value.npos || slash == value.npos || dash > slash) return std::nullopt;
  const auto first = parse_decimal(value.substr(0, dash));
  const auto last = parse_decimal(value.substr(dash + 1, slash - dash - 1));
  const std::string_view total_text = value.substr(slash + 1);
  const auto total = parse_decimal(total_text);
  if (!first || !last || (!total && total_text != "*")) return std::nullopt;
  if (*last < *first || *last >= total.value_or(kMaxBodyBytes)) return std::nullopt;
  return ContentRange{*first, *last + 1, total};
}

// --- Bodies

BodyDecoder::BodyDecoder(BodyKind kind, uint64_t length)
    : kind_(kind), length_(length), left_(length) {
  switch (kind) {
    case BodyKind::none:
      break;
    case BodyKind::length:
      state_ = length == 0 ? State::done : State::data;
      break;
    case BodyKind::chunked:
      state_ = State::chunk_size;
      break;
    case BodyKind::until_close:
      state_ = State::until_close;
      break;
  }
}

std::optional<uint64_t> BodyDecoder::length() const {
  if (kind_ == BodyKind::none) return 0;
  if (kind_ == BodyKind::length) return length_;
  return std::nullopt;
}

Result<BodyDecoder::Step> BodyDecoder::decode(std::span<const std::byte> bytes) {
  if (state_ == State::done || bytes.empty()) return Step{};
  if (state_ == State::until_close) return Step{bytes.size(), bytes};
  if (state_ == State::data) {
    const size_t count = bytes.size() < left_ ? bytes.size() : static_cast<size_t>(left_);
    left_ -= count;
    if (left_ == 0) state_ = kind_ == BodyKind::chunked ? State::chunk_end : State::done;
    return Step{count, bytes.first(count)};
  }
  const size_t most = state_ == State::trailer ? limits::kMaxHttpHeadBytes - trailer_bytes_
                                               : limits::kMaxChunkLineBytes;
  SPLITD_ASSIGN(const size_t used, line_.feed(bytes, most));
  if (line_.complete()) {
    SPLITD_TRY(take_line());
    line_.next();
  }
  return Step{used, {}};
}

Status BodyDecoder::take_line() {
  const std::string_view line = line_.line();
  if (state_ == State::chunk_end) {
    if (!line.empty()) return peer_error("HTTP chunk longer than its stated size");
    state_ = State::chunk_size;
    return {};
  }
  if (state_ == State::trailer) {
    if (line.empty()) {
      state_ = State::done;
      return {};
    }
    trailer_bytes_ += line.size() + 2;  // one that is exactly full leaves no room for its CRLF
    if (trailer_bytes_ > limits::kMaxHttpHeadBytes) return peer_error("HTTP trailers too long");
    const Result<HttpField> field = parse_field(line);  // checked, then dropped
    return field.ok() ? Status() : Status(field.error());
  }
  const std::string_view digits = trim_blanks(line.substr(0, line.find(';')));
  uint64_t size = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), size, 16);
  const bool starts_well = !digits.empty() && line.starts_with(digits);
  if (!starts_well || error != std::errc() || end != digits.data() + digits.size() ||
      size > kMaxBodyBytes || !is_field_value(line)) {
    return peer_error("HTTP chunk with a bad size: " + quoted(line));
  }
  left_ = size;
  state_ = size == 0 ? State::trailer : State::data;
  return {};
}

Status BodyDecoder::end_of_stream() {
  if (state_ == State::until_close) state_ = State::done;
  if (state_ == State::done) return {};
  if (kind_ == BodyKind::length) {
    return peer_error("the connection ended " + std::to_string(left_) +
                      " bytes before the end of " + std::to_string(length_));
  }
  return peer_error("the connection ended in the middle of a chunked body");
}

// --- Responses

Result<size_t> HttpResponseParser::parse_head(std::span<const std::byte> bytes) {
  size_t used = 0;
  while (used < bytes.size() && !head_done_) {
    const size_t left = limits::kMaxHttpHeadBytes - head_bytes_;
    SPLITD_ASSIGN(const size_t count, line_.feed(bytes.subspan(used), left));
    used += count;
    if (!line_.complete()) continue;
    head_bytes_ += line_.line().size() + 2;
    if (head_bytes_ > limits::kMaxHttpHeadBytes) {
      return peer_error("HTTP head longer than " + std::to_string(limits::kMaxHttpHeadBytes) +
                        " bytes");
    }
    SPLITD_TRY(take_line());
    line_.next();
  }
  return used;
}

Status HttpResponseParser::take_line() {
  const std::string_view line = line_.line();
  if (!has_status_) {
    SPLITD_TRY(parse_status_line(line));
    has_status_ = true;
    return {};
  }
  if (!line.empty()) {
    if (head_.fields.size() >= limits::kMaxHttpFields) {
      return peer_error("more than " + std::to_string(limits::kMaxHttpFields) + " HTTP fields");
    }
    SPLITD_ASSIGN(HttpField field, parse_field(line));
    head_.fields.add(std::move(field.name), std::move(field.value));
    return {};
  }
  if (head_.status / 100 == 1 && head_.status != 101) {
    if (++interim_heads_ > limits::kMaxInterimHeads) return peer_error("endless HTTP 1xx answers");
    head_ = {};
    has_status_ = false;
    return {};
  }
  SPLITD_TRY(start_body());
  head_done_ = true;
  return {};
}

Status HttpResponseParser::parse_status_line(std::string_view line) {
  // "HTTP/1.1 200 OK"; the reason, and the blank before it, are often missing.
  const auto digit = [&](size_t i) { return line[i] >= '0' && line[i] <= '9'; };
  const bool shaped = line.size() >= 12 && line.starts_with("HTTP/1.") &&
                      (line[7] == '0' || line[7] == '1') && line[8] == ' ' && digit(9) &&
                      digit(10) && digit(11) && (line.size() == 12 || line[12] == ' ') &&
                      is_field_value(line);
  if (!shaped) return peer_error("not an HTTP/1.1 answer: " + quoted(line));
  head_.minor_version = line[7] - '0';
  head_.status = (line[9] - '0') * 100 + (line[10] - '0') * 10 + (line[11] - '0');
  if (head_.status < 100 || head_.status > 599) {
    return peer_error("HTTP status " + std::to_string(head_.status) + " does not exist");
  }
  return {};
}

Status HttpResponseParser::start_body() {
  const HttpFields& fields = head_.fields;
  const size_t lengths = fields.count("Content-Length");
  const size_t codings = fields.count("Transfer-Encoding");
  if (lengths > 1) return peer_error("two Content-Length fields");
  if (codings > 0 && lengths > 0) {
    return peer_error("Content-Length beside Transfer-Encoding: which one holds is ambiguous");
  }
  std::optional<uint64_t> length;
  if (lengths == 1) {
    const std::string_view text = *fields.find("Content-Length");
    length = parse_decimal(text);
    if (!length || *length > kMaxBodyBytes) {
      return peer_error("bad Content-Length " + quoted(text));
    }
  }
  if (codings > 0) {
    const std::string_view coding = *fields.find("Transfer-Encoding");
    if (codings > 1 || !equal_ignoring_case(coding, "chunked") || head_.minor_version == 0) {
      return peer_error("Transfer-Encoding " + quoted(coding) + ": only chunked is supported");
    }
  }
  const int status = head_.status;
  const bool bodiless = request_ == AnswerTo::head || status == 101 || status == 204 ||
                        status == 304 || (request_ == AnswerTo::connect && status / 100 == 2);
  if (bodiless) return {};
  if (codings > 0) {
    body_ = BodyDecoder(BodyKind::chunked, 0);
  } else if (length) {
    body_ = BodyDecoder(BodyKind::length, *length);
  } else {
    body_ = BodyDecoder(BodyKind::until_close, 0);
  }
  return {};
}

Status HttpResponseParser::end_of_stream() {
  if (head_done_) return body_.end_of_stream();
  const bool nothing = head_bytes_ == 0 && line_.line().empty() && interim_heads_ == 0;
  return peer_error(nothing ? "the connection ended before an answer"
                            : "the connection ended inside the head of the answer");
}

bool HttpResponseParser::reusable() const {
  return done() && body_.kind() != BodyKind::until_close && head_.minor_version == 1 &&
         head_.status != 101 && !head_.fields.lists("Connection", "close");
}

// --- Requests

Result<std::string> make_request_head(std::string_view method, std::string_view target,
                                      const HttpFields& fields,
                                      std::optional<uint64_t> body_bytes) {
  if (!is_http_token(method)) return usage_error("bad HTTP method " + quoted(method));
  for (const char c : target) {
    if (c <= 0x20 || c >= 0x7f) return usage_error("bad HTTP request target " + quoted(target));
  }
  if (target.empty()) return usage_error("an HTTP request needs a target");
  std::string out;
  out.append(method).append(" ").append(target).append(" HTTP/1.1\r\n");
  for (const HttpField& field : fields) {
    // The value may be a secret: it is not shown.
    if (!is_http_token(field.name) || !is_field_value(field.value)) {
      return usage_error("bad value for the HTTP field " + quoted(field.name));
    }
    out.append(field.name).append(": ").append(field.value).append("\r\n");
  }
  if (body_bytes) out += "Content-Length: " + std::to_string(*body_bytes) + "\r\n";
  out += "\r\n";
  return out;
}

}  // namespace splitd::net
