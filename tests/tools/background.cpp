#include "tests/tools/background.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <thread>

namespace splitd {

using Clock = std::chrono::steady_clock;

Background::Background(std::vector<std::string> words) {
  int pipe_fds[2];
  if (::pipe2(pipe_fds, O_CLOEXEC) != 0) ADD_FAILURE() << "no pipe";
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  pid_ = ::fork();
  if (pid_ == 0) {
    ::dup2(pipe_fds[1], 2);
    const int nothing = ::open("/dev/null", O_RDWR);
    ::dup2(nothing, 0);
    ::dup2(nothing, 1);
    ::execv(argv[0], argv.data());
    ::_exit(127);
  }
  ::close(pipe_fds[1]);
  fd_ = pipe_fds[0];
}

Background::~Background() {
  if (pid_ > 0) {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
  ::close(fd_);
}

bool Background::read_some(int milliseconds) {
  pollfd waiting{fd_, POLLIN, 0};
  if (::poll(&waiting, 1, milliseconds) <= 0) return true;
  char buffer[4096];
  const ssize_t n = ::read(fd_, buffer, sizeof buffer);
  if (n > 0) err_.append(buffer, static_cast<size_t>(n));
  return n > 0;
}

bool Background::wait_for(std::string_view text, int seconds) {
  const auto end = Clock::now() + std::chrono::seconds(seconds);
  while (err_.find(text) == std::string::npos) {
    if (Clock::now() > end || !read_some(100)) return err_.find(text) != std::string::npos;
  }
  return true;
}

void Background::signal(int number) {
  if (pid_ > 0) ::kill(pid_, number);
}

int Background::wait(int seconds) {
  const auto end = Clock::now() + std::chrono::seconds(seconds);
  while (pid_ > 0 && Clock::now() < end) {
    int status = 0;
    if (::waitpid(pid_, &status, WNOHANG) == pid_) {
      pid_ = -1;
      while (read_some(0) && ::poll(nullptr, 0, 0) == 0) {
        pollfd waiting{fd_, POLLIN, 0};
        if (::poll(&waiting, 1, 0) <= 0) break;
      }
      return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    }
    if (!read_some(20)) std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return -1;
}

static std::vector<std::string> cloud_words(const std::string& model,
                                            std::vector<std::string> words) {
  words.insert(words.begin(), {SPLITD_BINARY, "cloud", model, "--listen", "127.0.0.1:0"});
  if (*SPLITD_EMULATOR != '\0') words.insert(words.begin(), SPLITD_EMULATOR);
  return words;
}

Cloud::Cloud(const std::string& model, std::vector<std::string> words)
    : process_(cloud_words(model, std::move(words))) {
  constexpr std::string_view kSays = "listening on ";
  if (!process_.wait_for(kSays) || !process_.wait_for("\n")) {
    ADD_FAILURE() << "cloud does not serve: " << process_.err();
    return;
  }
  const std::string& err = process_.err();
  const size_t begin = err.find(kSays) + kSays.size();
  address_ = err.substr(begin, err.find('\n', begin) - begin);
}

}  // namespace splitd
