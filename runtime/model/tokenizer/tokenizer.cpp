#include "runtime/model/tokenizer/tokenizer.h"

#include <algorithm>

#include "runtime/base/files.h"
#include "runtime/base/mapped_file.h"
#include "runtime/base/utf8.h"
#include "runtime/model/tokenizer/gguf_tokenizer.h"
#include "runtime/model/tokenizer/tokenizer_impl.h"

namespace splitd {
namespace {

constexpr size_t kMaxTextBytes = size_t{1} << 30;

// A 1 for each byte of the text that lies in a range.
Result<std::string> literal_marks(std::string_view text, std::span<const ByteRange> ranges) {
  std::string marks(text.size(), '\0');
  for (const ByteRange& range : ranges) {
    if (range.begin > range.end || range.end > text.size()) {
      return usage_error("literal range " + std::to_string(range.begin) + ".." +
                         std::to_string(range.end) + " in a text of " +
                         std::to_string(text.size()) + " bytes");
    }
    std::fill(marks.begin() + static_cast<std::ptrdiff_t>(range.begin),
              marks.begin() + static_cast<std::ptrdiff_t>(range.end), '\1');
  }
  return marks;
}

// What is not UTF-8 replaced, in the text and its marks alike.
void replace_invalid(std::string_view text, std::string& clean, std::string& marks) {
  std::string clean_marks;
  for (size_t at = 0; at < text.size();) {
    const size_t good = utf8_valid_prefix(text.substr(at));
    clean.append(text.substr(at, good));
    if (!marks.empty()) clean_marks.append(marks, at, good);
    at += good;
    if (at == text.size()) break;
    const size_t bad = utf8_decode(text.substr(at)).length;
    clean.append(kReplacementUtf8);
    if (!marks.empty()) {
      const bool any = std::string_view(marks).substr(at, bad).find('\1') != std::string_view::npos;
      clean_marks.append(kReplacementUtf8.size(), any ? '\1' : '\0');
    }
    at += bad;
  }
  marks = std::move(clean_marks);
}

// One encoding: what its steps share.
class Encoding {
 public:
  Encoding(const Tokenizer::Impl& impl, tok::LiteralMode mode, size_t text_bytes,
           std::vector<uint32_t>& out)
      : impl_(impl), mode_(mode), out_(out), model_(impl.bpe, text_bytes, out) {}

  // The whole text, valid UTF-8. `literal` is empty or a mark for each byte.
  Status run(std::string_view text, std::string_view literal) {
    std::vector<tok::TextPart> parts;
    impl_.added.find(text, literal, mode_, false, parts);
    for (const tok::TextPart& part : parts) {
      if (part.id != tok::kNoId) {
        out_.push_back(part.id);
        continue;
      }
      const size_t length = part.end - part.begin;
      const bool at_origin = part.begin == 0;
      if (impl_.normalizer.empty()) {
        SPLITD_TRY(normalized(text.substr(part.begin, length),
                              literal.empty() ? literal : literal.substr(part.begin, length),
                              at_origin, part.continued));
        continue;
      }
      tok::NormalText piece;
      piece.text = text.substr(part.begin, length);
      if (!literal.empty()) piece.literal = literal.substr(part.begin, length);
      piece.at_origin = at_origin;
      piece.continued = part.continued;
      SPLITD_TRY(tok::normalize(impl_.normalizer, piece, scratch_));
      SPLITD_TRY(normalized(piece.text, piece.literal, piece.at_origin, part.continued));
    }
    return {};
  }

 private:
  // A normalised part between two tokens of the first kind.
  Status normalized(std::string_view text, std::string_view literal, bool at_origin,
                    bool continued) {
    if (text.empty()) return {};
    if (!impl_.added.has_normalized()) return plain({text, at_origin, continued});
    std::vector<tok::TextPart> parts;
    impl_.added.find(text, literal, mode_, true, parts);
    for (const tok::TextPart& part : parts) {
      if (part.id != tok::kNoId) {
        out_.push_back(part.id);
        continue;
      }
      SPLITD_TRY(
          plain({text.substr(part.begin, part.end - part.begin), at_origin && part.begin == 0,
                 part.continued || (continued && part.begin == 0)}));
    }
    return {};
  }

  // A part without tokens: pre-tokens, then the model.
  Status plain(const tok::Piece& piece) {
    tokens_.clear();
    tokens_.pieces.push_back(piece);
    const size_t limit = (size_t{64} << 10) + 32 * piece.text.size();
    for (const auto& step : impl_.pre_tokenizer.steps) {
      SPLITD_TRY(step->apply(tokens_, scratch_));
      size_t bytes = 0;
      for (const tok::Piece& one : tokens_.pieces) bytes += one.text.size();
      if (bytes > limit) return model_error("the pre-tokenizer blows the text up");
    }
    for (const tok::Piece& one : tokens_.pieces) SPLITD_TRY(model_.encode(one.text));
    return {};
  }

