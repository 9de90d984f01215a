#include "runtime/decode/drafters/same_vocabulary.h"

#include <algorithm>
#include <string>

#include "runtime/model/tokenizer/tokenizer.h"

namespace splitd {
namespace {

// The token as the file spells it; "nothing" where there is none.
std::string shown(const Tokenizer& tokenizer, uint32_t id) {
  if (id >= tokenizer.n_vocab()) return "nothing";
  const std::optional<std::string_view> token = tokenizer.token_of(id);
  return token.has_value() ? '"' + std::string(*token) + '"' : "nothing";
}

Status compare(const Tokenizer& model, const Tokenizer& draft) {
  const uint32_t n = std::max(model.n_vocab(), draft.n_vocab());
  for (uint32_t id = 0; id < n; ++id) {
    const std::string ours = shown(model, id), theirs = shown(draft, id);
    if (ours == theirs) continue;
    return usage_error("token " + std::to_string(id) + " is " + theirs + " there and " + ours +
                       " here");
  }
  return {};
}

}  // namespace

Status check_same_vocabulary(const ModelFiles& model, const ModelFiles& draft) {
  const std::string what =
      "the draft model " + draft.path() + " has another vocabulary than " + model.path();
  if (model.tokenizer_path().empty() || draft.tokenizer_path().empty()) {
    const uint32_t ours = model.config().n_vocab, theirs = draft.config().n_vocab;
    if (ours == theirs) return {};
    return usage_error(what + ": " + std::to_string(theirs) + " tokens, not " +
                       std::to_string(ours));
  }
  SPLITD_ASSIGN(const Tokenizer tokenizer, Tokenizer::open(model.tokenizer_path()));
  SPLITD_ASSIGN(const Tokenizer draft_tokenizer, Tokenizer::open(draft.tokenizer_path()));
  if (Status status = compare(tokenizer, draft_tokenizer); !status.ok()) {
    return status.take_error().within(what);
  }
  return {};
}

}  // namespace splitd
