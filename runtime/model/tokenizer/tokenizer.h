// Owns: text ↔ token ids, exactly as the model's tokenizer.json (or GGUF metadata) says. Encoding
// is near-linear in the text whatever it holds; bytes that are not UTF-8 are read as U+FFFD.
// A Tokenizer is immutable: const methods are thread-safe and keep no state between calls.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/base/result.h"
#include "runtime/model/marked_text.h"

namespace splitd {

namespace tok {
struct DecodeState;
}

struct EncodeOptions {
  bool add_special = true;   // what the post-processor adds (BOS and the like)
  bool all_literal = false;  // text that spells a special token is plain text, everywhere
  // …or in these ranges of the text (marked_text.h), more strictly: no control token is found that
  // overlaps one. Control tokens are the special ones and those that the model's own vocabulary
  // lacks (DeepSeek's <｜User｜> is not "special"). The ids are those of transformers'
  // sanitize_control_tokens: such text is cut at its borders.
  std::span<const ByteRange> literal = {};
};

class Tokenizer {
 public:
  // The content of a tokenizer.json.
  static Result<Tokenizer> from_json(std::string text);
  // A model directory that holds tokenizer.json, a tokenizer.json itself, or a .gguf file.
  static Result<Tokenizer> open(const std::string& path);

  Tokenizer(Tokenizer&&) noexcept;
  Tokenizer& operator=(Tokenizer&&) noexcept;
  ~Tokenizer();

  [[nodiscard]] Result<std::vector<uint32_t>> encode(std::string_view text,
                                                     const EncodeOptions& options = {}) const;
  // What encode() puts before a text by default: BOS, or nothing.
  std::vector<uint32_t> text_begin() const;
  // As the reference decodes: bytes that do not form UTF-8 become U+FFFD. An id outside the
  // vocabulary is an error.
  [[nodiscard]] Result<std::string> decode(std::span<const uint32_t> ids,
                                           bool keep_special = true) const;

  uint32_t n_vocab() const;  // one more than the largest id
  std::optional<uint32_t> id_of(std::string_view token) const;
  std::optional<std::string_view> token_of(uint32_t id) const;  // as the file spells it
  bool is_special(uint32_t id) const;

  struct Impl;
  const Impl& impl() const { return *impl_; }

 private:
  friend class StreamDecoder;
  static Result<Tokenizer> from_json_view(std::string_view text);
  explicit Tokenizer(std::unique_ptr<const Impl> impl);
  std::unique_ptr<const Impl> impl_;
};

// Text as it becomes known, one id at a time: an incomplete character is held back until it is
// whole. The pieces joined equal decode() of all ids wherever that is valid text. The tokenizer
// must outlive it.
class StreamDecoder {
 public:
  explicit StreamDecoder(const Tokenizer& tokenizer, bool keep_special = true);
  StreamDecoder(StreamDecoder&&) noexcept;
  StreamDecoder& operator=(StreamDecoder&&) noexcept;
  ~StreamDecoder();
  [[nodiscard]] Result<std::string> push(uint32_t id);  // may be empty
  // Appends it to `text`: without a memory of its own for each token.
  [[nodiscard]] Status push(uint32_t id, std::string& text);
  [[nodiscard]] std::string finish();  // what was held back, replaced if invalid

 private:
  const Tokenizer* tokenizer_;
  bool keep_special_;
  std::unique_ptr<tok::DecodeState> state_;  // of the size of what is held back
};

}  // namespace splitd
