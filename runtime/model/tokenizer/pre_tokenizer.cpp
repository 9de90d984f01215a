#include "runtime/model/tokenizer/pre_tokenizer.h"

#include <algorithm>

#include "runtime/base/utf8.h"
#include "runtime/model/tokenizer/byte_alphabet.h"
#include "runtime/model/tokenizer/code_point_set.h"
#include "runtime/model/tokenizer/json_fields.h"
#include "runtime/model/tokenizer/text_pattern.h"
#include "runtime/model/tokenizer/valid_utf8.h"

namespace splitd::tok {
namespace {

constexpr std::string_view kSupported =
    "Sequence, Split, ByteLevel, Metaspace, Digits, Punctuation, Whitespace, WhitespaceSplit and "
    "CharDelimiterSplit are supported";
constexpr std::string_view kGpt2Pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

enum class Behavior { removed, isolated, merged_with_previous, merged_with_next, contiguous };

struct Span {
  size_t begin;
  size_t end;
  bool is_match;
};

// Collects the parts of one piece.
class PartSink {
 public:
  PartSink(const Piece& whole, std::vector<Piece>& out) : whole_(whole), out_(out) {}
  void operator()(size_t begin, size_t end) {
    if (begin == end) return;
    out_.push_back({whole_.text.substr(begin, end - begin), whole_.at_origin && begin == 0,
                    whole_.continued && begin == 0});
  }

 private:
  const Piece& whole_;
  std::vector<Piece>& out_;
};

// Cuts at the matches as the library's SplitDelimiterBehavior says. `spans` cover the piece.
void split_spans(const std::vector<Span>& spans, Behavior behavior, PartSink sink) {
  std::vector<Span> parts;
  bool previous = false;
  switch (behavior) {
    case Behavior::isolated:
      for (const Span& span : spans) sink(span.begin, span.end);
      return;
    case Behavior::removed:
      for (const Span& span : spans) {
        if (!span.is_match) sink(span.begin, span.end);
      }
      return;
    case Behavior::contiguous:
      for (const Span& span : spans) {
        if (span.is_match == previous && !parts.empty()) {
          parts.back().end = span.end;
        } else {
          parts.push_back(span);
        }
        previous = span.is_match;
      }
      break;
    case Behavior::merged_with_previous:
      for (const Span& span : spans) {
        if (span.is_match && !previous && !parts.empty()) {
          parts.back().end = span.end;
        } else {
          parts.push_back(span);
        }
        previous = span.is_match;
      }
      break;
    case Behavior::merged_with_next:
      for (auto span = spans.rbegin(); span != spans.rend(); ++span) {
        if (span->is_match && !previous && !parts.empty()) {
          parts.back().begin = span->begin;
        } else {
          parts.push_back(*span);
        }
        previous = span->is_match;
      }
      std::reverse(parts.begin(), parts.end());
      break;
  }
  for (const Span& part : parts) sink(part.begin, part.end);
}

void split_matches(const std::vector<Match>& matches, size_t length, Behavior behavior, bool invert,
                   PartSink sink) {
  if (behavior == Behavior::isolated) {
    size_t end = 0;
    for (const Match& match : matches) {
      sink(end, match.begin);
      sink(match.begin, match.end);
      end = match.end;
    }
    sink(end, length);
    return;
  }
  std::vector<Span> spans;
  size_t end = 0;
  for (const Match& match : matches) {
    if (end != match.begin) spans.push_back({end, match.begin, invert});
    spans.push_back({match.begin, match.end, !invert});
    end = match.end;
  }
  if (end != length) spans.push_back({end, length, invert});
  split_spans(spans, behavior, sink);
}

// The base of steps that cut every piece by itself.
class EachPiece : public PreTokenizerStep {
 public:
  Status apply(PreTokens& tokens, RegexScratch& scratch) const final {
    tokens.next.clear();
    for (const Piece& piece : tokens.pieces) SPLITD_TRY(cut(piece, tokens, scratch));
    tokens.pieces.swap(tokens.next);
    return {};
  }

 protected:
  // Appends the parts to tokens.next.
  virtual Status cut(const Piece& piece, PreTokens& tokens, RegexScratch& scratch) const = 0;
};

class SplitStep : public EachPiece {
 public:
  SplitStep(TextPattern pattern, Behavior behavior, bool invert)
      : pattern_(std::move(pattern)), behavior_(behavior), invert_(invert) {}

 protected:
  Status cut(const Piece& piece, PreTokens& tokens, RegexScratch& scratch) const override {
    SPLITD_TRY(pattern_.find_all(piece.text, scratch, tokens.matches));
    split_matches(tokens.matches, piece.text.size(), behavior_, invert_,
                  PartSink(piece, tokens.next));
    return {};
  }

 private:
  TextPattern pattern_;
  Behavior behavior_;
  bool invert_;
};

// Every character of a set is a match by itself.
class CharactersStep : public EachPiece {
 public:
  CharactersStep(const CodePointSet& set, Behavior behavior)
      : is_match_(ClassTable::of(set)), behavior_(behavior) {}

