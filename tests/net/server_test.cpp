// A server and the peers that no server wishes for, over real sockets.
#include "net/server.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <string>
#include <thread>

#include "net/client.h"
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

std::unique_ptr<TcpStream> knock(const EchoServer& server) {
  auto stream = tcp_connect("127.0.0.1", server.port(), soon());
  EXPECT_TRUE(stream.ok()) << stream.error().message;
  return stream.ok() ? std::move(*stream) : nullptr;
}

// All that the peer sends until it ends; "<reset>" where it ended badly.
std::string read_to_end(TcpStream& stream) {
  std::string out;
  std::byte buffer[4096];
  while (true) {
    const Result<size_t> count = read_some(stream, buffer, soon());
    if (!count.ok()) return out + "<" + count.error().message + ">";
    if (*count == 0) return out;
    out += text_of(std::span(buffer).first(*count));
  }
}

std::string ask(const EchoServer& server, std::string_view request) {
  const auto stream = knock(server);
  EXPECT_TRUE(write_all(*stream, request, soon()).ok());
  return read_to_end(*stream);
}

class ServerTest : public ::testing::Test {
 protected:
  ServerTest() { io = std::move(*LoopThread::start()); }
  std::unique_ptr<Client> connect(const EchoServer& server) {
    ClientOptions options;
    options.host = "127.0.0.1";
    options.port = server.port();
    options.frames = {limits::kMaxFrameHeaderBytes, EchoServer::kMaxPayload};
    auto client = Client::connect(*io, options, soon());
    EXPECT_TRUE(client.ok()) << client.error().message;
    if (!client.ok()) return nullptr;
    EXPECT_TRUE((*client)->send(R"({"type":"hello"})").ok());
    const auto welcome = (*client)->receive(soon());
    EXPECT_TRUE(welcome.ok()) << welcome.error().message;
    return std::move(*client);
  }
  static bool echoes(Client& client) {
    return client.send(R"({"type":"echo"})", bytes_of("x")).ok() && client.receive(soon()).ok();
  }
  template <class Condition>
  static void until(Condition condition) {
    while (!condition()) std::this_thread::yield();
  }
  std::unique_ptr<LoopThread> io;
};

