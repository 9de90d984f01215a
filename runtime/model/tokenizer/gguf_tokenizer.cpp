#include "runtime/model/tokenizer/gguf_tokenizer.h"

#include <algorithm>
#include <cmath>
#include <deque>
#include <optional>
#include <vector>

#include "runtime/base/json.h"
#include "runtime/base/utf8.h"
#include "runtime/model/tokenizer/vocabulary.h"

namespace splitd {
namespace {

constexpr std::string_view kPrefix = "tokenizer.ggml.";
constexpr size_t kMaxTokens = size_t{1} << 22;

// The numbers are the format's.
enum TokenType : int64_t {
  kNormal = 1,
  kUnknown = 2,
  kControl = 3,
  kUserDefined = 4,
  kUnused = 5,
  kByte = 6,
};

std::string key_of(std::string_view name) {
  return std::string(kPrefix) + std::string(name);
}

// The pre-tokenizers, normalizers and habits that a name in `tokenizer.ggml.pre` stands for.
struct SplitKind {
  std::string_view names;     // separated by spaces
  std::string_view steps;     // of a Sequence, before the final ByteLevel
  bool gpt2_pattern = false;  // ByteLevel splits by its own pattern
  bool nfc = false;
  bool ignore_merges = false;
  bool add_bos = false;  // where the file does not say
};

#define SPLIT(pattern) \
  R"({"type":"Split","pattern":{"Regex":")" pattern R"("},"behavior":"Isolated","invert":false})"
#define DIGITS R"({"type":"Digits","individual_digits":true})"
// What nearly all patterns end with, and the contractions that many begin with.
#define WORD_END R"(| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+)"
#define WORD_END_SLASH R"(| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+)"
#define CONTRACTIONS R"((?i:'s|'t|'re|'ve|'m|'ll|'d))"
#define UPPER R"([\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}])"
#define LOWER R"([\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}])"
#define OTHER R"([^\\r\\n\\p{L}\\p{N}]?)"

constexpr SplitKind kSplitKinds[] = {
    {.names = "gpt-2 phi-2", .steps = "", .gpt2_pattern = true},
    {.names = "smollm starcoder refact", .steps = DIGITS, .gpt2_pattern = true},
    {.names = "command-r", .steps = DIGITS, .gpt2_pattern = true, .nfc = true},
    {.names = "llama-bpe llama3 llama-v3 falcon3 pixtral",
     .steps = SPLIT(CONTRACTIONS "|" OTHER R"(\\p{L}+|\\p{N}{1,3})" WORD_END),
     .ignore_merges = true,
     .add_bos = true},
    // As Llama's, for vocabularies that are split and merged all the way: Phi-4, Smaug.
    {.names = "dbrx smaug-bpe",
     .steps = SPLIT(CONTRACTIONS "|" OTHER R"(\\p{L}+|\\p{N}{1,3})" WORD_END)},
    {.names = "qwen2 deepseek-r1-qwen megrez",
     .steps = SPLIT(CONTRACTIONS "|" OTHER R"(\\p{L}+|\\p{N})" WORD_END),
     .nfc = true},
    {.names = "qwen35",
     .steps = SPLIT(CONTRACTIONS "|" OTHER R"([\\p{L}\\p{M}]+|\\p{N}| ?[^\\s\\p{L}\\p{M}\\p{N}]+)"
                                 R"([\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+)"),
     .nfc = true},
    {.names = "seed-coder",
     .steps = SPLIT(CONTRACTIONS "|" OTHER R"(\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}\r\n]+)"
                                 R"(|\\s*[\r\n]+|\\s+(?!\\S)|\\s+)")},
    {.names = "tekken",
     .steps = SPLIT(OTHER UPPER "*" LOWER "+|" OTHER UPPER "+" LOWER R"(*|\\p{N})" WORD_END_SLASH),
     .ignore_merges = true,
     .add_bos = true},
    {.names = "gpt-4o llama4",
     .steps = SPLIT(OTHER UPPER "*" LOWER "+" CONTRACTIONS "?|" OTHER UPPER "+" LOWER
                                "*" CONTRACTIONS R"(?|\\p{N}{1,3})" WORD_END_SLASH)},
    {.names = "deepseek-v3",
     .steps = SPLIT(R"(\\p{N}{1,3})") "," SPLIT("[一-龥぀-ゟ゠-ヿ]+") "," SPLIT(
         R"([!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|)"
         R"([^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\r\n]*|)"
         R"(\\s*[\r\n]+|\\s+(?!\\S)|\\s+)")},
    {.names = "deepseek-coder",
     .steps = SPLIT(R"([\r\n])") "," SPLIT(R"(\\s?\\p{L}+)") "," SPLIT(R"(\\s?\\p{P}+)") "," SPLIT(
         "[一-龥ࠀ-一가-퟿]+") "," DIGITS},
};

#undef SPLIT
#undef DIGITS
#undef WORD_END
#undef WORD_END_SLASH
#undef CONTRACTIONS
#undef UPPER
#undef LOWER
#undef OTHER

const SplitKind* find_kind(std::string_view pre) {
  for (const SplitKind& kind : kSplitKinds) {
    std::string_view names = kind.names;
    while (!names.empty()) {
      const size_t end = std::min(names.find(' '), names.size());
      if (names.substr(0, end) == pre) return &kind;
      names.remove_prefix(std::min(end + 1, names.size()));
    }
  }
  return nullptr;
}

class Converter {
 public:
  explicit Converter(const Gguf& gguf) : gguf_(gguf) {}
  Result<std::string> run();

 private:
  Status read_tokens();
  void restore_blanks();
  Status write_byte_level(std::string_view pre);
  Status write_scored();
  void write_added_tokens();
  void write_post_processor(bool bos_by_default);
  Status write_scored_merges();
  bool is_added(size_t id) const {
    return types_[id] == kControl || types_[id] == kUserDefined || types_[id] == kUnknown;
  }
  std::optional<bool> flag(std::string_view name) const {
    const std::optional<GgufValue> value = gguf_.find(key_of(name));
    return value ? value->to_bool() : std::nullopt;
  }
  std::optional<size_t> token_id(std::string_view name) const {
    const std::optional<GgufValue> value = gguf_.find(key_of(name));
    const std::optional<uint64_t> id = value ? value->to_u64() : std::nullopt;
    if (!id || *id >= tokens_.size()) return std::nullopt;
    return static_cast<size_t>(*id);
  }

  const Gguf& gguf_;
  std::vector<std::string_view> tokens_;
  std::deque<std::string> rewritten_;  // what of tokens_ is not as the file has it
  std::vector<int64_t> types_;
  size_t n_model_ = 0;  // tokens from here on are added ones that the model does not know
  JsonWriter out_;
};

Status Converter::read_tokens() {
  SPLITD_ASSIGN(tokens_, gguf_.strings(key_of("tokens")));
  if (tokens_.empty() || tokens_.size() > kMaxTokens) {
    return model_error(key_of("tokens") + " has " + std::to_string(tokens_.size()) +
                       " entries; 1 to " + std::to_string(kMaxTokens) + " are accepted");
  }
  types_.assign(tokens_.size(), kNormal);
  if (gguf_.find(key_of("token_type"))) {
    SPLITD_ASSIGN(types_, gguf_.i64s(key_of("token_type")));
  }
  if (types_.size() != tokens_.size()) {
    return model_error(key_of("token_type") + " has " + std::to_string(types_.size()) +
                       " entries for " + std::to_string(tokens_.size()) + " tokens");
  }
  for (size_t id = 0; id < tokens_.size(); ++id) {
    if (!utf8_is_valid(tokens_[id])) {
      return model_error(key_of("tokens") + "[" + std::to_string(id) + "] is not UTF-8");
    }
  }
  // Writers fill a vocabulary up to the size of the embedding; the original has no such tokens.
  while (tokens_.size() > 1 && types_.back() == kUnused && tokens_.back().starts_with("[PAD")) {
    tokens_.pop_back();
    types_.pop_back();
  }
  n_model_ = tokens_.size();
  while (n_model_ > 0 && is_added(n_model_ - 1)) --n_model_;
  return {};
}

// A user-defined piece of blanks ("▁▁" of Gemma) is written as spaces, which is what it matches in
// a text. SentencePiece knows it by its own name, and makes it of normalised text too.
void Converter::restore_blanks() {
  for (size_t id = 0; id < tokens_.size(); ++id) {
    if (types_[id] != kUserDefined || tokens_[id].empty()) continue;
    if (tokens_[id].find_first_not_of(' ') != std::string_view::npos) continue;
    std::string& name = rewritten_.emplace_back();
    for (size_t i = 0; i < tokens_[id].size(); ++i) name += "▁";
    tokens_[id] = name;
  }
}

void Converter::write_added_tokens() {
  // Phi-3's template tokens eat the white space that follows; the format has no word for that.
  const std::optional<GgufValue> family = gguf_.find("general.architecture");
  const std::optional<GgufValue> model = gguf_.find(key_of("model"));
  const bool is_phi3 = family && family->to_string() == "phi3" && model->to_string() == "llama";
  out_.key("added_tokens").begin_array();
  for (size_t id = 0; id < tokens_.size(); ++id) {
    if (!is_added(id) || tokens_[id].empty()) continue;
    const std::string_view text = tokens_[id];
    const bool rstrip = is_phi3 && text != "<unk>" && text != "<s>" && text != "<|endoftext|>";
    out_.begin_object()
        .field("id", uint64_t{id})
        .field("content", text)
        .field("single_word", false)
        .field("lstrip", false)
        .field("rstrip", rstrip)
        .field("normalized", false)
        .field("special", types_[id] != kUserDefined)
        .end_object();
  }
  out_.end_array();
}

void Converter::write_post_processor(bool bos_by_default) {
  const std::optional<size_t> bos = token_id("bos_token_id");
  const std::optional<size_t> eos = token_id("eos_token_id");
  const bool first = bos && flag("add_bos_token").value_or(bos_by_default);
  const bool last = eos && flag("add_eos_token").value_or(false);
  const auto special = [this](size_t id) {
    out_.begin_object().key("SpecialToken").begin_object();
    out_.field("id", tokens_[id]).field("type_id", 0).end_object().end_object();
  };
  const auto definition = [this](size_t id) {
    out_.key(tokens_[id]).begin_object().field("id", tokens_[id]);
    out_.key("ids").begin_array().number(uint64_t{id}).end_array();
    out_.key("tokens").begin_array().string(tokens_[id]).end_array().end_object();
  };
  const auto sequence = [this](std::string_view name, int type) {
    out_.begin_object().key("Sequence").begin_object();
    out_.field("id", name).field("type_id", type).end_object().end_object();
  };
  out_.key("post_processor").begin_object().field("type", "TemplateProcessing");
  for (const bool is_pair : {false, true}) {
    out_.key(is_pair ? "pair" : "single").begin_array();
    if (first) special(*bos);
    sequence("A", 0);
    if (last) special(*eos);
    if (is_pair) {
      if (first) special(*bos);
      sequence("B", 1);
      if (last) special(*eos);
    }
    out_.end_array();
  }
  out_.key("special_tokens").begin_object();
  if (first) definition(*bos);
  if (last && (!first || tokens_[*eos] != tokens_[*bos])) definition(*eos);
  out_.end_object().end_object();
}

Status Converter::write_byte_level(std::string_view pre) {
  const SplitKind* const kind = find_kind(pre);
  if (kind == nullptr) {
    std::string names;
    for (const SplitKind& known : kSplitKinds) names += " " + std::string(known.names);
    std::string quoted;
    json_append_string(quoted, utf8_replace_invalid(pre.substr(0, 100)));
    return model_error(key_of("pre") + " is " + (pre.empty() ? "missing" : quoted) +
                       "; supported are" + names);
  }
  SPLITD_ASSIGN(const std::vector<std::string_view> merges, gguf_.strings(key_of("merges")));
  const std::string byte_level =
      std::string(R"({"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,)") +
      R"("use_regex":)" + (kind->gpt2_pattern ? "true}" : "false}");
  out_.key("normalizer").raw(kind->nfc ? R"({"type":"NFC"})" : "null");
  out_.key("pre_tokenizer")
      .raw(R"({"type":"Sequence","pretokenizers":[)" + std::string(kind->steps) +
           (kind->steps.empty() ? "" : ",") + byte_level + "]}");
  write_post_processor(kind->add_bos);
  out_.key("decoder").raw(byte_level);
  out_.key("model").begin_object().field("type", "BPE").key("dropout").null();
  out_.key("unk_token").null().key("continuing_subword_prefix").null();
  out_.key("end_of_word_suffix").null().field("fuse_unk", false).field("byte_fallback", false);
  out_.field("ignore_merges", kind->ignore_merges);
  out_.key("vocab").begin_object();
  for (size_t id = 0; id < n_model_; ++id) out_.key(tokens_[id]).number(uint64_t{id});
  out_.end_object().key("merges").begin_array();
  for (const std::string_view merge : merges) {
    if (!utf8_is_valid(merge)) return model_error(key_of("merges") + " is not UTF-8");
    out_.string(merge);
  }
  out_.end_array().end_object();
  return {};
}

// SentencePiece merges whatever pair makes the best-scored token. As merges with ranks: every way
// to make a token of two others, by falling score; between ways of equal score the longer left part
// goes first, then the longer right, which is how Hugging Face's converter orders them.
Status Converter::write_scored_merges() {
  SPLITD_ASSIGN(const std::vector<float> scores, gguf_.f32s(key_of("scores")));
  if (scores.size() < tokens_.size()) {
    return model_error(key_of("scores") + " has " + std::to_string(scores.size()) +
                       " entries for " + std::to_string(tokens_.size()) + " tokens");
  }
  size_t bytes = 0;
  for (const std::string_view token : tokens_) bytes += token.size();
  tok::Vocabulary vocabulary;
  vocabulary.reserve(n_model_, bytes);
  for (size_t id = 0; id < n_model_; ++id) {
    SPLITD_TRY(vocabulary.add(tokens_[id], static_cast<uint32_t>(id)));
  }
  SPLITD_TRY(vocabulary.finish());
  struct Way {
    bool user_defined;  // before all scores: such pieces are found before any merging
    float score;
    uint32_t left_characters;
    uint32_t right_characters;
    uint32_t left;
    uint32_t right;
  };
  std::vector<Way> ways;
  for (size_t id = 0; id < n_model_; ++id) {
    const std::string_view token = tokens_[id];
    if (!std::isfinite(scores[id])) {
      return model_error(key_of("scores") + "[" + std::to_string(id) + "] is not finite");
    }
    const size_t first = ways.size();
    const auto length = static_cast<uint32_t>(utf8_length(token));
    uint32_t characters = 0;
    for (size_t at = 0; at < token.size();) {
      at += utf8_decode(token.substr(at)).length;
      ++characters;
      if (at == token.size()) break;
      const uint32_t left = vocabulary.find(token.substr(0, at));
      const uint32_t right = vocabulary.find(token.substr(at));
      if (left == tok::kNoId || right == tok::kNoId) continue;
      ways.push_back(
          {types_[id] == kUserDefined, scores[id], characters, length - characters, left, right});
    }
    std::sort(ways.begin() + static_cast<std::ptrdiff_t>(first), ways.end(),
              [](const Way& a, const Way& b) {
                return a.left != b.left ? a.left < b.left : a.right < b.right;
              });
  }
  std::stable_sort(ways.begin(), ways.end(), [](const Way& a, const Way& b) {
    if (a.user_defined != b.user_defined) return a.user_defined;
    if (a.score != b.score) return a.score > b.score;
    if (a.left_characters != b.left_characters) return a.left_characters > b.left_characters;
    return a.right_characters > b.right_characters;
  });
  out_.key("merges").begin_array();
  for (const Way& way : ways) {
    out_.begin_array().string(tokens_[way.left]).string(tokens_[way.right]).end_array();
  }
  out_.end_array();
  return {};
}

Status Converter::write_scored() {
  for (const std::string_view name : {"precompiled_charsmap", "remove_extra_whitespaces"}) {
    const std::optional<GgufValue> value = gguf_.find(key_of(name));
    const bool is_off =
        !value || value->to_bool() == false || (value->is_array() && value->size() == 0);
    if (!is_off) {
      return model_error(key_of(name) + " is set: a SentencePiece normalizer is not supported");
    }
  }
  constexpr std::string_view kSpaces =
      R"({"type":"Replace","pattern":{"String":" "},"content":"▁"})";
  constexpr std::string_view kDecoders =
      R"({"type":"Replace","pattern":{"String":"▁"},"content":" "},)"
      R"({"type":"ByteFallback"},{"type":"Fuse"})";
  const bool has_prefix = flag("add_space_prefix").value_or(true);
  const bool has_bytes = std::find(types_.begin(), types_.end(), kByte) != types_.end();
  out_.key("normalizer").begin_object().field("type", "Sequence").key("normalizers").begin_array();
  if (has_prefix) out_.raw(R"({"type":"Prepend","prepend":"▁"})");
  out_.raw(kSpaces).end_array().end_object();
  out_.key("pre_tokenizer").null();
  write_post_processor(true);
  out_.key("decoder").begin_object().field("type", "Sequence").key("decoders").begin_array();
  out_.raw(kDecoders);
  if (has_prefix) out_.raw(R"({"type":"Strip","content":" ","start":1,"stop":0})");
  out_.end_array().end_object();
  const std::optional<size_t> unknown = token_id("unknown_token_id");
  out_.key("model").begin_object().field("type", "BPE").key("dropout").null().key("unk_token");
  if (unknown && *unknown < n_model_) {
    out_.string(tokens_[*unknown]);
  } else {
    out_.null();
  }
  out_.field("fuse_unk", true).field("byte_fallback", has_bytes).field("ignore_merges", false);
  out_.key("vocab").begin_object();
  for (size_t id = 0; id < n_model_; ++id) out_.key(tokens_[id]).number(uint64_t{id});
  out_.end_object();
  SPLITD_TRY(write_scored_merges());
  out_.end_object();
  return {};
}

Result<std::string> Converter::run() {
  SPLITD_ASSIGN(const std::string_view model, gguf_.string(key_of("model")));
  SPLITD_TRY(read_tokens());
  if (model == "llama") restore_blanks();
  out_.begin_object().field("version", "1.0").key("truncation").null().key("padding").null();
  write_added_tokens();
  if (model == "gpt2") {
    const std::optional<GgufValue> pre = gguf_.find(key_of("pre"));
    SPLITD_TRY(write_byte_level(pre ? pre->to_string().value_or("") : ""));
  } else if (model == "llama") {
    SPLITD_TRY(write_scored());
  } else {
    return model_error(key_of("model") + " is " + gguf_.find(key_of("model"))->describe() +
                       "; gpt2 and llama are supported");
  }
  out_.end_object();
  return out_.take();
}

}  // namespace

Result<std::string> tokenizer_json_from_gguf(const Gguf& gguf) {
  return Converter(gguf).run();
}

}  // namespace splitd
