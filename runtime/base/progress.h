// Owns: how long work reports and is told to stop. The callback runs on the thread that works.
#pragma once

#include <cstdint>
#include <functional>
#include <string_view>

namespace splitd {

struct Progress {
  std::string_view what;  // "model.safetensors", "layer 12"
  uint64_t done = 0;      // bytes or items, of `total`
  uint64_t total = 0;     // 0 where it is not known
};

// Returns false to cancel: the work then ends with an ErrorKind::interrupted.
using ProgressFn = std::function<bool(const Progress&)>;

}  // namespace splitd
