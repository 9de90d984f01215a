// Certificates of our own authority, used for what they are made for: handshakes in memory.
#include "net/tls_issue.h"

#include <gtest/gtest.h>

#include "net/psk_file.h"
#include "net/tls_context.h"
#include "tests/net/channel_pair.h"
#include "tests/temp_dir.h"

namespace splitd::net {
namespace {

using std::chrono::hours;
using std::chrono::system_clock;

class TlsIssue : public testing::Test {
 protected:
  TlsOptions files(const std::string& name, const IssuedCertificate& issued,
                   const IssuedCertificate& trusted) {
    const std::string base = dir_.path() + "/" + name;
    EXPECT_TRUE(write_secret_file(base + ".pem", issued.certificate_pem).ok());
    EXPECT_TRUE(write_secret_file(base + "-key.pem", issued.key_pem.reveal()).ok());
    EXPECT_TRUE(write_secret_file(base + "-ca.pem", trusted.certificate_pem).ok());
    return {.cert_file = base + ".pem", .key_file = base + "-key.pem", .ca_file = base + "-ca.pem"};
  }
  static Result<IssuedCertificate> issue(const IssuedCertificate& authority,
                                         const std::vector<std::string>& names,
                                         hours length = hours(24)) {
    return issue_certificate(authority.certificate_pem, authority.key_pem, names,
                             {system_clock::now(), length});
  }
  // "" when a message gets through; else what both ends say.
  std::string meet(const TlsOptions& client, const TlsOptions& server, const std::string& host) {
    ChannelPair pair({.role = Role::client, .tls = *TlsContext::client(client), .host = host},
                     {.role = Role::server, .tls = *TlsContext::server(server)});
    pair.pump();
    if (pair.client.is_open()) pair.client.send(R"({"type":"a"})");
    pair.pump();
    identity_ = pair.server.identity();
    if (pair.server_heard.messages.size() == 1) return "";
    return pair.client_heard.error + " / " + pair.server_heard.error;
  }

  TempDir dir_;
  std::string identity_;
  const IssuedCertificate authority_ = std::move(*make_authority({system_clock::now(), hours(48)}));
};

TEST_F(TlsIssue, BothEndsOfAConnection) {
  const TlsOptions body =
      files("body", *issue(authority_, {"cloud.example.org", "192.0.2.7", "::1", "127.0.0.1"}),
            authority_);
  const TlsOptions robot = files("robot", *issue(authority_, {"robot7"}), authority_);
  for (const char* host : {"cloud.example.org:7777", "192.0.2.7:7777", "[::1]:7777"}) {
    EXPECT_EQ(meet(robot, body, host), "") << host;
    EXPECT_EQ(identity_, "cert:robot7");
  }
  EXPECT_NE(meet(robot, body, "example.org:7777"), "");
  EXPECT_NE(meet(robot, body, "192.0.2.8:7777"), "");
}

TEST_F(TlsIssue, ManyNames) {
  std::vector<std::string> names{"first"};
  for (int i = 0; i < 40; ++i) names.push_back("machine-" + std::to_string(i) + ".example.org");
  const TlsOptions body = files("body", *issue(authority_, names), authority_);
  EXPECT_EQ(meet(body, body, "machine-39.example.org:1"), "");
}

TEST_F(TlsIssue, AnotherAuthoritysAreRefused) {
  const IssuedCertificate other = std::move(*make_authority({system_clock::now(), hours(48)}));
  EXPECT_NE(other.certificate_pem, authority_.certificate_pem);
  const TlsOptions body = files("body", *issue(authority_, {"localhost"}), authority_);
  const TlsOptions stranger = files("stranger", *issue(other, {"robot7"}), authority_);
  EXPECT_NE(meet(stranger, body, "localhost:1"), "");
  // A machine's certificate is no authority.
  const IssuedCertificate robot = std::move(*issue(authority_, {"robot7"}));
  const TlsOptions below = files("below", *issue(robot, {"below"}, hours(12)), authority_);
  EXPECT_NE(meet(below, body, "localhost:1"), "");
  const Result<IssuedCertificate> mixed = issue_certificate(
      authority_.certificate_pem, other.key_pem, {"robot7"}, {system_clock::now(), hours(24)});
  ASSERT_FALSE(mixed.ok());
  EXPECT_EQ(mixed.error().message, "the authority's key does not belong to its certificate");
}

TEST_F(TlsIssue, TimeRunsOut) {
  const TlsOptions body = files("body", *issue(authority_, {"localhost"}), authority_);
  const Result<IssuedCertificate> late =
      issue_certificate(authority_.certificate_pem, authority_.key_pem, {"robot7"},
                        {system_clock::now() - hours(72), hours(48)});
  ASSERT_TRUE(late.ok()) << late.error().message;
  EXPECT_NE(meet(files("late", *late, authority_), body, "localhost:1"), "");
  EXPECT_FALSE(issue(authority_, {"robot7"}, hours(49)).ok());
}

TEST_F(TlsIssue, NamesThatMeanSomethingElseAreRefused) {
  for (const std::string name :
       {"", "a,O=b", "a b", "../a", ".a", "-a", "a/b", "a\n", "*.a", "a=b"}) {
    EXPECT_FALSE(issue(authority_, {name}).ok()) << name;
    EXPECT_FALSE(issue(authority_, {"good", name}).ok()) << name;
  }
  EXPECT_FALSE(issue(authority_, {}).ok());
  EXPECT_FALSE(issue(authority_, {std::string(65, 'a')}).ok());
  EXPECT_TRUE(issue(authority_, {std::string(64, 'a')}).ok());
}

}  // namespace
}  // namespace splitd::net
