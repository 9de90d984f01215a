// A program that runs beside the test: started, watched until it says that it serves, ended.
#pragma once

#include <sys/types.h>

#include <string>
#include <string_view>
#include <vector>

namespace splitd {

class Background {
 public:
  // Fails the test where the program cannot be started.
  explicit Background(std::vector<std::string> words);
  ~Background();  // kills what still runs
  Background(const Background&) = delete;
  Background& operator=(const Background&) = delete;

  // Reads stderr until it holds `text`; false when the program ends first, or after `seconds`.
  bool wait_for(std::string_view text, int seconds = 30);
  void signal(int number);
  // Its exit code (128 + N where signal N ended it), -1 after `seconds`.
  int wait(int seconds = 60);
  const std::string& err() const { return err_; }
  pid_t pid() const { return pid_; }

 private:
  bool read_some(int milliseconds);

  pid_t pid_ = -1;
  int fd_ = -1;  // its stderr
  std::string err_;
};

// `splitd cloud MODEL words…` on a port of the system's choice.
class Cloud {
 public:
  explicit Cloud(const std::string& model, std::vector<std::string> words = {});

  const std::string& address() const { return address_; }  // "127.0.0.1:40213"; empty: it failed
  Background& process() { return process_; }

 private:
  Background process_;
  std::string address_;
};

}  // namespace splitd
