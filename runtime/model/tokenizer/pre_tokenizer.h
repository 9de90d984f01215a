// Owns: the pre-tokenizers of tokenizer.json: a normalised text → the pieces that the model merges
// within. Pieces are views into the text, or into text that a step made (kept in PreTokens).
// Refuses by name what is not supported. Immutable, thread-safe; PreTokens serves one call.
#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/base/json.h"
#include "runtime/base/result.h"
#include "runtime/model/tokenizer/split_regex.h"

namespace splitd::tok {

struct Piece {
  std::string_view text;  // valid UTF-8, not empty
  bool at_origin;         // as in NormalText
  bool continued;
};

struct PreTokens {
  std::vector<Piece> pieces;
  std::vector<Piece> next;       // what a step builds
  std::vector<Match> matches;    // reused
  std::deque<std::string> made;  // text that steps changed

  void clear() {
    pieces.clear();
    made.clear();
  }
};

class PreTokenizerStep {
 public:
  virtual ~PreTokenizerStep() = default;
  virtual Status apply(PreTokens& tokens, RegexScratch& scratch) const = 0;
};

struct PreTokenizer {
  std::vector<std::unique_ptr<const PreTokenizerStep>> steps;
  // The last step is ByteLevel: the pieces are left as bytes, which the model spells itself.
  bool bytes = false;
};

// The value of "pre_tokenizer": an object or null.
Result<PreTokenizer> parse_pre_tokenizer(std::optional<Json> json);

}  // namespace splitd::tok
