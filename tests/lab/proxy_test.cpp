// The proxy as tests use it: bytes exact under every fault, times never shorter than asked for.
#include "tests/lab/proxy.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <gtest/gtest.h>

#include <array>
#include <random>
#include <thread>

#include "runtime/base/files.h"

namespace splitd::lab {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kLimit{20'000};  // only a broken proxy takes that long
constexpr int kReset = -1;
constexpr int kSilent = -2;

// A listener and connections of the test's own; every call ends within kLimit.
class Listener {
 public:
  Listener() : socket_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address = loopback(0);
    ::bind(socket_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address);
    ::listen(socket_.get(), 64);
    socklen_t length = sizeof address;
    ::getsockname(socket_.get(), reinterpret_cast<sockaddr*>(&address), &length);
    port_ = ntohs(address.sin_port);
  }
  static sockaddr_in loopback(uint16_t port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(port);
    return address;
  }
  uint16_t port() const { return port_; }
  FileDescriptor accept() const {
    pollfd ready{socket_.get(), POLLIN, 0};
    ::poll(&ready, 1, static_cast<int>(kLimit.count()));
    return FileDescriptor(ready.revents != 0 ? ::accept(socket_.get(), nullptr, nullptr) : -1);
  }
  void close() { socket_ = FileDescriptor(); }

 private:
  FileDescriptor socket_;
  uint16_t port_ = 0;
};

FileDescriptor connect_to(uint16_t port) {
  FileDescriptor socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const sockaddr_in address = Listener::loopback(port);
  if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    return FileDescriptor();
  }
  return socket;
}

bool send_all(const FileDescriptor& to, std::string_view text) {
  while (!text.empty()) {
    const ssize_t count = ::send(to.get(), text.data(), text.size(), MSG_NOSIGNAL);
    if (count <= 0) return false;
    text.remove_prefix(static_cast<size_t>(count));
  }
  return true;
}

// How many bytes came (0: the end of the stream), kReset or kSilent.
int receive(const FileDescriptor& from, std::string& text, size_t most = 65536,
            milliseconds limit = kLimit) {
  pollfd ready{from.get(), POLLIN, 0};
  if (::poll(&ready, 1, static_cast<int>(limit.count())) == 0) return kSilent;
  std::array<char, 65536> buffer;
  const ssize_t count = ::recv(from.get(), buffer.data(), std::min(most, buffer.size()), 0);
  if (count < 0) return kReset;
  text.append(buffer.data(), static_cast<size_t>(count));
  return static_cast<int>(count);
}

// Until `bytes` are there, or how it ended instead.
int receive_exactly(const FileDescriptor& from, std::string& text, size_t bytes) {
  while (text.size() < bytes) {
    const int result = receive(from, text, bytes - text.size());
    if (result <= 0) return result;
  }
  return static_cast<int>(text.size());
}

int receive_rest(const FileDescriptor& from, std::string& text) {
  int result = 1;
  while (result > 0) result = receive(from, text);
  return result;
}

std::string random_text(size_t bytes, unsigned seed) {
  std::mt19937 random(seed);
  std::string text(bytes, '\0');
  for (char& c : text) c = static_cast<char>(random());
  return text;
}

class ProxyTest : public ::testing::Test {
 protected:
  ProxyTest() {
    ProxyOptions options;
    options.target_port = listener_.port();
    auto started = WanProxy::start(options);
    EXPECT_TRUE(started.ok());
    proxy_ = std::move(*started);
  }
  void connect() {
    client_ = connect_to(proxy_->port());
    server_ = listener_.accept();
    ASSERT_TRUE(client_.valid() && server_.valid());
    ASSERT_TRUE(proxy_->wait_for_open(1, kLimit));
  }

  Listener listener_;
  std::unique_ptr<WanProxy> proxy_;
  FileDescriptor client_;
  FileDescriptor server_;
};

