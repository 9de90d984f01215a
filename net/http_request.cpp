#include "net/http_request.h"

#include "net/text.h"

namespace splitd::net {
namespace {

// host[:port] as RFC 3986 spells it, loosely: what matters is that nothing else hides in it.
bool is_host(std::string_view text) {
  if (text.empty() || text.size() > limits::kMaxHostBytes + 8) return false;
  for (const char c : text) {
    const bool alnum = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    if (!alnum && std::string_view("-._~:[]%!$&'()*+,;=").find(c) == std::string_view::npos) {
      return false;
    }
  }
  return true;
}

}  // namespace

Error HttpRequestParser::refuse(int status, std::string message) {
  status_ = status;
  return peer_error(std::move(message));
}

Result<size_t> HttpRequestParser::parse_head(std::span<const std::byte> bytes) {
  size_t used = 0;
  while (used < bytes.size() && !head_done_) {
    const size_t left = max_head_bytes_ - head_bytes_;
    Result<size_t> count = line_.feed(bytes.subspan(used), left);
    if (!count) {
      if (line_.line().size() >= left) status_ = has_request_line_ ? 431 : 414;
      return count.take_error();
    }
    used += *count;
    if (!line_.complete()) continue;
    head_bytes_ += line_.line().size() + 2;
    if (head_bytes_ > max_head_bytes_) {
      return refuse(431,
                    "HTTP request head longer than " + std::to_string(max_head_bytes_) + " bytes");
    }
    SPLITD_TRY(take_line());
    line_.next();
  }
  return used;
}

Status HttpRequestParser::take_line() {
  const std::string_view line = line_.line();
  if (!has_request_line_) {
    SPLITD_TRY(parse_request_line(line));
    has_request_line_ = true;
    return {};
  }
  if (line.empty()) {
    SPLITD_TRY(finish_head());
    head_done_ = true;
    return {};
  }
  if (head_.fields.size() >= limits::kMaxHttpFields) {
    return refuse(431, "more than " + std::to_string(limits::kMaxHttpFields) + " HTTP fields");
  }
  SPLITD_ASSIGN(HttpField field, parse_field(line));
  head_.fields.add(std::move(field.name), std::move(field.value));
  return {};
}

Status HttpRequestParser::parse_request_line(std::string_view line) {
  // "GET /path HTTP/1.1", one blank each.
  const size_t first = line.find(' ');
  const size_t second = first == line.npos ? line.npos : line.find(' ', first + 1);
  if (second == line.npos) return refuse(400, "not an HTTP request: " + quoted(line));
  const std::string_view method = line.substr(0, first);
  const std::string_view target = line.substr(first + 1, second - first - 1);
  const std::string_view version = line.substr(second + 1);
  if (!is_http_token(method)) return refuse(400, "bad HTTP method " + quoted(method));
  for (const char c : target) {
    if (c <= 0x20 || c >= 0x7f) return refuse(400, "bad HTTP target " + quoted(target));
  }
  if (!target.starts_with('/') && !(target == "*" && method == "OPTIONS")) {
    return refuse(400, "HTTP target " + quoted(target) + " is no path");
  }
  if (target.size() > limits::kMaxUrlBytes) return refuse(414, "HTTP target too long");
  if (version != "HTTP/1.1" && version != "HTTP/1.0") {
    const bool other = version.size() == 8 && version.starts_with("HTTP/");
    return refuse(other ? 505 : 400, "bad HTTP version " + quoted(version));
  }
  head_.method = method;
  head_.target = target;
  head_.minor_version = version.back() - '0';
  return {};
}

Status HttpRequestParser::finish_head() {
  const HttpFields& fields = head_.fields;
  const size_t hosts = fields.count("Host");
  if (hosts > 1) return refuse(400, "two Host fields");
  if (hosts == 0 && head_.minor_version == 1) return refuse(400, "no Host field");
  if (hosts == 1 && !is_host(*fields.find("Host"))) {
    return refuse(400, "bad Host " + quoted(*fields.find("Host")));
  }
  const size_t lengths = fields.count("Content-Length");
  const size_t codings = fields.count("Transfer-Encoding");
  if (lengths > 1) return refuse(400, "two Content-Length fields");
  if (lengths > 0 && codings > 0) {
    return refuse(400, "Content-Length beside Transfer-Encoding: which one holds is ambiguous");
  }
  if (lengths == 1) {
    const std::string_view text = *fields.find("Content-Length");
    const std::optional<uint64_t> length = parse_decimal(text);
    if (!length || *length > kMaxBodyBytes) {
      return refuse(400, "bad Content-Length " + quoted(text));
    }
    body_ = BodyDecoder(BodyKind::length, *length);
  }
  if (codings > 0) {
    if (head_.minor_version == 0) return refuse(400, "Transfer-Encoding in HTTP/1.0");
    const std::string_view coding = *fields.find("Transfer-Encoding");
    if (codings > 1 || !equal_ignoring_case(coding, "chunked")) {
      return refuse(501, "Transfer-Encoding " + quoted(coding) + ": only chunked is supported");
    }
    body_ = BodyDecoder(BodyKind::chunked, 0);
  }
  return {};
}

std::string_view http_reason(int status) {
  switch (status) {
    case 101:
      return "Switching Protocols";
    case 200:
      return "OK";
    case 400:
      return "Bad Request";
    case 403:
      return "Forbidden";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 413:
      return "Content Too Large";
    case 414:
      return "URI Too Long";
    case 426:
      return "Upgrade Required";
    case 431:
      return "Request Header Fields Too Large";
    case 500:
      return "Internal Server Error";
    case 501:
      return "Not Implemented";
    case 503:
      return "Service Unavailable";
    case 505:
      return "HTTP Version Not Supported";
    default:
      return "?";
  }
}

std::string make_response_head(int status, const HttpFields& fields, uint64_t body_bytes) {
  std::string out = "HTTP/1.1 " + std::to_string(status) + " ";
  out.append(http_reason(status)).append("\r\n");
  for (const HttpField& field : fields) {
    out.append(field.name).append(": ").append(field.value).append("\r\n");
  }
  if (status != 101) out += "Content-Length: " + std::to_string(body_bytes) + "\r\n";
  out += "\r\n";
  return out;
}

}  // namespace splitd::net
