#include "net/url.h"

#include <charconv>
#include <vector>

#include "net/limits.h"
#include "net/tcp.h"
#include "net/text.h"

namespace splitd::net {
namespace {

bool is_alnum(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}
bool is_hex(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

Error bad(std::string_view text, std::string why) {
  // A query may be a signature and a userinfo a password, so only the part before them is shown.
  std::string_view shown = text.substr(0, text.find_first_of("?#"));
  if (shown.find('@') != std::string_view::npos) shown = shown.substr(0, shown.find("//"));
  return usage_error("URL " + quoted(shown) + ": " + std::move(why));
}

std::string_view first_wrong(std::string_view text) {
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c <= 0x20 || c >= 0x7f) return "spaces, control characters and non-ASCII are not allowed";
    if (std::string_view("\"<>\\^`{|}").find(c) != std::string_view::npos) {
      return "it has a character that must be percent-encoded";
    }
    if (c == '%' && (i + 2 >= text.size() || !is_hex(text[i + 1]) || !is_hex(text[i + 2]))) {
      return "'%' must be followed by two hexadecimal digits";
    }
  }
  return {};
}

bool is_host_name(std::string_view host) {
  if (host.empty() || host.size() > limits::kMaxHostBytes) return false;
  size_t label = 0;
  for (const char c : host) {
    if (c == '.') {
      if (label == 0) return false;
      label = 0;
    } else if (is_alnum(c) || c == '-' || c == '_') {
      if (++label > 63) return false;
    } else {
      return false;
    }
  }
  return true;
}

// "host", "host:port", "[v6]:port" into url.host and url.port.
std::string_view parse_authority(std::string_view authority, Url& url) {
  if (authority.find('@') != std::string_view::npos) return "credentials do not belong in a URL";
  std::string_view port;
  bool has_port = false;
  if (!authority.empty() && authority.front() == '[') {
    const size_t close = authority.find(']');
    if (close == std::string_view::npos) return "'[' without ']'";
    url.host = lower_case(authority.substr(1, close - 1));
    if (ip_bytes(url.host).size() != 16) return "not an IPv6 address between the brackets";
    authority.remove_prefix(close + 1);
    has_port = !authority.empty();
    if (has_port && authority.front() != ':') return "only a port may follow the host";
    if (has_port) port = authority.substr(1);
  } else {
    const size_t colon = authority.find(':');
    has_port = colon != std::string_view::npos;
    if (has_port) port = authority.substr(colon + 1);
    url.host = lower_case(authority.substr(0, colon));
    if (!is_host_name(url.host)) return "not a host name or address";
    // inet_aton's older spellings (127.1, 0x7f000001) would reach hosts they do not look like.
    const std::string_view last = std::string_view(url.host).substr(url.host.rfind('.') + 1);
    const bool number = !last.empty() && last.find_first_not_of("0123456789") == last.npos;
    const bool hex = last.starts_with("0x");
    if ((number || hex) && ip_bytes(url.host).size() != 4) return "not a host name or address";
  }
  if (!has_port) {
    url.port = url.secure() ? 443 : 80;
    return {};
  }
  const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), url.port);
  if (error != std::errc() || end != port.data() + port.size() || url.port == 0) {
    return "a port is a number from 1 to 65535";
  }
  return {};
}

// RFC 3986 5.2.4, by segments.
std::string remove_dot_segments(std::string_view path) {
  std::vector<std::string_view> kept;
  bool directory = false;
  for (size_t begin = 1; begin <= path.size();) {
    const size_t slash = std::min(path.find('/', begin), path.size());
    const std::string_view segment = path.substr(begin, slash - begin);
    directory = segment == "." || segment == "..";
    if (segment == ".." && !kept.empty()) kept.pop_back();
    if (!directory) kept.push_back(segment);
    begin = slash + 1;
  }
  std::string out;
  for (const std::string_view segment : kept) out.append("/").append(segment);
  if (directory || out.empty()) out.push_back('/');
  return out;
}

void set_path_and_query(Url& url, std::string_view rest) {
  const size_t question = rest.find('?');
  const std::string_view path = rest.substr(0, question);
  url.path = path.empty() ? "/" : remove_dot_segments(path);
  url.query = question == std::string_view::npos ? "" : std::string(rest.substr(question));
}

}  // namespace

Result<Url> parse_url(std::string_view text) {
  if (text.size() > limits::kMaxUrlBytes) {
    return bad(text, "longer than " + std::to_string(limits::kMaxUrlBytes) + " bytes");
  }
  if (const std::string_view why = first_wrong(text); !why.empty()) {
    return bad(text, std::string(why));
  }
  Url url;
  const size_t colon = text.find("://");
  if (colon == std::string_view::npos) return bad(text, "it must begin with https:// or http://");
  url.scheme = lower_case(text.substr(0, colon));
  if (url.scheme != "http" && url.scheme != "https") {
    return bad(text, "it must begin with https:// or http://");
  }
  std::string_view rest = text.substr(colon + 3);
  rest = rest.substr(0, rest.find('#'));
  const size_t end = std::min(rest.find_first_of("/?"), rest.size());
  if (const std::string_view why = parse_authority(rest.substr(0, end), url); !why.empty()) {
    return bad(text, std::string(why));
  }
  set_path_and_query(url, rest.substr(end));
  return url;
}

Result<Url> resolve_url(const Url& base, std::string_view reference) {
  reference = reference.substr(0, reference.find('#'));
  if (reference.starts_with("//")) return parse_url(base.scheme + ":" + std::string(reference));
  const size_t first = reference.find_first_of(":/?");
  if (first != std::string_view::npos && reference[first] == ':') return parse_url(reference);
  std::string path;
  if (reference.empty()) {
    path = base.target();
  } else if (reference.front() == '/') {
    path = reference;
  } else if (reference.front() == '?') {
    path = base.path + std::string(reference);
  } else {
    path = base.path.substr(0, base.path.rfind('/') + 1) + std::string(reference);
  }
  return parse_url(base.scheme + "://" + base.authority() + path);
}

std::string Url::authority() const {
  const bool usual = port == (secure() ? 443 : 80);
  const bool six = host.find(':') != std::string::npos;
  std::string out = six ? "[" + host + "]" : host;
  return usual ? out : out + ":" + std::to_string(port);
}

std::string Url::text() const {
  return shown() + query;
}

std::string Url::shown() const {
  return scheme + "://" + authority() + path;
}

bool same_origin(const Url& a, const Url& b) {
  return a.scheme == b.scheme && a.host == b.host && a.port == b.port;
}

std::string percent_encode(std::string_view text, bool keep_slashes) {
  static constexpr char kHex[] = "0123456789ABCDEF";
  std::string out;
  for (const char c : text) {
    if (is_alnum(c) || std::string_view("-._~").find(c) != std::string_view::npos ||
        (keep_slashes && c == '/')) {
      out.push_back(c);
    } else {
      const auto byte = static_cast<unsigned char>(c);
      out.push_back('%');
      out.push_back(kHex[byte >> 4]);
      out.push_back(kHex[byte & 15]);
    }
  }
  return out;
}

bool is_loopback(const std::string& host) {
  if (host == "localhost") return true;
  const std::string bytes = ip_bytes(host);
  if (bytes.size() == 4) return bytes[0] == 127;
  return bytes.size() == 16 && bytes == std::string(15, '\0') + '\1';
}

}  // namespace splitd::net
