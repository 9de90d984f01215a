#include "net/client.h"

#include <gtest/gtest.h>

#include <string>

#include "net/control.h"
#include "net/tcp.h"
#include "net/tls_context.h"
#include "tests/net/bytes.h"
#include "tests/net/echo_server.h"
#include "tests/temp_dir.h"

namespace splitd::net {
namespace {

Wait soon() {
  return Wait::for_at_most(milliseconds(20'000));
}

struct Way {
  const char* name;
  bool websocket;
  bool tls;
};

class ClientTest : public ::testing::TestWithParam<Way> {
 protected:
  ClientTest() {
    if (GetParam().tls) {
      const TlsOptions keys{.psk_file = dir.path() + "/psk"};
      EXPECT_TRUE(write_file(keys.psk_file, "robot " + std::string(64, '5'), 0600).ok());
      client_tls = *TlsContext::client(keys);
      server_options.tls = *TlsContext::server(keys);
    }
    auto started = LoopThread::start();
    EXPECT_TRUE(started.ok());
    io = std::move(*started);
  }
  ClientOptions to(const EchoServer& server) const {
    ClientOptions options;
    options.host = "127.0.0.1";
    options.port = server.port();
    options.websocket = GetParam().websocket;
    options.tls = client_tls;
    options.frames = {limits::kMaxFrameHeaderBytes, EchoServer::kMaxPayload};
    return options;
  }
  std::unique_ptr<Client> connect(const ClientOptions& options) {
    auto client = Client::connect(*io, options, soon());
    EXPECT_TRUE(client.ok()) << client.error().message;
    if (!client.ok()) return nullptr;
    EXPECT_TRUE((*client)->send(R"({"type":"hello"})").ok());
    const auto welcome = (*client)->receive(soon());
    EXPECT_TRUE(welcome.ok()) << welcome.error().message;
    if (!welcome.ok()) return nullptr;
    EXPECT_EQ(message_type(welcome->header), "welcome");
    (*client)->release();
    return std::move(*client);
  }
  TempDir dir;
  std::shared_ptr<TlsContext> client_tls;
  ServerOptions server_options;
  std::unique_ptr<LoopThread> io;
};

TEST_P(ClientTest, MessagesOfAllSizesComeBack) {
  EchoServer server(server_options);
  const auto client = connect(to(server));
  ASSERT_TRUE(client);
  for (const size_t size : {0u, 1u, 125u, 126u, 8192u, 65'535u, 65'536u, 3'000'000u}) {
    std::string payload(size, '\0');
    for (size_t i = 0; i < size; ++i) payload[i] = static_cast<char>(i * 31 + size);
    ASSERT_TRUE(client->send(R"({"type":"echo"})", bytes_of(payload)).ok());
    const auto reply = client->receive(soon());
    ASSERT_TRUE(reply.ok()) << reply.error().message;
    EXPECT_EQ(text_of(reply->payload), payload) << size;
    if (size % 2 == 0) client->release();
  }
  EXPECT_EQ(server.opened(),
            std::vector<std::string>{(GetParam().tls ? "psk:robot " : "addr:127.0.0.1 ") +
                                     std::string(GetParam().name)});
  EXPECT_EQ(client->transport_name(), GetParam().name);
}

TEST_P(ClientTest, SeveralInFlightComeInOrder) {
  EchoServer server(server_options);
  const auto client = connect(to(server));
  ASSERT_TRUE(client);
  // More than the I/O thread keeps: TCP holds the rest.
  constexpr int kMany = 200;
  for (int i = 0; i < kMany; ++i) {
    const std::string payload = std::to_string(i) + std::string(20'000, 'x');
    ASSERT_TRUE(client->send(R"({"type":"echo"})", bytes_of(payload)).ok());
  }
  while (server.messages.load() < kMany) std::this_thread::yield();
  for (int i = 0; i < kMany; ++i) {
    const auto reply = client->receive(soon());
    ASSERT_TRUE(reply.ok()) << reply.error().message;
    EXPECT_TRUE(text_of(reply->payload).starts_with(std::to_string(i) + "x"));
    if (i % 3 == 0) client->release();
  }
  const auto none = client->receive_until({Clock::time_point::min(), nullptr});
  ASSERT_TRUE(none.ok());
  EXPECT_FALSE(none->has_value());
}

TEST_P(ClientTest, ADeadlineLeavesItAsItWas) {
  EchoServer server(server_options);
  const auto client = connect(to(server));
  ASSERT_TRUE(client);
  const auto none = client->receive(Wait::for_at_most(milliseconds(5)));
  ASSERT_FALSE(none.ok());
  EXPECT_NE(none.error().message.find("timed out"), std::string::npos);
  EXPECT_TRUE(client->is_open());
  Cancellation cancel;
  cancel.cancel();
  EXPECT_EQ(client->receive({Clock::time_point::max(), &cancel}).error().kind,
            ErrorKind::interrupted);
  ASSERT_TRUE(client->send(R"({"type":"echo"})").ok());
  EXPECT_TRUE(client->receive(soon()).ok());
}

TEST_P(ClientTest, PingsAreAnsweredWhileTheCallerComputes) {
  server_options.ping_after = milliseconds(10);
  server_options.pong_timeout = milliseconds(5000);
  EchoServer server(server_options);
  const auto client = connect(to(server));
  ASSERT_TRUE(client);
  // Nobody receives; the server hears from us nevertheless, or it would have nothing to count.
  const uint64_t before = server.last()->bytes_in();
  while (server.last()->bytes_in() < before + 100) std::this_thread::yield();
  EXPECT_TRUE(client->is_open());
  client->ping();
  while (!client->min_round_trip()) std::this_thread::yield();
  EXPECT_LT(*client->min_round_trip(), std::chrono::seconds(10));
}

TEST_P(ClientTest, AServerThatGoesIsNoticed) {
  auto server = std::make_unique<EchoServer>(server_options);
  const auto client = connect(to(*server));
  ASSERT_TRUE(client);
  server.reset();
  const auto reply = client->receive(soon());
  ASSERT_FALSE(reply.ok());
  EXPECT_EQ(reply.error().kind, ErrorKind::peer);
  EXPECT_FALSE(client->is_open());
  EXPECT_FALSE(client->send(R"({"type":"echo"})").ok());
}

TEST_P(ClientTest, AClosingServerSaysSo) {
  EchoServer server(server_options);
  const auto client = connect(to(server));
  ASSERT_TRUE(client);
  ASSERT_TRUE(client->send(R"({"type":"echo"})", bytes_of("last words")).ok());
  ASSERT_TRUE(client->send(R"({"type":"bye"})").ok());
  const auto reply = client->receive(soon());
  ASSERT_TRUE(reply.ok()) << reply.error().message;
  EXPECT_EQ(text_of(reply->payload), "last words");
  const auto end = client->receive(soon());
  ASSERT_FALSE(end.ok());
  EXPECT_NE(end.error().message.find("closed the connection"), std::string::npos)
      << end.error().message;
}

TEST_P(ClientTest, AHandshakeHasADeadline) {
  auto listener = TcpListener::listen("127.0.0.1", 0);
  ASSERT_TRUE(listener.ok());
  if (!GetParam().tls && !GetParam().websocket) return;  // raw TCP has no handshake
  ClientOptions options;
  options.host = "127.0.0.1";
  options.port = listener->port();
  options.websocket = GetParam().websocket;
  options.tls = client_tls;
  options.connect_timeout = milliseconds(20);
  const auto client = Client::connect(*io, options, soon());
  ASSERT_FALSE(client.ok());
  EXPECT_NE(client.error().message.find("timed out"), std::string::npos) << client.error().message;
}

TEST(ClientAlone, ASilentServerIsDead) {
  const auto io = std::move(*LoopThread::start());
  // Accepts, and never says a word.
  auto listener = TcpListener::listen("127.0.0.1", 0);
  ASSERT_TRUE(listener.ok());
  ClientOptions options;
  options.host = "127.0.0.1";
  options.port = listener->port();
  options.ping_after = milliseconds(10);
  options.pong_timeout = milliseconds(30);
  auto client = Client::connect(*io, options, soon());
  ASSERT_TRUE(client.ok());
  const auto reply = (*client)->receive(soon());
  ASSERT_FALSE(reply.ok());
  EXPECT_NE(reply.error().message.find("silent"), std::string::npos) << reply.error().message;
}

TEST_P(ClientTest, AReconnectTakesTheSessionUpAgain) {
  EchoServer server(server_options);
  EXPECT_FALSE(connect(to(server))->is_resumed());
  EXPECT_EQ(connect(to(server))->is_resumed(), GetParam().tls && !TlsContext::has_tls13());
}

INSTANTIATE_TEST_SUITE_P(Transports, ClientTest,
                         ::testing::Values(Way{"tcp", false, false}, Way{"ws", true, false},
                                           Way{"tls", false, true}, Way{"wss", true, true}),
                         [](const auto& one) { return std::string(one.param.name); });

}  // namespace
}  // namespace splitd::net
