#include "net/tls.h"

#include <gtest/gtest.h>

#include "tests/net/test_server.h"
#include "tests/temp_dir.h"

namespace splitd::net {
namespace {

Wait soon() {
  return Wait::for_at_most(milliseconds(20'000));
}

TestReply hello(const TestRequest&) {
  TestReply reply;
  reply.body = "hello";
  return reply;
}

std::shared_ptr<TlsClient> client_trusting(const std::string& ca_file) {
  Result<std::shared_ptr<TlsClient>> client = TlsClient::create({ca_file});
  EXPECT_TRUE(client.ok()) << client.error().message;
  return *client;
}

struct Greeted {
  Status status;
  bool refused = false;
  bool resumed = false;
  std::unique_ptr<TlsStream> stream;
};

Greeted greet(TlsClient& client, const TestServer& server, const std::string& host) {
  Greeted out;
  auto tcp = tcp_connect("127.0.0.1", server.port(), soon());
  EXPECT_TRUE(tcp.ok());
  auto stream = client.open(std::move(*tcp), host);
  EXPECT_TRUE(stream.ok());
  out.status = (*stream)->handshake(soon());
  out.refused = (*stream)->refused();
  out.resumed = (*stream)->resumed();
  out.stream = std::move(*stream);
  return out;
}

class Tls : public ::testing::Test {
 protected:
  TempDir dir;
  std::string ca_file = write_authority(dir.path());
};

void ask(TlsStream& stream) {
  ASSERT_TRUE(write_all(stream, "GET / HTTP/1.1\r\nHost: x\r\n\r\n", soon()).ok());
  std::byte buffer[4096];
  std::string text;
  while (!text.ends_with("hello")) {
    const Result<size_t> count = read_some(stream, buffer, soon());
    ASSERT_TRUE(count.ok() && *count > 0);
    text.append(reinterpret_cast<char*>(buffer), *count);
  }
}

TEST_F(Tls, CarriesBytesAndEndsOrderly) {
  const TestServer server(hello, local_identity());
  const auto client = client_trusting(ca_file);
  const Greeted greeted = greet(*client, server, "localhost");
  ASSERT_TRUE(greeted.status.ok()) << greeted.status.error().message;
  ask(*greeted.stream);
}

TEST_F(Tls, ResumesASession) {
  const TestServer server(hello, local_identity());
  const auto client = client_trusting(ca_file);
  const Greeted first = greet(*client, server, "localhost");
  EXPECT_FALSE(first.resumed);
  ask(*first.stream);  // TLS 1.3: the ticket comes behind the handshake
  const Greeted again = greet(*client, server, "localhost");
  EXPECT_TRUE(again.status.ok());
  EXPECT_TRUE(again.resumed);
  // A session is bound to the name that was verified.
  EXPECT_FALSE(greet(*client, server, "127.0.0.1").resumed);
  EXPECT_FALSE(greet(*client, server, "elsewhere").status.ok());
}

TEST_F(Tls, CutsAreNotEnds) {
  const TestServer server(
      [](const TestRequest&) {
        TestReply reply;
        reply.raw = "half";
        return reply;
      },
      local_identity());
  Greeted greeted = greet(*client_trusting(ca_file), server, "localhost");
  ASSERT_TRUE(greeted.status.ok());
  ASSERT_TRUE(write_all(*greeted.stream, "GET / HTTP/1.1\r\n\r\n", soon()).ok());
  std::byte buffer[64];
  Result<size_t> count = read_some(*greeted.stream, buffer, soon());
  while (count.ok() && *count > 0) count = read_some(*greeted.stream, buffer, soon());
  EXPECT_FALSE(count.ok());
}

TEST_F(Tls, NamesMustMatch) {
  TestAuthority& authority = test_authority();
  const auto client = client_trusting(ca_file);
  struct Case {
    TestNames names;
    std::string host;
    bool accepted;
  };
  const Case cases[] = {
      {{.dns = {"localhost"}}, "localhost", true},
      {{.dns = {"localhost"}}, "LOCALHOST", true},
      {{.dns = {"a.example", "localhost"}}, "localhost", true},
      {{.dns = {"*.example.org"}}, "hub.example.org", true},
      {{.dns = {"*.example.org"}}, "a.b.example.org", false},
      {{.dns = {"other"}}, "localhost", false},
      {{.ip = {"127.0.0.1"}}, "127.0.0.1", true},
      {{.ip = {"::1"}}, "::1", true},
      {{.ip = {"127.0.0.2"}}, "127.0.0.1", false},
      {{.dns = {"127.0.0.1"}}, "127.0.0.1", false},
      // 97.46.112.108 is the bytes "a.pl".
      {{.ip = {"97.46.112.108"}}, "a.pl", false},
      // The common name counts for nothing.
      {{.common_name = "localhost"}, "localhost", false},
      {{.dns = {"other"}, .common_name = "localhost"}, "localhost", false},
  };
  for (const Case& one : cases) {
    const TestServer server(hello, authority.issue(one.names));
    const Greeted greeted = greet(*client, server, one.host);
    EXPECT_EQ(greeted.status.ok(), one.accepted) << one.host;
    if (one.accepted) continue;
    EXPECT_TRUE(greeted.refused);
    EXPECT_EQ(greeted.status.error().kind, ErrorKind::peer);
    EXPECT_NE(greeted.status.error().message.find("another host"), std::string::npos)
        << greeted.status.error().message;
  }
}

TEST_F(Tls, DatesMustHold) {
  TestAuthority& authority = test_authority();
  const auto client = client_trusting(ca_file);
  const TestServer expired(hello,
                           authority.issue({.dns = {"localhost"}, .not_after = "20200201000000"}));
  const Greeted old = greet(*client, expired, "localhost");
  ASSERT_FALSE(old.status.ok());
  EXPECT_TRUE(old.refused);
  EXPECT_NE(old.status.error().message.find("expired"), std::string::npos);
  const TestServer future(hello,
                          authority.issue({.dns = {"localhost"}, .not_before = "20980101000000"}));
  EXPECT_NE(greet(*client, future, "localhost").status.error().message.find("not valid yet"),
            std::string::npos);
}

TEST_F(Tls, StrangersAreRefused) {
  TestAuthority other;
  const TestServer server(hello, other.issue({.dns = {"localhost"}}));
  const Greeted greeted = greet(*client_trusting(ca_file), server, "localhost");
  ASSERT_FALSE(greeted.status.ok());
  EXPECT_TRUE(greeted.refused);
  EXPECT_NE(greeted.status.error().message.find("not trusted"), std::string::npos);
}

TEST_F(Tls, APlainServerIsRefused) {
  const TestServer server(
      [](const TestRequest&) {
        TestReply reply;
        reply.raw = "HTTP/1.1 400 Bad\r\n\r\n";
        return reply;
      },
      std::nullopt);
  EXPECT_FALSE(greet(*client_trusting(ca_file), server, "localhost").status.ok());
}

TEST_F(Tls, AHandshakeHasADeadline) {
  Result<TcpListener> listener = TcpListener::listen("127.0.0.1", 0);  // nobody answers
  ASSERT_TRUE(listener.ok());
  auto tcp = tcp_connect("127.0.0.1", listener->port(), soon());
  ASSERT_TRUE(tcp.ok());
  auto stream = client_trusting(ca_file)->open(std::move(*tcp), "localhost");
  ASSERT_TRUE(stream.ok());
  const Status status = (*stream)->handshake(Wait::for_at_most(milliseconds(20)));
  ASSERT_FALSE(status.ok());
  EXPECT_FALSE((*stream)->refused());
  EXPECT_NE(status.error().message.find("timed out"), std::string::npos);
}

TEST_F(Tls, AuthoritiesComeFromAFile) {
  EXPECT_FALSE(TlsClient::create({dir.path() + "/none.pem"}).ok());
  ASSERT_TRUE(write_file(dir.path() + "/junk.pem", "not a certificate").ok());
  const auto junk = TlsClient::create({dir.path() + "/junk.pem"});
  ASSERT_FALSE(junk.ok());
  EXPECT_NE(junk.error().message.find("junk.pem"), std::string::npos);
  ASSERT_TRUE(write_file(dir.path() + "/empty.pem", "").ok());
  EXPECT_FALSE(TlsClient::create({dir.path() + "/empty.pem"}).ok());
}

}  // namespace
}  // namespace splitd::net
