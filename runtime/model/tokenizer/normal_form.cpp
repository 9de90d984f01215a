// NFC and its like, linear in the text: runs of characters that the form leaves alone are copied,
// what lies between them is decomposed, sorted and composed. Tables are utf8proc's, without the
// characters that the library's older tables do not know (newer_than_normalizer).
#include <utf8proc.h>

#include <algorithm>

#include "runtime/base/utf8.h"
#include "runtime/model/tokenizer/code_point_set.h"
#include "runtime/model/tokenizer/normalizer.h"
#include "runtime/model/tokenizer/valid_utf8.h"

namespace splitd::tok {
namespace {

// What a character does to its neighbours under the form.
constexpr uint8_t kChanges = 0;  // itself changes, reorders, or joins the one before
constexpr uint8_t kStays = 1;    // a starter that stays, unless what follows joins it
// Any other kind stays, and nothing joins it.

constexpr char32_t kHangulFirst = 0xac00;
constexpr char32_t kHangulLast = 0xd7a3;
constexpr char32_t kTableEnd = 0x30000;  // nothing from here on decomposes, reorders or composes

int combining_class(char32_t c) {
  return utf8proc_get_property(static_cast<utf8proc_int32_t>(c))->combining_class;
}

void decompose(char32_t c, int options, std::vector<utf8proc_int32_t>& out) {
  constexpr utf8proc_ssize_t kLongest = 32;  // U+FDFA becomes 18
  const size_t begin = out.size();
  out.resize(begin + kLongest);
  int last_boundary = 0;
  const utf8proc_ssize_t count =
      utf8proc_decompose_char(static_cast<utf8proc_int32_t>(c), out.data() + begin, kLongest,
                              static_cast<utf8proc_option_t>(options), &last_boundary);
  out.resize(begin + static_cast<size_t>(std::max<utf8proc_ssize_t>(count, 0)));
  if (count <= 0 || count > kLongest) {  // cannot happen with a valid character
    out.resize(begin);
    out.push_back(static_cast<utf8proc_int32_t>(c));
  }
}

class NormalFormStep : public NormalizerStep {
 public:
  explicit NormalFormStep(NormalForm form)
      : composes_(form == NormalForm::nfc || form == NormalForm::nfkc),
        options_(form == NormalForm::nfkc || form == NormalForm::nfkd
                     ? UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT
                     : UTF8PROC_DECOMPOSE),
        kinds_(make_kinds()) {}

  Status apply(NormalText& text, RegexScratch&) const override;

 private:
  ClassTable make_kinds() const;
  void normalize(std::string_view run, std::string& out,
                 std::vector<utf8proc_int32_t>& buffer) const;

