#include "net/tcp.h"

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <thread>

namespace splitd::net {
namespace {

Wait soon() {
  return Wait::for_at_most(milliseconds(20'000));  // far beyond what any step takes
}

struct Pair {
  std::unique_ptr<TcpStream> client;
  std::unique_ptr<TcpStream> server;
};

Pair connect_pair(const std::string& host = "127.0.0.1") {
  Result<TcpListener> listener = TcpListener::listen(host, 0);
  EXPECT_TRUE(listener.ok());
  Result<std::unique_ptr<TcpStream>> client = tcp_connect(host, listener->port(), soon());
  EXPECT_TRUE(client.ok()) << client.error().message;
  Result<std::unique_ptr<TcpStream>> server = listener->accept(soon());
  EXPECT_TRUE(server.ok());
  return {std::move(*client), std::move(*server)};
}

TEST(Tcp, CarriesBytesBothWays) {
  const Pair pair = connect_pair();
  ASSERT_TRUE(write_all(*pair.client, "ping", soon()).ok());
  std::byte buffer[16];
  Result<size_t> count = read_some(*pair.server, buffer, soon());
  ASSERT_TRUE(count.ok());
  EXPECT_EQ(std::string(reinterpret_cast<char*>(buffer), *count), "ping");
  EXPECT_TRUE(pair.client->peer().starts_with("127.0.0.1:"));
}

TEST(Tcp, MovesMoreThanTheKernelHolds) {
  Pair pair = connect_pair();
  const std::string data(16 << 20, 'x');
  std::thread writer([&] { EXPECT_TRUE(write_all(*pair.client, data, soon()).ok()); });
  std::vector<std::byte> buffer(1 << 16);
  size_t total = 0;
  while (total < data.size()) {
    const Result<size_t> count = read_some(*pair.server, buffer, soon());
    ASSERT_TRUE(count.ok());
    ASSERT_GT(*count, 0u);
    total += *count;
  }
  writer.join();
  pair.client.reset();
  EXPECT_EQ(*read_some(*pair.server, buffer, soon()), 0u);  // orderly end
}

TEST(Tcp, SetsWhatLatencyNeeds) {
  const Pair pair = connect_pair();
  for (const int fd : {pair.client->fd(), pair.server->fd()}) {
    int value = 0;
    socklen_t length = sizeof value;
    ASSERT_EQ(::getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &value, &length), 0);
    EXPECT_NE(value, 0);
    ASSERT_EQ(::getsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &value, &length), 0);
    EXPECT_NE(value, 0);
  }
}

TEST(Tcp, TriesTheOtherAddressesOfAName) {
  // Listens on the IPv4 address alone; "localhost" is usually both, ::1 first.
  Result<TcpListener> listener = TcpListener::listen("127.0.0.1", 0);
  ASSERT_TRUE(listener.ok());
  const auto client = tcp_connect("localhost", listener->port(), soon());
  EXPECT_TRUE(client.ok()) << client.error().message;
}

TEST(Tcp, SpeaksIpv6WhereThereIsAny) {
  if (!TcpListener::listen("::1", 0).ok()) GTEST_SKIP() << "no IPv6 on this machine";
  EXPECT_TRUE(connect_pair("::1").client->peer().starts_with("[::1]:"));
}

TEST(Tcp, NamesWhoRefused) {
  uint16_t port = 0;
  {
    Result<TcpListener> listener = TcpListener::listen("127.0.0.1", 0);
    ASSERT_TRUE(listener.ok());
    port = listener->port();
  }
  const auto client = tcp_connect("127.0.0.1", port, soon());
  ASSERT_FALSE(client.ok());
  EXPECT_EQ(client.error().kind, ErrorKind::peer);
  EXPECT_NE(client.error().message.find("127.0.0.1:" + std::to_string(port)), std::string::npos);
}

TEST(Tcp, ADeadlineEndsEveryWait) {
  const Pair pair = connect_pair();
  std::byte buffer[16];
  const Result<size_t> read = read_some(*pair.client, buffer, Wait::for_at_most(milliseconds(1)));
  ASSERT_FALSE(read.ok());
  EXPECT_NE(read.error().message.find("timed out"), std::string::npos);
  const std::string data(64 << 20, 'x');  // nobody reads
  const Status written = write_all(*pair.client, data, Wait::for_at_most(milliseconds(50)));
  ASSERT_FALSE(written.ok());
  EXPECT_NE(written.error().message.find("timed out"), std::string::npos);
  // 192.0.2.0/24 is nobody's: the attempt hangs, or fails at once where there is no route.
  EXPECT_FALSE(tcp_connect("192.0.2.1", 9, Wait::for_at_most(milliseconds(20))).ok());
}

TEST(Tcp, CancellationEndsEveryWait) {
  const Pair pair = connect_pair();
  Cancellation cancel;
  std::thread canceller([&] { cancel.cancel(); });
  std::byte buffer[16];
  const Result<size_t> read = read_some(*pair.client, buffer, {Clock::time_point::max(), &cancel});
  canceller.join();
  ASSERT_FALSE(read.ok());
  EXPECT_EQ(read.error().kind, ErrorKind::interrupted);
  const Wait cancelled{Clock::time_point::max(), &cancel};
  EXPECT_EQ(tcp_connect("127.0.0.1", 9, cancelled).error().kind, ErrorKind::interrupted);
  EXPECT_EQ(write_all(*pair.client, "x", cancelled).error().kind, ErrorKind::interrupted);
  EXPECT_EQ(sleep_for(milliseconds(1'000'000), cancelled).error().kind, ErrorKind::interrupted);
}

TEST(Tcp, KnowsAddresses) {
  EXPECT_EQ(ip_bytes("127.0.0.1"), std::string("\x7f\0\0\1", 4));
  EXPECT_EQ(ip_bytes("::1").size(), 16u);
  EXPECT_TRUE(ip_bytes("localhost").empty());
  EXPECT_TRUE(ip_bytes("127.1").empty());
  EXPECT_EQ(host_port("::1", 5), "[::1]:5");
  EXPECT_EQ(host_port("a", 5), "a:5");
  EXPECT_FALSE(tcp_connect("", 80, soon()).ok());
  EXPECT_FALSE(tcp_connect(std::string(300, 'a'), 80, soon()).ok());
}

}  // namespace
}  // namespace splitd::net
