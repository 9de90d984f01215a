// What a network does to splitd local and splitd cloud, between two real processes: whatever
// happens to the connection, the tokens are those of an undisturbed run, and the user sees a pause.
#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <thread>

#include "tests/lab/proxy.h"
#include "tests/tools/background.h"
#include "tests/tools/golden_model.h"

namespace splitd {
namespace {

using lab::Direction;
using lab::WanProxy;
using Words = std::vector<std::string>;
using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr const char* kModel = "mistral_window";

uint16_t port_of(const Cloud& cloud) {
  const std::string& address = cloud.address();
  return static_cast<uint16_t>(std::stoi(address.substr(address.rfind(':') + 1)));
}

std::unique_ptr<WanProxy> proxy_to(const Cloud& cloud) {
  Result<std::unique_ptr<WanProxy>> proxy = WanProxy::start({.target_port = port_of(cloud)});
  EXPECT_TRUE(proxy.ok());
  return std::move(*proxy);
}

std::string address_of(const WanProxy& proxy) {
  return "127.0.0.1:" + std::to_string(proxy.port());
}

struct Answer {
  std::string ids;  // or what went wrong
  uint64_t reconnects = 0;
};

// Default dtypes, sampled, so that one wrong bit anywhere would show.
Answer answer(const Words& bodies, const Words& more = {}) {
  const JsonDoc expected = golden_json(kModel);
  const Json prompt = *(*expected.root().find("prompts")->elements().begin()).find("tokens");
  Words words = {"local",
                 golden_model(kModel),
                 "--ids",
                 comma_list(integers_of(prompt)),
                 "-n",
                 "24",
                 "--ctx",
                 "93",
                 "--ignore-eos",
                 "--json",
                 "--temperature",
                 "0.8",
                 "--seed",
                 "3",
                 "--head",
                 "1",
                 "--tail",
                 "1",
                 "--retry-for",
                 "20s"};
  for (const std::string& body : bodies) words.insert(words.end(), {"--body", body});
  words.insert(words.end(), more.begin(), more.end());
  const ProcessResult result = run_splitd(words);
  const Result<JsonDoc> json = JsonDoc::parse(result.out);
  if (result.exit_code != 0 || !json) {
    return {std::to_string(result.exit_code) + " " + result.err + result.out, 0};
  }
  const Json root = json->root();
  return {comma_list(integers_of(*root.find("ids"))),
          root.find("network")->find("reconnects")->to_u64().value_or(0)};
}

class SplitFaults : public testing::Test {
 protected:
  SplitFaults() : cloud_(golden_model(kModel)), proxy_(proxy_to(cloud_)) {
    undisturbed_ = answer({address_of(*proxy_)}).ids;
    up_ = proxy_->counters().bytes_up;
    down_ = proxy_->counters().bytes_down;
    // How many guesses come back beside it depends on the link: the middle of the least is passed
    // whatever happens.
    const std::unique_ptr<WanProxy> plain = proxy_to(cloud_);
    EXPECT_EQ(answer({address_of(*plain)}, {"--decoder", "sequential"}).ids, undisturbed_);
    middle_ = plain->counters().bytes_down / 2;
  }

