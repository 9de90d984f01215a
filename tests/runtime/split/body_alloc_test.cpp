// A step allocates nothing once the first ones have run: not on the body's event loop, not on its
// compute thread. The engine is a real one.
#include <gtest/gtest.h>

#include "tests/heap_count.h"
#include "tests/runtime/engine/golden_model.h"
#include "tests/runtime/split/served_body.h"

namespace splitd {
namespace {

// A client that allocates nothing itself: all its steps are made beforehand.
class Steps {
 public:
  static constexpr uint32_t kSteps = 450;

  Steps(ServedBody& served, const BodyModel& model, WireType type)
      : stream_(std::move(*net::tcp_connect("127.0.0.1", served.port(), RawClient::wait()))),
        reader_({.max_payload_bytes = uint64_t{1} << 20}) {
    HelloMessage hello;
    hello.fingerprint = model.fingerprint;
    hello.layers = model.layers;
    hello.d_model = model.config.d_model;
    hello.wire = type;
    hello.n_ctx = kSteps;
    JsonWriter json;
    write_hello(json, hello);
    send(RawClient::frame(json.text()));
    take("welcome");
    const Wire wire(*model.table, type, model.config.d_model);
    const std::vector<float> row(model.config.d_model, 0.5f);
    std::vector<std::byte> payload(wire.bytes(1));
    EXPECT_TRUE(wire.encode(row, payload).ok());
    for (uint32_t n = 0; n < kSteps; ++n) {
      StageRequest request{.seq = n + 1, .ack = n, .timeline = {}, .rows = {}};
      request.timeline.append =
          Frame{.first = n, .base = n == 0 ? kNoRow : n - 1, .n_row = 1, .commit = true};
      write_step(json, request);
      frames_.push_back(RawClient::frame(json.text(), payload));
    }
  }
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
        ASSERT_EQ((*frame)->header.find("type")->text(), type);
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
  const GoldenModel golden("llama");
  ThreadPool pool(2);
  const Result<ModelWeights> weights = golden.files().weights({1, 3}, false, false);
  BodyModel model;
  model.config = golden.config();
  model.fingerprint = hex(*golden.files().fingerprint());
  model.layers = model.offer = {1, 3};
  model.table = kernels::runnable_tables().back();
  model.make_backend = [&](LayerRange, bool exact) -> Result<BodyBackend> {
    BodyBackend out;
    SPLITD_ASSIGN(out.backend,
                  make_cpu_backend(model.config, *weights, {model.table, &pool, exact}));
    return out;
  };
  BodyServerOptions options;
  options.body.max_ctx = 500;
  ServedBody served(model, options);
  Steps steps(served, model, GetParam());
  steps.run(50);
  const uint64_t before = heap::n_alloc.load();
  EXPECT_GT(before, 100u);
  steps.run(400);
  EXPECT_EQ(heap::n_alloc.load() - before, 0u);
}

INSTANTIATE_TEST_SUITE_P(Wires, BodyAllocations,
                         testing::Values(WireType::f16, WireType::f32, WireType::q8));

}  // namespace
}  // namespace splitd
