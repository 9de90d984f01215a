// Owns: what the model itself thought likely after a token, and after the two and three before it:
// the likeliest followers from logits that were computed anyway ("token recycling"; the published
// table knows one token of context). How often the first, second … of them came true is learnt by
// rank and by how sure the model was. Not thread-safe.
// Memory: n_vocab × 40 bytes, and 2 × 2^15 × 44 bytes for the longer contexts, reserved once.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "runtime/decode/drafters/estimate.h"
#include "runtime/decode/drafters/guess.h"

namespace splitd {

class RecycleTable {
 public:
  static constexpr uint32_t kTop = 8;     // followers kept
  static constexpr uint32_t kOrders = 3;  // tokens of context, at most

  // The last tokens of a text, the newest first; kNoToken before its first.
  using Place = std::array<uint32_t, kOrders>;
  static constexpr uint32_t kNoToken = ~uint32_t{0};

  explicit RecycleTable(uint32_t n_vocab);

  static Place end_of(std::span<const uint32_t> text);
  static Place enter(const Place& place, uint32_t token) { return {token, place[0], place[1]}; }

  // The likeliest followers at `place`, best first.
  void put(const Place& place, std::span<const uint32_t> top, std::span<const float> probability);
  // Appends what may follow there, all different; nothing where the token was never seen.
  // Returns how many tokens of context knew it: 0 … kOrders.
  uint32_t guesses(const Place& place, std::vector<Guess>& out) const;
  // `token` followed there: to be told before put() overwrites what was guessed.
  void learn(const Place& place, uint32_t token);

  size_t bytes() const;

 private:
  struct Entry {
    std::array<uint32_t, kTop> tokens;
    std::array<uint8_t, kTop> shares;  // of 255
  };
  struct Hashed {
    uint32_t check = 0;  // the context's other hash bits; 0: empty
    Entry entry;
  };
  static constexpr size_t kBits = 15;
  static constexpr size_t kSures = 6;

  // The entry that knows most context; nullptr: none.
  const Entry* find(const Place& place, uint32_t& order) const;
  static size_t bucket(uint32_t order, size_t rank, uint8_t share);

  std::vector<Entry> by_token_;
  std::vector<uint8_t> is_known_;
  std::array<std::vector<Hashed>, kOrders - 1> longer_;  // of two tokens, of three
  std::array<Rate, kOrders * kTop * kSures> rates_;
};

}  // namespace splitd
