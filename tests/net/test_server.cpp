#include "tests/net/test_server.h"

#include <mbedtls/ctr_drbg.h>
#include <mbedtls/entropy.h>
#include <mbedtls/ssl.h>
#include <mbedtls/ssl_cache.h>
#include <mbedtls/ssl_ticket.h>
#include <mbedtls/version.h>
#include <mbedtls/x509_crt.h>

#include <cstdio>
#include <cstdlib>

#include "net/http1.h"

namespace splitd::net {
namespace {

void must(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "test server: %s\n", what);
  std::abort();
}

const unsigned char* bytes_of(const std::string& text) {
  return reinterpret_cast<const unsigned char*>(text.c_str());
}

}  // namespace

struct TestServer::Tls {
  explicit Tls(const TestIdentity& identity) {
    mbedtls_entropy_init(&entropy);
    mbedtls_ctr_drbg_init(&random);
    mbedtls_x509_crt_init(&certificate);
    mbedtls_pk_init(&key);
    mbedtls_ssl_config_init(&config);
    mbedtls_ssl_cache_init(&cache);
    must(mbedtls_ctr_drbg_seed(&random, mbedtls_entropy_func, &entropy, nullptr, 0) == 0, "random");
    must(mbedtls_x509_crt_parse(&certificate, bytes_of(identity.certificate_pem),
                                identity.certificate_pem.size() + 1) == 0,
         "certificate");
#if MBEDTLS_VERSION_MAJOR >= 3
    must(mbedtls_pk_parse_key(&key, bytes_of(identity.key_pem), identity.key_pem.size() + 1,
                              nullptr, 0, mbedtls_ctr_drbg_random, &random) == 0,
         "key");
#else
    must(mbedtls_pk_parse_key(&key, bytes_of(identity.key_pem), identity.key_pem.size() + 1,
                              nullptr, 0) == 0,
         "key");
#endif
    must(mbedtls_ssl_config_defaults(&config, MBEDTLS_SSL_IS_SERVER, MBEDTLS_SSL_TRANSPORT_STREAM,
                                     MBEDTLS_SSL_PRESET_DEFAULT) == 0,
         "config");
    mbedtls_ssl_conf_rng(&config, mbedtls_ctr_drbg_random, &random);
    mbedtls_ssl_conf_session_cache(&config, &cache, mbedtls_ssl_cache_get, mbedtls_ssl_cache_set);
    must(mbedtls_ssl_conf_own_cert(&config, &certificate, &key) == 0, "certificate");
    mbedtls_ssl_ticket_init(&tickets);
#if MBEDTLS_VERSION_MAJOR >= 3
    must(mbedtls_ssl_ticket_setup(&tickets, mbedtls_ctr_drbg_random, &random,
                                  MBEDTLS_CIPHER_AES_256_GCM, 3600) == 0,
         "tickets");
    mbedtls_ssl_conf_session_tickets_cb(&config, mbedtls_ssl_ticket_write, mbedtls_ssl_ticket_parse,
                                        &tickets);
#endif
  }
  ~Tls() {
    mbedtls_ssl_config_free(&config);
    mbedtls_ssl_ticket_free(&tickets);
    mbedtls_ssl_cache_free(&cache);
    mbedtls_pk_free(&key);
    mbedtls_x509_crt_free(&certificate);
    mbedtls_ctr_drbg_free(&random);
    mbedtls_entropy_free(&entropy);
  }

  mbedtls_entropy_context entropy;
  mbedtls_ctr_drbg_context random;
  mbedtls_x509_crt certificate;
  mbedtls_pk_context key;
  mbedtls_ssl_config config;
  mbedtls_ssl_cache_context cache;
  mbedtls_ssl_ticket_context tickets;  // of TLS 1.3, which has no ids
  std::mutex mutex;  // one handshake step at a time: the key caches tables inside itself
};

namespace {

// The server's end of one TLS connection.
class TlsServerStream final : public Transport {
 public:
  TlsServerStream(Transport& below, const mbedtls_ssl_config& config) : below_(below) {
    mbedtls_ssl_init(&ssl_);
    must(mbedtls_ssl_setup(&ssl_, &config) == 0, "setup");
    mbedtls_ssl_set_bio(&ssl_, &below_, send, receive, nullptr);
  }
  ~TlsServerStream() override { mbedtls_ssl_free(&ssl_); }

