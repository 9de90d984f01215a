// Any bytes as WebSocket frames: the reader ends, keeps to its cap, and says the same however the
// bytes are cut. The first byte chooses the peer's role and the pieces.
#include <algorithm>
#include <cstdlib>
#include <string>
#include <string_view>

#include "net/websocket.h"

namespace {

using namespace splitd;
using namespace splitd::net;

constexpr uint64_t kMost = 3000;

std::string run(std::string_view text, WsReader::Peer peer, size_t piece_bytes) {
  WsReader reader(peer);
  reader.set_max_message(kMost);
  ByteBuffer in;
  std::string out;
  size_t message_bytes = 0;
  while (true) {
    const Result<WsStep> step = reader.step(in.bytes());
    if (!step.ok())
      return out + " refused " + std::to_string(static_cast<int>(reader.close_code()));
    if (step->consumed > in.size() || step->data.size() > step->consumed) std::abort();
    message_bytes += step->data.size();
    if (message_bytes > kMost) std::abort();
    out.append(reinterpret_cast<const char*>(step->data.data()), step->data.size());
    if (reader.control().size() > limits::kMaxControlFrameBytes) std::abort();
    in.consume(step->consumed);
    switch (step->kind) {
      case WsStep::Kind::need_more:
        if (step->consumed > 0) break;
        if (text.empty()) return out + " more";
        in.append(text.substr(0, piece_bytes));
        text.remove_prefix(std::min(piece_bytes, text.size()));
        break;
      case WsStep::Kind::data:
        if (step->consumed == 0) std::abort();
        break;
      case WsStep::Kind::message_end:
        message_bytes = 0;
        out += '|';
        break;
      case WsStep::Kind::ping:
      case WsStep::Kind::pong:
        out += static_cast<char>('0' + reader.control().size() % 10);
        break;
      case WsStep::Kind::close:
        return out + " close " + std::to_string(reader.peer_code());
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const auto peer = static_cast<WsReader::Peer>(data[0] & 1);
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  if (run(text, peer, text.size() + 1) != run(text, peer, 1u + (data[0] >> 1) % 29)) std::abort();
  return 0;
}
