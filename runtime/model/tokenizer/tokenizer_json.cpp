// Reads a tokenizer.json into a Tokenizer. The file is hostile: sizes are capped, names it uses
// must exist, and what is not supported is refused by name.
#include "runtime/base/json.h"
#include "runtime/model/tokenizer/json_fields.h"
#include "runtime/model/tokenizer/tokenizer_impl.h"

namespace splitd {
namespace {

constexpr size_t kMaxFileBytes = size_t{256} << 20;
constexpr size_t kMaxTokens = size_t{1} << 22;
constexpr size_t kMaxMerges = size_t{1} << 23;

std::string quoted(std::string_view text) {
  std::string out;
  json_append_string(out, text.substr(0, 100));
  return out;
}

Result<tok::Vocabulary> parse_vocabulary(std::optional<Json> json) {
  if (!json || !json->is_object()) return tok::bad_field("vocab", json, "an object");
  if (json->size() > kMaxTokens) {
    return model_error("\"vocab\" has more than " + std::to_string(kMaxTokens) + " tokens");
  }
  size_t count = 0;
  size_t bytes = 0;
  for (const Json::Member member : json->members()) {
    ++count;
    bytes += member.key.size();
  }
  tok::Vocabulary vocabulary;
  vocabulary.reserve(count, bytes);
  for (const Json::Member member : json->members()) {
    const std::optional<uint64_t> id = member.value.to_u64();
    if (!id || *id > UINT32_MAX) {
      return model_error("\"vocab\": token " + quoted(member.key) + " has the id " +
                         member.value.describe() + "; an unsigned 32-bit number is accepted");
    }
    SPLITD_TRY(vocabulary.add(member.key, static_cast<uint32_t>(*id)));
  }
  SPLITD_TRY(vocabulary.finish());
  return vocabulary;
}

// "a b" or ["a", "b"], all of one kind.
Result<std::vector<tok::Bpe::Pair>> parse_merges(std::optional<Json> json) {
  if (!json || !json->is_array()) return tok::bad_field("merges", json, "an array");
  if (json->size() > kMaxMerges) {
    return model_error("\"merges\" has " + std::to_string(json->size()) + " entries; at most " +
                       std::to_string(kMaxMerges) + " are accepted");
  }
  std::vector<tok::Bpe::Pair> merges;
  merges.reserve(json->size());
  const auto bad = [&](Json item) {
    return model_error("merges[" + std::to_string(merges.size()) + "] is " + item.describe() +
                       "; \"left right\" or [\"left\", \"right\"] is accepted");
  };
  for (const Json item : json->elements()) {
    if (item.is_array() && item.size() == 2) {
      auto part = item.elements().begin();
      const Json left = *part;
      const Json right = *++part;
      if (!left.is_string() || !right.is_string()) return bad(item);
      merges.push_back({left.text(), right.text()});
      continue;
    }
    if (!item.is_string()) return bad(item);
    const std::string_view line = item.text();
    if (line.starts_with("#version")) continue;  // a header that old files kept
    const size_t space = line.find(' ');
    if (space == std::string_view::npos || line.find(' ', space + 1) != std::string_view::npos) {
      return bad(item);
    }
    merges.push_back({line.substr(0, space), line.substr(space + 1)});
  }
  return merges;
}

Result<std::string> optional_text(Json json, std::string_view name) {
  const std::optional<Json> value = json.find(name);
  if (!value || value->is_null()) return std::string();
  if (!value->is_string()) return tok::bad_field(name, value, "a string or null");
  return std::string(value->text());
}

Result<bool> optional_flag(Json json, std::string_view name) {
  const std::optional<Json> value = json.find(name);
  if (!value || value->is_null()) return false;
  return tok::bool_field(json, name);
}

Result<tok::Bpe> parse_model(std::optional<Json> json, bool bytes) {
  if (!json || !json->is_object()) return tok::bad_field("model", json, "an object");
  const std::optional<Json> type = json->find("type");
  const bool is_bpe = type ? type->text() == "BPE" : json->find("merges").has_value();
  if (!is_bpe) {
    return model_error("the tokenizer model is " + (type ? type->describe() : "of no known type") +
                       "; BPE is supported");
  }
  const std::optional<Json> dropout = json->find("dropout");
  if (dropout && !dropout->is_null() && dropout->to_f64() != 0.0) {
    return tok::bad_field("dropout", dropout, "null (merging at random is not supported)");
  }
  tok::BpeOptions options;
  SPLITD_ASSIGN(options.unk_token, optional_text(*json, "unk_token"));
  SPLITD_ASSIGN(options.continuing_subword_prefix,
                optional_text(*json, "continuing_subword_prefix"));
  SPLITD_ASSIGN(options.end_of_word_suffix, optional_text(*json, "end_of_word_suffix"));
  SPLITD_ASSIGN(options.fuse_unk, optional_flag(*json, "fuse_unk"));
  SPLITD_ASSIGN(options.byte_fallback, optional_flag(*json, "byte_fallback"));
  SPLITD_ASSIGN(options.ignore_merges, optional_flag(*json, "ignore_merges"));
  if (options.continuing_subword_prefix.size() > tok::kMaxContentBytes ||
      options.end_of_word_suffix.size() > tok::kMaxContentBytes) {
    return model_error("a subword prefix or suffix beyond " +
                       std::to_string(tok::kMaxContentBytes) + " bytes");
  }
  options.bytes = bytes;
  SPLITD_ASSIGN(tok::Vocabulary vocabulary, parse_vocabulary(json->find("vocab")));
  SPLITD_ASSIGN(const std::vector<tok::Bpe::Pair> merges, parse_merges(json->find("merges")));
  return tok::Bpe::create(std::move(vocabulary), merges, std::move(options));
}

// The value, or its error with the member named.
template <class T>
Result<T> named(std::string_view name, Result<T> result) {
  if (!result) return result.take_error().within(name);
  return result;
}

}  // namespace

Result<Tokenizer> Tokenizer::from_json(std::string text) {
  return from_json_view(text);
}

Result<Tokenizer> Tokenizer::from_json_view(std::string_view text) {
  SPLITD_ASSIGN(const JsonDoc doc, JsonDoc::parse_view(text, {.max_bytes = kMaxFileBytes}));
  const Json root = doc.root();
  if (!root.is_object()) {
    return model_error("the tokenizer is " + root.describe() + "; an object is accepted");
  }
  const std::optional<Json> version = root.find("version");
  if (version && version->text() != "1.0") return tok::bad_field("version", version, "\"1.0\"");

  SPLITD_ASSIGN(tok::PreTokenizer pre_tokenizer,
                named("pre_tokenizer", tok::parse_pre_tokenizer(root.find("pre_tokenizer"))));
  SPLITD_ASSIGN(tok::Normalizer normalizer,
                named("normalizer", tok::parse_normalizer(root.find("normalizer"))));
  SPLITD_ASSIGN(tok::Decoder decoder, named("decoder", tok::Decoder::parse(root.find("decoder"))));
  SPLITD_ASSIGN(tok::Bpe bpe, named("model", parse_model(root.find("model"), pre_tokenizer.bytes)));
  auto impl = std::make_unique<Impl>(std::move(bpe));
  SPLITD_TRY(impl->added.parse(root.find("added_tokens"), impl->bpe.vocabulary(), normalizer));
  SPLITD_ASSIGN(impl->post_processor,
                named("post_processor",
                      tok::PostProcessor::parse(root.find("post_processor"), impl->end_id())));
  impl->normalizer = std::move(normalizer);
  impl->pre_tokenizer = std::move(pre_tokenizer);
  impl->decoder = std::move(decoder);
  return Tokenizer(std::move(impl));
}

}  // namespace splitd
