// Opening a session over connections that break: tried again as long as nobody has said a word,
// ended by any answer, by an address where nobody is, and by an interrupt.
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <array>
#include <atomic>
#include <functional>

#include "net/tls_context.h"
#include "runtime/split/remote_stage.h"
#include "tests/lab/proxy.h"
#include "tests/runtime/split/served_body.h"
#include "tests/temp_dir.h"

namespace splitd {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

enum class Way : uint8_t { reset_at_once, reset_after_hello, close_after_hello };
constexpr std::array kWays = {Way::reset_at_once, Way::reset_after_hello, Way::close_after_hello};

// Takes connections and breaks every one. `breaks` is told which, before.
class Breaker {
 public:
  explicit Breaker(Way way, std::function<void(int)> breaks = {})
      : way_(way),
        breaks_(std::move(breaks)),
        listener_(*net::TcpListener::listen("127.0.0.1", 0)) {
    thread_ = std::thread([this] { run(); });
  }
  ~Breaker() {
    over_.cancel();
    thread_.join();
  }
  uint16_t port() const { return listener_.port(); }
  int count() const { return count_; }

 private:
  void run() {
    const net::Wait wait{net::Clock::time_point::max(), &over_};
    while (true) {
      const auto stream = listener_.accept(wait);
      if (!stream.ok()) return;
      std::array<std::byte, 4096> hello;
      if (way_ != Way::reset_at_once && !net::read_some(**stream, hello, wait).ok()) return;
      const int n = ++count_;
      if (breaks_) breaks_(n);
      const linger reset{1, 0};
      if (way_ != Way::close_after_hello) {
        ::setsockopt((*stream)->fd(), SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
      }
    }
  }

  const Way way_;
  const std::function<void(int)> breaks_;
  net::TcpListener listener_;
  std::atomic<int> count_{0};
  net::Cancellation over_;
  std::thread thread_;
};

bool has(const Error& error, std::string_view part) {
  return error.message.find(part) != std::string::npos;
}

class RemoteLink : public testing::Test {
 protected:
  const BodyModel model_ = whole_number_model();
  // What the user is told, and who hears it.
  std::atomic<int> n_told_{0};
  std::function<void()> told_;

