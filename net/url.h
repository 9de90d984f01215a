// Owns: http and https URLs, strictly. Refused: other schemes, user:password@, spaces, control
// characters, backslashes, bytes beyond ASCII, broken %XX, hosts that are no names or addresses,
// ports outside 1…65535, more than kMaxUrlBytes. A fragment is dropped. Pure functions.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "runtime/base/result.h"

namespace splitd::net {

struct Url {
  std::string scheme;  // "http" or "https"
  std::string host;    // lower case; an IPv6 address without its brackets
  uint16_t port = 0;   // always set
  std::string path;    // begins with '/'
  std::string query;   // with its '?', or empty

  bool secure() const { return scheme == "https"; }
  std::string target() const { return path + query; }  // what a request line names
  std::string authority() const;                       // "host" or "host:port": the Host field
  std::string text() const;
  // Without the query, which may hold a signature: what messages show.
  std::string shown() const;
};

[[nodiscard]] Result<Url> parse_url(std::string_view text);

// A reference as a Location field holds it: absolute, "//host/…", "/path", or relative (RFC 3986).
[[nodiscard]] Result<Url> resolve_url(const Url& base, std::string_view reference);

// Scheme, host and port: whoever got a secret may get it again only where this holds.
[[nodiscard]] bool same_origin(const Url& a, const Url& b);

// Bytes other than letters, digits and -._~ become %XX. keep_slashes: '/' stays.
[[nodiscard]] std::string percent_encode(std::string_view text, bool keep_slashes = false);

// localhost, 127.0.0.0/8, ::1
[[nodiscard]] bool is_loopback(const std::string& host);

}  // namespace splitd::net
