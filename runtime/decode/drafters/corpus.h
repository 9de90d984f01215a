// Owns: the token ids of earlier sessions, in a file, for the suffix drafter: what this user writes
// and reads again and again. It is as private as the texts themselves: it stays on the device that
// holds the tokenizer, mode 0600, and exists only where somebody asks for it. Bounded; written as a
// whole or not at all; a file that is broken or of another vocabulary is a warning and an empty
// corpus, never an error, and what somebody else wrote is never written over. The format is in
// README.md. Not thread-safe; processes may share a file.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "runtime/base/log.h"
#include "runtime/base/result.h"
#include "runtime/base/sha256.h"

namespace splitd {

class Tokenizer;

class TokenCorpus {
 public:
  static constexpr size_t kMostEntries = size_t{1} << 16;  // tokens and boundaries; 256 KiB
  static constexpr uint32_t kBoundary = ~uint32_t{0};      // begins a text

  // Refuses a path that no file can be written to.
  static Status check_path(const std::string& path);

  // Ids mean something in one vocabulary only: `vocabulary` tells it from others (a digest of it).
  static TokenCorpus open(std::string path, const Sha256Digest& vocabulary, uint32_t n_vocab,
                          const Log& log);

  // To the file as it is now, since another process may have written to it; of two that do so at
  // once the later one wins. A text that goes on where the one before ended takes its place,
  // and one that is there already becomes the newest.
  Status record(std::span<const uint32_t> text);

  // The oldest texts, or the beginning of one that is too long, make room.
  void add(std::span<const uint32_t> text);
  Status save() const;

  // Texts one after another, each behind a boundary.
  std::span<const uint32_t> entries() const { return entries_; }

 private:
  TokenCorpus() = default;
  Status load();
  void forget(std::span<const uint32_t> text);

  std::string path_;
  Sha256Digest vocabulary_{};
  uint32_t n_vocab_ = 0;
  std::vector<uint32_t> entries_;
  std::vector<uint32_t> last_;  // recorded
  bool is_foreign_ = false;     // the file is none of ours
};

// Of all tokens as the tokenizer spells them.
[[nodiscard]] Sha256Digest vocabulary_digest(const Tokenizer& tokenizer);

}  // namespace splitd
