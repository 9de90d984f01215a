// Many peers at one body over real sockets: sessions that compute together get the bits that each
// gets alone, a thousand slow strangers keep nobody out, and one who is in does not feel them.
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdio>
#include <mutex>
#include <random>
#include <thread>

#include "tests/runtime/split/golden_split.h"

namespace splitd {
namespace {

// A client that sends recorded rows one after the other, and keeps the bytes of what comes back.
class Player {
 public:
  Player(uint16_t port, const BodyModel& model, uint32_t seed)
      : client_(port), wire_(*model.table, WireType::f32, model.config.d_model), seed_(seed) {
    client_.open(model);
  }
  // Row number `at`.
  bool send() {
    std::mt19937 random(seed_ * 1000 + at_);
    std::normal_distribution<float> normal;
    std::vector<float> row(wire_.d_model());
    for (float& value : row) value = normal(random);
    StageRequest request{.seq = at_ + 1, .ack = at_, .timeline = {}, .rows = {}};
    request.timeline.append =
        Frame{.first = at_, .base = at_ == 0 ? kNoRow : at_ - 1, .n_row = 1, .commit = true};
    ++at_;
    write_step(json_, request);
    return client_.send(RawClient::frame(json_.text(), std::as_bytes(std::span(row)))).ok();
  }
  bool receive() {
    if (!client_.receive() || client_.rows.size() != wire_.d_model()) return false;
    heard_.insert(heard_.end(), client_.rows.begin(), client_.rows.end());
    return true;
  }
  bool step() { return send() && receive(); }
  const std::vector<float>& heard() const { return heard_; }

 private:
  RawClient client_;
  Wire wire_;
  uint32_t seed_;
  uint32_t at_ = 0;
  JsonWriter json_;
  std::vector<float> heard_;
};

// Steps of all players wait here until everybody's is on its way.
class Gate {
 public:
  explicit Gate(size_t n) : n_player_(n) {}
  void pass() {
    std::unique_lock lock(mutex_);
    const uint64_t round = round_;
    if (++n_here_ == n_player_) {
      n_here_ = 0;
      ++round_;
      changed_.notify_all();
    } else {
      changed_.wait(lock, [&] { return round_ != round; });
    }
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  const size_t n_player_;
  size_t n_here_ = 0;
  uint64_t round_ = 0;
};

// Players answer none; a test that somebody stopped for a while would get some.
BodyServerOptions without_pings() {
  BodyServerOptions options;
  options.net.ping_after = options.net.pong_timeout = std::chrono::hours(1);
  return options;
}

constexpr uint32_t kPlayers = 8, kSteps = 60;

// The body is held back until all eight have sent, so that what shares a batch is no matter of
// luck.
TEST(Crowd, EightAtOnceAreEachAsIfAlone) {
  GoldenParts parts("gemma3_text");
  const BodyModel model = parts.body({1, 6});
  std::vector<std::vector<float>> alone;
  {
    ServedBody served(model, without_pings());
    for (uint32_t i = 0; i < kPlayers; ++i) {
      Player player(served.port(), model, i);
      for (uint32_t step = 0; step < kSteps; ++step) ASSERT_TRUE(player.step());
      alone.push_back(player.heard());
    }
    EXPECT_EQ(served.body().metrics().batch_sessions.sum(), kPlayers * kSteps);
    EXPECT_EQ(served.body().metrics().batch_sessions.count(), kPlayers * kSteps);
  }
  BodyServerOptions options = without_pings();
  options.body.own_thread = false;
  ServedBody served(model, std::move(options));
  Gate all_there(kPlayers + 1), all_sent(kPlayers + 1), all_heard(kPlayers + 1);
  std::vector<std::vector<float>> together(kPlayers);
  std::vector<std::thread> threads;
  for (uint32_t i = 0; i < kPlayers; ++i) {
    threads.emplace_back([&, i] {
      Player player(served.port(), model, i);
      all_there.pass();
      for (uint32_t step = 0; step < kSteps; ++step) {
        EXPECT_TRUE(player.send());
        all_sent.pass();
        EXPECT_TRUE(player.receive());
        all_heard.pass();
      }
      together[i] = player.heard();
    });
  }
  const auto in_flight_are = [&](uint64_t n) {
    return ServedBody::eventually([&] { return served.body().gauges().in_flight == n; });
  };
  std::thread compute([&] {
    while (served.body().gauges().attached < kPlayers) (void)served.body().compute();
    all_there.pass();  // from here on nothing is computed before all have sent
    for (uint32_t step = 0; step < kSteps; ++step) {
      all_sent.pass();
      EXPECT_TRUE(in_flight_are(kPlayers));
      EXPECT_TRUE(ServedBody::eventually([&] {
        (void)served.body().compute();
        return served.body().gauges().in_flight == 0;
      }));
      all_heard.pass();
    }
  });
  for (std::thread& thread : threads) thread.join();
  compute.join();
  EXPECT_EQ(together, alone);
  EXPECT_NE(alone[0], alone[1]);
  const Histogram& sessions = served.body().metrics().batch_sessions;
  EXPECT_EQ(sessions.sum(), kPlayers * kSteps);
  EXPECT_GE(sessions.sum() / static_cast<double>(sessions.count()), 4);
}

// Strangers that connect and say a byte of something now and then; who is thrown out comes again.
class SlowStrangers {
 public:
  SlowStrangers(uint16_t port, size_t n) : port_(port), strangers_(n) {
    for (std::unique_ptr<net::TcpStream>& one : strangers_) one = knock();
    thread_ = std::thread([this] { drip(); });
  }
  ~SlowStrangers() {
    over_ = true;
    thread_.join();
  }
  uint64_t n_byte() const { return n_byte_; }

