// Owns: a copy that survives edits. Where a text goes along an earlier piece of itself (the record,
// the row of a table, the function before) with other values in it, a match of the last tokens is
// lost at every value and found again at the wrong place. This keeps the earlier place in mind: a
// thread runs along it, and where another token came it waits for the text to come back, further
// on or where it left (a token changed, some put in, some left out). Whether a place in the earlier
// piece was itself a copy of a still earlier one is remembered: frames stay, values change. How
// often each comes true is learnt. Keeps the newest kCapacity tokens, 5 bytes each, and 128 KB
// beside them, all reserved at once. Not thread-safe.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "runtime/decode/drafters/estimate.h"
#include "runtime/decode/drafters/guess.h"

namespace splitd {

class AlignModel {
 public:
  static constexpr uint32_t kCapacity = uint32_t{1} << 16;
  static constexpr size_t kThreads = 2;
  static constexpr size_t kMostGuesses = 2 * kThreads;  // of one place

  // An earlier place that the text goes along.
  struct Thread {
    uint32_t at = 0;    // the token that would come next; 0: none
    uint32_t base = 0;  // …as far as it was sure
    uint8_t run = 0;    // tokens in a row that were as expected, at most 255
    uint8_t lost = 0;   // tokens since base; 0: it is sure
    uint16_t past = 0;  // which of the last 16 tokens were as expected, the newest in bit 0
  };
  using Place = std::array<Thread, kThreads>;

  AlignModel();

  // Nothing goes along an earlier text across its beginning.
  void begin_text();
  // The text goes on. `learn`: the model said so.
  void append(uint32_t token, bool learn);

  const Place& end() const { return end_; }
  Place enter(const Place& place, uint32_t token) const;
  // Appends at most kMostGuesses guesses, all different.
  void guesses(const Place& place, std::vector<Guess>& out) const;

 private:
  // What became of a token when it was text itself.
  enum Mark : uint8_t { unmarked, copied, changed };
  // What a thread may say: the token there, or the next one that had been copied.
  enum Kind : uint8_t { same, next_frame };
  static constexpr size_t kKinds = 2, kRuns = 6, kShares = 4, kMarks = 3, kLost = 4;
  static constexpr uint32_t kWindow = 24;  // tokens ahead in which the text may be found again
  static constexpr uint8_t kMostLost = 32;
  static constexpr int kSure = 3;  // tokens in a row
  static constexpr size_t kBits = 14;
  static constexpr uint32_t kGram = 3, kLongGram = 5;

  struct Said {
    uint32_t token;
    size_t bucket;
  };

  bool is_here(uint32_t at) const { return at < n_ && n_ - at < kCapacity; }
  uint32_t token_at(uint32_t at) const { return tokens_[at % kCapacity]; }
  Mark mark_at(uint32_t at) const { return marks_[at % kCapacity]; }
  Thread follow(const Thread& thread, uint32_t token) const;
  size_t say(const Thread& thread, std::array<Said, kKinds>& out) const;
  size_t bucket(const Thread& thread, Kind kind, Mark mark) const;
  void find_threads();
  void offer(uint32_t at, uint32_t length);
  uint32_t& last_of(uint32_t length);

  std::vector<uint32_t> tokens_;  // rings, by position % kCapacity; positions begin at 1
  std::vector<Mark> marks_;
  std::array<std::vector<uint32_t>, 2> last_;  // behind which position a gram stood last, by hash
  uint32_t n_ = 1;                             // the position of the next token
  uint32_t begin_ = 1;                         // of the text at hand
  Place end_{};
  std::array<Rate, kKinds * kRuns * kShares * kMarks * kLost> rates_;
};

}  // namespace splitd