  const Tokenizer::Impl& impl_;
  tok::LiteralMode mode_;
  std::vector<uint32_t>& out_;
  tok::BpeEncoder model_;
  tok::RegexScratch scratch_;
  tok::PreTokens tokens_;
};

}  // namespace

Tokenizer::Tokenizer(std::unique_ptr<const Impl> impl) : impl_(std::move(impl)) {}
Tokenizer::Tokenizer(Tokenizer&&) noexcept = default;
Tokenizer& Tokenizer::operator=(Tokenizer&&) noexcept = default;
Tokenizer::~Tokenizer() = default;

Result<Tokenizer> Tokenizer::open(const std::string& path) {
  if (!is_directory(path) && path.ends_with(".gguf")) {
    SPLITD_ASSIGN(const Gguf gguf, Gguf::open(path, FileAccess::read));
    Result<std::string> text = tokenizer_json_from_gguf(gguf);
    if (!text) return text.take_error().within(path);
    Result<Tokenizer> tokenizer = from_json(std::move(*text));
    if (!tokenizer) return tokenizer.take_error().within(path);
    return tokenizer;
  }
  const std::string file = is_directory(path) ? path + "/tokenizer.json" : path;
  SPLITD_ASSIGN(const MappedFile mapped, MappedFile::open(file));
  Result<Tokenizer> tokenizer = from_json_view(mapped.text());
  if (!tokenizer) return tokenizer.take_error().within(file);
  return tokenizer;
}

Result<std::vector<uint32_t>> Tokenizer::encode(std::string_view text,
                                                const EncodeOptions& options) const {
  if (text.size() > kMaxTextBytes) {
    return usage_error("a text of " + std::to_string(text.size()) + " bytes; at most " +
                       std::to_string(kMaxTextBytes) + " are accepted");
  }
  tok::LiteralMode mode = tok::LiteralMode::none;
  std::string marks;
  if (options.all_literal) {
    mode = tok::LiteralMode::all;
  } else if (!options.literal.empty()) {
    mode = tok::LiteralMode::marked;
    SPLITD_ASSIGN(marks, literal_marks(text, options.literal));
  }
  std::string clean;
  if (!utf8_is_valid(text)) {
    replace_invalid(text, clean, marks);
    text = clean;
  }
  std::vector<uint32_t> ids;
  ids.reserve(text.size() / 4 + 8);
  SPLITD_TRY(Encoding(*impl_, mode, text.size(), ids).run(text, marks));
  return impl_->post_processor.apply(std::move(ids), options.add_special);
}

std::vector<uint32_t> Tokenizer::text_begin() const {
  return impl_->post_processor.before();
}

Result<std::string> Tokenizer::decode(std::span<const uint32_t> ids, bool keep_special) const {
  std::string text;
  tok::DecodeState state = impl_->decoder.start(false);
  for (const uint32_t id : ids) {
    const std::optional<std::string_view> token = impl_->decoded_form(id);
    if (!token) return usage_error("token id " + std::to_string(id) + " is not in the vocabulary");
    if (keep_special || !impl_->is_left_out(id)) impl_->decoder.push(state, *token, text);
  }
  impl_->decoder.finish(state, text);
  return text;
}

uint32_t Tokenizer::n_vocab() const {
  return impl_->end_id();
}

std::optional<uint32_t> Tokenizer::id_of(std::string_view token) const {
  if (const tok::AddedToken* added = impl_->added.by_content(token)) return added->id;
  const uint32_t id = impl_->bpe.vocabulary().find(token);
  if (id == tok::kNoId) return std::nullopt;
  return id;
}

std::optional<std::string_view> Tokenizer::token_of(uint32_t id) const {
  if (const tok::AddedToken* added = impl_->added.by_id(id)) return added->content;
  if (impl_->bpe.vocabulary().has(id)) return impl_->bpe.vocabulary().text(id);
  return std::nullopt;
}

bool Tokenizer::is_special(uint32_t id) const {
  const tok::AddedToken* added = impl_->added.by_id(id);
  return added != nullptr && added->special;
}

StreamDecoder::StreamDecoder(const Tokenizer& tokenizer, bool keep_special)
    : tokenizer_(&tokenizer),
      keep_special_(keep_special),
      state_(std::make_unique<tok::DecodeState>(tokenizer.impl_->decoder.start(true))) {}
StreamDecoder::StreamDecoder(StreamDecoder&&) noexcept = default;
StreamDecoder& StreamDecoder::operator=(StreamDecoder&&) noexcept = default;
StreamDecoder::~StreamDecoder() = default;

Status StreamDecoder::push(uint32_t id, std::string& text) {
  const Tokenizer::Impl& impl = *tokenizer_->impl_;
  const std::optional<std::string_view> token = impl.decoded_form(id);
  if (!token) return usage_error("token id " + std::to_string(id) + " is not in the vocabulary");
  if (keep_special_ || !impl.is_left_out(id)) impl.decoder.push(*state_, *token, text);
  return {};
}

Result<std::string> StreamDecoder::push(uint32_t id) {
  std::string text;
  SPLITD_TRY(push(id, text));
  return text;
}

std::string StreamDecoder::finish() {
  std::string text;
  tokenizer_->impl_->decoder.finish(*state_, text);
  return text;
}

}  // namespace splitd