 protected:
  Status cut(const Piece& piece, PreTokens& tokens, RegexScratch&) const override {
    tokens.matches.clear();
    for (size_t at = 0; at < piece.text.size();) {
      const ValidCharacter c = valid_character(piece.text.data() + at);
      if (is_match_[c.code_point] != 0) tokens.matches.push_back({at, at + c.length});
      at += c.length;
    }
    split_matches(tokens.matches, piece.text.size(), behavior_, false,
                  PartSink(piece, tokens.next));
    return {};
  }

 private:
  ClassTable is_match_;
  Behavior behavior_;
};

// \w+|[^\w\s]+ in Rust's sense; what lies between is dropped.
class WhitespaceStep : public EachPiece {
 public:
  WhitespaceStep() {
    std::vector<std::vector<uint8_t>> members;
    const CodePointSet sets[] = {white_space(), rust_word()};
    kinds_ = *ClassTable::build(sets, members);  // two sets: at most four classes
    space_ = kinds_[U' '];
  }

 protected:
  Status cut(const Piece& piece, PreTokens& tokens, RegexScratch&) const override {
    PartSink sink(piece, tokens.next);
    size_t begin = 0;
    uint8_t kind = space_;
    for (size_t at = 0; at < piece.text.size();) {
      const ValidCharacter c = valid_character(piece.text.data() + at);
      if (kinds_[c.code_point] != kind) {
        if (kind != space_) sink(begin, at);
        begin = at;
        kind = kinds_[c.code_point];
      }
      at += c.length;
    }
    if (kind != space_) sink(begin, piece.text.size());
    return {};
  }

 private:
  ClassTable kinds_;
  uint8_t space_;
};

class MetaspaceStep : public EachPiece {
 public:
  enum class Prepend { first, never, always };
  MetaspaceStep(std::string replacement, Prepend prepend, bool split)
      : replacement_(std::move(replacement)), prepend_(prepend), split_(split) {}

 protected:
  Status cut(const Piece& piece, PreTokens& tokens, RegexScratch&) const override {
    std::string& text = tokens.made.emplace_back();
    const bool prepends = !piece.continued && (prepend_ == Prepend::always ||
                                               (prepend_ == Prepend::first && piece.at_origin));
    const bool has_prefix =
        piece.text.front() == ' ' || piece.text.substr(0, replacement_.size()) == replacement_;
    if (prepends && !has_prefix) text = replacement_;
    for (size_t at = 0; at < piece.text.size();) {
      const size_t space = std::min(piece.text.find(' ', at), piece.text.size());
      text.append(piece.text.substr(at, space - at));
      if (space < piece.text.size()) text.append(replacement_);
      at = space + 1;
    }
    const Piece whole{text, piece.at_origin, piece.continued};
    if (!split_) {
      tokens.next.push_back(whole);
      return {};
    }
    tokens.matches.clear();
    for (size_t at = text.find(replacement_); at != std::string::npos;) {
      tokens.matches.push_back({at, at + replacement_.size()});
      at = text.find(replacement_, at + replacement_.size());
    }
    split_matches(tokens.matches, text.size(), Behavior::merged_with_next, false,
                  PartSink(whole, tokens.next));
    return {};
  }

 private:
  std::string replacement_;  // one character
  Prepend prepend_;
  bool split_;
};

class ByteLevelStep : public EachPiece {
 public:
  // maps: whether the bytes become characters here rather than in the model.
  ByteLevelStep(bool add_prefix_space, std::optional<TextPattern> pattern, bool maps)
      : add_prefix_space_(add_prefix_space), pattern_(std::move(pattern)), maps_(maps) {}

 protected:
  Status cut(const Piece& piece, PreTokens& tokens, RegexScratch& scratch) const override {
    Piece whole = piece;
    if (add_prefix_space_ && !piece.continued && piece.text.front() != ' ') {
      whole.text = tokens.made.emplace_back(" " + std::string(piece.text));
    }
    const size_t first = tokens.next.size();
    if (pattern_) {
      SPLITD_TRY(pattern_->find_all(whole.text, scratch, tokens.matches));
      split_matches(tokens.matches, whole.text.size(), Behavior::isolated, false,
                    PartSink(whole, tokens.next));
    } else {
      tokens.next.push_back(whole);
    }
    if (!maps_) return {};
    for (size_t i = first; i < tokens.next.size(); ++i) {
      std::string& mapped = tokens.made.emplace_back();
      append_byte_characters(mapped, tokens.next[i].text);
      tokens.next[i].text = mapped;
    }
    return {};
  }