  std::unique_ptr<RemoteStage> stage(std::vector<uint16_t> ports, milliseconds retry_for,
                                     std::shared_ptr<net::TlsContext> tls = nullptr,
                                     bool websocket = false) {
    RemoteOptions options;
    for (const uint16_t port : ports) options.bodies.push_back({"127.0.0.1", port});
    options.wire = WireType::f32;
    options.retry_for = retry_for;
    options.tls = std::move(tls);
    options.websocket = websocket;
    options.log = Log([this](LogLevel, std::string_view line) {
      EXPECT_NE(line.find("connecting again"), std::string_view::npos) << line;
      ++n_told_;
      if (told_) told_();
    });
    auto out = std::move(*RemoteStage::create(*model_.table, model_.fingerprint,
                                              model_.config.d_model, std::move(options)));
    out->set_layers(model_.layers);
    return out;
  }
  static Result<SessionId> open(RemoteStage& stage) { return stage.open({64, 0, KvType::f32}); }
};

std::unique_ptr<lab::WanProxy> proxy_to(uint16_t port) {
  return std::move(*lab::WanProxy::start({.target_port = port}));
}

TEST_F(RemoteLink, BrokenConnectionsAreTriedAgain) {
  ServedBody body(model_);
  for (const Way way : kWays) {
    for (const bool asks_first : {false, true}) {
      std::unique_ptr<lab::WanProxy> proxy;
      Breaker breaker(way, [&](int n) {
        if (n == 3) proxy->set_target_port(body.port());
      });
      proxy = proxy_to(breaker.port());
      n_told_ = 0;
      const auto stage = this->stage({proxy->port()}, seconds(30));
      if (asks_first) {
        const Result<WelcomeMessage> offer = stage->ask();
        EXPECT_TRUE(offer.ok()) << offer.error().message;
      }
      const Result<SessionId> session = open(*stage);
      EXPECT_TRUE(session.ok()) << session.error().message;
      EXPECT_EQ(breaker.count(), 3);
      EXPECT_EQ(n_told_, 1);
    }
  }
}

// Between the question and the session.
TEST_F(RemoteLink, ABodyThatAnsweredIsLookedFor) {
  ServedBody body(model_);
  const auto proxy = proxy_to(body.port());
  Breaker breaker(Way::reset_after_hello, [&](int n) {
    if (n == 2) proxy->set_target_port(body.port());
  });
  const auto stage = this->stage({proxy->port()}, seconds(30));
  ASSERT_TRUE(stage->ask().ok());
  proxy->set_target_port(breaker.port());
  proxy->cut();
  EXPECT_TRUE(open(*stage).ok());
  EXPECT_EQ(breaker.count(), 2);

  // Started again: for a moment nobody listens.
  auto first = std::make_unique<ServedBody>(model_);
  const uint16_t port = first->port();
  std::unique_ptr<ServedBody> second;
  told_ = [&] {
    BodyServerOptions same;
    same.net.port = port;
    second = std::make_unique<ServedBody>(model_, same);
  };
  const auto other = this->stage({port}, seconds(30));
  ASSERT_TRUE(other->ask().ok());
  first.reset();
  EXPECT_TRUE(open(*other).ok());
}

TEST_F(RemoteLink, TriesComeToAnEnd) {
  for (const Way way : kWays) {
    Breaker breaker(way);
    const auto stage = this->stage({breaker.port()}, milliseconds(400));
    const Result<SessionId> never = open(*stage);
    ASSERT_FALSE(never.ok());
    EXPECT_EQ(never.error().kind, ErrorKind::peer);
    EXPECT_TRUE(has(never.error(), "in 400 ms")) << never.error().message;

    Breaker once(way);
    EXPECT_FALSE(open(*this->stage({once.port()}, milliseconds(0))).ok());
    EXPECT_EQ(once.count(), 1);
  }
}

TEST_F(RemoteLink, AnInterruptEndsTheTries) {
  for (const Way way : kWays) {
    RemoteStage* asking = nullptr;
    Breaker breaker(way, [&](int n) {
      if (n == 2) asking->interrupt();
    });
    const auto stage = this->stage({breaker.port()}, seconds(30));
    asking = stage.get();
    const Result<SessionId> never = open(*stage);
    ASSERT_FALSE(never.ok());
    EXPECT_EQ(never.error().kind, ErrorKind::interrupted) << never.error().message;
    EXPECT_LE(breaker.count(), 2);
  }
  // In the first pause.
  Breaker breaker(Way::reset_after_hello);
  const auto stage = this->stage({breaker.port()}, seconds(30));
  told_ = [&] { stage->interrupt(); };
  EXPECT_EQ(open(*stage).error().kind, ErrorKind::interrupted);
  EXPECT_EQ(breaker.count(), 1);
}

TEST_F(RemoteLink, AnAnswerEndsThemAndNobodyIsOne) {
  // For good, and for now.
  BodyModel another = model_;
  another.fingerprint = std::string(64, 'd');
  BodyServerOptions none;
  none.body.most_of_peer = {};
  ServedBody other(another), full(model_, none);
  for (const ServedBody* body : {&other, &full}) {
    for (const bool broken : {false, true}) {
      std::unique_ptr<lab::WanProxy> proxy;
      Breaker breaker(Way::close_after_hello, [&](int) { proxy->set_target_port(body->port()); });
      proxy = proxy_to(broken ? breaker.port() : body->port());
      const auto stage = this->stage({proxy->port()}, seconds(30));
      const Result<SessionId> never = open(*stage);
      ASSERT_FALSE(never.ok());
      EXPECT_EQ(never.error().kind, ErrorKind::peer);
      EXPECT_TRUE(has(never.error(), "refuses: ")) << never.error().message;
      EXPECT_EQ(proxy->counters().accepted, broken ? 2u : 1u);
    }
  }
  EXPECT_EQ(n_told_, 2);

  const uint16_t port = net::TcpListener::listen("127.0.0.1", 0)->port();  // closed by now
  EXPECT_FALSE(open(*stage({port}, seconds(30))).ok());
  EXPECT_EQ(n_told_, 2);
}

TEST_F(RemoteLink, AWrongKeyIsAnAnswer) {
  TempDir dir;
  const auto keys = [&](const std::string& name, char digit) {
    const net::TlsOptions options{.psk_file = dir.path() + "/" + name};
    EXPECT_TRUE(write_file(options.psk_file, "me " + std::string(64, digit), 0600).ok());
    return options;
  };
  BodyServerOptions options;
  options.net.tls = *net::TlsContext::server(keys("body", '1'));
  ServedBody body(model_, options);
  const auto proxy = proxy_to(body.port());
  const auto wrong = stage({proxy->port()}, seconds(30), *net::TlsContext::client(keys("a", '2')));
  EXPECT_FALSE(open(*wrong).ok());
  EXPECT_EQ(proxy->counters().accepted, 1u);
  const auto plain = stage({proxy->port()}, seconds(30));
  EXPECT_FALSE(open(*plain).ok());
  EXPECT_EQ(proxy->counters().accepted, 2u);
  EXPECT_EQ(n_told_, 0);
  const auto right = stage({proxy->port()}, seconds(30), *net::TlsContext::client(keys("b", '1')));
  EXPECT_TRUE(open(*right).ok());

  // In a handshake, nobody has refused anything yet.
  int n_broken = 0;
  for (const Way way : kWays) {
    for (const bool websocket : {false, true}) {
      Breaker breaker(way, [&](int) { proxy->set_target_port(body.port()); });
      proxy->set_target_port(breaker.port());
      const auto broken =
          stage({proxy->port()}, seconds(30), *net::TlsContext::client(keys("c", '1')), websocket);
      EXPECT_TRUE(open(*broken).ok());
      EXPECT_EQ(n_told_, ++n_broken);
    }
  }
}

TEST_F(RemoteLink, AnUpgradeUnderWayIsNoAnswer) {
  ServedBody body(model_);
  for (const Way way : kWays) {
    std::unique_ptr<lab::WanProxy> proxy;
    Breaker breaker(way, [&](int) { proxy->set_target_port(body.port()); });
    proxy = proxy_to(breaker.port());
    EXPECT_TRUE(open(*stage({proxy->port()}, seconds(30), nullptr, true)).ok());
    EXPECT_EQ(breaker.count(), 1);
  }
}

// One that refuses does not speak for another whose connections break.
TEST_F(RemoteLink, AnyOfSeveralAddressesIsWorthIt) {
  BodyModel another = model_;
  another.fingerprint = std::string(64, 'd');
  ServedBody body(model_), other(another);
  std::unique_ptr<lab::WanProxy> proxy;
  Breaker breaker(Way::reset_after_hello, [&](int n) {
    if (n == 2) proxy->set_target_port(body.port());
  });
  proxy = proxy_to(breaker.port());
  EXPECT_TRUE(open(*stage({other.port(), proxy->port()}, seconds(30))).ok());
  EXPECT_EQ(breaker.count(), 2);
}

}  // namespace
}  // namespace splitd
