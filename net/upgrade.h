// Owns: the step from HTTP to WebSocket (RFC 6455 §4), both sides, as values: no bytes, no sockets.
// Refuses: any Origin (a browser's page may not speak for its visitor), other paths than /ws, other
// versions than 13, keys that are none, and answers that agree to what was not asked.
#pragma once

#include <string>
#include <string_view>

#include "net/http_request.h"

namespace splitd::net {

inline constexpr std::string_view kWebSocketPath = "/ws";
// The Upgrade field of an answer that means: the same again, through TLS (RFC 2817).
inline constexpr std::string_view kUpgradeToTls = "TLS/1.2";

// What a server says to a request: 101 with its fields, or why not.
struct RequestVerdict {
  int status = 400;
  HttpFields fields;
  std::string reason;  // the answer's body and the log's text; holds no byte of the peer's
  bool probe = false;  // a plain GET or HEAD without a body: the owner answers it
};
[[nodiscard]] RequestVerdict judge_request(const HttpRequestHead& head, const BodyDecoder& body);

[[nodiscard]] Result<std::string> make_upgrade_request(const std::string& host,
                                                       const std::string& key);
[[nodiscard]] Status check_upgrade_answer(const HttpResponseHead& head, std::string_view key);

}  // namespace splitd::net
