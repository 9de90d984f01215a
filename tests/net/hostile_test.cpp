// The corpus of what peers should not send, and some that they may: hostile.json. One case a line:
//   bytes     pieces, each a text whose characters U+0000–U+00FF are bytes, or {"repeat", "times"};
//             "{accept}" becomes the right Sec-WebSocket-Accept
//   verdict   "N messages", "opened", "waits", "closed", "request TARGET", or "refused: TEXT", TEXT
//             being a part of the message
//   answer    a part of what goes back; silent: what may neither go back nor into the message
//   end       the peer's stream ends; ws: after a good upgrade; tls: the port has a PSK; loopback:
//             the peer is on this machine; client: the other end is tested; upgrade: by WebSocket
// Every case is fed whole and byte by byte, and must come out the same.
#include <gtest/gtest.h>

#include "net/channel.h"
#include "net/tls_context.h"
#include "net/websocket.h"
#include "runtime/base/files.h"
#include "runtime/base/json.h"
#include "runtime/base/utf8.h"
#include "tests/net/channel_pair.h"
#include "tests/temp_dir.h"

namespace splitd::net {
namespace {

constexpr FrameLimits kFrames{4096, 1000};

// Characters U+0000–U+00FF as the bytes that they name.
std::string bytes_named_by(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    const Utf8Step step = utf8_decode(text);
    EXPECT_LT(step.code_point, 0x100u);
    out.push_back(static_cast<char>(step.code_point));
    text.remove_prefix(step.length);
  }
  return out;
}

bool flag(Json one, std::string_view name) {
  const auto value = one.find(name);
  return value && value->to_bool() == true;
}

std::string text_field(Json one, std::string_view name) {
  const auto value = one.find(name);
  return value ? bytes_named_by(value->text()) : std::string();
}

std::string input_of(Json one) {
  std::string out;
  for (const Json piece : one.find("bytes")->elements()) {
    if (piece.is_string()) {
      out += bytes_named_by(piece.text());
      continue;
    }
    const std::string unit = text_field(piece, "repeat");
    for (uint64_t i = piece.find("times")->to_u64().value_or(0); i > 0; --i) out += unit;
  }
  return out;
}

struct Outcome {
  std::string verdict;
  std::string answer;
  size_t memory = 0;
};

std::string verdict_of(const Heard& heard, Json one) {
  if (!heard.error.empty()) return "refused: " + heard.error;
  if (heard.closed) return "closed";
  if (!heard.request.empty()) return "request " + heard.request;
  const bool upgrade =
      flag(one, "upgrade") || std::string_view(one.find("name")->text()).starts_with("upgrade:");
  if (heard.opened && upgrade && heard.messages.empty()) return "opened";
  if (!heard.opened) return "waits";
  const size_t count = heard.messages.size();
  return std::to_string(count) + (count == 1 ? " message" : " messages");
}

class Hostile : public ::testing::Test {
 protected:
  Hostile() {
    const TlsOptions keys{.psk_file = dir.path() + "/psk"};
    EXPECT_TRUE(write_file(keys.psk_file, "a " + std::string(64, '1'), 0600).ok());
    tls = *TlsContext::server(keys);
  }

  Outcome run(Json one, size_t piece) const {
    ChannelOptions options;
    options.role = flag(one, "client") ? Role::client : Role::server;
    options.websocket = flag(one, "upgrade");
    options.host = "body:7777";
    options.frames = kFrames;
    options.from_loopback = flag(one, "loopback");
    if (flag(one, "tls")) options.tls = tls;
    Channel channel(options);
    Heard heard;
    listen(channel, heard);
    std::string input = input_of(one);
    const std::string said = take_pending(channel);
    if (flag(one, "upgrade")) {
      const size_t at = said.find("Sec-WebSocket-Key: ") + 19;
      const std::string accept = websocket_accept(said.substr(at, said.find('\r', at) - at));
      for (size_t hole = 0; (hole = input.find("{accept}")) != input.npos;) {
        input.replace(hole, 8, accept);
      }
    }
    if (flag(one, "ws")) {
      channel.feed(
          bytes_of("GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                   "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13"
                   "\r\n\r\n"));
      listen(channel, heard);
      EXPECT_TRUE(take_pending(channel).starts_with("HTTP/1.1 101"));
    }
    Outcome out;
    for (size_t at = 0; at < input.size(); at += piece) {
      channel.feed(bytes_of(std::string_view(input).substr(at, piece)));
      listen(channel, heard);
      out.answer += take_pending(channel);
      if (!heard.error.empty()) break;
    }
    if (flag(one, "end")) {
      channel.feed_end();
      listen(channel, heard);
      out.answer += take_pending(channel);
    }
    out.verdict = verdict_of(heard, one);
    out.memory = channel.memory_bytes();
    return out;
  }

  TempDir dir;
  std::shared_ptr<TlsContext> tls;
};

TEST_F(Hostile, EveryCaseHasItsVerdict) {
  const auto text = read_file(SPLITD_TEST_DATA "/net/hostile.json");
  ASSERT_TRUE(text.ok()) << text.error().message;
  const auto doc = JsonDoc::parse_view(*text);
  ASSERT_TRUE(doc.ok()) << doc.error().message;
  size_t cases = 0;
  size_t refusals = 0;
  for (const Json one : doc->root().elements()) {
    SCOPED_TRACE(std::string(one.find("name")->text()));
    ++cases;
    const Outcome whole = run(one, SIZE_MAX / 2);
    const Outcome cut = run(one, 1);
    const std::string expected = text_field(one, "verdict");
    if (expected.starts_with("refused: ")) {
      ++refusals;
      EXPECT_TRUE(whole.verdict.starts_with("refused: ")) << whole.verdict;
      EXPECT_NE(whole.verdict.find(expected.substr(9)), std::string::npos) << whole.verdict;
    } else {
      EXPECT_EQ(whole.verdict, expected);
    }
    EXPECT_EQ(cut.verdict, whole.verdict) << "byte by byte";
    EXPECT_NE(whole.answer.find(text_field(one, "answer")), std::string::npos) << whole.answer;
    const bool masked = flag(one, "upgrade");  // with fresh random bytes each time
    EXPECT_TRUE(masked || cut.answer == whole.answer) << "byte by byte";
    if (const std::string silent = text_field(one, "silent"); !silent.empty()) {
      EXPECT_EQ((whole.answer + whole.verdict).find(silent), std::string::npos);
    }
    for (const char c : whole.verdict) EXPECT_GE(static_cast<unsigned char>(c), 0x20);
    EXPECT_LT(cut.memory, size_t{64} << 10);
  }
  EXPECT_GE(cases, 280u);
  EXPECT_GE(refusals, 200u);
}

}  // namespace
}  // namespace splitd::net
