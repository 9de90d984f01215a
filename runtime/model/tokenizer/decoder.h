// Owns: the decoders of tokenizer.json: token texts → text. Each step takes tokens one at a time
// and passes on what is settled, so that decoding a stream and decoding at once are one code.
// Refuses by name what is not supported. Immutable, thread-safe; DecodeState serves one stream.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/base/json.h"
#include "runtime/base/result.h"
#include "runtime/model/tokenizer/split_regex.h"

namespace splitd::tok {

// Token texts on their way from step to step; their memory is kept for the next ones.
class TokenTexts {
 public:
  std::string& add() {
    if (n_text_ == texts_.size()) texts_.emplace_back();
    std::string& text = texts_[n_text_++];
    text.clear();
    return text;
  }
  void clear() { n_text_ = 0; }
  std::span<std::string> all() { return std::span(texts_).first(n_text_); }

 private:
  std::vector<std::string> texts_;
  size_t n_text_ = 0;
};

// What one step remembers between tokens.
struct DecodeStepState {
  std::string held;   // text or bytes not passed on yet
  size_t count = 0;   // tokens seen, or characters stripped
  bool done = false;  // the start of the text is over
  std::unique_ptr<RegexScratch> scratch;
  std::vector<Match> matches = {};  // scratch
};

struct DecodeState {
  std::vector<DecodeStepState> steps;
  // Text is wanted as soon as it is whole. Otherwise a run of byte tokens is judged at its end, as
  // one: with an invalid byte anywhere, all of it becomes replacement characters.
  bool eager = false;
  bool any = false;        // a token has been seen
  TokenTexts texts, next;  // scratch
};

class DecoderStep {
 public:
  virtual ~DecoderStep() = default;
  // May take the token's memory.
  virtual void push(std::string& token, DecodeStepState& state, bool eager,
                    TokenTexts& out) const = 0;
  virtual void finish(DecodeStepState&, TokenTexts&) const {}
};

class Decoder {
 public:
  // The value of "decoder": an object or null.
  static Result<Decoder> parse(std::optional<Json> json);

  DecodeState start(bool eager) const;
  // Appends the text that the token settles.
  void push(DecodeState& state, std::string_view token, std::string& out) const;
  // The last token was seen: appends what was held back.
  void finish(DecodeState& state, std::string& out) const;

 private:
  void run(DecodeState& state, size_t first, std::string& out) const;

  std::vector<std::unique_ptr<const DecoderStep>> steps_;
  bool joins_with_space_ = false;  // there is no decoder
};

}  // namespace splitd::tok
