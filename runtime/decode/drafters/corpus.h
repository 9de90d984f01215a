// Owns: the token ids of earlier sessions, in a file, for the suffix drafter: what this user writes
// and reads again and again. It is as private as the texts themselves: it stays on the device that
// holds the tokenizer, mode 0600, and exists only where somebody asks for it. Bounded; written as a
// whole or not at all; a file that is broken or of another vocabulary is a warning and an empty
// corpus, never an error. The format is in README.md. Not thread-safe.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "runtime/base/log.h"
#include "runtime/base/result.h"
#include "runtime/base/sha256.h"

namespace splitd {

class TokenCorpus {
 public:
  static constexpr size_t kMostEntries = size_t{1} << 16;  // tokens and boundaries; 256 KiB
  static constexpr uint32_t kBoundary = ~uint32_t{0};      // begins a text

  // Ids mean something in one vocabulary only: `vocabulary` tells it from others (a digest of the
  // tokenizer).
  static TokenCorpus open(std::string path, const Sha256Digest& vocabulary, uint32_t n_vocab,
                          const Log& log);

  // The oldest texts, or the beginning of one that is too long, make room.
  void add(std::span<const uint32_t> text);
  Status save() const;

  // Texts one after another, each behind a boundary.
  std::span<const uint32_t> entries() const { return entries_; }

 private:
  TokenCorpus() = default;
  Status load();

  std::string path_;
  Sha256Digest vocabulary_{};
  uint32_t n_vocab_ = 0;
  std::vector<uint32_t> entries_;
};

}  // namespace splitd
