// Any bytes at a channel, as a server (plain, with TLS behind it, after a WebSocket upgrade) and as
// a client: it ends, holds no more than it should, answers in ASCII lines or frames, and gives out
// the same messages however the bytes are cut. The first byte chooses which and the pieces.
#include <cstdlib>
#include <filesystem>
#include <string>
#include <string_view>

#include "net/channel.h"
#include "net/tls_context.h"
#include "runtime/base/files.h"

namespace {

using namespace splitd;
using namespace splitd::net;

constexpr std::string_view kUpgrade =
    "GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

enum class Mode : uint8_t { plain, tls, websocket, client, websocket_client };

std::shared_ptr<TlsContext> server_keys() {
  const std::string path =
      (std::filesystem::temp_directory_path() / "splitd-fuzz-psk-XXXXXX").string();
  std::string name = path;
  const FileDescriptor file(::mkstemp(name.data()));
  if (!write_all(file.get(), "a " + std::string(64, '1') + "\n").ok()) std::abort();
  auto context = TlsContext::server({.psk_file = name});
  std::filesystem::remove(name);
  if (!context.ok()) std::abort();
  return *context;
}

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

// What came of it, without what differs by chance (masks, keys).
struct Run {
  explicit Run(ChannelOptions options) : channel(std::move(options)) { take(); }

  void take() {
    while (!over) {
      const Result<ChannelEvent> event = channel.next();
      if (!event.ok()) {
        for (const char c : event.error().message) {
          if (static_cast<unsigned char>(c) < 0x20) std::abort();
        }
        out += "error " + event.error().message;
        over = true;
        break;
      }
      if (*event == ChannelEvent::need_more) break;
      if (*event == ChannelEvent::opened) out += "opened ";
      if (*event == ChannelEvent::message) {
        const Frame& frame = channel.frame();
        out.append(channel.header_text());
        out.append(reinterpret_cast<const char*>(frame.payload.data()), frame.payload.size());
        if (channel.is_open()) channel.send(R"({"type":"reply"})", frame.payload);
      }
      if (*event == ChannelEvent::http_request) {
        out.append(channel.request().target);
        channel.answer_http(200, "text/plain", "ok\n");
      }
      if (*event == ChannelEvent::closed) {
        out += "closed";
        over = true;
      }
    }
    if (channel.memory_bytes() > size_t{512} << 10) std::abort();
    while (true) {
      const size_t count = channel.pending().size();
      if (count == 0) break;
      sent += count;
      channel.consumed(count);
    }
    if (channel.has_pending() || (over && channel.unsent_bytes() > 0 && !channel.is_encrypted())) {
      std::abort();
    }
  }
  void feed(std::string_view text) {
    if (over) return;
    channel.feed(bytes_of(text));
    take();
  }

  Channel channel;
  std::string out;
  size_t sent = 0;
  bool over = false;
};

std::string run(std::string_view text, Mode mode, size_t piece,
                const std::shared_ptr<TlsContext>& tls) {
  ChannelOptions options;
  options.frames = {4096, 5000};
  options.host = "body:1";
  options.from_loopback = true;
  if (mode == Mode::tls) options.tls = tls;
  if (mode == Mode::client || mode == Mode::websocket_client) options.role = Role::client;
  options.websocket = mode == Mode::websocket_client;
  Run one(options);
  if (mode == Mode::websocket) one.feed(kUpgrade);
  for (size_t at = 0; at < text.size(); at += piece) one.feed(text.substr(at, piece));
  one.channel.feed_end();
  one.take();
  return one.out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const std::shared_ptr<TlsContext> tls = server_keys();
  if (size == 0) return 0;
  const auto mode = static_cast<Mode>(data[0] % 5);
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  const std::string whole = run(text, mode, text.size() + 1, tls);
  const std::string cut = run(text, mode, 1u + data[0] / 5, tls);
  // A handshake's error may differ in which of two faults was seen first.
  if (mode != Mode::tls && whole != cut) std::abort();
  return 0;
}
