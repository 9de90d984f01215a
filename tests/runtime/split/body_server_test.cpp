// A body over loopback sockets: cuts at every byte, peers that vanish, probes, draining, and that
// nothing is left when they have gone.
#include "runtime/split/body_server.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <random>

#include "tests/runtime/split/served_body.h"

namespace splitd {
namespace {

using std::chrono::milliseconds;

// Row n of the text 100, 101, … after all layers.
std::vector<float> expected(uint32_t n) {
  FakeBackend alone(std::vector<uint64_t>(4));
  std::vector<uint32_t> text;
  for (uint32_t i = 0; i <= n; ++i) text.push_back(100 + i);
  const std::vector<float> all = recompute(alone, text);
  return {all.end() - 2, all.end()};
}

size_t n_descriptor() {
  const std::filesystem::directory_iterator all("/proc/self/fd");
  return static_cast<size_t>(std::distance(begin(all), end(all)));
}

class BodyServerTest : public testing::Test {
 protected:
  const BodyModel model_ = whole_number_model();
};

// The first step is whole, the second one cut.
TEST_F(BodyServerTest, AStepCutAtEveryByte) {
  ServedBody served(model_);
  const std::string step = RawClient::step(2, 1);
  for (size_t cut = 0; cut <= step.size(); ++cut) {
    std::string token;
    {
      RawClient client(served.port());
      token = client.open(model_);
      ASSERT_TRUE(client.send(RawClient::step(1, 0)).ok());
      ASSERT_TRUE(client.receive());
      ASSERT_EQ(client.rows, expected(0)) << client.header;
      ASSERT_TRUE(client.send(std::string_view(step).substr(0, cut)).ok());
    }
    RawClient again(served.port());
    ASSERT_EQ(again.open(model_, token), token);
    ASSERT_TRUE(again.resumed) << cut;
    ASSERT_TRUE(again.send(step + RawClient::step(3, 1)).ok());
    for (uint32_t row : {1u, 2u}) {
      ASSERT_TRUE(again.receive()) << cut;
      ASSERT_EQ(again.rows, expected(row)) << cut << ": " << again.header;
    }
    ASSERT_TRUE(again.send(RawClient::frame(R"({"type":"close"})")).ok());
    ASSERT_FALSE(again.receive());
  }
}

TEST_F(BodyServerTest, AReplyCutAtEveryByte) {
  ServedBody served(model_);
  size_t reply_bytes = 60;  // at least; how long it is depends on "ms"
  for (size_t cut = 0; cut <= reply_bytes; ++cut) {
    std::string token;
    {
      RawClient client(served.port());
      token = client.open(model_);
      ASSERT_TRUE(client.send(RawClient::step(1, 0)).ok());
      client.skip(cut);
    }
    RawClient again(served.port());
    again.open(model_, token);
    ASSERT_TRUE(again.resumed) << cut;
    ASSERT_TRUE(again.send(RawClient::step(1, 0)).ok());
    ASSERT_TRUE(again.receive());
    ASSERT_EQ(again.rows, expected(0)) << again.header;
    if (cut == 0) reply_bytes = std::min(reply_bytes, again.header.size() + 4 + 8 - 4);
    ASSERT_TRUE(again.send(RawClient::frame(R"({"type":"close"})")).ok());
    ASSERT_FALSE(again.receive());
  }
}

TEST_F(BodyServerTest, HalfOpenConnectionsAreReplaced) {
  ServedBody served(model_);
  RawClient silent(served.port());
  const std::string token = silent.open(model_);
  ASSERT_TRUE(silent.send(RawClient::step(1, 0)).ok());
  ASSERT_TRUE(silent.receive());
  // Its own end thinks that it is still there.
  RawClient again(served.port());
  again.open(model_, token);
  EXPECT_TRUE(again.resumed);
  ASSERT_TRUE(silent.receive());
  EXPECT_NE(silent.header.find("\"replaced\""), std::string::npos) << silent.header;
  EXPECT_FALSE(silent.receive());
  ASSERT_TRUE(again.send(RawClient::step(2, 1)).ok());
  ASSERT_TRUE(again.receive());
  EXPECT_EQ(again.rows, expected(1));
}

TEST_F(BodyServerTest, IdleSessionsEnd) {
  BodyServerOptions options;
  options.body.idle = milliseconds(1);
  ServedBody served(model_, options);
  RawClient client(served.port());
  client.open(model_);
  ASSERT_TRUE(client.receive());
  EXPECT_NE(client.header.find("\"idle\""), std::string::npos) << client.header;
  EXPECT_FALSE(client.receive());
  EXPECT_EQ(served.body().gauges().used, Usage());
}

std::string http_get(uint16_t port, const std::string& target) {
  const net::Wait wait = RawClient::wait();
  const std::unique_ptr<net::TcpStream> stream =
      std::move(*net::tcp_connect("127.0.0.1", port, wait));
  EXPECT_TRUE(net::write_all(*stream, "GET " + target + " HTTP/1.1\r\nHost: a\r\n\r\n", wait).ok());
  std::string out;
  std::array<std::byte, 4096> some;
  while (true) {
    const Result<size_t> count = net::read_some(*stream, some, wait);
    if (!count.ok() || *count == 0) return out;
    out.append(reinterpret_cast<const char*>(some.data()), *count);
  }
}

// Who only asks what the body has is no peer that was refused; who asks for another model is.
TEST_F(BodyServerTest, AQuestionIsNoRefusal) {
  ServedBody served(model_);
  const auto ask = [&](const std::string& header, const std::string& type) {
    RawClient client(served.port());
    ASSERT_TRUE(client.send(RawClient::frame(header)).ok());
    ASSERT_TRUE(client.receive());
    EXPECT_NE(client.header.find("\"type\":\"" + type), std::string::npos) << client.header;
  };
  const auto none_left = [&] { return served.server().counters().connections == 0; };
  ask(R"({"type":"hello","version":1})", "welcome");
  ASSERT_TRUE(ServedBody::eventually(none_left));
  EXPECT_EQ(served.server().counters().refused, 0u);
  ask(R"({"type":"hello","version":2})", "error");
  ASSERT_TRUE(ServedBody::eventually(none_left));
  EXPECT_EQ(served.server().counters().refused, 1u);
}

TEST_F(BodyServerTest, ProbesAndDraining) {
  ServedBody served(model_);
  EXPECT_TRUE(http_get(served.port(), "/healthz").starts_with("HTTP/1.1 200"));
  EXPECT_TRUE(http_get(served.port(), "/readyz").starts_with("HTTP/1.1 200"));
  EXPECT_TRUE(http_get(served.port(), "/").starts_with("HTTP/1.1 404"));
  {
    RawClient client(served.port());
    client.open(model_);
    ASSERT_TRUE(client.send(RawClient::step(1, 0)).ok());
    ASSERT_TRUE(client.receive());
    const std::string page = http_get(served.port(), "/metrics");
    EXPECT_NE(page.find("\nsplitd_sessions{state=\"attached\"} 1\n"), std::string::npos) << page;
    EXPECT_NE(page.find("\nsplitd_steps_total 1\n"), std::string::npos);
    EXPECT_NE(page.find("text/plain; version=0.0.4"), std::string::npos);

    served.server().drain();
    EXPECT_TRUE(ServedBody::eventually(
        [&] { return http_get(served.port(), "/readyz").starts_with("HTTP/1.1 503"); }));
    RawClient late(served.port());
    ASSERT_TRUE(late.send(RawClient::hello(model_)).ok());
    ASSERT_TRUE(late.receive());
    EXPECT_NE(late.header.find("\"draining\""), std::string::npos) << late.header;
    // The session that there is goes on, and its end ends everything.
    ASSERT_TRUE(client.send(RawClient::step(2, 1)).ok());
    ASSERT_TRUE(client.receive());
    EXPECT_EQ(client.rows, expected(1));
    ASSERT_TRUE(client.send(RawClient::frame(R"({"type":"close"})")).ok());
    EXPECT_FALSE(client.receive());
  }
  served.join();
}

TEST_F(BodyServerTest, TheDrainsDeadlineIsHard) {
  BodyServerOptions options;
  options.drain = milliseconds(1);
  ServedBody served(model_, options);
  {
    RawClient client(served.port());
    client.open(model_);
    served.server().drain();
    ASSERT_TRUE(client.receive());
    EXPECT_NE(client.header.find("\"draining\""), std::string::npos) << client.header;
    EXPECT_NE(client.header.find("\"retry\":true"), std::string::npos) << client.header;
    EXPECT_FALSE(client.receive());
  }
  served.join();
}

TEST_F(BodyServerTest, HundredsOfSessionsCutAtRandomLeaveNothing) {
  BodyServerOptions options;
  options.body.idle = milliseconds(0);  // whoever is cut off is forgotten at the next look
  ServedBody served(model_, options);
  const size_t before = n_descriptor();
  std::mt19937 random(7);
  const std::string close = RawClient::frame(R"({"type":"close"})");
  for (int i = 0; i < 400; ++i) {
    const std::string all = RawClient::hello(model_) + RawClient::step(1, 0);
    RawClient client(served.port());
    switch (random() % 4) {
      case 0:  // somewhere in the beginning
        ASSERT_TRUE(client.send(std::string_view(all).substr(0, random() % all.size())).ok());
        break;
      case 1:
        ASSERT_TRUE(client.send(RawClient::hello(model_)).ok());
        break;
      case 2:
        ASSERT_TRUE(client.send(RawClient::hello(model_)).ok());
        if (client.receive()) (void)client.send(RawClient::step(1, 0));
        break;
      case 3:
        ASSERT_TRUE(client.send(RawClient::hello(model_)).ok());
        if (client.receive()) (void)client.send(RawClient::step(1, 0) + close);
        break;
    }
  }
  EXPECT_TRUE(ServedBody::eventually([&] {
    return served.body().gauges().used == Usage() && served.server().counters().connections == 0;
  }));
  EXPECT_TRUE(ServedBody::eventually([&] { return n_descriptor() == before; }));
}

}  // namespace
}  // namespace splitd
