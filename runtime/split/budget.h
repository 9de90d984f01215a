// Owns: how much of a body its peers use, each and together. What is over a limit is refused with
// the numbers; nobody is ever evicted for somebody else. Not thread-safe.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "runtime/base/result.h"

namespace splitd {

struct Usage {
  uint64_t sessions = 0;
  uint64_t rows = 0;   // that sessions may hold
  uint64_t bytes = 0;  // of keys, values and kept replies, as reserved

  bool operator==(const Usage&) const = default;
};

class Budget {
 public:
  Budget(const Usage& most, const Usage& most_of_peer) : most_(most), most_of_peer_(most_of_peer) {}

  // All or nothing.
  [[nodiscard]] Status take(const std::string& peer, const Usage& cost);
  // Requires that it was taken.
  void give_back(const std::string& peer, const Usage& cost);

  const Usage& used() const { return used_; }
  Usage used_by(const std::string& peer) const;
  size_t n_peer() const { return peers_.size(); }

 private:
  Usage most_;
  Usage most_of_peer_;
  Usage used_;
  std::map<std::string, Usage> peers_;  // those that use something
};

}  // namespace splitd
