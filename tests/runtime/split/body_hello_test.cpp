// What a body answers to a hello: welcome, or one clear line with both values.
#include <gtest/gtest.h>

#include "tests/runtime/split/memory_client.h"

namespace splitd {
namespace {

using testing::Test;

bool has(const std::string& text, const std::vector<std::string>& parts) {
  return std::all_of(parts.begin(), parts.end(),
                     [&](const std::string& part) { return text.find(part) != std::string::npos; });
}

class BodyHelloTest : public Test {
 protected:
  FakeBody fake_;
  Body& body_ = *fake_.body;

  // What a changed hello is refused with; the connection has to end then.
  template <class Change>
  static std::string refusal(FakeBody& fake, const Change& change) {
    MemoryClient client(*fake.body);
    HelloMessage hello = client.hello_for();
    change(hello);
    client.send(hello);
    fake.compute();
    std::string text = client.take_error();
    EXPECT_TRUE(client.is_closed) << text;
    EXPECT_TRUE(client.received.empty());
    EXPECT_EQ(fake.body->gauges().used, Usage()) << text;
    return text;
  }
  template <class Change>
  std::string refusal(const Change& change) {
    return refusal(fake_, change);
  }
};

TEST_F(BodyHelloTest, AGoodHelloOpensASession) {
  MemoryClient client(body_);
  const WelcomeMessage welcome = client.open();
  EXPECT_EQ(welcome.version, kProtocolVersion);
  EXPECT_EQ(welcome.fingerprint, FakeBody::kFingerprint);
  EXPECT_EQ(welcome.layers, (LayerRange{1, 5}));
  EXPECT_EQ(welcome.arith, "fake/f16");
  EXPECT_EQ(welcome.n_ctx, 256u);
  EXPECT_EQ(welcome.max_pending, 16u);
  EXPECT_EQ(welcome.window, kReplyWindow);
  EXPECT_EQ(welcome.max_rows, 512u);
  EXPECT_EQ(welcome.idle_s, 300u);
  EXPECT_EQ(welcome.resume.size(), 32u);
  EXPECT_FALSE(welcome.resumed);
  ASSERT_TRUE(client.admitted);
  EXPECT_EQ(client.admitted->max_payload_bytes, 512u * 2 * 4);
  EXPECT_EQ(body_.gauges().attached, 1u);
  EXPECT_EQ(body_.gauges().used.sessions, 1u);
  EXPECT_EQ(body_.gauges().used.rows, 272u);
}

TEST_F(BodyHelloTest, AnyPartOfWhatIsServedCanBeAskedFor) {
  MemoryClient client(body_);
  HelloMessage hello = client.hello_for();
  hello.layers = LayerRange{2, 3};
  EXPECT_EQ(client.open(hello).layers, (LayerRange{2, 3}));
}

TEST_F(BodyHelloTest, AQuestionIsAnsweredWithoutASession) {
  MemoryClient client(body_);
  HelloMessage question;
  question.exact = true;
  const WelcomeMessage welcome = client.open(question);
  EXPECT_EQ(welcome.layers, (LayerRange{1, 5}));
  EXPECT_EQ(welcome.fingerprint, FakeBody::kFingerprint);
  EXPECT_EQ(welcome.d_model, 2u);
  EXPECT_EQ(welcome.n_ctx, 4096u);
  EXPECT_EQ(welcome.max_pending, 1024u);
  EXPECT_EQ(welcome.arith, "fake/f16");
  EXPECT_EQ(welcome.resume, "");
  EXPECT_FALSE(client.admitted);
  EXPECT_FALSE(client.is_closed);
  EXPECT_EQ(body_.gauges().used, Usage());
  // Then a session on the same connection.
  EXPECT_EQ(client.open().resume.size(), 32u);
  // A question about another model is answered with both.
  MemoryClient other(body_);
  question.fingerprint = std::string(64, 'b');
  other.send(question);
  EXPECT_TRUE(has(other.take_error(), {"model: ", std::string(64, 'b'), FakeBody::kFingerprint}));
}

TEST_F(BodyHelloTest, RefusesWhatDiffersWithBothValues) {
  EXPECT_EQ(refusal([](HelloMessage& hello) { hello.version = 7; }),
            "version: protocol version 7; this body speaks 1");
  EXPECT_TRUE(has(refusal([](HelloMessage& hello) { hello.fingerprint = std::string(64, '0'); }),
                  {"model: ", std::string(64, '0'), FakeBody::kFingerprint}));
  EXPECT_TRUE(has(refusal([](HelloMessage& hello) { hello.fingerprint.clear(); }),
                  {"model: ", "fingerprint is missing"}));
  EXPECT_EQ(refusal([](HelloMessage& hello) { hello.d_model = 64; }),
            "model: d_model 64; this body has 2");
  EXPECT_EQ(refusal([](HelloMessage& hello) { hello.n_ctx = 5000; }),
            "too_large: n_ctx 5000; this body gives a session at most 4096");
  EXPECT_EQ(refusal([](HelloMessage& hello) { hello.max_pending = 5000; }),
            "too_large: max_pending 5000; this body gives a session at most 1024");
}

TEST_F(BodyHelloTest, NamesTheLayersThatItLacks) {
  const auto with = [this](uint32_t begin, uint32_t end) {
    return refusal([&](HelloMessage& hello) { hello.layers = LayerRange{begin, end}; });
  };
  EXPECT_EQ(with(0, 5), "layers: layers 0:5; this body serves 1:5 and lacks 0");
  EXPECT_EQ(with(2, 8), "layers: layers 2:8; this body serves 1:5 and lacks 5-7");
  EXPECT_EQ(with(0, 6), "layers: layers 0:6; this body serves 1:5 and lacks 0 and 5");
  EXPECT_EQ(with(7, 9), "layers: layers 7:9; this body serves 1:5 and lacks 7-8");
  EXPECT_TRUE(has(with(3, 3), {"layers: ", "1:5"}));
  EXPECT_TRUE(has(refusal([](HelloMessage& hello) { hello.layers.reset(); }), {"layers: ", "1:5"}));
}

TEST_F(BodyHelloTest, ComputesAsAskedUnlessItWasToldHow) {
  const auto arith = [](FakeBody& fake, std::optional<KvType> kv) {
    MemoryClient client(*fake.body);
    HelloMessage hello = client.hello_for();
    hello.kv = kv;
    std::string text = client.open(hello).arith;
    client.send(R"({"type":"close"})");
    return text;
  };
  EXPECT_EQ(arith(fake_, {}), "fake/f16");
  EXPECT_EQ(arith(fake_, KvType::q8), "fake/q8");
  FakeBody strict({.kv = KvType::bf16, .exact = true});
  EXPECT_EQ(arith(strict, {}), "fake/bf16");
  EXPECT_EQ(arith(strict, KvType::bf16), "fake/bf16");
  EXPECT_EQ(refusal(strict, [](HelloMessage& hello) { hello.kv = KvType::f16; }),
            "compute: kv f16; this body keeps bf16");
  EXPECT_EQ(refusal(strict, [](HelloMessage& hello) { hello.exact = false; }),
            "compute: compute auto; this body computes f32");
}

TEST_F(BodyHelloTest, TakesOneSessionAConnection) {
  MemoryClient client(body_);
  client.open();
  client.send(client.hello_for());
  EXPECT_TRUE(has(client.take_error(), {"bad_request: ", "second hello"}));
  EXPECT_TRUE(client.is_closed);
  EXPECT_EQ(body_.gauges().used, Usage());
}

TEST_F(BodyHelloTest, RefusesMessagesThatAreNotItsOwn) {
  const auto answer = [this](std::string_view header) {
    MemoryClient client(body_);
    client.send(header);
    std::string text = client.take_error();
    EXPECT_TRUE(client.is_closed) << header;
    return text;
  };
  for (const std::string_view header :
       {R"({"bytes":0})", R"({"type":"jump"})", R"({"type":"rows","seq":1,"n":0})",
        R"({"type":"welcome","version":1})", R"({"type":"error","message":"you are wrong"})",
        R"({"type":"hello"})", R"({"type":"hello","version":"1"})",
        R"({"type":"hello","version":1,"wire":"f17"})", R"({"type":"step","seq":1,"ack":0})"}) {
    EXPECT_TRUE(has(answer(header), {"bad_request: "})) << header;
  }
  MemoryClient client(body_);
  const std::byte byte{};
  client.send(R"({"type":"hello","version":1,"bytes":1})", {&byte, 1});
  EXPECT_TRUE(has(client.take_error(), {"bad_request: ", "payload"}));
}

TEST_F(BodyHelloTest, ManyRangesAreFewBackendsAtATime) {
  const int before = fake_.n_backend;
  for (uint32_t begin = 1; begin < 5; ++begin) {
    for (uint32_t end = begin + 1; end <= 5; ++end) {
      MemoryClient client(body_);
      HelloMessage hello = client.hello_for();
      hello.layers = LayerRange{begin, end};
      client.open(hello);
      client.send(R"({"type":"close"})");
      EXPECT_TRUE(client.is_closed);
      fake_.compute();
    }
  }
  EXPECT_EQ(fake_.n_backend, before + 10);
  EXPECT_LE(body_.gauges().engines, 1u);
  // The last one is still there for the next session.
  MemoryClient client(body_);
  HelloMessage hello = client.hello_for();
  hello.layers = LayerRange{4, 5};
  client.open(hello);
  EXPECT_EQ(fake_.n_backend, before + 10);
}

}  // namespace
}  // namespace splitd