TEST_F(ProxyTest, PassesBytesAndEndsOfStreams) {
  connect();
  const std::string request = random_text(1'000'003, 1);
  const std::string reply = random_text(500'001, 2);
  ASSERT_NE(request.substr(0, 1000), reply.substr(0, 1000));
  std::thread sender([&] {
    EXPECT_TRUE(send_all(client_, request));
    ::shutdown(client_.get(), SHUT_WR);
  });
  std::string got;
  EXPECT_EQ(receive_rest(server_, got), 0);
  sender.join();
  EXPECT_TRUE(got == request);
  // The other direction outlives the end of the first.
  std::thread replier([&] {
    EXPECT_TRUE(send_all(server_, reply));
    ::shutdown(server_.get(), SHUT_WR);
  });
  std::string back;
  EXPECT_EQ(receive_rest(client_, back), 0);
  replier.join();
  EXPECT_TRUE(back == reply);
  EXPECT_TRUE(proxy_->wait_for_open(0, kLimit));
  EXPECT_EQ(proxy_->counters().bytes_up, request.size());
  EXPECT_EQ(proxy_->counters().bytes_down, reply.size());
}

TEST_F(ProxyTest, DelaysEachDirectionByItsOwn) {
  proxy_->set_delay(Direction::up, milliseconds(30));
  proxy_->set_delay(Direction::down, milliseconds(10));
  connect();
  std::string text;
  ASSERT_TRUE(send_all(client_, "warm"));  // the first bytes also wait for the handshake
  ASSERT_EQ(receive_exactly(server_, text, 4), 4);
  const Time start = Clock::now();
  ASSERT_TRUE(send_all(client_, "x"));
  ASSERT_EQ(receive_exactly(server_, text, 5), 5);
  const Time half = Clock::now();
  EXPECT_GE(half - start, milliseconds(30));
  ASSERT_TRUE(send_all(server_, "y"));
  std::string back;
  ASSERT_EQ(receive_exactly(client_, back, 1), 1);
  EXPECT_GE(Clock::now() - half, milliseconds(10));
}

TEST_F(ProxyTest, FirstBytesWaitForTheHandshakeOfARealLink) {
  proxy_->set_round_trip(milliseconds(20));
  const Time start = Clock::now();
  connect();
  ASSERT_TRUE(send_all(client_, "x"));
  std::string text;
  ASSERT_EQ(receive_exactly(server_, text, 1), 1);
  EXPECT_GE(Clock::now() - start, milliseconds(30));  // a round trip, and half of one
}

TEST_F(ProxyTest, RateIsAnUpperBound) {
  proxy_->set_rate(Direction::up, 8'000'000);  // a byte a microsecond
  connect();
  const std::string request = random_text(150'000, 3);
  const Time start = Clock::now();
  std::thread sender([&] { EXPECT_TRUE(send_all(client_, request)); });
  std::string got;
  ASSERT_EQ(receive_exactly(server_, got, request.size()), static_cast<int>(request.size()));
  EXPECT_GE(Clock::now() - start, milliseconds(149));
  sender.join();
  EXPECT_TRUE(got == request);
}

TEST_F(ProxyTest, CutsAfterExactlyThatManyBytes) {
  const std::string text = random_text(300, 4);
  for (const Direction direction : {Direction::up, Direction::down}) {
    for (const Cut how : {Cut::reset, Cut::close}) {
      for (const size_t bytes : {1, 2, 150, 299, 300}) {
        connect();
        const bool up = direction == Direction::up;
        const FileDescriptor& from = up ? client_ : server_;
        const FileDescriptor& to = up ? server_ : client_;
        proxy_->cut_after(direction, bytes, how);
        ASSERT_TRUE(send_all(from, text));
        std::string got;
        EXPECT_EQ(receive_rest(to, got), how == Cut::reset ? kReset : 0);
        EXPECT_EQ(got.size(), bytes);
        EXPECT_TRUE(got == text.substr(0, bytes));
        std::string nothing;
        EXPECT_EQ(receive_rest(from, nothing), how == Cut::reset ? kReset : 0);
        EXPECT_TRUE(proxy_->wait_for_open(0, kLimit));
      }
    }
  }
  EXPECT_EQ(proxy_->counters().cuts, 20u);
}

TEST_F(ProxyTest, CutNowLosesWhatIsOnItsWay) {
  proxy_->set_round_trip(std::chrono::seconds(60));
  connect();
  ASSERT_TRUE(send_all(client_, "never arrives"));
  proxy_->cut();
  std::string got;
  EXPECT_EQ(receive_rest(server_, got), kReset);
  EXPECT_EQ(receive_rest(client_, got), kReset);
  EXPECT_EQ(got, "");
  proxy_->set_round_trip(Nanoseconds{0});
  connect();  // and the next connection is a new one
  ASSERT_TRUE(send_all(client_, "arrives"));
  EXPECT_EQ(receive_exactly(server_, got, 7), 7);
}

TEST_F(ProxyTest, SilenceLosesNothing) {
  connect();
  proxy_->pause();
  ASSERT_TRUE(send_all(client_, "first "));
  std::string got;
  EXPECT_EQ(receive(server_, got, 1, milliseconds(50)), kSilent);
  FileDescriptor second = connect_to(proxy_->port());  // the kernel says yes, nobody answers
  ASSERT_TRUE(send_all(client_, "second"));
  EXPECT_EQ(proxy_->counters().bytes_up, 0u);
  EXPECT_EQ(proxy_->counters().accepted, 1u);
  proxy_->resume();
  ASSERT_EQ(receive_exactly(server_, got, 12), 12);
  EXPECT_EQ(got, "first second");
  EXPECT_TRUE(listener_.accept().valid());
}

TEST_F(ProxyTest, SilenceOfOneDirectionLeavesTheOther) {
  connect();
  proxy_->pause(Direction::down);
  ASSERT_TRUE(send_all(client_, "ask"));
  std::string got;
  ASSERT_EQ(receive_exactly(server_, got, 3), 3);
  ASSERT_TRUE(send_all(server_, "answer"));
  std::string back;
  EXPECT_EQ(receive(client_, back, 1, milliseconds(50)), kSilent);
  proxy_->resume();
  EXPECT_EQ(receive_exactly(client_, back, 6), 6);
}

TEST_F(ProxyTest, HalfOpenTellsOneEndAlone) {
  for (const End end : {End::client, End::target}) {
    connect();
    const FileDescriptor& gone = end == End::client ? client_ : server_;
    const FileDescriptor& left = end == End::client ? server_ : client_;
    proxy_->vanish(end);
    std::string got;
    EXPECT_EQ(receive_rest(gone, got), kReset);
    ASSERT_TRUE(send_all(left, random_text(100'000, 5)));
    ::shutdown(left.get(), SHUT_WR);  // not answered either
    EXPECT_EQ(receive(left, got, 1, milliseconds(50)), kSilent);
    EXPECT_EQ(proxy_->counters().open, 0u);
  }
}

TEST_F(ProxyTest, ResetOfAnEndReachesTheOther) {
  for (const bool by_client : {true, false}) {
    connect();
    FileDescriptor& dying = by_client ? client_ : server_;
    const FileDescriptor& other = by_client ? server_ : client_;
    ASSERT_TRUE(send_all(dying, "last words"));
    const linger at_once{1, 0};
    ::setsockopt(dying.get(), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    // A reset discards what its receiver has not read, so the words must have passed.
    const Direction direction = by_client ? Direction::up : Direction::down;
    ASSERT_TRUE(proxy_->wait_for_bytes(direction, 10, kLimit));
    dying = FileDescriptor();
    std::string got;
    EXPECT_EQ(receive_rest(other, got), kReset);
    EXPECT_EQ(got, "last words");
    EXPECT_TRUE(proxy_->wait_for_open(0, kLimit));
  }
}

// The end of the client's stream has passed when its socket goes; the server learns all the same.
TEST_F(ProxyTest, ServerThatWritesToALeavingClientIsReset) {
  connect();
  client_ = FileDescriptor();
  std::string got;
  ASSERT_EQ(receive_rest(server_, got), 0);
  while (send_all(server_, "unheard")) {
  }
  EXPECT_TRUE(proxy_->wait_for_open(0, kLimit));
}

TEST_F(ProxyTest, RefusesWhenToldAndWhenNobodyListens) {
  std::string got;
  proxy_->set_refusing(true);
  FileDescriptor refused = connect_to(proxy_->port());
  EXPECT_EQ(receive_rest(refused, got), kReset);
  proxy_->set_refusing(false);
  connect();
  const uint16_t old_port = listener_.port();
  listener_.close();
  refused = connect_to(proxy_->port());
  EXPECT_EQ(receive_rest(refused, got), kReset);
  EXPECT_EQ(proxy_->counters().refused, 2u);
  listener_ = Listener();  // "restarted": another port
  ASSERT_NE(listener_.port(), old_port);
  proxy_->set_target_port(listener_.port());
  FileDescriptor again = connect_to(proxy_->port());
  EXPECT_TRUE(listener_.accept().valid());
}

TEST_F(ProxyTest, CarriesManyConnections) {
  std::vector<FileDescriptor> clients, servers;
  for (int i = 0; i < 50; ++i) {
    clients.push_back(connect_to(proxy_->port()));
    servers.push_back(listener_.accept());
    ASSERT_TRUE(clients.back().valid() && servers.back().valid());
  }
  for (size_t i = 0; i < clients.size(); ++i) {
    ASSERT_TRUE(send_all(clients[i], std::to_string(1000 + i)));
  }
  for (size_t i = 0; i < servers.size(); ++i) {
    std::string got;
    ASSERT_EQ(receive_exactly(servers[i], got, 4), 4);
    EXPECT_EQ(got, std::to_string(1000 + i));
  }
  EXPECT_EQ(proxy_->counters().open, 50u);
}

TEST(WanProxyStart, SaysWhatIsWrong) {
  ProxyOptions options;
  options.target_host = "example.org";
  const auto named = WanProxy::start(options);
  ASSERT_FALSE(named.ok());
  EXPECT_EQ(named.error().message, "address \"example.org\": an IPv4 address such as 127.0.0.1");
  const Listener listener;
  ProxyOptions taken;
  taken.listen_port = listener.port();
  const auto busy = WanProxy::start(taken);
  ASSERT_FALSE(busy.ok());
  EXPECT_NE(busy.error().message.find("127.0.0.1:" + std::to_string(listener.port())),
            std::string::npos);
}

}  // namespace
}  // namespace splitd::lab
