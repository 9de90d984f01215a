#include "runtime/model/tokenizer/normalizer.h"

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
    "Sequence, NFC, NFD, NFKC, NFKD, Replace, Prepend, Strip, StripAccents, Lowercase, Nmt and "
    "ByteLevel are supported";

// Builds the new text front to back out of parts of the old one and of new text.
class Rebuild {
 public:
  explicit Rebuild(const NormalText& old) : old_(old) {
    text_.reserve(old.text.size() + old.text.size() / 8 + 16);
  }
  void keep(size_t begin, size_t end) {
    text_.append(old_.text, begin, end - begin);
    if (!old_.literal.empty()) literal_.append(old_.literal, begin, end - begin);
  }
  // Text that takes the place of [begin, end): literal if anything there was.
  void put(std::string_view text, size_t begin, size_t end) {
    text_.append(text);
    if (old_.literal.empty()) return;
    const std::string_view marks = std::string_view(old_.literal).substr(begin, end - begin);
    literal_.resize(text_.size(), marks.find('\1') != std::string_view::npos ? '\1' : '\0');
  }
  void finish(NormalText& out) && {
    out.text = std::move(text_);
    out.literal = std::move(literal_);
  }

 private:
  const NormalText& old_;
  std::string text_;
  std::string literal_;
};

// Each character by itself becomes other text, or none.
template <class Change>
void change_characters(NormalText& text, const Change& change) {
  Rebuild rebuild(text);
  std::string changed;
  for (size_t at = 0; at < text.text.size();) {
    const ValidCharacter c = valid_character(text.text.data() + at);
    changed.clear();
    change(c.code_point, changed);
    rebuild.put(changed, at, at + c.length);
    at += c.length;
  }
  std::move(rebuild).finish(text);
}

class ReplaceStep : public NormalizerStep {
 public:
  ReplaceStep(TextPattern pattern, std::string content)
      : pattern_(std::move(pattern)), content_(std::move(content)) {}

  Status apply(NormalText& text, RegexScratch& scratch) const override {
    std::vector<Match> matches;
    SPLITD_TRY(pattern_.find_all(text.text, scratch, matches));
    if (matches.empty()) return {};
    Rebuild rebuild(text);
    size_t copied = 0;
    for (const Match& match : matches) {
      rebuild.keep(copied, match.begin);
      rebuild.put(content_, match.begin, match.end);
      copied = match.end;
    }
    rebuild.keep(copied, text.text.size());
    // The library gives new text the place of the last character it replaces.
    const Match& first = matches.front();
    if (first.begin == 0 && first.end > 0) {
      const bool one_character = valid_character(text.text.data()).length == first.end;
      text.at_origin = text.at_origin && one_character && !content_.empty();
    }
    std::move(rebuild).finish(text);
    return {};
  }

 private:
  TextPattern pattern_;
  std::string content_;
};

class PrependStep : public NormalizerStep {
 public:
  explicit PrependStep(std::string prefix) : prefix_(std::move(prefix)) {}
  Status apply(NormalText& text, RegexScratch&) const override {
    if (text.text.empty() || text.continued) return {};
    text.text.insert(0, prefix_);
    if (!text.literal.empty()) text.literal.insert(0, prefix_.size(), '\0');
    return {};
  }

 private:
  std::string prefix_;
};

class StripStep : public NormalizerStep {
 public:
  StripStep(bool left, bool right)
      : left_(left), right_(right), space_(ClassTable::of(white_space())) {}
  Status apply(NormalText& text, RegexScratch&) const override {
    const auto is_space = [&](size_t at) {
      return space_[valid_character(text.text.data() + at).code_point] != 0;
    };
    size_t begin = 0;
    size_t end = text.text.size();
    while (left_ && begin < end && is_space(begin)) {
      begin += valid_character(text.text.data() + begin).length;
    }
    while (right_ && end > begin) {
      const size_t last = valid_character_before(text.text, end);
      if (!is_space(last)) break;
      end = last;
    }
    if (begin > 0) text.at_origin = false;
    text.text = text.text.substr(begin, end - begin);
    if (!text.literal.empty()) text.literal = text.literal.substr(begin, end - begin);
    return {};
  }

 private:
  bool left_;
  bool right_;
  ClassTable space_;
};

class StripAccentsStep : public NormalizerStep {
 public:
  Status apply(NormalText& text, RegexScratch&) const override {
    if (!text.text.empty() && marks_[valid_character(text.text.data()).code_point] != 0) {
      text.at_origin = false;
    }
    change_characters(text, [this](char32_t c, std::string& out) {
      if (marks_[c] == 0) utf8_append(out, c);
    });
    return {};
  }

