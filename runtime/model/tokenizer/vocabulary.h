// Owns: the model's own tokens, by text and by id, and single characters by code point. Ids may
// have holes; ids and texts are unique. Refuses tables built to make lookups collide.
// Filled by reserve(), add() and finish(), then immutable; const methods are thread-safe.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "runtime/base/result.h"

namespace splitd::tok {

inline constexpr uint32_t kNoId = UINT32_MAX;
inline constexpr uint32_t kMaxTokenId =
    (1u << 22) - 1;  // sixteen times the largest known vocabulary
inline constexpr size_t kMaxTokenBytes = size_t{16} << 10;

uint64_t hash_bytes(std::string_view text);

class Vocabulary {
 public:
  void reserve(size_t count, size_t text_bytes);
  Status add(std::string_view text, uint32_t id);
  Status finish();  // builds the tables that find() reads

  size_t size() const { return count_; }
  uint32_t end_id() const { return static_cast<uint32_t>(spans_.size()); }  // one past the largest

  uint32_t find(std::string_view text) const { return find(text, hash_bytes(text)); }
  uint32_t find(std::string_view text, uint64_t hash) const {
    for (size_t slot = hash & mask_;; slot = (slot + 1) & mask_) {
      const Slot& entry = slots_[slot];
      if (entry.id == kNoId) return kNoId;
      if (entry.tag == static_cast<uint32_t>(hash >> 32) && this->text(entry.id) == text) {
        return entry.id;
      }
    }
  }
  // What find() will read, step by step, so that the misses of many lookups can overlap.
  void prefetch_slot(uint64_t hash) const { __builtin_prefetch(&slots_[hash & mask_]); }
  void prefetch_span(uint64_t hash) const {
    const uint32_t id = slots_[hash & mask_].id;
    if (id != kNoId) __builtin_prefetch(&spans_[id]);
  }
  void prefetch_text(uint64_t hash) const {
    const uint32_t id = slots_[hash & mask_].id;
    if (id != kNoId) __builtin_prefetch(texts_.data() + spans_[id].begin);
  }

  bool has(uint32_t id) const { return id < spans_.size() && spans_[id].begin != kNoId; }
  // Of an id that has() one.
  std::string_view text(uint32_t id) const {
    return {texts_.data() + spans_[id].begin, spans_[id].length};
  }
  // The token that is exactly this character.
  uint32_t find_character(char32_t c) const {
    if (c < basic_characters_.size()) return basic_characters_[c];
    const auto at = other_characters_.find(c);
    return at == other_characters_.end() ? kNoId : at->second;
  }

 private:
  struct Slot {
    uint32_t tag;  // upper half of the hash
    uint32_t id;
  };
  struct Span {
    uint32_t begin;
    uint32_t length;
  };

  Status insert(uint32_t id, uint64_t hash);

  std::string texts_;
  std::vector<Span> spans_;  // by id; begin is kNoId in a hole
  std::vector<Slot> slots_ = std::vector<Slot>(2, {0, kNoId});
  uint64_t mask_ = 1;
  size_t count_ = 0;
  uint32_t last_id_ = 0;                    // the largest that is accepted
  std::vector<uint32_t> basic_characters_;  // U+0000..U+FFFF
  std::unordered_map<char32_t, uint32_t> other_characters_;
};

}  // namespace splitd::tok
