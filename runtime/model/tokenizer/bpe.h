// Owns: the BPE model: a piece of text → ids, by merging the neighbours with the lowest rank
// (leftmost first among equals) until none can merge. O(n log n) in the piece, whatever it holds.
// Two ways in: characters, or bytes that the vocabulary spells in the byte alphabet.
// Bpe is immutable and thread-safe; a BpeEncoder serves one call.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/base/result.h"
#include "runtime/model/tokenizer/vocabulary.h"

namespace splitd::tok {

struct BpeOptions {
  std::string unk_token = {};  // empty: none
  std::string continuing_subword_prefix = {};
  std::string end_of_word_suffix = {};
  bool fuse_unk = false;
  bool byte_fallback = false;
  bool ignore_merges = false;
  bool bytes = false;  // pieces are raw bytes, each standing for a character of the byte alphabet
};

struct Merge {
  uint32_t rank = UINT32_MAX;  // none
  uint32_t id = kNoId;
};

// (left, right) → merge: an open-addressing table.
class MergeTable {
 public:
  void reserve(size_t count);
  // A pair that stands twice keeps its last rank, as in the library.
  Status add(uint32_t left, uint32_t right, Merge merge);
  void prefetch(uint32_t left, uint32_t right) const {
    __builtin_prefetch(&slots_[hash(uint64_t{left} << 32 | right)]);
  }
  Merge find(uint32_t left, uint32_t right) const {
    const uint64_t key = uint64_t{left} << 32 | right;
    for (size_t slot = hash(key);; slot = (slot + 1) & mask_) {
      if (slots_[slot].key == key) return slots_[slot].merge;
      if (slots_[slot].key == kEmpty) return {};
    }
  }

 private:
  static constexpr uint64_t kEmpty = UINT64_MAX;
  struct Slot {
    uint64_t key = kEmpty;
    Merge merge;
  };
  size_t hash(uint64_t key) const {
    return static_cast<size_t>((key ^ key >> 29) * 0x9e3779b97f4a7c15u >> shift_);
  }
  std::vector<Slot> slots_ = std::vector<Slot>(2);
  uint64_t mask_ = 1;
  int shift_ = 63;
};

class Bpe {
 public:
  struct Pair {
    std::string_view left;
    std::string_view right;
  };
  static Result<Bpe> create(Vocabulary vocabulary, const std::vector<Pair>& merges,
                            BpeOptions options);

  const Vocabulary& vocabulary() const { return vocabulary_; }

 private:
  friend class BpeEncoder;
  Bpe() = default;
  Status add_merges(const std::vector<Pair>& merges);
  void find_borders(const std::vector<bool>& is_result);

  // Whether some merge could join these neighbouring characters.
  bool may_join(char32_t left, char32_t right) const {
    const uint64_t hash = border_hash(left, right);
    return (joins_[hash / 64] >> (hash % 64) & 1) != 0;
  }
  uint64_t border_hash(char32_t left, char32_t right) const {
    return (uint64_t{left} << 32 | right) * 0x9e3779b97f4a7c15u >> join_shift_;
  }

  Vocabulary vocabulary_;
  BpeOptions options_;
  MergeTable merges_;
  uint32_t unk_id_ = kNoId;
  std::array<uint32_t, 256> byte_ids_{};      // of the byte alphabet's characters
  std::array<uint32_t, 256> fallback_ids_{};  // of <0x00>…
  bool all_bytes_ = false;                    // byte_ids_ has no hole
  bool has_affixes_ = false;
  // A hash set of the character pairs that stand side by side in a token; empty when pieces are
  // not to be cut.
  std::vector<uint64_t> joins_;
  int join_shift_ = 0;
};

// Turns the pieces of one call into ids. Words seen before in the call are copied.
class BpeEncoder {
 public:
  BpeEncoder(const Bpe& bpe, size_t text_bytes, std::vector<uint32_t>& out);
  // One pre-token, not empty.
  Status encode(std::string_view piece);

 private:
  struct Known {  // a word of at most kMaxWord bytes and where its ids stand in the output
    static constexpr size_t kMaxWord = 23;
    char text[kMaxWord];
    uint8_t length = 0;
    uint32_t begin = 0;
    uint32_t count = 0;
  };
  struct Link {
    uint32_t previous;
    uint32_t next;
    Merge merge;  // with the next one
  };

  Status encode_known(std::string_view word);  // through the words seen before
  Status encode_new(std::string_view piece);
  Status encode_cut(std::string_view piece);
  bool symbols_of(std::string_view word);
  Status unlikely_symbols_of(std::string_view word);
  void merge_short();
  void merge_long();

  const Bpe& bpe_;
  std::vector<uint32_t>& out_;
  std::vector<Known> known_;  // direct-mapped; a power of two, or empty for short texts
  std::vector<uint32_t> symbols_;
  std::vector<Link> links_;
  std::vector<uint64_t> heap_;
  std::string spelled_;
};

}  // namespace splitd::tok