  Cloud cloud_;
  std::unique_ptr<WanProxy> proxy_;
  std::string undisturbed_;
  uint64_t up_ = 0, down_ = 0;  // bytes of the undisturbed run
  uint64_t middle_ = 0;         // bytes down when any run is under way
};

TEST_F(SplitFaults, ACutAnywhereChangesNothing) {
  ASSERT_EQ(std::count(undisturbed_.begin(), undisturbed_.end(), ','), 23) << undisturbed_;
  const auto cut_at = [&](Direction direction, uint64_t at, lab::Cut how) {
    // What speculation sends differs a little from run to run: a cut that the run before did not
    // reach must not wait for this one's handshake.
    const Direction other = direction == Direction::up ? Direction::down : Direction::up;
    proxy_->cut_after(other, UINT64_MAX, how);
    proxy_->cut_after(direction, at, how);
    const Answer got = answer({address_of(*proxy_)});
    EXPECT_EQ(got.ids, undisturbed_)
        << "after " << at << " bytes " << (direction == Direction::up ? "up" : "down");
    return got.reconnects;
  };
  // Before there is a session that could be taken up, too; those do not count as reconnects.
  for (const uint64_t at : {0, 1, 60, 200, 400, 700}) {
    cut_at(Direction::up, at, at % 20 == 0 ? lab::Cut::reset : lab::Cut::close);
    cut_at(Direction::down, at, at % 20 == 0 ? lab::Cut::close : lab::Cut::reset);
  }
  const uint64_t begin_up = up_ / 3, begin_down = down_ / 3;
  uint64_t reconnects = 0;
  for (uint64_t i = 0; i < 8; ++i) {
    const lab::Cut how = i % 2 == 0 ? lab::Cut::reset : lab::Cut::close;
    reconnects += cut_at(Direction::up, begin_up + i * (up_ - begin_up) / 8, how);
    reconnects += cut_at(Direction::down, begin_down + i * (down_ - begin_down) / 8, how);
  }
  // Every few bytes of one step and of its reply.
  const uint64_t step = (up_ - begin_up) / 20;
  for (uint64_t i = 0; i < step; i += 41) {
    reconnects += cut_at(Direction::up, up_ - 2 * step + i, lab::Cut::reset);
    reconnects += cut_at(Direction::down, down_ - 2 * step + i, lab::Cut::reset);
  }
  EXPECT_GE(reconnects, 16u);
}

TEST_F(SplitFaults, AnotherBodyTakesOver) {
  Cloud second(golden_model(kModel));
  for (int i = 1; i < 6; ++i) {
    const std::unique_ptr<WanProxy> proxy = proxy_to(cloud_);
    proxy->cut_after(Direction::down, down_ * static_cast<uint64_t>(i) / 6);
    std::thread switcher([&] {
      EXPECT_TRUE(proxy->wait_for_open(1, seconds(20)));
      proxy->set_target_port(port_of(second));  // the first body has died and was started again
    });
    EXPECT_EQ(answer({address_of(*proxy)}).ids, undisturbed_);
    switcher.join();
  }
}

TEST_F(SplitFaults, AnotherAddressTakesOver) {
  Cloud second(golden_model(kModel));
  proxy_->cut_after(Direction::down, down_ / 2);
  std::thread refuser([&] {
    EXPECT_TRUE(proxy_->wait_for_open(1, seconds(20)));
    proxy_->set_refusing(true);
  });
  const Answer got = answer({address_of(*proxy_), second.address()});
  refuser.join();
  EXPECT_EQ(got.ids, undisturbed_);
  EXPECT_GE(got.reconnects, 1u);
}

TEST_F(SplitFaults, AKilledBodyIsAPauseAndThenAnError) {
  const std::unique_ptr<WanProxy> proxy = proxy_to(cloud_);
  proxy->set_rate(Direction::down, 400'000);  // slow enough to die in the middle
  std::thread killer([&] {
    EXPECT_TRUE(proxy->wait_for_bytes(Direction::down, middle_, seconds(20)));
    cloud_.process().signal(SIGKILL);
  });
  const Answer got = answer({address_of(*proxy)}, {"--retry-for", "500ms"});
  killer.join();
  EXPECT_TRUE(got.ids.starts_with("3 ")) << got.ids;
  EXPECT_NE(got.ids.find("lost the body"), std::string::npos) << got.ids;
}

TEST_F(SplitFaults, AForgottenSessionIsPlayedAgain) {
  Cloud forgetful(golden_model(kModel), {"--idle-timeout", "1s"});
  const std::unique_ptr<WanProxy> proxy = proxy_to(forgetful);
  proxy->set_rate(Direction::down, 400'000);
  std::thread pauser([&] {
    EXPECT_TRUE(proxy->wait_for_bytes(Direction::down, middle_, seconds(20)));
    proxy->pause();
    std::this_thread::sleep_for(milliseconds(2500));
    proxy->resume();
  });
  const Answer got = answer({address_of(*proxy)});
  pauser.join();
  EXPECT_EQ(got.ids, undisturbed_);
}

// An interrupt does not wait for the round trip under way.
TEST_F(SplitFaults, AnInterruptEndsAnAnswerAtOnce) {
  const std::unique_ptr<WanProxy> proxy = proxy_to(cloud_);
  proxy->set_rate(Direction::down, 40'000);  // an answer of some seconds
  Words words = {SPLITD_BINARY, "local",  golden_model(kModel),
                 "--ids",       "5,6,7",  "-n",
                 "60",          "--head", "1",
                 "--tail",      "1",      "--ignore-eos",
                 "--json",      "--body", address_of(*proxy)};
  if (*SPLITD_EMULATOR != '\0') words.insert(words.begin(), SPLITD_EMULATOR);
  Background local(words);
  ASSERT_TRUE(proxy->wait_for_bytes(Direction::up, 1000, seconds(20)));
  proxy->set_round_trip(seconds(20));
  std::this_thread::sleep_for(milliseconds(300));  // a step is on its long way
  local.signal(SIGINT);
  const auto start = std::chrono::steady_clock::now();
  const int code = local.wait(15);
  EXPECT_EQ(code, 130) << local.err();
  EXPECT_LT(std::chrono::steady_clock::now() - start, seconds(10));
}

// Peers that say nothing are noticed after 5 + 10 seconds: both at once, for the time it takes.
TEST_F(SplitFaults, SilenceAndHalfOpenConnectionsAreNoticed) {
  const std::unique_ptr<WanProxy> silent = proxy_to(cloud_), half_open = proxy_to(cloud_);
  for (WanProxy* proxy : {silent.get(), half_open.get()}) {
    proxy->set_rate(Direction::down, 400'000);
  }
  const auto disturb = [&](WanProxy& proxy, const std::function<void()>& how) {
    return std::thread([&proxy, how, this] {
      EXPECT_TRUE(proxy.wait_for_bytes(Direction::down, middle_, seconds(20)));
      how();
    });
  };
  std::thread first = disturb(*silent, [&] {
    silent->pause();
    std::this_thread::sleep_for(seconds(18));
    silent->resume();
  });
  std::thread second = disturb(*half_open, [&] { half_open->vanish(lab::End::target); });
  Answer after_silence;
  std::thread other([&] { after_silence = answer({address_of(*silent)}, {"--retry-for", "40s"}); });
  const Answer after_half_open = answer({address_of(*half_open)}, {"--retry-for", "40s"});
  for (std::thread* thread : {&first, &second, &other}) thread->join();
  EXPECT_EQ(after_silence.ids, undisturbed_);
  EXPECT_EQ(after_half_open.ids, undisturbed_);
  EXPECT_GE(after_half_open.reconnects, 1u);
}

}  // namespace
}  // namespace splitd
