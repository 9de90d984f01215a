// Owns: the added tokens of tokenizer.json: finding them in a text before anything else reads it,
// leftmost and longest first, with their flags (single_word, lstrip, rstrip, normalized, special)
// as the library reads them, and keeping them out of literal text.
// Filled once, then immutable; const methods are thread-safe.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "runtime/base/json.h"
#include "runtime/base/result.h"
#include "runtime/model/tokenizer/code_point_set.h"
#include "runtime/model/tokenizer/normalizer.h"
#include "runtime/model/tokenizer/vocabulary.h"

namespace splitd::tok {

inline constexpr size_t kMaxAddedTokens = size_t{1} << 16;
inline constexpr size_t kMaxAddedTokenBytes = 1024;
inline constexpr size_t kMaxAddedBytes = size_t{1} << 20;  // of all together, normalised

struct AddedToken {
  std::string content;     // as the file spells it
  std::string normalized;  // what is looked for, where the token is `normalized`; else content
  uint32_t id = 0;
  bool single_word = false;
  bool lstrip = false;
  bool rstrip = false;
  bool is_normalized = false;
  bool special = false;
  // Exists only to be written by a template: special, or unknown to the model's own vocabulary and
  // not white space. (Gemma's blank runs and HTML tags are ordinary words to it.)
  bool control = false;
};

// A part of a text: an added token, or (id == kNoId) what lies between.
struct TextPart {
  size_t begin;
  size_t end;
  uint32_t id;
  bool continued;  // follows a cut: see NormalText
};

enum class LiteralMode {
  none,
  all,    // special tokens are not found, as with the library's encode_special_tokens
  marked  // control tokens are not found where they overlap a literal byte
};

class AddedTokens {
 public:
  Status parse(std::optional<Json> json, const Vocabulary& vocabulary,
               const Normalizer& normalizer);

  const AddedToken* by_id(uint32_t id) const;
  const AddedToken* by_content(std::string_view content) const;
  uint32_t end_id() const { return end_id_; }
  bool empty() const { return tokens_.empty(); }
  // Whether tokens of this kind exist at all.
  bool has_raw() const { return !raw_.empty(); }
  bool has_normalized() const { return !normalized_.empty(); }

  // Cuts a text at its tokens: those not `normalized`, then (in normalised text) those that are.
  // `literal` is empty or a mark for each byte. Parts are in order; text parts are not empty.
  void find(std::string_view text, std::string_view literal, LiteralMode mode, bool in_normalized,
            std::vector<TextPart>& parts) const;

 private:
  // A trie over the bytes of the tokens.
  class Trie {
   public:
    bool add(std::string_view text, uint32_t token);  // false when the text is there already
    void finish();
    bool empty() const { return nodes_.size() == 1; }
    size_t next_start(std::string_view text, size_t at) const {
      while (at < text.size() && !starts_[static_cast<uint8_t>(text[at])]) ++at;
      return at;
    }
    // The longest token that begins at `at`: its index and end, or kNoId.
    std::pair<uint32_t, size_t> longest(std::string_view text, size_t at) const;

   private:
    struct Edge {
      uint8_t byte;
      uint32_t node;
    };
    struct Node {
      uint32_t token = kNoId;
      std::vector<Edge> edges;  // ascending once finished
    };
    std::vector<Node> nodes_ = std::vector<Node>(1);
    std::array<bool, 256> starts_{};
  };

  Status add(AddedToken token, const Vocabulary& vocabulary, uint32_t& next_id);
  bool blocked(const AddedToken& token, std::string_view literal, LiteralMode mode, size_t begin,
               size_t end) const;
  bool stands_alone(std::string_view text, size_t begin, size_t end) const;

  std::vector<AddedToken> tokens_;
  std::unordered_map<uint32_t, uint32_t> by_id_;          // → index in tokens_
  std::unordered_map<std::string, uint32_t> by_content_;  // → index
  uint32_t end_id_ = 0;
  Trie raw_;
  Trie normalized_;
  ClassTable space_;
  ClassTable word_;
};

}  // namespace splitd::tok
