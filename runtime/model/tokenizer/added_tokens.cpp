#include "runtime/model/tokenizer/added_tokens.h"

#include <algorithm>

#include "runtime/base/utf8.h"
#include "runtime/model/tokenizer/json_fields.h"
#include "runtime/model/tokenizer/valid_utf8.h"

namespace splitd::tok {
namespace {

Result<AddedToken> parse_token(Json json) {
  AddedToken token;
  SPLITD_ASSIGN(token.content, string_field(json, "content"));
  const std::optional<Json> id = json.find("id");
  const std::optional<uint64_t> number = id ? id->to_u64() : std::nullopt;
  if (!number || *number > UINT32_MAX) return bad_field("id", id, "an unsigned 32-bit number");
  token.id = static_cast<uint32_t>(*number);
  SPLITD_ASSIGN(token.single_word, bool_field(json, "single_word"));
  SPLITD_ASSIGN(token.lstrip, bool_field(json, "lstrip"));
  SPLITD_ASSIGN(token.rstrip, bool_field(json, "rstrip"));
  SPLITD_ASSIGN(token.is_normalized, bool_field(json, "normalized"));
  SPLITD_ASSIGN(token.special, bool_field(json, "special"));
  if (token.content.size() > kMaxAddedTokenBytes) {
    return model_error("\"content\" has " + std::to_string(token.content.size()) +
                       " bytes; at most " + std::to_string(kMaxAddedTokenBytes) + " are accepted");
  }
  return token;
}

bool same_but_id(const AddedToken& a, const AddedToken& b) {
  return a.content == b.content && a.single_word == b.single_word && a.lstrip == b.lstrip &&
         a.rstrip == b.rstrip && a.is_normalized == b.is_normalized && a.special == b.special;
}

}  // namespace

bool AddedTokens::Trie::add(std::string_view text, uint32_t token) {
  uint32_t node = 0;
  for (const char c : text) {
    const auto byte = static_cast<uint8_t>(c);
    auto& edges = nodes_[node].edges;
    const auto edge =
        std::find_if(edges.begin(), edges.end(), [byte](const Edge& e) { return e.byte == byte; });
    if (edge != edges.end()) {
      node = edge->node;
      continue;
    }
    const auto made = static_cast<uint32_t>(nodes_.size());
    edges.push_back({byte, made});
    nodes_.emplace_back();
    node = made;
  }
  if (nodes_[node].token != kNoId) return false;
  nodes_[node].token = token;
  return true;
}

void AddedTokens::Trie::finish() {
  for (Node& node : nodes_) {
    std::sort(node.edges.begin(), node.edges.end(),
              [](const Edge& a, const Edge& b) { return a.byte < b.byte; });
  }
  for (const Edge& edge : nodes_[0].edges) starts_[edge.byte] = true;
}

std::pair<uint32_t, size_t> AddedTokens::Trie::longest(std::string_view text, size_t at) const {
  std::pair<uint32_t, size_t> found = {kNoId, at};
  uint32_t node = 0;
  while (at < text.size()) {
    const auto byte = static_cast<uint8_t>(text[at]);
    const auto& edges = nodes_[node].edges;
    const auto edge = std::lower_bound(edges.begin(), edges.end(), byte,
                                       [](const Edge& e, uint8_t b) { return e.byte < b; });
    if (edge == edges.end() || edge->byte != byte) break;
    node = edge->node;
    ++at;
    if (nodes_[node].token != kNoId) found = {nodes_[node].token, at};
  }
  return found;
}

const AddedToken* AddedTokens::by_id(uint32_t id) const {
  const auto at = by_id_.find(id);
  return at == by_id_.end() ? nullptr : &tokens_[at->second];
}

const AddedToken* AddedTokens::by_content(std::string_view content) const {
  const auto at = by_content_.find(std::string(content));
  return at == by_content_.end() ? nullptr : &tokens_[at->second];
}

// The id in the file is not what counts: a token of the model's vocabulary keeps that id, others
// get the next free one after it, in the file's order.
Status AddedTokens::add(AddedToken token, const Vocabulary& vocabulary, uint32_t& next_id) {
  if (token.content.empty()) return {};
  const AddedToken* const known = by_content(token.content);
  if (known != nullptr && same_but_id(*known, token)) return {};
  const uint32_t in_model = vocabulary.find(token.content);
  token.id = known != nullptr ? known->id : in_model != kNoId ? in_model : next_id++;
  if (token.id > kMaxTokenId) return model_error("more tokens than ids");
  const bool is_blank = std::all_of(token.content.begin(), token.content.end(),
                                    [](char c) { return c == ' ' || (c >= '\t' && c <= '\r'); });
  // Once special, a content stays special.
  token.special = token.special || (known != nullptr && known->special);
  token.control = token.special || (in_model == kNoId && !is_blank);
  end_id_ = std::max(end_id_, token.id + 1);
  if (known != nullptr) {
    tokens_[by_id_[token.id]] = std::move(token);
    return {};
  }
  const auto index = static_cast<uint32_t>(tokens_.size());
  by_content_[token.content] = index;
  by_id_[token.id] = index;
  tokens_.push_back(std::move(token));
  return {};
}

Status AddedTokens::parse(std::optional<Json> json, const Vocabulary& vocabulary,
                          const Normalizer& normalizer) {
  space_ = ClassTable::of(white_space());
  word_ = ClassTable::of(rust_word());
  if (!json || json->is_null()) return {};
  if (!json->is_array()) return bad_field("added_tokens", json, "an array");
  if (json->size() > kMaxAddedTokens) {
    return model_error("\"added_tokens\" has " + std::to_string(json->size()) +
                       " entries; at most " + std::to_string(kMaxAddedTokens) + " are accepted");
  }
  auto next_id = static_cast<uint32_t>(vocabulary.size());
  size_t index = 0;
  for (const Json item : json->elements()) {
    const std::string where = "added_tokens[" + std::to_string(index++) + "]";
    Result<AddedToken> token = parse_token(item);
    if (!token) return token.take_error().within(where);
    Status status = add(std::move(*token), vocabulary, next_id);
    if (!status.ok()) return status.take_error().within(where);
  }
  RegexScratch scratch;
  size_t bytes = 0;
  for (uint32_t i = 0; i < tokens_.size(); ++i) {
    AddedToken& token = tokens_[i];
    if (by_id_[token.id] != i) continue;  // a later token took its id
    token.normalized = token.content;
    if (token.is_normalized) {
      NormalText text{token.content, {}, true, false};
      SPLITD_TRY(normalize(normalizer, text, scratch));
      token.normalized = std::move(text.text);
    }
    bytes += token.normalized.size();
    if (bytes > kMaxAddedBytes) {
      return model_error("\"added_tokens\" has more than " + std::to_string(kMaxAddedBytes) +
                         " bytes of text");
    }
    Trie& trie = token.is_normalized ? normalized_ : raw_;
    if (token.normalized.empty() || !trie.add(token.normalized, i)) {
      std::string quoted;
      json_append_string(quoted, token.content);
      return model_error("added token " + quoted + " normalises to " +
                         (token.normalized.empty() ? "nothing" : "the same text as another"));
    }
  }
  raw_.finish();
  normalized_.finish();
  return {};
}

bool AddedTokens::blocked(const AddedToken& token, std::string_view literal, LiteralMode mode,
                          size_t begin, size_t end) const {
  switch (mode) {
    case LiteralMode::none:
      return false;
    case LiteralMode::all:
      return token.special;
    case LiteralMode::marked:
      return token.control && !literal.empty() &&
             literal.substr(begin, end - begin).find('\1') != std::string_view::npos;
  }
  return false;
}

bool AddedTokens::stands_alone(std::string_view text, size_t begin, size_t end) const {
  const auto is_word = [&](size_t at) {
    return word_[valid_character(text.data() + at).code_point] != 0;
  };
  return (begin == 0 || !is_word(valid_character_before(text, begin))) &&
         (end == text.size() || !is_word(end));
}

void AddedTokens::find(std::string_view text, std::string_view literal, LiteralMode mode,
                       bool in_normalized, std::vector<TextPart>& parts) const {
  const Trie& trie = in_normalized ? normalized_ : raw_;
  const auto is_space = [&](size_t at) {
    return space_[valid_character(text.data() + at).code_point] != 0;
  };
  size_t done = 0;  // the text before this is in `parts`
  bool continued = false;
  const auto put_text = [&](size_t end) {
    if (done < end) parts.push_back({done, end, kNoId, continued});
  };
  size_t at = trie.empty() ? text.size() : 0;
  while ((at = trie.next_start(text, at)) < text.size()) {
    const auto [index, found_end] = trie.longest(text, at);
    if (index == kNoId) {
      ++at;
      continue;
    }
    const AddedToken& token = tokens_[index];
    size_t begin = at;
    size_t end = found_end;
    at = end;
    if (blocked(token, literal, mode, begin, end)) {
      if (mode == LiteralMode::all) continue;
      if (literal.substr(begin, end - begin).find('\0') != std::string_view::npos) {
        at = begin + 1;  // partly literal: what is not may hold a token of its own
        continue;
      }
      // Its text stands by itself, so that nothing joins across its borders either.
      put_text(begin);
      done = begin;
      continued = true;
      put_text(end);
      done = end;
      continue;
    }
    if (token.single_word && !stands_alone(text, begin, end)) continue;
    if (token.lstrip) {
      while (begin > done) {
        const size_t before = valid_character_before(text, begin);
        if (!is_space(before)) break;
        begin = before;
      }
      begin = std::max(begin, done);
    }
    if (token.rstrip) {
      while (end < text.size() && is_space(end)) end += valid_character(text.data() + end).length;
    }
    put_text(begin);
    parts.push_back({begin, end, token.id, false});
    done = end;
    continued = false;
  }
  put_text(text.size());
}

}  // namespace splitd::tok
