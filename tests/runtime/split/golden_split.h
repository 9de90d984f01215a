// A golden model in two ends of one process, over real sockets: its middle layers behind a
// listener, head and tail with the session here. The computing is the binary's own.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "net/psk_file.h"
#include "net/tls_context.h"
#include "net/tls_issue.h"
#include "runtime/decode/session.h"
#include "runtime/split/remote_stage.h"
#include "tests/runtime/engine/all_threads.h"
#include "tests/runtime/engine/golden_model.h"
#include "tests/runtime/split/served_body.h"
#include "tests/temp_dir.h"

namespace splitd {

// Backends of parts of a golden model, each with views of its own layers alone. Body and ends
// compute at the same time, and a pool works for one caller: each has its own, as two processes do.
class GoldenParts {
 public:
  explicit GoldenParts(const std::string& name, uint32_t n_thread = 2)
      : golden_(name), ends_pool_(n_thread), body_pool_(n_thread) {
    wait_for_all_threads(ends_pool_);
    wait_for_all_threads(body_pool_);
  }

  const GoldenModel& golden() const { return golden_; }
  const ModelConfig& config() const { return golden_.config(); }
  static const kernels::KernelTable& table() { return *kernels::runnable_tables().back(); }

  // For the ends, on the caller's thread.
  Result<BodyBackend> part(LayerRange layers, bool embedding, bool head) {
    return make(layers, embedding, head, false, ends_pool_);
  }

  BodyModel body(LayerRange layers) {
    BodyModel model;
    model.config = config();
    model.fingerprint = hex(*golden_.files().fingerprint());
    model.layers = model.offer = layers;
    model.table = &table();
    model.make_backend = [this](LayerRange range, bool exact) {
      return make(range, false, false, exact, body_pool_);
    };
    return model;
  }

 private:
  Result<BodyBackend> make(LayerRange layers, bool embedding, bool head, bool exact,
                           ThreadPool& pool) {
    BodyBackend out;
    SPLITD_ASSIGN(ModelWeights views, golden_.files().weights(layers, embedding, head));
    auto weights = std::make_shared<ModelWeights>(std::move(views));
    SPLITD_ASSIGN(out.backend, make_cpu_backend(config(), *weights, {&table(), &pool, exact}));
    out.weights = std::move(weights);
    return out;
  }

  GoldenModel golden_;
  ThreadPool ends_pool_;
  ThreadPool body_pool_;
};

// The local end: a session whose body is elsewhere.
class GoldenEnds {
 public:
  GoldenEnds(GoldenParts& parts, uint32_t n_head, uint32_t n_tail, RemoteOptions remote,
             const KvShape& shape) {
    const uint32_t n_layer = parts.config().n_layer;
    const LayerRange head{0, n_head}, tail{n_layer - n_tail, n_layer};
    head_ = std::move(*parts.part(head, true, false));
    tail_ = std::move(*parts.part(tail, false, true));
    const std::string fingerprint = hex(*parts.golden().files().fingerprint());
    body_ = std::move(*RemoteStage::create(GoldenParts::table(), fingerprint,
                                           parts.config().d_model, std::move(remote)));
    body_->set_layers({head.end, tail.begin});
    Pipeline pipeline;
    pipeline.head = head_.backend.get();
    pipeline.head_layers = head;
    pipeline.body = body_.get();
    pipeline.tail = tail_.backend.get();
    pipeline.tail_layers = tail;
    pipeline.chunk_rows = 16;
    pipeline.first_chunk_rows = 4;
    Result<std::unique_ptr<Session>> session = Session::open(pipeline, shape);
    EXPECT_TRUE(session.ok()) << session.error().message;
    if (session.ok()) session_ = std::move(*session);
  }

  Session* session() { return session_.get(); }  // nullptr: it could not be opened
  RemoteStage& body() { return *body_; }

 private:
  BodyBackend head_, tail_;
  std::unique_ptr<RemoteStage> body_;
  std::unique_ptr<Session> session_;
};

// How two ends may reach each other.
struct Way {
  enum class Proof : uint8_t { none, psk, certificates };
  const char* name;
  Proof proof;
  bool websocket;
};
inline constexpr Way kWays[] = {
    {"tcp", Way::Proof::none, false},          {"ws", Way::Proof::none, true},
    {"tls_psk", Way::Proof::psk, false},       {"wss_psk", Way::Proof::psk, true},
    {"mtls", Way::Proof::certificates, false}, {"wss_mtls", Way::Proof::certificates, true}};

// Keys of both kinds for both ends, in files, as a user has them.
class Keys {
 public:
  Keys() {
    const net::Validity year{std::chrono::system_clock::now(), std::chrono::hours(24 * 365)};
    write("psk", "device " + std::string(64, '7'));
    const net::IssuedCertificate authority = *net::make_authority(year);
    write("ca", authority.certificate_pem);
    for (const char* end : {"body", "device"}) {
      const net::IssuedCertificate issued = *net::issue_certificate(
          authority.certificate_pem, authority.key_pem, {end, "127.0.0.1"}, year);
      write(end, issued.certificate_pem);
      write(std::string(end) + "-key", issued.key_pem.reveal());
    }
  }
  std::shared_ptr<net::TlsContext> server(Way::Proof proof) const {
    if (proof == Way::Proof::none) return nullptr;
    return *net::TlsContext::server(options(proof, "body"));
  }
  std::shared_ptr<net::TlsContext> client(Way::Proof proof) const {
    if (proof == Way::Proof::none) return nullptr;
    return *net::TlsContext::client(options(proof, "device"));
  }

 private:
  void write(const std::string& name, std::string_view text) {
    ASSERT_TRUE(write_file(directory_.path() + "/" + name, text, 0600).ok());
  }
  net::TlsOptions options(Way::Proof proof, const std::string& end) const {
    const std::string base = directory_.path() + "/";
    if (proof == Way::Proof::psk) return {.psk_file = base + "psk"};
    return {.cert_file = base + end, .key_file = base + end + "-key", .ca_file = base + "ca"};
  }
  TempDir directory_;
};

}  // namespace splitd