 private:
  std::unique_ptr<net::TcpStream> knock() {
    auto stream = net::tcp_connect("127.0.0.1", port_, RawClient::wait());
    return stream.ok() ? std::move(*stream) : nullptr;
  }
  void drip() {
    // Beginnings of a frame and of a request; a third says nothing.
    static constexpr std::string_view kTexts[] = {
        {"\0\0\1\0{\"type\":\"hello\"", 20}, "GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: w", ""};
    for (size_t round = 0; !over_; ++round) {
      for (size_t i = 0; i < strangers_.size() && !over_; ++i) {
        const std::string_view text = kTexts[i % 3];
        const std::string_view byte = text.empty() ? text : text.substr(round % text.size(), 1);
        std::byte scratch[256];
        bool gone = strangers_[i] == nullptr;
        if (!gone) {
          const bool wrote =
              byte.empty() || strangers_[i]->try_write(std::as_bytes(std::span(byte))).ok();
          const auto read = strangers_[i]->try_read(scratch);
          gone = !wrote || !read.ok() || read->end;
        }
        if (gone) strangers_[i] = knock();
        ++n_byte_;
        if (i % 10 == 9) std::this_thread::sleep_for(std::chrono::milliseconds(10));  // a rate
      }
    }
  }

  const uint16_t port_;
  std::vector<std::unique_ptr<net::TcpStream>> strangers_;
  std::atomic<bool> over_{false};
  std::atomic<uint64_t> n_byte_{0};
  std::thread thread_;
};

// As many as this process may have, from now on.
size_t most_descriptors() {
  rlimit limit{};
  EXPECT_EQ(::getrlimit(RLIMIT_NOFILE, &limit), 0);
  limit.rlim_cur = limit.rlim_max;
  EXPECT_EQ(::setrlimit(RLIMIT_NOFILE, &limit), 0);
  return limit.rlim_cur;
}

double ms_for(Player& player, uint32_t n_step) {
  const auto start = std::chrono::steady_clock::now();
  for (uint32_t i = 0; i < n_step; ++i) EXPECT_TRUE(player.step());
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start)
      .count();
}

TEST(Crowd, AThousandSlowStrangersKeepNobodyOut) {
  const size_t n_stranger = std::min<size_t>(1000, (most_descriptors() - 200) / 2);
  GoldenParts parts("llama_bf16", 1);
  const BodyModel model = parts.body({0, 3});
  BodyServerOptions options = without_pings();
  options.net.max_strangers_per_address = n_stranger;  // all of them come from here
  ServedBody served(model, std::move(options));
  Player real(served.port(), model, 1), other(served.port(), model, 1);
  std::vector<double> quiet, crowded;
  constexpr uint32_t kPart = 4;
  for (uint32_t i = 0; i < kPart; ++i) quiet.push_back(ms_for(real, kPart));
  {
    SlowStrangers strangers(served.port(), n_stranger);
    ASSERT_TRUE(ServedBody::eventually([&] { return strangers.n_byte() > n_stranger; }));
    EXPECT_GE(served.server().counters().strangers, n_stranger - 100);
    for (uint32_t i = 0; i < kPart; ++i) crowded.push_back(ms_for(real, kPart));
    // New ones get in, however full it is, and are served alike.
    for (uint32_t i = 0; i < 5; ++i) {
      Player late(served.port(), model, 1);
      for (uint32_t step = 0; step < 2 * kPart * kPart; ++step) ASSERT_TRUE(late.step());
      EXPECT_EQ(late.heard(), real.heard());
    }
    EXPECT_GE(served.server().counters().strangers, n_stranger / 2);
  }
  std::sort(quiet.begin(), quiet.end());
  std::sort(crowded.begin(), crowded.end());
  std::printf("a step: %.3f ms alone, %.3f ms beside %zu slow strangers\n",
              quiet[kPart / 2] / kPart, crowded[kPart / 2] / kPart, n_stranger);
  for (uint32_t step = 0; step < 2 * kPart * kPart; ++step) ASSERT_TRUE(other.step());
  EXPECT_EQ(other.heard(), real.heard());
}

}  // namespace
}  // namespace splitd
