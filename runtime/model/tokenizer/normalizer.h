// Owns: the normalizers of tokenizer.json: text → text, before anything is split. Each carries
// along which bytes are literal (marked_text.h), so that literal ranges survive the change.
// Refuses by name what is not supported. Immutable, thread-safe.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/base/json.h"
#include "runtime/base/result.h"
#include "runtime/model/tokenizer/split_regex.h"

namespace splitd::tok {

struct NormalText {
  std::string text;     // valid UTF-8
  std::string literal;  // empty, or for each byte 1 where it is literal and 0 where not
  // The first character is still the first of the whole original text (Metaspace asks).
  bool at_origin = true;
  // Follows a cut at something literal, in the middle of a text: nothing is put before it.
  bool continued = false;
};

class NormalizerStep {
 public:
  virtual ~NormalizerStep() = default;
  virtual Status apply(NormalText& text, RegexScratch& scratch) const = 0;
};

using Normalizer = std::vector<std::unique_ptr<const NormalizerStep>>;

// All steps in order. A text that they would blow up beyond reason is an error.
Status normalize(const Normalizer& steps, NormalText& text, RegexScratch& scratch);

// The value of "normalizer": an object or null.
Result<Normalizer> parse_normalizer(std::optional<Json> json);

// The four Unicode normal forms (normal_form.cpp).
enum class NormalForm { nfc, nfd, nfkc, nfkd };
std::unique_ptr<const NormalizerStep> make_normal_form(NormalForm form);

}  // namespace splitd::tok
