// Many sessions on one body over loopback TCP: rows a second of one and of N at once, how many
// share a batch, and whether each gets the bits that it gets alone. The clients send recorded rows
// and compute nothing, so that the body has the machine to itself.
//
//     body_bench MODEL [SESSIONS] [STEPS] [THREADS]
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <thread>
#include <vector>

#include "kernels/select.h"
#include "net/frame.h"
#include "net/tcp.h"
#include "runtime/engine/cpu_backend.h"
#include "runtime/model/model_files.h"
#include "runtime/split/body_server.h"

namespace splitd {
namespace {

using Clock = std::chrono::steady_clock;

template <class T>
T must(Result<T> result) {
  if (!result.ok()) {
    std::fprintf(stderr, "body_bench: %s\n", result.error().message.c_str());
    std::exit(1);
  }
  return std::move(result).value();
}

net::Wait patience() {
  return net::Wait::for_at_most(std::chrono::minutes(5));
}

// One session that sends row after row, as soon as the one before is answered.
class Client {
 public:
  Client(uint16_t port, const BodyModel& model, uint32_t n_step, uint32_t seed)
      : stream_(must(net::tcp_connect("127.0.0.1", port, patience()))),
        reader_({.max_payload_bytes = uint64_t{1} << 24}) {
    HelloMessage hello;
    hello.fingerprint = model.fingerprint;
    hello.layers = model.layers;
    hello.d_model = model.config.d_model;
    hello.n_ctx = n_step;
    JsonWriter json;
    write_hello(json, hello);
    send(frame(json.text(), {}));
    receive();
    const Wire wire(*model.table, hello.wire, hello.d_model);
    std::mt19937 random(seed);
    std::normal_distribution<float> normal;
    std::vector<float> row(hello.d_model);
    std::vector<std::byte> payload(wire.bytes(1));
    for (uint32_t n = 0; n < n_step; ++n) {
      for (float& value : row) value = normal(random);
      (void)wire.encode(row, payload);
      StageRequest request{.seq = n + 1, .ack = n, .timeline = {}, .rows = {}};
      request.timeline.append =
          Frame{.first = n, .base = n == 0 ? kNoRow : n - 1, .n_row = 1, .commit = true};
      write_step(json, request);
      frames_.push_back(frame(json.text(), payload));
    }
  }
  void run() {
    for (const std::string& one : frames_) {
      send(one);
      receive();
    }
    send(frame(R"({"type":"close"})", {}));
  }
  // Of all payloads that came.
  uint64_t hash = 14695981039346656037u;

 private:
  static std::string frame(std::string_view header, std::span<const std::byte> payload) {
    net::ByteBuffer out;
    const std::span<std::byte> room = net::append_frame(out, header, payload.size());
    std::copy(payload.begin(), payload.end(), room.begin());
    return std::string(out.text());
  }
  void send(const std::string& bytes) {
    if (!net::write_all(*stream_, bytes, patience()).ok()) std::exit(1);
  }
  void receive() {
    while (true) {
      const std::optional<net::Frame> got = must(reader_.next());
      if (got) {
        if (got->header.find("type")->text() == "error") {
          std::fprintf(stderr, "body_bench: %s\n", got->header.find("message")->describe().c_str());
          std::exit(1);
        }
        for (const std::byte byte : got->payload) {
          hash = (hash ^ static_cast<uint64_t>(byte)) * 1099511628211u;
        }
        return;
      }
      reader_.commit(must(net::read_some(*stream_, reader_.prepare(), patience())));
    }
  }

  std::unique_ptr<net::TcpStream> stream_;
  net::FrameReader reader_;
  std::vector<std::string> frames_;
};

struct Figures {
  double rows_per_second = 0;
  double sessions_per_batch = 0;
  std::vector<uint64_t> hashes;
};

Figures measure(BodyServer& server, const BodyModel& model, uint32_t first, uint32_t n_session,
                uint32_t n_step) {
  std::vector<std::unique_ptr<Client>> clients;
  for (uint32_t i = 0; i < n_session; ++i) {
    clients.push_back(std::make_unique<Client>(server.port(), model, n_step, first + i));
  }
  const Histogram& batches = server.body().metrics().batch_sessions;
  const double sum = batches.sum();
  const uint64_t count = batches.count();
  const Clock::time_point begin = Clock::now();
  std::vector<std::thread> threads;
  for (const auto& client : clients) threads.emplace_back([&client] { client->run(); });
  for (std::thread& thread : threads) thread.join();
  const std::chrono::duration<double> took = Clock::now() - begin;
  Figures out;
  out.rows_per_second = n_session * n_step / took.count();
  out.sessions_per_batch = (batches.sum() - sum) / static_cast<double>(batches.count() - count);
  for (const auto& client : clients) out.hashes.push_back(client->hash);
  return out;
}

int run(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: body_bench MODEL [SESSIONS] [STEPS] [THREADS]\n");
    return 2;
  }
  const auto number = [&](int i, uint32_t fallback) {
    return argc > i ? static_cast<uint32_t>(std::strtoul(argv[i], nullptr, 10)) : fallback;
  };
  const uint32_t n_session = number(2, 8), n_step = number(3, 64);
  const ModelFiles files = must(ModelFiles::open(argv[1]));
  ThreadPool pool(number(4, std::max(1u, std::thread::hardware_concurrency())));
  BodyModel model;
  model.config = files.config();
  model.fingerprint = hex(must(files.fingerprint()));
  model.layers = model.offer = {1, files.config().n_layer - 1};
  model.table = must(kernels::select_table(""));
  model.make_backend = [&](LayerRange layers, bool exact) -> Result<BodyBackend> {
    BodyBackend out;
    auto weights = std::make_shared<ModelWeights>(must(files.weights(layers, false, false)));
    SPLITD_ASSIGN(out.backend,
                  make_cpu_backend(files.config(), *weights, {model.table, &pool, exact}));
    out.weights = std::move(weights);
    return out;
  };
  const std::unique_ptr<net::Loop> loop = must(net::Loop::create());
  std::unique_ptr<BodyServer> server = must(BodyServer::start(*loop, model, {}));
  std::thread thread([&] { (void)loop->run(); });

  measure(*server, model, 0, 1, 8);  // pages and caches
  std::vector<uint64_t> alone;
  double rate = 0;
  for (uint32_t i = 0; i < n_session; ++i) {
    const Figures one = measure(*server, model, i, 1, n_step);
    alone.push_back(one.hashes[0]);
    rate = std::max(rate, one.rows_per_second);
  }
  const Figures all = measure(*server, model, 0, n_session, n_step);
  std::printf("one session: %.1f rows/s\n", rate);
  std::printf("%u sessions: %.1f rows/s (%.2f times), %.2f sessions a batch, bits %s\n", n_session,
              all.rows_per_second, all.rows_per_second / rate, all.sessions_per_batch,
              all.hashes == alone ? "identical" : "DIFFER");
  loop->stop();
  thread.join();
  server.reset();
  return all.hashes == alone ? 0 : 1;
}

}  // namespace
}  // namespace splitd

int main(int argc, char** argv) {
  return splitd::run(argc, argv);
}
