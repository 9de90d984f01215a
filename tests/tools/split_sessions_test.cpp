// Thousands of sessions on one body, opened, used, closed or cut at random: its memory and its
// descriptors come back. SPLITD_SESSIONS says how many (make check-all: 10,000).
#include <gtest/gtest.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <random>
#include <thread>

#include "kernels/select.h"
#include "runtime/model/model_files.h"
#include "runtime/split/remote_stage.h"
#include "tests/lab/proxy.h"
#include "tests/tools/background.h"
#include "tests/tools/golden_model.h"

namespace splitd {
namespace {

using std::chrono::seconds;

constexpr const char* kModel = "llama_bf16";

int sessions_wanted() {
  const char* text = std::getenv("SPLITD_SESSIONS");
  return text == nullptr ? 500 : std::atoi(text);
}

uint64_t resident_bytes(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/statm");
  uint64_t total = 0, resident = 0;
  file >> total >> resident;
  return resident * 4096;
}

size_t open_files(pid_t pid) {
  size_t n = 0;
  for ([[maybe_unused]] const auto& entry :
       std::filesystem::directory_iterator("/proc/" + std::to_string(pid) + "/fd")) {
    ++n;
  }
  return n;
}

class Users {
 public:
  explicit Users(uint16_t port) : files_(std::move(*ModelFiles::open(golden_model(kModel)))) {
    RemoteOptions options;
    options.bodies = {{"127.0.0.1", port}};
    options.retry_for = std::chrono::milliseconds(0);
    stage_ = std::move(*RemoteStage::create(*kernels::runnable_tables().back(),
                                            hex(*files_.fingerprint()), files_.config().d_model,
                                            std::move(options)));
    stage_->set_layers({0, files_.config().n_layer});
    rows_.assign(size_t{8} * files_.config().d_model, 0.25f);
  }

  // Whether it came to its end in order.
  bool use(std::mt19937& random, lab::WanProxy& proxy) {
    Result<SessionId> session = stage_->open({64, 16, KvType::f16});
    if (!session) return false;
    bool good = true;
    RowId next = 0;
    const uint32_t n_step = random() % 4;
    for (uint32_t seq = 1; good && seq <= n_step; ++seq) {
      if (random() % 12 == 0) proxy.cut(random() % 2 == 0 ? lab::Cut::reset : lab::Cut::close);
      const auto n = static_cast<uint32_t>(1 + random() % 8);
      StageRequest request;
      request.seq = seq;
      request.ack = seq - 1;
      request.timeline.append =
          Frame{.first = next, .base = next == 0 ? kNoRow : next - 1, .n_row = n, .commit = true};
      request.rows = std::span(rows_).first(size_t{n} * files_.config().d_model);
      good = stage_->submit(*session, request).ok() &&
             stage_->next(*session, std::chrono::steady_clock::now() + seconds(20), reply_).ok();
      next += n;
    }
    stage_->close(*session);
    return good;
  }

 private:
  ModelFiles files_;
  std::unique_ptr<RemoteStage> stage_;
  std::vector<float> rows_;
  StageReply reply_;
};

TEST(SplitSessions, LeaveNothingBehind) {
  Cloud cloud(golden_model(kModel),
              {"--idle-timeout", "1s", "--sessions", "100000", "--peer-sessions", "100000"});
  ASSERT_NE(cloud.address(), "");
  const std::string& address = cloud.address();
  const auto port = static_cast<uint16_t>(std::stoi(address.substr(address.rfind(':') + 1)));
  const std::unique_ptr<lab::WanProxy> proxy =
      std::move(*lab::WanProxy::start({.target_port = port}));
  std::mt19937 random(1);
  int n_good = 0, n_cut = 0;
  const auto run = [&](int n) {
    Users users(proxy->port());
    for (int i = 0; i < n; ++i) ++(users.use(random, *proxy) ? n_good : n_cut);
  };
  const auto settle = [&] {  // what was cut is forgotten when it has been idle for long enough
    for (int i = 0; i < 100; ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
      if (i > 35 && proxy->counters().open == 0) return;
    }
  };
  const pid_t pid = cloud.process().pid();
  run(sessions_wanted() / 2);  // buffers get their size
  settle();
  const uint64_t memory = resident_bytes(pid);
  const size_t files = open_files(pid);
  run(sessions_wanted());
  settle();
  EXPECT_GT(n_good, sessions_wanted());
  EXPECT_GT(n_cut, sessions_wanted() / 20);
  EXPECT_LE(open_files(pid), files);
  // The allocator's own pools reach their size after some thousand sessions.
  const double slack = sessions_wanted() < 10'000 ? 1 << 20 : 0;
  EXPECT_LE(static_cast<double>(resident_bytes(pid)), 1.01 * static_cast<double>(memory) + slack);
  std::printf("%d sessions in order, %d cut: %.2f MiB before, %.2f after, %zu descriptors\n",
              n_good, n_cut, static_cast<double>(memory) / 1048576,
              static_cast<double>(resident_bytes(pid)) / 1048576, open_files(pid));
}

}  // namespace
}  // namespace splitd
