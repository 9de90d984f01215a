// Handshakes of splitd's own ends, in memory: who gets in, who does not, and what each is told.
#include <gtest/gtest.h>

#include "net/psk_file.h"
#include "net/tls_context.h"
#include "tests/net/certificates.h"
#include "tests/net/channel_pair.h"
#include "tests/temp_dir.h"

namespace splitd::net {
namespace {

constexpr FrameLimits kFrames{4096, 1 << 20};

class ChannelTls : public ::testing::Test {
 protected:
  std::string file(const std::string& name, const std::string& text, unsigned mode = 0600) {
    const std::string path = dir.path() + "/" + name;
    EXPECT_TRUE(write_file(path, text, mode).ok());
    return path;
  }
  TlsOptions keys(const std::string& name, const std::string& text) {
    return {.psk_file = file(name, text)};
  }
  TlsOptions certificate(const std::string& name, TestAuthority& signer, const TestNames& names,
                         TestAuthority& trusted) {
    const TestIdentity identity = signer.issue(names);
    TlsOptions options;
    options.cert_file = file(name + ".crt", identity.certificate_pem);
    options.key_file = file(name + ".key", identity.key_pem);
    options.ca_file = file(name + ".ca", trusted.certificate_pem());
    return options;
  }
  static std::shared_ptr<TlsContext> server(const TlsOptions& options) {
    auto context = TlsContext::server(options);
    EXPECT_TRUE(context.ok()) << context.error().message;
    return context.ok() ? *context : nullptr;
  }
  static std::shared_ptr<TlsContext> client(const TlsOptions& options) {
    auto context = TlsContext::client(options);
    EXPECT_TRUE(context.ok()) << context.error().message;
    return context.ok() ? *context : nullptr;
  }
  static std::unique_ptr<ChannelPair> meet(std::shared_ptr<TlsContext> client_tls,
                                           std::shared_ptr<TlsContext> server_tls,
                                           bool websocket = false, size_t piece = SIZE_MAX) {
    ChannelOptions c{.role = Role::client,
                     .tls = std::move(client_tls),
                     .websocket = websocket,
                     .host = "localhost:7777",
                     .frames = kFrames};
    ChannelOptions s{.role = Role::server, .tls = std::move(server_tls), .frames = kFrames};
    auto pair = std::make_unique<ChannelPair>(std::move(c), std::move(s));
    pair->pump(piece);
    return pair;
  }
  // Both ends open, and messages of several records pass both ways.
  static void expect_open(ChannelPair& pair, size_t piece = SIZE_MAX) {
    ASSERT_EQ(pair.client_heard.error, "");
    ASSERT_EQ(pair.server_heard.error, "");
    ASSERT_TRUE(pair.client.is_open());
    const std::string payload(40'000, 'x');
    pair.client.send(R"({"type":"a"})", bytes_of(payload));
    pair.client.send(R"({"type":"b"})", {});
    pair.pump(piece);
    ASSERT_EQ(pair.server_heard.messages.size(), 2u) << pair.server_heard.error;
    EXPECT_EQ(pair.server_heard.messages[0], R"({"bytes":40000,"type":"a"}|)" + payload);
    ASSERT_TRUE(pair.server.is_open());
    pair.server.send(R"({"type":"c"})", bytes_of(payload));
    pair.pump(piece);
    ASSERT_EQ(pair.client_heard.messages.size(), 1u) << pair.client_heard.error;
    EXPECT_TRUE(pair.client.is_encrypted() && pair.server.is_encrypted());
  }

  TempDir dir;
  const std::string key1 = std::string(64, 'a');
  const std::string key2 = std::string(32, '0') + std::string(32, 'F');
};

TEST_F(ChannelTls, KeysOfManyPeers) {
  const auto body =
      server(keys("body.psk", "# the fleet\nalice " + key1 + "\n\nbob " + key2 + "\n"));
  for (const auto& [name, key] : {std::pair{"alice", key1}, std::pair{"bob", key2}}) {
    for (const bool websocket : {false, true}) {
      auto pair = meet(client(keys("one.psk", std::string(name) + " " + key)), body, websocket);
      expect_open(*pair);
      EXPECT_EQ(pair->server.identity(), std::string("psk:") + name);
      EXPECT_EQ(pair->server.transport_name(), websocket ? "wss" : "tls");
      EXPECT_FALSE(pair->client.is_resumed());
    }
  }
}

TEST_F(ChannelTls, EveryByteBoundary) {
  const auto body = server(keys("body.psk", "alice " + key1));
  const auto me = client(keys("one.psk", "alice " + key1));
  for (const bool websocket : {false, true}) {
    for (const size_t piece : {size_t{1}, size_t{2}, size_t{7}, size_t{333}}) {
      auto pair = meet(me, body, websocket, piece);
      expect_open(*pair, piece);
    }
  }
}

TEST_F(ChannelTls, SessionsAreTakenUpAgain) {
  const auto body = server(keys("body.psk", "alice " + key1 + "\nbob " + key2));
  const auto me = client(keys("one.psk", "alice " + key1));
  const auto first = meet(me, body);
  expect_open(*first);
  const auto again = meet(me, body);
  expect_open(*again);
  EXPECT_EQ(again->client.is_resumed(), !TlsContext::has_tls13());
  EXPECT_EQ(again->server.is_resumed(), !TlsContext::has_tls13());
  EXPECT_EQ(again->server.identity(), "psk:alice");
  // Another server, which never saw the session: a full handshake, quietly.
  const auto elsewhere = meet(me, server(keys("other.psk", "alice " + key1)));
  expect_open(*elsewhere);
  EXPECT_FALSE(elsewhere->client.is_resumed());
}

TEST_F(ChannelTls, AWrongKeyAndAnUnknownNameLookAlike) {
  const auto body = server(keys("body.psk", "alice " + key1));
  const auto wrong = meet(client(keys("w.psk", "alice " + key2)), body);
  const auto unknown = meet(client(keys("u.psk", "eve " + key1)), body);
  for (const auto* pair : {wrong.get(), unknown.get()}) {
    EXPECT_FALSE(pair->client.is_open());
    EXPECT_FALSE(pair->server_heard.opened);
    EXPECT_NE(pair->client_heard.error.find("refuses the identity"), std::string::npos)
        << pair->client_heard.error;
  }
  EXPECT_EQ(wrong->down_bytes, unknown->down_bytes);
  EXPECT_EQ(wrong->server_heard.error, "TLS handshake: a wrong key for psk:alice");
  EXPECT_EQ(unknown->server_heard.error, "TLS handshake: an unknown identity");
}

TEST_F(ChannelTls, Certificates) {
  TestAuthority& ca = test_authority();
  const auto body = server(certificate("body", ca, {.dns = {"localhost"}}, ca));
  for (const bool websocket : {false, true}) {
    const auto me = client(certificate("robot", ca, {.common_name = "robot-7"}, ca));
    auto pair = meet(me, body, websocket);
    expect_open(*pair);
    EXPECT_EQ(pair->server.identity(), "cert:robot-7");
    auto again = meet(me, body, websocket);
    expect_open(*again);
    EXPECT_TRUE(again->client.is_resumed());
    EXPECT_EQ(again->server.identity(), "cert:robot-7");
  }
  auto pair = meet(client(certificate("named", ca, {.dns = {"r.example"}}, ca)), body);
  expect_open(*pair);
  EXPECT_EQ(pair->server.identity(), "cert:r.example");
}

TEST_F(ChannelTls, CertificatesThatAreRefused) {
  TestAuthority& ca = test_authority();
  TestAuthority foreign;
  const auto body = server(certificate("body", ca, {.dns = {"localhost"}}, ca));
  const auto expect_refused = [](ChannelPair& pair, std::string_view client_says,
                                 std::string_view server_says) {
    EXPECT_FALSE(pair.client.is_open() && pair.server.is_open());
    EXPECT_NE(pair.client_heard.error.find(client_says), std::string::npos)
        << pair.client_heard.error;
    EXPECT_NE(pair.server_heard.error.find(server_says), std::string::npos)
        << pair.server_heard.error;
  };
  // The client's, by the server.
  auto pair = meet(client(certificate("f", foreign, {}, ca)), body);
  expect_refused(*pair, "refuses this end's certificate", "its authority is not trusted");
  pair = meet(client(certificate("o", ca, {.not_after = "20200201000000"}, ca)), body);
  expect_refused(*pair, "refuses this end's certificate", "it has expired");
  // The server's, by the client.
  const TlsOptions good = certificate("good", ca, {}, ca);
  pair = meet(client(good), server(certificate("sf", foreign, {.dns = {"localhost"}}, ca)));
  expect_refused(*pair, "its authority is not trusted", "");
  pair = meet(
      client(good),
      server(certificate("so", ca, {.dns = {"localhost"}, .not_after = "20200201000000"}, ca)));
  expect_refused(*pair, "it has expired", "");
  pair = meet(client(good), server(certificate("sn", ca, {.dns = {"elsewhere"}}, ca)));
  expect_refused(*pair, "it is for another host", "");
  // Keys against certificates.
  pair = meet(client(keys("k.psk", "alice " + key1)), body);
  expect_refused(*pair, "refuses the identity", "");
  pair = meet(client(good), server(keys("b.psk", "alice " + key1)));
  expect_refused(*pair, "refuses this end's certificate", "");
}

TEST_F(ChannelTls, AServerMayHaveBoth) {
  TestAuthority& ca = test_authority();
  TlsOptions both = certificate("body", ca, {.dns = {"localhost"}}, ca);
  both.psk_file = file("body.psk", "alice " + key1);
  const auto body = server(both);
  auto pair = meet(client(keys("a.psk", "alice " + key1)), body);
  expect_open(*pair);
  EXPECT_EQ(pair->server.identity(), "psk:alice");
  pair = meet(client(certificate("c", ca, {.common_name = "robot"}, ca)), body);
  expect_open(*pair);
  EXPECT_EQ(pair->server.identity(), "cert:robot");
}

TEST_F(ChannelTls, PlainAgainstEncrypted) {
  const auto body = server(keys("body.psk", "alice " + key1));
  const auto me = client(keys("one.psk", "alice " + key1));
  // A plain client is told in its own words.
  auto pair = meet(nullptr, body);
  pair->client.send(R"({"type":"hello"})");
  pair->pump();
  ASSERT_EQ(pair->client_heard.messages.size(), 1u);
  EXPECT_NE(pair->client_heard.messages[0].find("tls_required"), std::string::npos);
  EXPECT_NE(pair->server_heard.error.find("no TLS"), std::string::npos);
  EXPECT_FALSE(pair->server_heard.opened);
  pair = meet(nullptr, body, true);
  EXPECT_NE(pair->client_heard.error.find("speaks TLS only"), std::string::npos)
      << pair->client_heard.error;
  EXPECT_FALSE(pair->server_heard.opened);
  // And an encrypted one by a plain server.
  for (const bool websocket : {false, true}) {
    pair = meet(me, nullptr, websocket);
    EXPECT_NE(pair->client_heard.error.find("speaks no TLS"), std::string::npos)
        << pair->client_heard.error;
    EXPECT_NE(pair->server_heard.error.find("speaks TLS"), std::string::npos);
  }
}

// Whatever it is that answers a TLS client, and however it comes.
TEST_F(ChannelTls, WhatAnswersIsNoTls) {
  const auto me = client(keys("one.psk", "alice " + key1));
  const auto heard = [&](std::string_view bytes, size_t piece) {
    Channel channel({.role = Role::client, .tls = me, .host = "body:1"});
    for (; !bytes.empty(); bytes.remove_prefix(std::min(piece, bytes.size()))) {
      channel.feed(bytes_of(bytes.substr(0, piece)));
      const Result<ChannelEvent> event = channel.next();
      if (!event.ok()) return event.error().message;
    }
    return std::string();
  };
  for (const size_t piece : {1u, 3u, 100u}) {
    for (const std::string_view other :
         {std::string_view("HTTP/1.1 400 Bad Request\r\n\r\n"), std::string_view("\0\0\0\2{}", 6),
          std::string_view("SSH-2.0-x\r\n"), std::string_view("\x15\3\1\0\2\2\x46", 7)}) {
      EXPECT_NE(heard(other, piece).find("speaks no TLS"), std::string::npos) << other;
    }
    // Another alert is TLS that refuses.
    const std::string refused = heard({"\x15\3\3\0\2\2\x28", 7}, piece);
    EXPECT_NE(refused.find("refuses the identity"), std::string::npos) << refused;
  }
}

TEST_F(ChannelTls, AStrangersBytesInTheMiddle) {
  const auto body = server(keys("body.psk", "alice " + key1));
  const auto me = client(keys("one.psk", "alice " + key1));
  // One flipped bit anywhere after the handshake, and the message is not believed.
  for (size_t at = 0; at < 60; at += 7) {
    auto pair = meet(me, body);
    pair->client.send(R"({"type":"a"})", bytes_of("hidden states"));
    std::string record = take_pending(pair->client);
    ASSERT_LT(at, record.size());
    record[at] = static_cast<char>(record[at] ^ 0x10);
    pair->server.feed(bytes_of(record));
    pair->server.feed_end();
    listen(pair->server, pair->server_heard);
    EXPECT_NE(pair->server_heard.error, "") << at;
    EXPECT_TRUE(pair->server_heard.messages.empty()) << at;
  }
  // A cut without the goodbye is no end.
  auto pair = meet(me, body);
  pair->server.feed_end();
  listen(pair->server, pair->server_heard);
  EXPECT_NE(pair->server_heard.error.find("goodbye"), std::string::npos);
  pair = meet(me, body);
  pair->client.close();
  pair->pump();
  EXPECT_EQ(pair->server_heard.error, "");
  EXPECT_TRUE(pair->server_heard.closed);
}

TEST_F(ChannelTls, FilesOfKeys) {
  EXPECT_FALSE(TlsContext::server({}).ok());
  EXPECT_FALSE(TlsContext::server({.psk_file = dir.path() + "/none"}).ok());
  const std::string open_file = file("open.psk", "alice " + key1, 0644);
  const auto open = TlsContext::server({.psk_file = open_file});
  ASSERT_FALSE(open.ok());
  EXPECT_NE(open.error().message.find("chmod 600"), std::string::npos);
  EXPECT_FALSE(TlsContext::client(keys("two.psk", "a " + key1 + "\nb " + key2)).ok());
  EXPECT_FALSE(TlsContext::server({.cert_file = "x"}).ok());

  TestAuthority& ca = test_authority();
  TlsOptions mixed = certificate("one", ca, {}, ca);
  mixed.key_file = certificate("two", ca, {}, ca).key_file;
  const auto wrong_pair = TlsContext::server(mixed);
  ASSERT_FALSE(wrong_pair.ok());
  EXPECT_NE(wrong_pair.error().message.find("not the key of"), std::string::npos);
  TlsOptions readable = certificate("three", ca, {}, ca);
  readable.key_file = file("readable.key", *read_file(readable.key_file), 0640);
  EXPECT_FALSE(TlsContext::server(readable).ok());
}

TEST(PskFile, IsRead) {
  const std::string key(64, '7');
  const auto good = parse_psk_text("# c\n\nalice " + key + "\r\nb@c:1 " + key, "f");
  ASSERT_TRUE(good.ok()) << good.error().message;
  ASSERT_EQ(good->size(), 2u);
  EXPECT_EQ((*good)[1].identity, "b@c:1");
  EXPECT_EQ((*good)[0].key.reveal(), std::string(32, '\x77'));
  for (const std::string& bad :
       {std::string(""), std::string("# nothing\n"), "alice" + key, "alice  " + key,
        "alice " + key + "0", "alice " + key.substr(1), "alice " + key + " ", " alice " + key,
        "alice " + key + "\nalice " + key, std::string(65, 'n') + " " + key, "\xc3\xa9 " + key,
        "alice " + key.substr(1) + "g", "alice\t" + key}) {
    const auto refused = parse_psk_text(bad, "f");
    ASSERT_FALSE(refused.ok()) << bad;
    EXPECT_EQ(refused.error().message.find("777"), std::string::npos) << "a key in a message";
  }
}

}  // namespace
}  // namespace splitd::net
