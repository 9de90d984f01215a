// Owns: the few messages that the transport itself speaks: ping, pong, and the error that a peer
// gets when its transport is refused. All others belong to runtime/split. Their form is in
// net/PROTOCOL.md; "type" names them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "runtime/base/json.h"

namespace splitd::net {

inline constexpr std::string_view kTypePing = "ping";
inline constexpr std::string_view kTypePong = "pong";
inline constexpr std::string_view kTypeError = "error";

// {"type":"error","code":…,"message":…,"retry":…}. No peer bytes belong into the message.
[[nodiscard]] std::string error_header(std::string_view code, std::string_view message, bool retry);

// What a header's "type" is; empty where it is none.
[[nodiscard]] std::string_view message_type(Json header);

}  // namespace splitd::net
