// The lab as it is used: the real program, with shell commands on both ends. Where namespaces are
// not allowed, every test is skipped and the program's own message says why. No test measures time:
// what must happen is waited for, and the lab's --timeout turns a wait in vain into a failure.
#include <gtest/gtest.h>

#include "tests/lab/lab.h"
#include "tests/temp_dir.h"
#include "tests/tools/process.h"

namespace splitd::lab {
namespace {

ProcessResult run_lab(std::vector<std::string> words) {
  words.insert(words.begin(), {SPLITD_WAN_LAB, "--quiet", "--timeout", "30s"});
  return run_process(words);
}

// A shell that is about to become its last command can lose a SIGINT; this one never is.
constexpr const char* kForEver = "while :; do sleep 0.05; done";

class WanLab : public ::testing::Test {
 protected:
  void SetUp() override {
    const ProcessResult probe = run_lab({"--server", "true", "--client", "true"});
    if (probe.exit_code != kExitNotAllowed) return;
    std::printf("namespaces are not allowed: %s", probe.err.c_str());
    GTEST_SKIP() << "waits for a machine that allows network namespaces";
  }

  // A server that listens, and resets who connects; and a client that reaches it, or does not,
  // within half a second. The reset may come before the client's connect() has returned.
  const std::string server_ = std::string(SPLITD_WAN_PROXY) +
                              " --listen {server_ip}:{port} --target 127.0.0.1:9 2>/dev/null";
  const std::string connect_ =
      "{ LC_ALL=C timeout 0.5 bash -c 'exec 3<>/dev/tcp/{server_ip}/{port}' 2>&1 && echo reset; } "
      "| "
      "grep -q reset";
};

TEST_F(WanLab, EndsWithTheClientsStatus) {
  const ProcessResult result =
      run_lab({"--server", "sleep 1000", "--", "sh", "-c", "echo out; echo err >&2; exit 7"});
  EXPECT_EQ(result.exit_code, 7);
  EXPECT_EQ(result.out, "out\n");
  EXPECT_EQ(result.err, "err\n");
  EXPECT_EQ(run_lab({"--server", "sleep 1000", "--", "/nonexistent"}).exit_code, 127);
}

TEST_F(WanLab, ThenWithTheServers) {
  const TempDir directory;
  const std::string ready = directory.path() + "/ready";
  const std::string wait = "until [ -e " + ready + " ]; do sleep 0.01; done";
  const std::string serve = "; : > " + ready + "; sleep 1000 & wait";
  EXPECT_EQ(run_lab({"--server", "trap 'exit 5' TERM" + serve, "--client", wait}).exit_code, 5);
  ::unlink(ready.c_str());
  // One that dies of being asked to end did nothing wrong.
  EXPECT_EQ(run_lab({"--server", "true" + serve, "--client", wait}).exit_code, 0);
}

TEST_F(WanLab, ConnectsOnceTheServerListens) {
  const ProcessResult result =
      run_lab({"--port", "4711", "--rtt", "2ms", "--server", "sleep 0.1; " + server_, "--client",
               connect_ + " && echo {client_ip} {server_ip} {port}"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(result.out, "10.77.0.2 10.77.0.1 4711\n");
}

TEST_F(WanLab, FailsWhereTheServerEndsInstead) {
  const std::vector<std::string> words = {"--port", "4711", "--client", "echo started"};
  std::vector<std::string> ends = words, fails = words, never = words;
  ends.insert(ends.end(), {"--server", "true"});
  fails.insert(fails.end(), {"--server", "exit 9"});
  never.insert(never.end(), {"--server", "sleep 1000", "--wait-for", "50ms"});
  EXPECT_EQ(run_lab(ends).exit_code, kExitFailed);
  EXPECT_EQ(run_lab(fails).exit_code, 9);
  const ProcessResult result = run_lab(never);
  EXPECT_EQ(result.exit_code, kExitFailed);
  EXPECT_EQ(result.out, "");
  EXPECT_NE(result.err.find("nothing listens on port 4711"), std::string::npos) << result.err;
}

TEST_F(WanLab, CutsAndResumes) {
  const std::string script = "until ! " + connect_ + "; do :; done; echo down; " +
                             "echo resume > $WAN_LAB_CONTROL; until " + connect_ +
                             "; do :; done; echo up; echo cut > $WAN_LAB_CONTROL; until ! " +
                             connect_ + "; do :; done; echo down; echo nonsense > $WAN_LAB_CONTROL";
  const ProcessResult result =
      run_lab({"--port", "4711", "--server", server_, "--cut", "0s:600s:down", "--client", script});
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_EQ(result.out, "down\nup\ndown\n");
}

TEST_F(WanLab, SaysThatACommandIsUnknown) {
  const std::string script =
      "echo nonsense 5 > $WAN_LAB_CONTROL; echo loss 2 > $WAN_LAB_CONTROL; kill -INT $PPID; ";
  const ProcessResult result = run_lab({"--server", "sleep 1000", "--client", script + kForEver});
  EXPECT_EQ(result.exit_code, 130);
  EXPECT_NE(result.err.find("control: link setting \"nonsense\""), std::string::npos) << result.err;
}

// run_process() returns once nobody holds the output any more: whoever is left behind holds it, for
// longer than it waits.
constexpr const char* kStubborn = "trap '' TERM INT; setsid sleep 1000 & sleep 1000";

TEST_F(WanLab, LeavesNothingBehind) {
  EXPECT_EQ(run_lab({"--server", "setsid sleep 1000 & sleep 1000", "--client", "true"}).exit_code,
            0);
  EXPECT_EQ(run_lab({"--server", "sleep 1000", "--client", "setsid sleep 1000 & exit 3"}).exit_code,
            3);
}

TEST_F(WanLab, LeavesNothingBehindWhenInterrupted) {
  EXPECT_EQ(
      run_lab({"--server", "sleep 1000", "--client", std::string("kill -INT $PPID; ") + kForEver})
          .exit_code,
      130);
  EXPECT_EQ(
      run_lab({"--server", "sleep 1000", "--client", std::string("kill -TERM $PPID; ") + kForEver})
          .exit_code,
      143);
}

TEST_F(WanLab, LeavesNothingBehindWhenKilled) {
  const TempDir directory;
  const std::string control = directory.path() + "/control";
  const ProcessResult result =
      run_lab({"--control", control, "--server", kStubborn, "--client",
               "[ -p $WAN_LAB_CONTROL ] && echo there; kill -KILL $PPID; sleep 1000"});
  EXPECT_EQ(result.exit_code, 137);
  EXPECT_EQ(result.out, "there\n");
  EXPECT_NE(::access(control.c_str(), F_OK), 0);
}

TEST_F(WanLab, TimesOut) {
  const ProcessResult result = run_process({SPLITD_WAN_LAB, "--quiet", "--timeout", "100ms",
                                            "--server", "sleep 1000", "--client", "sleep 1000"});
  EXPECT_EQ(result.exit_code, kExitTimeout);
}

TEST_F(WanLab, RefusesACongestionControlThatIsNotThere) {
  const ProcessResult result =
      run_lab({"--congestion", "warp", "--server", "true", "--client", "true"});
  EXPECT_EQ(result.exit_code, kExitFailed);
  EXPECT_NE(result.err.find("congestion control \"warp\""), std::string::npos) << result.err;
}

TEST_F(WanLab, ReportsWhatPassed) {
  const ProcessResult result =
      run_process({SPLITD_WAN_LAB, "--rtt", "2ms", "--rate", "10M", "--port", "4711", "--server",
                   server_, "--client", connect_});
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_NE(result.err.find("RTT 2 ms; up 10 Mbit/s, queue 30 KB, loss 0 %"), std::string::npos);
  EXPECT_NE(result.err.find("congestion control "), std::string::npos);
  EXPECT_EQ(result.err.find("up: 0 packets"), std::string::npos) << result.err;
}

}  // namespace
}  // namespace splitd::lab
