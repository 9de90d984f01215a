// A token over a network takes nothing from the heap, at neither end, once the first few are
// through: the session's loop, the ends' layers, header and JSON, the wire, WebSocket, TLS, and the
// body.
#include <gtest/gtest.h>

#include "tests/heap_count.h"
#include "tests/runtime/split/golden_split.h"

namespace splitd {
namespace {

constexpr uint32_t kWarm = 60, kTokens = 250;

uint64_t taken_by_tokens(Session& session, uint32_t n_vocab) {
  Sampler sampler({}, n_vocab);
  GenerateOptions options;
  options.max_tokens = kTokens;
  uint32_t n_token = 0;
  uint64_t before = 0, after = 0;
  const Result<Generated> out =
      session.generate(std::vector<uint32_t>{5, 6, 7}, options, sampler, [&](uint32_t) {
        after = heap::n_alloc.load();
        if (++n_token == kWarm) before = after;
        return true;
      });
  EXPECT_TRUE(out.ok()) << out.error().message;
  EXPECT_EQ(n_token, kTokens);
  EXPECT_GT(before, 1000u);  // it does count
  return after - before;
}

class StepAllocations : public testing::TestWithParam<Way> {};

TEST_P(StepAllocations, NoneAtEitherEnd) {
  const Way& way = GetParam();
  const Keys keys;
  GoldenParts parts("llama");
  BodyServerOptions options;
  options.net.tls = keys.server(way.proof);
  // A process that somebody stopped for a while would find its peer silent, and its buffers
  // trimmed.
  options.net.ping_after = options.net.pong_timeout = std::chrono::hours(1);
  ServedBody served(parts.body({0, parts.config().n_layer}), std::move(options));
  for (const WireType wire : {WireType::f16, WireType::q8}) {
    RemoteOptions remote;
    remote.bodies = {{"127.0.0.1", served.port()}};
    remote.tls = keys.client(way.proof);
    remote.websocket = way.websocket;
    remote.wire = wire;
    GoldenEnds ends(parts, 1, 1, std::move(remote), {500, 16, KvType::f16});
    ASSERT_NE(ends.session(), nullptr);
    EXPECT_EQ(taken_by_tokens(*ends.session(), parts.config().n_vocab), 0u) << wire_name(wire);
  }
}

INSTANTIATE_TEST_SUITE_P(Ways, StepAllocations, testing::ValuesIn(kWays),
                         [](const auto& test) { return std::string(test.param.name); });

// A reply that takes longer than the caller waits is asked for again and again.
TEST(StepAllocations, NoneInWaiting) {
  GoldenParts parts("llama");
  ServedBody served(parts.body({0, parts.config().n_layer}));
  RemoteOptions remote;
  remote.bodies = {{"127.0.0.1", served.port()}};
  GoldenEnds ends(parts, 1, 1, std::move(remote), {64, 16, KvType::f16});
  const SessionId session = *ends.body().open({64, 16, KvType::f16});
  StageReply reply;
  const std::vector<float> rows(parts.config().d_model, 0.5f);
  uint32_t n_waited = 0;
  uint64_t taken = 0;
  for (uint32_t seq = 1; seq <= 20; ++seq) {
    StageRequest request{.seq = seq, .ack = seq - 1, .timeline = {}, .rows = rows};
    request.timeline.append =
        Frame{.first = seq - 1, .base = seq == 1 ? kNoRow : seq - 2, .n_row = 1, .commit = true};
    ASSERT_TRUE(ends.body().submit(session, request).ok());
    const uint64_t before = heap::n_alloc.load();
    while (true) {
      const Status status = ends.body().next(session, Deadline::min(), reply);
      if (status.ok()) break;
      ASSERT_TRUE(is_no_reply_yet(status.error())) << status.error().message;
      ++n_waited;
    }
    if (seq > 10) taken += heap::n_alloc.load() - before;
  }
  EXPECT_GT(n_waited, 20u);
  EXPECT_EQ(taken, 0u);
}

}  // namespace
}  // namespace splitd