  bool composes_;
  int options_;
  ClassTable kinds_;
};

void NormalFormStep::normalize(std::string_view run, std::string& out,
                               std::vector<utf8proc_int32_t>& buffer) const {
  buffer.clear();
  for (size_t at = 0; at < run.size();) {
    const ValidCharacter c = valid_character(run.data() + at);
    decompose(c.code_point, options_, buffer);
    at += c.length;
  }
  // Marks in canonical order. utf8proc's own sort is quadratic in a run of marks.
  const auto key = [](utf8proc_int32_t c) { return combining_class(static_cast<char32_t>(c)); };
  for (auto begin = buffer.begin(); begin != buffer.end();) {
    if (key(*begin) == 0) {
      ++begin;
      continue;
    }
    const auto end = std::find_if(begin, buffer.end(), [&](auto c) { return key(c) == 0; });
    std::stable_sort(begin, end, [&](auto a, auto b) { return key(a) < key(b); });
    begin = end;
  }
  auto count = static_cast<utf8proc_ssize_t>(buffer.size());
  if (composes_) {
    count = utf8proc_normalize_utf32(
        buffer.data(), count, static_cast<utf8proc_option_t>(UTF8PROC_COMPOSE | UTF8PROC_STABLE));
  }
  for (utf8proc_ssize_t i = 0; i < count; ++i) {
    utf8_append(out, static_cast<char32_t>(buffer[static_cast<size_t>(i)]));
  }
}

ClassTable NormalFormStep::make_kinds() const {
  std::vector<CodePointRange> stays = {{kTableEnd, kLastCodePoint}};
  // What may be the second part of a composition: Hangul vowels and finals, and what we meet.
  std::vector<CodePointRange> joins = {{0x1161, 0x1175}, {0x11a8, 0x11c2}};
  std::vector<utf8proc_int32_t> parts;
  std::vector<utf8proc_int32_t> buffer;
  std::string text;
  std::string normal;
  for (char32_t c = 0; c < kTableEnd; ++c) {
    if ((c >= 0xd800 && c <= 0xdfff) || combining_class(c) != 0) continue;
    const bool is_hangul = c >= kHangulFirst && c <= kHangulLast;
    if (is_hangul && composes_) {
      stays.push_back({c, c});
      continue;
    }
    parts.clear();
    decompose(c, options_, parts);
    if (parts.size() == 1 && parts[0] == static_cast<utf8proc_int32_t>(c)) {
      stays.push_back({c, c});
      continue;
    }
    if (!composes_) continue;
    parts.clear();
    decompose(c, UTF8PROC_DECOMPOSE, parts);
    if (parts.size() > 1) {
      const auto last = static_cast<char32_t>(parts.back());
      joins.push_back({last, last});
    }
    text.clear();
    normal.clear();
    utf8_append(text, c);
    normalize(text, normal, buffer);
    if (text == normal) stays.push_back({c, c});
  }
  CodePointSet staying(std::move(stays));
  if (composes_) staying = staying.intersected(CodePointSet(std::move(joins)).inverted());
  const CodePointSet walls = newer_than_normalizer();
  staying = staying.intersected(walls.inverted());
  std::vector<std::vector<uint8_t>> members;
  const CodePointSet sets[] = {staying, walls};
  return *ClassTable::build(sets, members);  // two sets that share nothing: three classes
}

Status NormalFormStep::apply(NormalText& text, RegexScratch&) const {
  const std::string_view source = text.text;
  std::string out;
  std::string literal;
  std::vector<utf8proc_int32_t> buffer;
  size_t copied = 0;  // the source before this is in `out`
  size_t previous = 0;
  bool has_previous = false;  // a starter at `previous` that the next character may join
  for (size_t at = 0; at < source.size();) {
    const ValidCharacter c = valid_character(source.data() + at);
    const uint8_t kind = c.code_point < 0x80 ? kStays : kinds_[c.code_point];
    if (kind != kChanges) {
      previous = at;
      has_previous = kind == kStays;
      at += c.length;
      continue;
    }
    const size_t begin = has_previous ? previous : at;
    size_t end = at + c.length;
    while (end < source.size()) {
      const ValidCharacter next = valid_character(source.data() + end);
      if (kinds_[next.code_point] != kChanges) break;
      end += next.length;
    }
    if (out.capacity() == 0) out.reserve(source.size() + source.size() / 8);
    out.append(source.substr(copied, begin - copied));
    if (!text.literal.empty()) literal.append(text.literal, copied, begin - copied);
    normalize(source.substr(begin, end - begin), out, buffer);
    if (!text.literal.empty()) {
      const std::string_view marks = std::string_view(text.literal).substr(begin, end - begin);
      literal.resize(out.size(), marks.find('\1') != std::string_view::npos ? '\1' : '\0');
    }
    copied = end;
    has_previous = false;
    at = end;
  }
  if (copied == 0) return {};
  out.append(source.substr(copied));
  if (!text.literal.empty()) literal.append(text.literal, copied);
  text.text = std::move(out);
  text.literal = std::move(literal);
  return {};
}

}  // namespace

std::unique_ptr<const NormalizerStep> make_normal_form(NormalForm form) {
  return std::make_unique<NormalFormStep>(form);
}

}  // namespace splitd::tok
