#include "net/url.h"

#include <gtest/gtest.h>

namespace splitd::net {
namespace {

TEST(Url, ReadsItsParts) {
  const Result<Url> url = parse_url("HTTPS://Hub.Example:8443/a/b?c=d&e#f");
  ASSERT_TRUE(url.ok());
  EXPECT_EQ(url->scheme, "https");
  EXPECT_EQ(url->host, "hub.example");
  EXPECT_EQ(url->port, 8443);
  EXPECT_EQ(url->target(), "/a/b?c=d&e");
  EXPECT_EQ(url->text(), "https://hub.example:8443/a/b?c=d&e");
  EXPECT_EQ(url->shown(), "https://hub.example:8443/a/b");
  EXPECT_EQ(parse_url("http://a")->target(), "/");
  EXPECT_EQ(parse_url("http://a?b")->target(), "/?b");
  EXPECT_EQ(parse_url("http://a")->port, 80);
  EXPECT_EQ(parse_url("https://a:443/")->authority(), "a");
  EXPECT_EQ(parse_url("https://a:80/")->authority(), "a:80");
  EXPECT_EQ(parse_url("http://[::1]:8080/x")->host, "::1");
  EXPECT_EQ(parse_url("http://[::1]:8080/x")->authority(), "[::1]:8080");
  EXPECT_EQ(parse_url("http://127.0.0.1/%20x")->target(), "/%20x");
  EXPECT_EQ(parse_url("http://a/b/./c/../../d/..")->path, "/");
}

TEST(Url, RefusesTheRest) {
  const std::string cases[] = {"",
                               "a",
                               "/a",
                               "//a",
                               "https:/a",
                               "https://",
                               "https:///a",
                               "ftp://a",
                               "file:///etc/passwd",
                               "https://user@a/",
                               "https://user:pass@a/",
                               "https://a:0/",
                               "https://a:65536/",
                               "https://a:/",
                               "https://a:1x/",
                               "https://a:-1/",
                               "https://a b/",
                               "https://a/b c",
                               "https://a/\r\nX: y",
                               "https://a\\b/",
                               "https://a/\xc3\xa9",
                               "https://a/%",
                               "https://a/%1",
                               "https://a/%zz",
                               "https://[::1/",
                               "https://[1.2.3.4]/",
                               "https://[::1]x/",
                               "https://a..b/",
                               "https://.a/",
                               "https://a%2eb/",
                               "https://1.2.3/",
                               "https://1.2.3.999/",
                               "https://2130706433/",
                               "https://0x7f000001/",
                               "https://a/<b>",
                               std::string("https://a/\0b", 11),
                               "https://a/" + std::string(9000, 'x'),
                               "https://" + std::string(64, 'a') + "/",
                               "https://a.b@evil.example/"};
  for (const std::string& text : cases) {
    const Result<Url> url = parse_url(text);
    EXPECT_FALSE(url.ok()) << text;
    if (!url) {
      EXPECT_EQ(url.error().message.find("pass@"), std::string::npos);
      EXPECT_EQ(url.error().message.find('\r'), std::string::npos);
    }
  }
}

TEST(Url, MessagesKeepQueriesSecret) {
  EXPECT_EQ(parse_url("https://a b/?Signature=abc").error().message.find("abc"), std::string::npos);
}

TEST(Url, FollowsReferences) {
  const Url base = *parse_url("https://hub.example/org/name/resolve/main/f?x=y");
  const std::pair<std::string, std::string> cases[] = {
      {"/api/x?y", "https://hub.example/api/x?y"},
      {"g", "https://hub.example/org/name/resolve/main/g"},
      {"../g", "https://hub.example/org/name/resolve/g"},
      {"../../../../../../g", "https://hub.example/g"},
      {"./g/.", "https://hub.example/org/name/resolve/main/g/"},
      {"?z", "https://hub.example/org/name/resolve/main/f?z"},
      {"", "https://hub.example/org/name/resolve/main/f?x=y"},
      {"#frag", "https://hub.example/org/name/resolve/main/f?x=y"},
      {"//cdn.example:99/h?i", "https://cdn.example:99/h?i"},
      {"http://other.example/", "http://other.example/"},
      {"/a?b=https://c/d", "https://hub.example/a?b=https://c/d"}};
  for (const auto& [reference, expected] : cases) {
    const Result<Url> url = resolve_url(base, reference);
    ASSERT_TRUE(url.ok()) << reference;
    EXPECT_EQ(url->text(), expected) << reference;
  }
  EXPECT_FALSE(resolve_url(base, "javascript:alert(1)").ok());
  EXPECT_FALSE(resolve_url(base, "/a b").ok());
}

TEST(Url, ComparesOrigins) {
  const Url a = *parse_url("https://a/x");
  EXPECT_TRUE(same_origin(a, *parse_url("https://A:443/y")));
  EXPECT_FALSE(same_origin(a, *parse_url("http://a/x")));
  EXPECT_FALSE(same_origin(a, *parse_url("https://a:444/x")));
  EXPECT_FALSE(same_origin(a, *parse_url("https://a.b/x")));
}

TEST(Url, EncodesPaths) {
  EXPECT_EQ(percent_encode("refs/pr/1"), "refs%2Fpr%2F1");
  EXPECT_EQ(percent_encode("a b/c?d%", true), "a%20b/c%3Fd%25");
}

TEST(Url, KnowsThisMachine) {
  EXPECT_TRUE(is_loopback("localhost"));
  EXPECT_TRUE(is_loopback("127.9.9.9"));
  EXPECT_TRUE(is_loopback("::1"));
  EXPECT_FALSE(is_loopback("128.0.0.1"));
  EXPECT_FALSE(is_loopback("localhost.example"));
  EXPECT_FALSE(is_loopback("127.0.0.1.example"));
}

}  // namespace
}  // namespace splitd::net
