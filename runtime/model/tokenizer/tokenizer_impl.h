// Owns: what a Tokenizer is made of, for the files of this room alone.
#pragma once

#include "runtime/model/tokenizer/added_tokens.h"
#include "runtime/model/tokenizer/bpe.h"
#include "runtime/model/tokenizer/decoder.h"
#include "runtime/model/tokenizer/normalizer.h"
#include "runtime/model/tokenizer/post_processor.h"
#include "runtime/model/tokenizer/pre_tokenizer.h"
#include "runtime/model/tokenizer/tokenizer.h"

namespace splitd {

struct Tokenizer::Impl {
  explicit Impl(tok::Bpe model) : bpe(std::move(model)) {}

  // What decoders see of a token; nothing for an id that is not one.
  std::optional<std::string_view> decoded_form(uint32_t id) const {
    if (const tok::AddedToken* token = added.by_id(id)) return token->normalized;
    if (bpe.vocabulary().has(id)) return bpe.vocabulary().text(id);
    return std::nullopt;
  }
  // Whether decoding without special tokens leaves it out. The library compares the decoded form.
  bool is_left_out(uint32_t id) const {
    const tok::AddedToken* token = added.by_id(id);
    return token != nullptr && token->special && token->normalized == token->content;
  }
  uint32_t end_id() const { return std::max(bpe.vocabulary().end_id(), added.end_id()); }

  tok::Bpe bpe;
  tok::AddedTokens added;
  tok::Normalizer normalizer;
  tok::PreTokenizer pre_tokenizer;
  tok::PostProcessor post_processor;
  tok::Decoder decoder;
};

}  // namespace splitd