 private:
  ClassTable marks_ = ClassTable::of(stripped_marks());
};

class LowercaseStep : public NormalizerStep {
 public:
  Status apply(NormalText& text, RegexScratch&) const override {
    change_characters(text, [](char32_t c, std::string& out) { append_lowercase(out, c); });
    return {};
  }
};

// What SentencePiece does first: control characters go, odd spaces become spaces.
class NmtStep : public NormalizerStep {
 public:
  Status apply(NormalText& text, RegexScratch&) const override {
    if (!text.text.empty() && is_dropped(valid_character(text.text.data()).code_point)) {
      text.at_origin = false;
    }
    change_characters(text, [](char32_t c, std::string& out) {
      if (!is_dropped(c)) utf8_append(out, is_space(c) ? U' ' : c);
    });
    return {};
  }

 private:
  static bool is_dropped(char32_t c) {
    return (c >= 0x1 && c <= 0x8) || c == 0xb || (c >= 0xe && c <= 0x1f) || c == 0x7f ||
           c == 0x8f || c == 0x9f;
  }
  static bool is_space(char32_t c) {
    return c == 0x9 || c == 0xa || c == 0xc || c == 0xd || c == 0x1680 ||
           (c >= 0x200b && c <= 0x200f) || c == 0x2028 || c == 0x2029 || c == 0x2581 ||
           c == 0xfeff || c == 0xfffd;
  }
};

class ByteLevelStep : public NormalizerStep {
 public:
  Status apply(NormalText& text, RegexScratch&) const override {
    Rebuild rebuild(text);
    std::string character;
    for (size_t at = 0; at < text.text.size(); ++at) {
      character.clear();
      append_byte_characters(character, std::string_view(text.text).substr(at, 1));
      rebuild.put(character, at, at + 1);
    }
    std::move(rebuild).finish(text);
    return {};
  }
};

Result<std::unique_ptr<const NormalizerStep>> parse_step(std::string_view type, Json json) {
  std::unique_ptr<const NormalizerStep> step;
  if (type == "NFC") {
    step = make_normal_form(NormalForm::nfc);
  } else if (type == "NFD") {
    step = make_normal_form(NormalForm::nfd);
  } else if (type == "NFKC") {
    step = make_normal_form(NormalForm::nfkc);
  } else if (type == "NFKD") {
    step = make_normal_form(NormalForm::nfkd);
  } else if (type == "Replace") {
    SPLITD_ASSIGN(TextPattern pattern, TextPattern::parse(json.find("pattern")));
    SPLITD_ASSIGN(std::string content, content_field(json, "content"));
    step = std::make_unique<ReplaceStep>(std::move(pattern), std::move(content));
  } else if (type == "Prepend") {
    SPLITD_ASSIGN(std::string prefix, content_field(json, "prepend"));
    step = std::make_unique<PrependStep>(std::move(prefix));
  } else if (type == "Strip") {
    SPLITD_ASSIGN(const bool left, bool_field(json, "strip_left"));
    SPLITD_ASSIGN(const bool right, bool_field(json, "strip_right"));
    step = std::make_unique<StripStep>(left, right);
  } else if (type == "StripAccents") {
    step = std::make_unique<StripAccentsStep>();
  } else if (type == "Lowercase") {
    step = std::make_unique<LowercaseStep>();
  } else if (type == "Nmt") {
    step = std::make_unique<NmtStep>();
  } else if (type == "ByteLevel") {
    step = std::make_unique<ByteLevelStep>();
  } else {
    return model_error("not supported; " + std::string(kSupported));
  }
  return step;
}

}  // namespace

Status normalize(const Normalizer& steps, NormalText& text, RegexScratch& scratch) {
  const size_t limit = (size_t{64} << 10) + 32 * text.text.size();
  for (const auto& step : steps) {
    SPLITD_TRY(step->apply(text, scratch));
    if (text.text.size() > limit) return model_error("the normalizer blows the text up");
  }
  return {};
}

Result<Normalizer> parse_normalizer(std::optional<Json> json) {
  Normalizer steps;
  if (!json || json->is_null()) return steps;
  size_t count = 0;
  SPLITD_TRY(for_each_step(*json, "normalizers", count, [&](std::string_view type, Json step) {
    Result<std::unique_ptr<const NormalizerStep>> made = parse_step(type, step);
    if (!made) return Status(made.take_error());
    steps.push_back(std::move(*made));
    return Status();
  }));
  return steps;
}

}  // namespace splitd::tok
