// Two channels joined in memory, with the bytes between them at the test's mercy.
#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include "net/channel.h"
#include "tests/net/bytes.h"

namespace splitd::net {

// What came out of one channel.
struct Heard {
  bool opened = false;
  bool closed = false;
  std::vector<std::string> messages;  // header text, '|', payload
  std::string request;                // the target of a probe
  std::string error;
};

// Takes all events that are there.
inline void listen(Channel& channel, Heard& heard) {
  while (heard.error.empty() && !heard.closed) {
    const Result<ChannelEvent> event = channel.next();
    if (!event.ok()) {
      heard.error = event.error().message;
      return;
    }
    switch (*event) {
      case ChannelEvent::need_more:
        return;
      case ChannelEvent::opened:
        heard.opened = true;
        break;
      case ChannelEvent::message:
        heard.messages.push_back(std::string(channel.header_text()) + "|" +
                                 text_of(channel.frame().payload));
        break;
      case ChannelEvent::http_request:
        heard.request = std::string(channel.request().target);
        channel.answer_http(200, "text/plain", "ok\n");
        break;
      case ChannelEvent::closed:
        heard.closed = true;
        break;
    }
  }
}

inline std::string take_pending(Channel& channel, size_t most = SIZE_MAX) {
  std::string out;
  while (out.size() < most) {
    const auto bytes = channel.pending();
    if (bytes.empty()) break;
    const size_t count = std::min(bytes.size(), most - out.size());
    out += text_of(bytes.first(count));
    channel.consumed(count);
  }
  return out;
}

struct ChannelPair {
  ChannelPair(ChannelOptions for_client, ChannelOptions for_server)
      : client(std::move(for_client)), server(std::move(for_server)) {}

  // Moves bytes until nothing is left to move, `piece` at a time.
  void pump(size_t piece = SIZE_MAX) {
    while (true) {
      listen(client, client_heard);
      listen(server, server_heard);
      const std::string up = take_pending(client, piece);
      if (!up.empty()) server.feed(bytes_of(up));
      listen(server, server_heard);
      const std::string down = take_pending(server, piece);
      if (!down.empty()) client.feed(bytes_of(down));
      up_bytes += up.size();
      down_bytes += down.size();
      if (up.empty() && down.empty()) return;
    }
  }

  Channel client;
  Channel server;
  Heard client_heard;
  Heard server_heard;
  size_t up_bytes = 0;
  size_t down_bytes = 0;
};

}  // namespace splitd::net
