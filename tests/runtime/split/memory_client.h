// A peer of a Body without sockets: what it is sent lies in a list. Makes steps with the right
// numbers unless told otherwise.
#pragma once

#include <gtest/gtest.h>

#include <cstring>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "kernels/select.h"
#include "runtime/split/body.h"
#include "tests/runtime/engine/stage_backends.h"

namespace splitd {

// A body over a backend of whole numbers, computing on the caller's thread.
class FakeBody {
 public:
  static constexpr uint32_t kFirst = 1, kEnd = 5, kWidth = 2;
  static inline const std::string kFingerprint = std::string(62, 'a') + "07";

  explicit FakeBody(BodyOptions options = {}) {
    options.own_thread = false;
    if (options.max_ctx == 0) options.max_ctx = 4096;
    BodyModel model;
    model.config = FakeBackend(std::vector<uint64_t>(kEnd - kFirst), kFirst).config();
    model.fingerprint = kFingerprint;
    model.layers = model.offer = {kFirst, kEnd};
    model.table = kernels::runnable_tables().back();
    model.make_backend = [this](LayerRange layers, bool) -> Result<BodyBackend> {
      ++n_backend;
      BodyBackend out;
      const size_t n_layer = layers.end - layers.begin;
      out.backend = std::make_unique<FakeBackend>(std::vector<uint64_t>(n_layer), layers.begin);
      return out;
    };
    body = std::move(*Body::start(std::move(model), std::move(options)));
  }
  void compute() {
    while (body->compute()) {
    }
  }

  int n_backend = 0;
  std::unique_ptr<Body> body;
};

class MemoryClient {
 public:
  struct Message {
    std::string header;
    std::vector<std::byte> payload;
  };

  explicit MemoryClient(Body& body, const std::string& identity = "addr:192.0.2.1")
      : body_(body),
        peer_(std::make_shared<BodyPeer>()),
        wire_(*body.model().table, WireType::f32, body.model().config.d_model) {
    peer_->identity = identity;
    peer_->send = [this](std::string_view header, size_t bytes, BodyPeer::Fill fill, void* from) {
      if (is_closed || is_gone) return false;
      Message message{std::string(header), std::vector<std::byte>(bytes)};
      if (fill != nullptr) fill(from, message.payload);
      received.push_back(std::move(message));
      return true;
    };
    peer_->unsent_bytes = [this] { return unsent; };
    peer_->close = [this] { is_closed = true; };
    peer_->admit = [this](net::FrameLimits limits) { admitted = limits; };
  }
  ~MemoryClient() {
    if (!is_gone) vanish();
  }

  HelloMessage hello_for(uint32_t n_ctx = 256, uint32_t max_pending = 16) const {
    HelloMessage hello;
    hello.fingerprint = body_.model().fingerprint;
    hello.layers = body_.model().layers;
    hello.d_model = body_.model().config.d_model;
    hello.wire = wire_.type();
    hello.n_ctx = n_ctx;
    hello.max_pending = max_pending;
    return hello;
  }
  void send(std::string_view header, std::span<const std::byte> payload = {}) {
    const JsonDoc doc = std::move(*JsonDoc::parse(std::string(header)));
    body_.message(peer_, doc.root(), payload);
  }
  void send(const HelloMessage& hello) {
    wire_ = Wire(*body_.model().table, hello.wire, body_.model().config.d_model);
    write_hello(json_, hello);
    send(json_.text());
  }
  // The welcome; what else came is an error of the test.
  WelcomeMessage open(const HelloMessage& hello) {
    send(hello);
    while (received.empty() && body_.compute()) {
    }
    const Message message = take();
    MessageReader reader;
    const JsonDoc doc = std::move(*JsonDoc::parse(message.header));
    EXPECT_TRUE(reader.read(doc.root()).ok());
    EXPECT_EQ(reader.type(), MessageType::welcome) << message.header;
    if (reader.type() != MessageType::welcome) return {};
    return *reader.welcome();
  }
  WelcomeMessage open() { return open(hello_for()); }

  // The connection is gone; the body is told.
  void vanish() {
    is_gone = true;
    body_.closed(peer_);
  }

  void send_step(const StageRequest& request) {
    std::vector<std::byte> payload(wire_.bytes(request.rows.size() / wire_.d_model()));
    ASSERT_TRUE(request.rows.empty() || wire_.encode(request.rows, payload).ok());
    send_step(request, payload);
  }
  void send_step(const StageRequest& request, std::span<const std::byte> payload) {
    write_step(json_, request);
    send(json_.text(), payload);
  }
  // A chain of tokens appended to the committed path.
  StageRequest append(const std::vector<uint32_t>& tokens) {
    rows_.resize(tokens.size() * 2);
    FakeBackend({0}).embed(tokens, rows_.data());
    StageRequest request{.seq = ++seq, .ack = ack, .timeline = {}, .rows = rows_};
    const auto n_row = static_cast<uint32_t>(tokens.size());
    request.timeline.append = Frame{.first = next_id,
                                    .base = next_id == 0 ? kNoRow : next_id - 1,
                                    .n_row = n_row,
                                    .commit = true};
    next_id += n_row;
    return request;
  }

  // The next message, or an empty one.
  Message take() {
    if (received.empty()) return {};
    Message out = std::move(received.front());
    received.erase(received.begin());
    return out;
  }
  // The rows of the next message, which has to be a reply to `of`.
  std::vector<float> take_rows(uint32_t of) {
    const Message message = take();
    MessageReader reader;
    const JsonDoc doc = std::move(*JsonDoc::parse(message.header.empty() ? "{}" : message.header));
    if (!reader.read(doc.root()).ok() || reader.type() != MessageType::rows) {
      ADD_FAILURE() << "no rows, but " << message.header;
      return {};
    }
    const RowsMessage reply = *reader.rows();
    EXPECT_EQ(reply.seq, of);
    EXPECT_EQ(message.payload.size(), wire_.bytes(reply.n_row));
    std::vector<float> rows(reply.n_row * wire_.d_model());
    EXPECT_TRUE(wire_.decode(message.payload, rows).ok());
    ack = std::max(ack, reply.seq);
    return rows;
  }
  // "code: message", of an error; the whole header of anything else.
  std::string take_error(std::optional<uint32_t> of = {}) {
    const Message message = take();
    if (message.header.empty()) return "nothing";
    const JsonDoc doc = std::move(*JsonDoc::parse(message.header));
    MessageReader reader;
    if (!reader.read(doc.root()).ok() || reader.type() != MessageType::error) return message.header;
    const ErrorMessage error = *reader.error();
    EXPECT_EQ(error.seq, of) << message.header;
    retry = error.retry;
    return std::string(refusal_name(error.code)) + ": " + error.message;
  }

  std::vector<Message> received;
  bool is_closed = false;  // by the body
  bool is_gone = false;
  bool retry = false;  // of the last error taken
  uint64_t unsent = 0;
  std::optional<net::FrameLimits> admitted;
  uint32_t seq = 0, ack = 0;
  RowId next_id = 0;

 private:
  Body& body_;
  std::shared_ptr<BodyPeer> peer_;
  Wire wire_;
  JsonWriter json_;
  std::vector<float> rows_;
};

}  // namespace splitd