 private:
  bool add_prefix_space_;
  std::optional<TextPattern> pattern_;
  bool maps_;
};

Result<Behavior> behavior_field(Json json, std::optional<Behavior> fallback) {
  const std::optional<Json> value = json.find("behavior");
  if (!value && fallback) return *fallback;
  if (value && value->is_string()) {
    if (value->text() == "Removed") return Behavior::removed;
    if (value->text() == "Isolated") return Behavior::isolated;
    if (value->text() == "MergedWithPrevious") return Behavior::merged_with_previous;
    if (value->text() == "MergedWithNext") return Behavior::merged_with_next;
    if (value->text() == "Contiguous") return Behavior::contiguous;
  }
  return bad_field("behavior", value,
                   "Removed, Isolated, MergedWithPrevious, MergedWithNext or Contiguous");
}

Result<char32_t> character_field(Json json, std::string_view name) {
  const std::optional<Json> value = json.find(name);
  if (value && value->is_string()) {
    const Utf8Step step = utf8_decode(value->text());
    if (step.valid && step.length == value->text().size()) return step.code_point;
  }
  return bad_field(name, value, "one character");
}

using StepPointer = std::unique_ptr<const PreTokenizerStep>;

Result<StepPointer> parse_metaspace(Json json) {
  SPLITD_ASSIGN(const char32_t replacement, character_field(json, "replacement"));
  std::string text;
  utf8_append(text, replacement);
  MetaspaceStep::Prepend prepend = MetaspaceStep::Prepend::always;
  const std::optional<Json> scheme = json.find("prepend_scheme");
  if (scheme) {
    if (scheme->text() == "first") {
      prepend = MetaspaceStep::Prepend::first;
    } else if (scheme->text() == "never") {
      prepend = MetaspaceStep::Prepend::never;
    } else if (scheme->text() != "always") {
      return bad_field("prepend_scheme", scheme, "first, never or always");
    }
  }
  const std::optional<Json> prefix = json.find("add_prefix_space");
  if (prefix && prefix->to_bool() == false) {
    if (prepend != MetaspaceStep::Prepend::never) {
      return model_error("\"add_prefix_space\" does not agree with \"prepend_scheme\"");
    }
  }
  const std::optional<Json> split = json.find("split");
  const bool splits = !split || split->to_bool().value_or(true);
  return StepPointer(std::make_unique<MetaspaceStep>(std::move(text), prepend, splits));
}

Result<StepPointer> parse_byte_level(Json json, bool is_last) {
  SPLITD_ASSIGN(const bool prefix, bool_field(json, "add_prefix_space"));
  SPLITD_ASSIGN(const bool use_regex, bool_field(json, "use_regex", true));
  std::optional<TextPattern> pattern;
  if (use_regex) {
    SPLITD_ASSIGN(pattern, TextPattern::regex(kGpt2Pattern));
  }
  return StepPointer(std::make_unique<ByteLevelStep>(prefix, std::move(pattern), !is_last));
}

Result<StepPointer> parse_step(std::string_view type, Json json, bool is_last) {
  if (type == "Split") {
    SPLITD_ASSIGN(TextPattern pattern, TextPattern::parse(json.find("pattern")));
    SPLITD_ASSIGN(const Behavior behavior, behavior_field(json, std::nullopt));
    SPLITD_ASSIGN(const bool invert, bool_field(json, "invert"));
    return StepPointer(std::make_unique<SplitStep>(std::move(pattern), behavior, invert));
  }
  if (type == "ByteLevel") return parse_byte_level(json, is_last);
  if (type == "Metaspace") return parse_metaspace(json);
  if (type == "Digits") {
    SPLITD_ASSIGN(const bool individual, bool_field(json, "individual_digits"));
    return StepPointer(std::make_unique<CharactersStep>(
        rust_numeric(), individual ? Behavior::isolated : Behavior::contiguous));
  }
  if (type == "Punctuation") {
    SPLITD_ASSIGN(const Behavior behavior, behavior_field(json, Behavior::isolated));
    return StepPointer(std::make_unique<CharactersStep>(punctuation(), behavior));
  }
  if (type == "Whitespace") return StepPointer(std::make_unique<WhitespaceStep>());
  if (type == "WhitespaceSplit") {
    return StepPointer(std::make_unique<CharactersStep>(white_space(), Behavior::removed));
  }
  if (type == "CharDelimiterSplit") {
    SPLITD_ASSIGN(const char32_t delimiter, character_field(json, "delimiter"));
    return StepPointer(
        std::make_unique<CharactersStep>(CodePointSet::of(delimiter), Behavior::removed));
  }
  return model_error("not supported; " + std::string(kSupported));
}

}  // namespace

Result<PreTokenizer> parse_pre_tokenizer(std::optional<Json> json) {
  PreTokenizer result;
  if (!json || json->is_null()) return result;
  struct Found {
    std::string type;
    Json json;
  };
  std::vector<Found> found;
  size_t count = 0;
  SPLITD_TRY(for_each_step(*json, "pretokenizers", count, [&](std::string_view type, Json step) {
    found.push_back({std::string(type), step});
    return Status();
  }));
  for (size_t i = 0; i < found.size(); ++i) {
    Result<StepPointer> step = parse_step(found[i].type, found[i].json, i + 1 == found.size());
    if (!step) return step.take_error().within(found[i].type.substr(0, 100));
    result.steps.push_back(std::move(*step));
  }
  result.bytes = !found.empty() && found.back().type == "ByteLevel";
  return result;
}

}  // namespace splitd::tok
