// One end for interop.py: `serve` echoes until stdin ends and prints its port; `connect PORT` talks
// WebSocket to an echoing server and fails where anything comes back changed.
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "net/client.h"
#include "net/control.h"
#include "tests/net/bytes.h"
#include "tests/net/echo_server.h"

namespace splitd::net {
namespace {

int serve() {
  EchoServer server;
  std::printf("%u\n", server.port());
  std::fflush(stdout);
  char byte;
  while (::read(STDIN_FILENO, &byte, 1) > 0) {
  }
  return 0;
}

Status talk(uint16_t port) {
  SPLITD_ASSIGN(const auto io, LoopThread::start());
  ClientOptions options;
  options.host = "127.0.0.1";
  options.port = port;
  options.websocket = true;
  options.frames = {limits::kMaxFrameHeaderBytes, EchoServer::kMaxPayload};
  const Wait soon = Wait::for_at_most(milliseconds(20'000));
  SPLITD_ASSIGN(const auto client, Client::connect(*io, options, soon));
  SPLITD_TRY(client->send(R"({"type":"hello"})"));
  SPLITD_ASSIGN(const Frame welcome, client->receive(soon));
  if (message_type(welcome.header) != "welcome") return failed("no welcome");
  for (const size_t size : {0u, 1u, 100u, 126u, 65'536u, 1'000'000u}) {
    std::string payload(size, '\0');
    for (size_t i = 0; i < size; ++i) payload[i] = static_cast<char>(i * 7 + size);
    SPLITD_TRY(client->send(R"({"type":"echo"})", bytes_of(payload)));
    SPLITD_ASSIGN(const Frame echo, client->receive(soon));
    if (text_of(echo.payload) != payload) return failed("an echo of other bytes");
  }
  client->ping();
  client->close();
  return {};
}

}  // namespace
}  // namespace splitd::net

int main(int argc, char** argv) {
  const std::string mode = argc > 1 ? argv[1] : "";
  if (mode == "serve") return splitd::net::serve();
  if (mode != "connect" || argc < 3) return 2;
  const splitd::Status status =
      splitd::net::talk(static_cast<uint16_t>(std::strtoul(argv[2], nullptr, 10)));
  if (!status.ok()) std::fprintf(stderr, "%s\n", status.error().message.c_str());
  return status.ok() ? 0 : 1;
}
