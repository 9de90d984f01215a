// A body of whole numbers behind a real listener on its own thread, and a client of raw frames
// whose bytes the test may cut anywhere.
#pragma once

#include <gtest/gtest.h>

#include <cstring>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "kernels/select.h"
#include "net/frame.h"
#include "net/tcp.h"
#include "runtime/split/body_server.h"
#include "tests/runtime/engine/stage_backends.h"

namespace splitd {

inline BodyModel whole_number_model(uint32_t n_layer = 4) {
  BodyModel model;
  model.config = FakeBackend(std::vector<uint64_t>(n_layer)).config();
  model.fingerprint = std::string(64, 'c');
  model.layers = model.offer = {0, n_layer};
  model.table = kernels::runnable_tables().back();
  model.make_backend = [](LayerRange layers, bool) -> Result<BodyBackend> {
    BodyBackend out;
    const std::vector<uint64_t> windows(layers.end - layers.begin);
    out.backend = std::make_unique<FakeBackend>(windows, layers.begin);
    return out;
  };
  return model;
}

class ServedBody {
 public:
  explicit ServedBody(BodyModel model, BodyServerOptions options = {}) {
    if (options.body.max_ctx == 0) options.body.max_ctx = 4096;
    loop_ = std::move(*net::Loop::create());
    server_ = std::move(*BodyServer::start(*loop_, std::move(model), std::move(options)));
    thread_ = std::thread([this] { EXPECT_TRUE(loop_->run().ok()); });
  }
  ~ServedBody() {
    loop_->stop();
    if (thread_.joinable()) thread_.join();
    server_.reset();
  }
  // Until the loop has ended by itself.
  void join() { thread_.join(); }

  uint16_t port() const { return server_->port(); }
  BodyServer& server() { return *server_; }
  Body& body() { return server_->body(); }
  // As if an hour had passed without a word.
  void forget_idle() {
    loop_->post([this] { body().tick(Body::Clock::now() + std::chrono::hours(1)); });
  }
  // Until `done`, asked every millisecond; false after a minute.
  template <class Done>
  static bool eventually(const Done& done) {
    for (int i = 0; i < 60'000; ++i) {
      if (done()) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    return false;
  }

 private:
  std::unique_ptr<net::Loop> loop_;
  std::unique_ptr<BodyServer> server_;
  std::thread thread_;
};

class RawClient {
 public:
  explicit RawClient(uint16_t port)
      : stream_(std::move(*net::tcp_connect("127.0.0.1", port, wait()))),
        reader_({.max_payload_bytes = uint64_t{1} << 24}) {}

  static net::Wait wait() { return net::Wait::for_at_most(std::chrono::seconds(60)); }

  static std::string frame(const std::string& header, std::span<const std::byte> payload = {}) {
    net::ByteBuffer out;
    const std::span<std::byte> room = net::append_frame(out, header, payload.size());
    std::copy(payload.begin(), payload.end(), room.begin());
    return std::string(out.text());
  }
  static std::string hello(const BodyModel& model, const std::string& resume = "") {
    HelloMessage hello;
    hello.fingerprint = model.fingerprint;
    hello.layers = model.layers;
    hello.d_model = model.config.d_model;
    hello.wire = WireType::f32;
    hello.n_ctx = 64;
    hello.resume = resume;
    JsonWriter json;
    write_hello(json, hello);
    return frame(json.text());
  }
  // Token `seq` − 1 of the text 100, 101, … as a step.
  static std::string step(uint32_t seq, uint32_t ack) {
    const uint32_t token = 99 + seq;
    std::vector<float> row(2);
    FakeBackend({0}).embed({&token, 1}, row.data());
    StageRequest request{.seq = seq, .ack = ack, .timeline = {}, .rows = {}};
    request.timeline.append =
        Frame{.first = seq - 1, .base = seq == 1 ? kNoRow : seq - 2, .n_row = 1, .commit = true};
    JsonWriter json;
    write_step(json, request);
    return frame(json.text(), std::as_bytes(std::span(row)));
  }

  Status send(std::string_view bytes) { return net::write_all(*stream_, bytes, wait()); }

  // The next message's header text and payload; "" when the connection has ended.
  std::string header;
  std::vector<float> rows;
  bool receive() {
    header.clear();
    while (true) {
      Result<std::optional<net::Frame>> next = reader_.next();
      if (!next.ok()) return false;
      if (next->has_value()) {
        const net::Frame& got = **next;
        JsonWriter json;
        json.copy(got.header);
        header = json.text();
        rows.resize(got.payload.size() / sizeof(float));
        if (!rows.empty()) std::memcpy(rows.data(), got.payload.data(), got.payload.size());
        return true;
      }
      const Result<size_t> count = net::read_some(*stream_, reader_.prepare(), wait());
      if (!count.ok() || *count == 0) return false;
      reader_.commit(*count);
    }
  }
  // Reads `count` bytes and forgets them.
  void skip(size_t count) {
    std::vector<std::byte> bytes(count);
    for (size_t done = 0; done < count;) {
      const Result<size_t> more = net::read_some(*stream_, std::span(bytes).subspan(done), wait());
      ASSERT_TRUE(more.ok() && *more > 0);
      done += *more;
    }
  }
  // Hello and welcome; the token.
  std::string open(const BodyModel& model, const std::string& resume = "") {
    EXPECT_TRUE(send(hello(model, resume)).ok());
    EXPECT_TRUE(receive());
    const JsonDoc doc = std::move(*JsonDoc::parse(header));
    const std::optional<Json> token = doc.root().find("resume");
    EXPECT_TRUE(token) << header;
    resumed = doc.root().find("resumed")->to_bool() == true;
    return token ? std::string(token->text()) : "";
  }
  bool resumed = false;

 private:
  std::unique_ptr<net::TcpStream> stream_;
  net::FrameReader reader_;
};

}  // namespace splitd
