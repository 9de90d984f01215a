#include "net/text.h"

#include <gtest/gtest.h>

#include "net/tls_names.h"

namespace splitd::net {
namespace {

TEST(Text, QuotesWhatPeersSay) {
  EXPECT_EQ(quoted("plain"), "\"plain\"");
  EXPECT_EQ(quoted("a\"b\\c\n\x1b[2J\xff"), "\"a\\x22b\\x5cc\\x0a\\x1b[2J\\xff\"");
  EXPECT_EQ(quoted("12345", 3), "\"123\"…");
}

TEST(Text, SecretsAreWipedAndMove) {
  for (const size_t length : {8u, 100u}) {  // inside the object, and on the heap
    Secret a(std::string(length, 's'));
    Secret b = std::move(a);
    EXPECT_TRUE(a.empty());  // NOLINT: the point
    EXPECT_EQ(b.reveal(), std::string(length, 's'));
    EXPECT_EQ(b.copy().reveal(), b.reveal());
    std::string text(length, 's');
    const char* memory = text.data();
    const size_t capacity = text.capacity();
    Secret::wipe(text);
    EXPECT_TRUE(text.empty());
    EXPECT_EQ(std::string(memory, capacity).find('s'), std::string::npos);
  }
}

TEST(TlsNames, CoverHosts) {
  EXPECT_TRUE(dns_name_covers("a.example", "a.example"));
  EXPECT_TRUE(dns_name_covers("A.Example", "a.eXample"));
  EXPECT_TRUE(dns_name_covers("*.example.org", "a.example.org"));
  EXPECT_FALSE(dns_name_covers("a.example", "b.example"));
  EXPECT_FALSE(dns_name_covers("*.example.org", "example.org"));
  EXPECT_FALSE(dns_name_covers("*.example.org", "a.b.example.org"));
  EXPECT_FALSE(dns_name_covers("*.example.org", ".example.org"));
  EXPECT_FALSE(dns_name_covers("*.org", "example.org"));
  EXPECT_FALSE(dns_name_covers("*", "example"));
  EXPECT_FALSE(dns_name_covers("a*.example.org", "ab.example.org"));
  EXPECT_FALSE(dns_name_covers("*.*.example.org", "a.b.example.org"));
  EXPECT_FALSE(dns_name_covers(std::string_view("a.example\0.evil", 15), "a.example"));
  EXPECT_FALSE(dns_name_covers("", ""));
}

}  // namespace
}  // namespace splitd::net