TEST_F(ServerTest, AnswersProbes) {
  EchoServer server;
  const std::string answer = ask(server, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 200 OK\r\n")) << answer;
  EXPECT_TRUE(answer.ends_with("\r\n\r\nok\n")) << answer;
  EXPECT_NE(answer.find("Connection: close\r\n"), std::string::npos);
  const std::string head = ask(server, "HEAD /healthz HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_TRUE(head.ends_with("\r\n\r\n")) << head;
  EXPECT_NE(head.find("Content-Length: 3\r\n"), std::string::npos);
  EXPECT_TRUE(ask(server, "GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n").starts_with("HTTP/1.1 404"));
  EXPECT_EQ(server.counters().refused, 0u);
  EXPECT_TRUE(server.opened().empty()) << "a probe is no peer";
}

TEST_F(ServerTest, ATlsPortAnswersProbesOfThisMachineAlone) {
  const TempDir dir;
  const TlsOptions keys{.psk_file = dir.path() + "/psk"};
  ASSERT_TRUE(write_file(keys.psk_file, "a " + std::string(64, '1'), 0600).ok());
  ServerOptions options;
  options.tls = *TlsContext::server(keys);
  EchoServer server(options);
  EXPECT_TRUE(ask(server, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").starts_with("HTTP/1.1 200"));
  EXPECT_TRUE(ask(server, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").starts_with("HTTP/1.1 403"));
  EXPECT_NE(ask(server, std::string("\0\0\0\x0c{\"bytes\":0}", 16)).find("tls_required"),
            std::string::npos);
}

TEST_F(ServerTest, LastWordsArriveAlthoughMoreWasSent) {
  EchoServer server;
  // Unread bytes at closing would reset the connection and take the answer with it.
  const std::string flood(100'000, 'Z');
  const std::string answer = ask(server, "BAD\r\n" + flood);
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 400")) << answer.substr(0, 200);
  EXPECT_EQ(answer.find('<'), std::string::npos) << answer;
}

TEST_F(ServerTest, SlowStrangersLoseToNewOnes) {
  ServerOptions options;
  options.max_strangers_per_address = 50;
  EchoServer server(options);
  const auto friend_before = connect(server);
  ASSERT_TRUE(friend_before);
  std::vector<std::unique_ptr<TcpStream>> slow;
  for (int i = 0; i < 1000; ++i) {
    slow.push_back(knock(server));
    if (i % 2 == 0) (void)slow.back()->try_write(bytes_of(i % 4 == 0 ? "G" : std::string(1, '\0')));
  }
  until([&] { return server.counters().accepted == 1001; });
  EXPECT_LE(server.counters().strangers, 50u);
  EXPECT_GE(server.counters().refused, 949u);  // the friend may still have been one of them
  // The oldest are gone, the newest are not; and real ones get in and go on.
  EXPECT_EQ(read_to_end(*slow[1]), "");
  EXPECT_TRUE(echoes(*friend_before));
  const auto friend_after = connect(server);
  ASSERT_TRUE(friend_after);
  EXPECT_TRUE(echoes(*friend_after) && echoes(*friend_before));
  EXPECT_EQ(server.counters().connections - server.counters().strangers, 2u);
}

TEST_F(ServerTest, AHelloHasADeadline) {
  ServerOptions options;
  options.hello_timeout = milliseconds(20);
  EchoServer server(options);
  const auto silent = knock(server);
  const auto dripping = knock(server);
  (void)dripping->try_write(bytes_of("GET /hea"));
  EXPECT_EQ(read_to_end(*silent), "");
  EXPECT_EQ(read_to_end(*dripping), "");
  EXPECT_EQ(server.counters().refused, 2u);
}

TEST_F(ServerTest, ConnectionsAreCapped) {
  ServerOptions options;
  options.max_connections = 2;
  EchoServer server(options);
  const auto one = connect(server);
  const auto two = connect(server);
  ASSERT_TRUE(one && two);
  const auto three = knock(server);
  EXPECT_EQ(read_to_end(*three), "");
  EXPECT_TRUE(echoes(*one) && echoes(*two));
}

TEST_F(ServerTest, WhoWasRefusedMakesRoomFirst) {
  ServerOptions options;
  options.max_connections = 3;
  EchoServer server(options);
  const auto one = connect(server);
  ASSERT_TRUE(one);
  // Refused, and both stay to read why.
  const auto refused = knock(server);
  const auto also = knock(server);
  ASSERT_TRUE(write_all(*refused, "\xff", soon()).ok() && write_all(*also, "\xff", soon()).ok());
  until([&] { return server.counters().refused == 2; });
  const auto two = connect(server);
  const auto three = connect(server);
  ASSERT_TRUE(two && three);
  EXPECT_TRUE(echoes(*one) && echoes(*two) && echoes(*three));
}

TEST_F(ServerTest, AHalfOpenPeerIsNoticed) {
  ServerOptions options;
  options.ping_after = milliseconds(10);
  options.pong_timeout = milliseconds(40);
  EchoServer server(options);
  const auto mute = knock(server);
  const std::string hello = R"({"bytes":0,"type":"hello"})";
  ASSERT_TRUE(write_all(*mute, std::string("\0\0\0\x1a", 4) + hello, soon()).ok());
  until([&] { return !server.closed().empty(); });
  EXPECT_NE(server.closed()[0].find("silent"), std::string::npos) << server.closed()[0];
  EXPECT_NE(read_to_end(*mute).find("\"ping\""), std::string::npos);
}

TEST_F(ServerTest, APeerThatDoesNotReadIsClosed) {
  ServerOptions options;
  options.unsent_limit = 1000;
  options.unsent_timeout = milliseconds(20);
  EchoServer server(options);
  const auto client = connect(server);
  ASSERT_TRUE(client);
  // The client's I/O thread stops reading at 32 messages, so the server's answers pile up.
  const std::string big(1 << 20, 'b');
  for (int i = 0; i < 60 && client->send(R"({"type":"echo"})", bytes_of(big)).ok(); ++i) {
  }  // the last ones may come too late
  until([&] { return !server.closed().empty(); });
  EXPECT_NE(server.closed()[0].find("does not take"), std::string::npos) << server.closed()[0];
}

TEST_F(ServerTest, RepliesComeFromAnyThread) {
  EchoServer server;
  const auto client = connect(server);
  ASSERT_TRUE(client);
  const auto connection = server.last();
  constexpr int kEach = 500;
  std::vector<std::thread> threads;
  for (int t = 0; t < 3; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < kEach; ++i) {
        const std::string payload(static_cast<size_t>(i * 37 % 5000), static_cast<char>('a' + t));
        EXPECT_TRUE(connection->send(R"({"type":"news"})", bytes_of(payload)));
      }
    });
  }
  for (int i = 0; i < 3 * kEach; ++i) {
    const auto frame = client->receive(soon());
    ASSERT_TRUE(frame.ok()) << frame.error().message;
    const std::string text = text_of(frame->payload);
    EXPECT_EQ(text.find_first_not_of(text.empty() ? 'a' : text[0]), std::string::npos);
  }
  for (std::thread& thread : threads) thread.join();
}

TEST_F(ServerTest, AConnectionOutlivesItsServer) {
  std::shared_ptr<Connection> connection;
  {
    EchoServer server;
    const auto client = connect(server);
    ASSERT_TRUE(client);
    connection = server.last();
    EXPECT_TRUE(connection->is_open());
  }
  EXPECT_FALSE(connection->send(R"({"type":"late"})"));
  connection->close();
  EXPECT_FALSE(connection->is_open());
}

// While it lives the process can open nothing more.
class NoDescriptors {
 public:
  NoDescriptors() {
    EXPECT_EQ(::getrlimit(RLIMIT_NOFILE, &before_), 0);
    rlimit tight = before_;
    tight.rlim_cur = std::min<rlim_t>(before_.rlim_cur, 512);
    EXPECT_EQ(::setrlimit(RLIMIT_NOFILE, &tight), 0);
    while (true) {
      FileDescriptor filler(::open("/dev/null", O_RDONLY | O_CLOEXEC));
      if (!filler.valid()) break;
      fillers_.push_back(std::move(filler));
    }
    EXPECT_EQ(errno, EMFILE);
  }
  ~NoDescriptors() { EXPECT_EQ(::setrlimit(RLIMIT_NOFILE, &before_), 0); }

 private:
  rlimit before_{};
  std::vector<FileDescriptor> fillers_;
};

TEST_F(ServerTest, WithoutDescriptorsItGoesOn) {
  EchoServer server;
  const auto client = connect(server);
  ASSERT_TRUE(client);
  // Sockets that exist already can still connect, and the server cannot take them.
  std::vector<FileDescriptor> sockets;
  for (int i = 0; i < 3; ++i) sockets.emplace_back(::socket(AF_INET, SOCK_STREAM, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(server.port());
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  {
    const NoDescriptors none;
    for (const FileDescriptor& socket : sockets) {
      ASSERT_EQ(::connect(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
      char byte;
      EXPECT_LE(::recv(socket.get(), &byte, 1, 0), 0) << "they are told at once";
    }
    EXPECT_TRUE(echoes(*client)) << "who is in goes on";
  }
  const auto late = connect(server);
  ASSERT_TRUE(late);
  EXPECT_TRUE(echoes(*late));
}

TEST_F(ServerTest, AStrangerMakesRoomForADescriptor) {
  EchoServer server;
  const auto stranger = knock(server);
  until([&] { return server.counters().strangers == 1; });
  const FileDescriptor socket(::socket(AF_INET, SOCK_STREAM, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(server.port());
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const NoDescriptors none;
  ASSERT_EQ(::connect(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  EXPECT_EQ(read_to_end(*stranger), "");
  until([&] { return server.counters().accepted == 2 && server.counters().strangers == 1; });
  EXPECT_EQ(server.counters().refused, 1u);
}

TEST_F(ServerTest, CongestionControlIsChosenByName) {
  auto loop = Loop::create();
  ASSERT_TRUE(loop.ok());
  ServerOptions options;
  options.congestion = "no-such";
  const auto refused = Server::listen(**loop, options, {});
  ASSERT_FALSE(refused.ok());
  EXPECT_NE(refused.error().message.find("no-such"), std::string::npos);
  options.congestion = "cubic";
  const auto server = Server::listen(**loop, options, {});
  EXPECT_TRUE(server.ok() || server.error().message.find("there are") != std::string::npos);
}

TEST_F(ServerTest, ManyComeAndGo) {
  EchoServer server;
  for (int round = 0; round < 300; ++round) {
    if (round % 3 == 0) {
      (void)knock(server);
    } else {
      const auto client = connect(server);
      ASSERT_TRUE(client);
      ASSERT_TRUE(client->send(R"({"type":"echo"})", bytes_of("cut")).ok());
    }
  }
  until([&] { return server.counters().connections == 0; });
  EXPECT_EQ(server.counters().strangers, 0u);
  EXPECT_EQ(server.opened().size(), 200u);
  EXPECT_EQ(server.closed().size(), 200u);
}

}  // namespace
}  // namespace splitd::net