  bool handshake(std::mutex& mutex, const Wait& wait) {
    while (true) {
      int code = 0;
      {
        const std::lock_guard lock(mutex);
        code = mbedtls_ssl_handshake(&ssl_);
      }
      if (code == 0) return true;
      if (code != MBEDTLS_ERR_SSL_WANT_READ && code != MBEDTLS_ERR_SSL_WANT_WRITE) return false;
      const Want want = code == MBEDTLS_ERR_SSL_WANT_READ ? Want::readable : Want::writable;
      if (!wait_until(below_, want, wait, "handshake").ok()) return false;
    }
  }
  void goodbye() { (void)mbedtls_ssl_close_notify(&ssl_); }

  Result<Io> try_read(std::span<std::byte> into) override {
    return io(mbedtls_ssl_read(&ssl_, reinterpret_cast<unsigned char*>(into.data()), into.size()));
  }
  Result<Io> try_write(std::span<const std::byte> bytes) override {
    return io(mbedtls_ssl_write(&ssl_, reinterpret_cast<const unsigned char*>(bytes.data()),
                                bytes.size()));
  }
  int fd() const override { return below_.fd(); }
  const std::string& peer() const override { return below_.peer(); }

 private:
  static Result<Io> io(int code) {
    if (code > 0) return Io{static_cast<size_t>(code), Want::nothing, false};
    if (code == MBEDTLS_ERR_SSL_WANT_READ) return Io{0, Want::readable, false};
    if (code == MBEDTLS_ERR_SSL_WANT_WRITE) return Io{0, Want::writable, false};
    if (code == 0 || code == MBEDTLS_ERR_SSL_PEER_CLOSE_NOTIFY) return Io{0, Want::nothing, true};
    return peer_error("TLS " + std::to_string(code));
  }
  static int send(void* below, const unsigned char* bytes, size_t count) {
    const auto io =
        static_cast<Transport*>(below)->try_write(std::as_bytes(std::span(bytes, count)));
    if (!io.ok()) return -1;
    return io->bytes > 0 ? static_cast<int>(io->bytes) : MBEDTLS_ERR_SSL_WANT_WRITE;
  }
  static int receive(void* below, unsigned char* bytes, size_t count) {
    const auto io =
        static_cast<Transport*>(below)->try_read(std::as_writable_bytes(std::span(bytes, count)));
    if (!io.ok()) return -1;
    if (io->end) return 0;
    return io->bytes > 0 ? static_cast<int>(io->bytes) : MBEDTLS_ERR_SSL_WANT_READ;
  }

  Transport& below_;
  mbedtls_ssl_context ssl_;
};

// A request's head from the transport, or nothing when the client is gone.
std::optional<TestRequest> read_request(Transport& transport, const Wait& wait) {
  TestRequest request;
  LineReader line;
  while (true) {
    std::byte byte{};
    const Result<size_t> count = read_some(transport, {&byte, 1}, wait);
    if (!count || *count == 0) return std::nullopt;
    if (!line.feed({&byte, 1}, 1 << 16).ok()) return std::nullopt;
    if (!line.complete()) continue;
    const std::string_view text = line.line();
    if (text.empty()) return request;
    if (request.method.empty()) {
      const size_t first = text.find(' ');
      const size_t last = text.rfind(' ');
      request.method = text.substr(0, first);
      request.target = text.substr(first + 1, last - first - 1);
    } else {
      Result<HttpField> field = parse_field(text);
      if (!field) return std::nullopt;
      request.fields.add(field->name, field->value);
    }
    line.next();
  }
}

}  // namespace

TestServer::TestServer(Handler handler, std::optional<TestIdentity> identity)
    : handler_(std::move(handler)) {
  if (identity) tls_ = std::make_unique<Tls>(*identity);
  Result<TcpListener> listener = TcpListener::listen("127.0.0.1", 0);
  must(listener.ok(), "listen");
  listener_ = std::make_unique<TcpListener>(std::move(listener).value());
  acceptor_ = std::thread([this] { serve(); });
}

TestServer::~TestServer() {
  stop_.cancel();
  acceptor_.join();
  for (std::thread& thread : threads_) thread.join();
}

std::string TestServer::url(const std::string& host) const {
  return (tls_ ? "https://" : "http://") + host_port(host, port());
}

std::vector<TestRequest> TestServer::requests() const {
  const std::lock_guard lock(mutex_);
  return requests_;
}

void TestServer::forget_requests() {
  const std::lock_guard lock(mutex_);
  requests_.clear();
  body_bytes_ = 0;
}

void TestServer::serve() {
  while (true) {
    Result<std::unique_ptr<TcpStream>> stream =
        listener_->accept({Clock::time_point::max(), &stop_});
    if (!stream) return;
    const uint64_t number = ++connections_;
    const std::lock_guard lock(mutex_);
    threads_.emplace_back([this, number, taken = std::move(*stream)]() mutable {
      serve_one(std::move(taken), number);
    });
  }
}

