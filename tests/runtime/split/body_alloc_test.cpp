// What a body takes from the heap, with a real engine. A step takes nothing once the first ones
// have run: not on the event loop, not on the compute thread. Sessions give all back, however they
// end. SPLITD_SESSIONS=10000 makes the second test longer.
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <random>

#include "tests/heap_count.h"
#include "tests/runtime/split/golden_split.h"

namespace splitd {
namespace {

// A client that allocates nothing itself: all its steps are made beforehand.
class Steps {
 public:
  Steps(ServedBody& served, const BodyModel& model, WireType type, uint32_t n_step = 450)
      : stream_(std::move(*net::tcp_connect("127.0.0.1", served.port(), RawClient::wait()))),
        reader_({.max_payload_bytes = uint64_t{1} << 20}) {
    HelloMessage hello;
    hello.fingerprint = model.fingerprint;
    hello.layers = model.layers;
    hello.d_model = model.config.d_model;
    hello.wire = type;
    hello.n_ctx = n_step;
    JsonWriter json;
    write_hello(json, hello);
    send(RawClient::frame(json.text()));
    take("welcome");
    const Wire wire(*model.table, type, model.config.d_model);
    const std::vector<float> row(model.config.d_model, 0.5f);
    std::vector<std::byte> payload(wire.bytes(1));
    EXPECT_TRUE(wire.encode(row, payload).ok());
    for (uint32_t n = 0; n < n_step; ++n) {
      StageRequest request{.seq = n + 1, .ack = n, .timeline = {}, .rows = {}};
      request.timeline.append =
          Frame{.first = n, .base = n == 0 ? kNoRow : n - 1, .n_row = 1, .commit = true};
      write_step(json, request);
      frames_.push_back(RawClient::frame(json.text(), payload));
    }
  }
  void close() { send(RawClient::frame(R"({"type":"close"})")); }
  void run(uint32_t n_step) {
    for (uint32_t i = 0; i < n_step; ++i) {
      send(frames_[next_++]);
      take("rows");
    }
  }

 private:
  void send(const std::string& frame) {
    ASSERT_TRUE(net::write_all(*stream_, frame, RawClient::wait()).ok());
  }
  void take(std::string_view type) {
    while (true) {
      const Result<std::optional<net::Frame>> frame = reader_.next();
      ASSERT_TRUE(frame.ok());
      if (frame->has_value()) {
        const std::string_view got = (*frame)->header.find("type")->text();
        if (got == "ping") {  // somebody stopped this process for a while
          send(RawClient::frame(R"({"type":"pong"})"));
          continue;
        }
        ASSERT_EQ(got, type);
        return;
      }
      const Result<size_t> count = net::read_some(*stream_, reader_.prepare(), RawClient::wait());
      ASSERT_TRUE(count.ok() && *count > 0);
      reader_.commit(*count);
    }
  }

  std::unique_ptr<net::TcpStream> stream_;
  net::FrameReader reader_;
  std::vector<std::string> frames_;
  uint32_t next_ = 0;
};

class BodyAllocations : public testing::TestWithParam<WireType> {};

TEST_P(BodyAllocations, NoneInAStep) {
  GoldenParts parts("llama");
  const BodyModel model = parts.body({1, 3});
  ServedBody served(model);
  Steps steps(served, model, GetParam());
  steps.run(50);
  const uint64_t before = heap::n_alloc.load();
  EXPECT_GT(before, 100u);
  steps.run(400);
  EXPECT_EQ(heap::n_alloc.load() - before, 0u);
}

INSTANTIATE_TEST_SUITE_P(Wires, BodyAllocations,
                         testing::Values(WireType::f16, WireType::f32, WireType::q8));

// Address space, which has all that is mapped: keys and values are.
size_t mapped_bytes() {
  std::FILE* file = std::fopen("/proc/self/statm", "r");
  size_t pages = 0;
  EXPECT_EQ(std::fscanf(file, "%zu", &pages), 1);
  std::fclose(file);
  return pages * 4096;
}

TEST(BodyMemory, ReturnsWhateverSessionsDo) {
  GoldenParts parts("llama");
  const BodyModel model = parts.body({1, 3});
  ServedBody served(model);
  std::mt19937 random(3);
  const auto use = [&](int n_session) {
    for (int i = 0; i < n_session; ++i) {
      Steps session(served, model, WireType::f16, 8);
      session.run(static_cast<uint32_t>(1 + random() % 7));
      if (random() % 2 == 0) session.close();
      if (i % 100 == 99) served.forget_idle();  // who was cut off counts until then
    }
    EXPECT_TRUE(ServedBody::eventually([&] {
      served.forget_idle();
      return served.body().gauges().used == Usage() && served.server().counters().connections == 0;
    }));
  };
  use(50);
  const size_t heap_before = heap::alive.load();
  [[maybe_unused]] const size_t mapped_before = mapped_bytes();
  const char* asked = std::getenv("SPLITD_SESSIONS");
  use(asked != nullptr ? std::atoi(asked) : 200);
  EXPECT_LE(heap::alive.load(), heap_before + heap_before / 100);
#ifndef SPLITD_SANITIZED_HEAP  // whose shadow grows
  EXPECT_LE(mapped_bytes(), mapped_before + mapped_before / 100);
#endif
  // The test can fail: a session more is seen.
  Steps one(served, model, WireType::f16, 400);
  EXPECT_GT(heap::alive.load(), heap_before + heap_before / 100);
}

}  // namespace
}  // namespace splitd
