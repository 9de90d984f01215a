// Nothing is allocated per message once buffers have their size: both ends, every transport, TLS
// and JSON included. A program of its own, because it takes malloc's place.
#include <gtest/gtest.h>
#include <stdlib.h>

#include <algorithm>
#include <atomic>

#include "net/tls_context.h"
#include "tests/net/channel_pair.h"
#include "tests/temp_dir.h"

// Sanitizers take malloc's place themselves.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SPLITD_COUNTS 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SPLITD_COUNTS 0
#endif
#endif
#ifndef SPLITD_COUNTS
#define SPLITD_COUNTS 1
#endif

namespace {
std::atomic<uint64_t> allocations{0};
}

#if SPLITD_COUNTS
extern "C" {
void* __libc_malloc(size_t);
void* __libc_calloc(size_t, size_t);
void* __libc_realloc(void*, size_t);

__attribute__((visibility("default"))) void* malloc(size_t size) {
  allocations.fetch_add(1, std::memory_order_relaxed);
  return __libc_malloc(size);
}
__attribute__((visibility("default"))) void* calloc(size_t count, size_t size) {
  allocations.fetch_add(1, std::memory_order_relaxed);
  return __libc_calloc(count, size);
}
__attribute__((visibility("default"))) void* realloc(void* old, size_t size) {
  allocations.fetch_add(1, std::memory_order_relaxed);
  return __libc_realloc(old, size);
}
}
#endif

namespace splitd::net {
namespace {

// Bit 0: WebSocket; bit 1: TLS.
class Allocations : public ::testing::TestWithParam<int> {};

// One event of a channel that was given all bytes of the other's.
void pass(Channel& from, Channel& to) {
  while (true) {
    const auto bytes = from.pending();
    if (bytes.empty()) return;
    const auto room = to.prepare();
    const size_t count = std::min(bytes.size(), room.size());
    std::copy_n(bytes.begin(), count, room.begin());
    to.commit(count);
    from.consumed(count);
  }
}

TEST_P(Allocations, NonePerMessage) {
  if (SPLITD_COUNTS == 0) GTEST_SKIP() << "a sanitizer owns malloc";
  const bool websocket = (GetParam() & 1) != 0;
  const bool encrypted = (GetParam() & 2) != 0;
  const TempDir dir;
  const TlsOptions keys{.psk_file = dir.path() + "/psk"};
  ASSERT_TRUE(write_file(keys.psk_file, "a " + std::string(64, '1'), 0600).ok());
  ChannelOptions client{.role = Role::client, .websocket = websocket, .host = "body:1"};
  ChannelOptions server{.role = Role::server};
  client.frames = server.frames = {4096, 1 << 20};
  if (encrypted) client.tls = *TlsContext::client(keys);
  if (encrypted) server.tls = *TlsContext::server(keys);
  ChannelPair pair(std::move(client), std::move(server));
  pair.pump();
  ASSERT_TRUE(pair.client.is_open()) << pair.client_heard.error;

  std::vector<std::byte> payload(40'000);
  uint64_t before = 0;
  for (int round = 0; round < 50; ++round) {
    if (round == 10) before = allocations.load();
    for (const auto& [from, to] :
         {std::pair{&pair.client, &pair.server}, std::pair{&pair.server, &pair.client}}) {
      const auto room = from->begin_message(
          R"({"type":"step","seq":12,"ack":11,"first":40,"base":39,"parents":[-1,0,1]})",
          payload.size() - static_cast<size_t>(round % 3));
      std::fill(room.begin(), room.end(), std::byte{7});
      from->end_message();
      from->ping();
      pass(*from, *to);
      bool heard = false;
      while (true) {
        const Result<ChannelEvent> event = to->next();
        ASSERT_TRUE(event.ok());
        if (*event == ChannelEvent::need_more) break;
        if (*event != ChannelEvent::message) continue;
        heard = to->frame().header.find("seq")->to_u64() == 12u;
      }
      ASSERT_TRUE(heard);
      pass(*to, *from);  // the pong
      const Result<ChannelEvent> pong = from->next();
      ASSERT_TRUE(pong.ok() && *pong == ChannelEvent::need_more);
    }
  }
  EXPECT_GT(before, 100u) << "nothing counts";
  EXPECT_EQ(allocations.load() - before, 0u);
}

INSTANTIATE_TEST_SUITE_P(Transports, Allocations, ::testing::Range(0, 4));

}  // namespace
}  // namespace splitd::net