void TestServer::serve_one(std::unique_ptr<TcpStream> stream, uint64_t number) {
  const Wait wait{Clock::time_point::max(), &stop_};
  std::unique_ptr<TlsServerStream> secure;
  Transport* transport = stream.get();
  if (tls_) {
    secure = std::make_unique<TlsServerStream>(*stream, tls_->config);
    if (!secure->handshake(tls_->mutex, wait)) return;
    transport = secure.get();
  }
  while (std::optional<TestRequest> request = read_request(*transport, wait)) {
    request->connection = number;
    {
      const std::lock_guard lock(mutex_);
      requests_.push_back(*request);
    }
    bool linger = false;
    if (answer(*transport, *request, linger)) continue;
    if (!linger) return;  // cut: no goodbye
    if (secure) secure->goodbye();
    wait_for_client(*stream);
    return;
  }
  if (secure) secure->goodbye();
}

bool TestServer::send(Transport& transport, std::string_view text) {
  return write_all(transport, text, {Clock::time_point::max(), &stop_}).ok();
}

void TestServer::wait_for_client(Transport& transport) {
  std::byte byte{};
  (void)!read_some(transport, {&byte, 1}, {Clock::time_point::max(), &stop_}).ok();
}

// False: the connection is to be cut.
bool TestServer::answer(Transport& transport, const TestRequest& request, bool& linger) {
  const TestReply reply = handler_(request);
  linger = reply.linger;
  if (reply.stall) {
    wait_for_client(transport);
    return false;
  }
  if (reply.raw) {
    send(transport, *reply.raw);
    return false;
  }
  std::string head = "HTTP/1.1 " + std::to_string(reply.status) + " Reply\r\n";
  for (const auto& [name, value] : reply.fields) head += name + ": " + value + "\r\n";
  if (reply.chunked) {
    head += "Transfer-Encoding: chunked\r\n";
  } else if (reply.length_field) {
    head += "Content-Length: " + std::to_string(reply.body.size()) + "\r\n";
  }
  if (reply.close) head += "Connection: close\r\n";
  if (!send(transport, head + "\r\n")) return false;
  if (request.method == "HEAD") return !reply.close;
  const uint64_t end = std::min<uint64_t>(
      reply.body.size(), std::min(reply.cut_at.value_or(~0ull), reply.stall_at.value_or(~0ull)));
  // In pieces, so that what was sent is known when the client leaves.
  for (uint64_t at = 0; at < end;) {
    const uint64_t piece = std::min<uint64_t>(end - at, reply.chunked ? 1000 : 16384);
    std::string bytes = reply.body.substr(at, piece);
    if (reply.chunked) {
      char size[32];
      std::snprintf(size, sizeof size, "%zx\r\n", bytes.size());
      bytes = size + bytes + "\r\n";
    }
    if (!send(transport, bytes)) return false;
    body_bytes_ += piece;
    at += piece;
  }
  if (reply.stall_at) wait_for_client(transport);
  if (reply.cut_at || reply.stall_at) return false;
  if (reply.chunked && !send(transport, "0\r\n\r\n")) return false;
  return !reply.close;
}

TestReply serve_content(const TestRequest& request, std::string_view content,
                        const std::string& etag) {
  TestReply reply;
  reply.fields.emplace_back("ETag", etag);
  reply.fields.emplace_back("Accept-Ranges", "bytes");
  const auto range = request.fields.find("Range");
  const auto condition = request.fields.find("If-Range");
  if (!range || (condition && *condition != etag)) {
    reply.body = content;
    return reply;
  }
  const size_t dash = range->find('-');
  const auto first = parse_decimal(range->substr(6, dash - 6));
  const auto last = parse_decimal(range->substr(dash + 1));
  if (!first || *first >= content.size() || (last && *last < *first)) {
    reply.status = 416;
    reply.fields.emplace_back("Content-Range", "bytes */" + std::to_string(content.size()));
    return reply;
  }
  const uint64_t end = last ? std::min<uint64_t>(*last + 1, content.size()) : content.size();
  reply.status = 206;
  reply.body = content.substr(*first, end - *first);
  reply.fields.emplace_back("Content-Range", "bytes " + std::to_string(*first) + "-" +
                                                 std::to_string(end - 1) + "/" +
                                                 std::to_string(content.size()));
  return reply;
}

std::string write_authority(const std::string& directory) {
  const std::string path = directory + "/authority.pem";
  must(write_file(path, test_authority().certificate_pem()).ok(), "authority");
  return path;
}

}  // namespace splitd::net
