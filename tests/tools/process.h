// Runs a program as a user would, for tests: bytes to its stdin, bytes from its stdout and stderr,
// its exit code. What blocks longer than a minute is killed and fails the test.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace splitd {

struct ProcessResult {
  int exit_code = -1;  // 128 + N where signal N ended it
  std::string out;
  std::string err;
  uint64_t max_resident = 0;  // bytes: the most it had in memory, pages of mapped files included
};

struct ProcessOptions {
  std::string input = {};
  std::vector<std::string> environment = {};  // "NAME=value", added to the test's own
  std::string directory = {};                 // to run in; empty: the test's own
  int close_fd = -1;                          // 0, 1 or 2: closed before the program starts
  std::string out_path = {};                  // stdout goes there instead
  size_t leave_after = SIZE_MAX;              // the reader of stdout leaves after so many bytes
};

[[nodiscard]] ProcessResult run_process(const std::vector<std::string>& words,
                                        const ProcessOptions& options = {});

}  // namespace splitd
