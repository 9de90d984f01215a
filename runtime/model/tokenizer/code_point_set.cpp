#include "runtime/model/tokenizer/code_point_set.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <utf8proc.h>

#include <algorithm>
#include <memory>
#include <unordered_map>

#include "runtime/base/utf8.h"
#include "runtime/model/tokenizer/valid_utf8.h"

namespace splitd::tok {
namespace {

struct LowercaseRun {
  char32_t first;
  char32_t last;
  int32_t shift;
  uint8_t step;
};

#include "runtime/model/tokenizer/unicode_data.inc"

constexpr char32_t kFirstSurrogate = 0xd800;
constexpr char32_t kLastSurrogate = 0xdfff;

template <size_t N>
CodePointSet set_of(const CodePointRange (&ranges)[N]) {
  return CodePointSet(std::vector<CodePointRange>(ranges, ranges + N));
}

char lower_ascii(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
}

// Names are compared as Unicode asks: "Uppercase_Letter" is "uppercaseletter".
std::string folded_name(std::string_view name) {
  std::string folded;
  for (const char c : name) {
    if (c != ' ' && c != '_' && c != '-') folded.push_back(lower_ascii(c));
  }
  return folded;
}

struct LongName {
  std::string_view name;
  std::string_view category;
};
constexpr LongName kLongNames[] = {
    {"letter", "L"},
    {"uppercaseletter", "Lu"},
    {"lowercaseletter", "Ll"},
    {"titlecaseletter", "Lt"},
    {"modifierletter", "Lm"},
    {"otherletter", "Lo"},
    {"mark", "M"},
    {"combiningmark", "M"},
    {"nonspacingmark", "Mn"},
    {"spacingmark", "Mc"},
    {"enclosingmark", "Me"},
    {"number", "N"},
    {"decimalnumber", "Nd"},
    {"digit", "Nd"},
    {"letternumber", "Nl"},
    {"othernumber", "No"},
    {"punctuation", "P"},
    {"punct", "P"},
    {"connectorpunctuation", "Pc"},
    {"dashpunctuation", "Pd"},
    {"openpunctuation", "Ps"},
    {"closepunctuation", "Pe"},
    {"initialpunctuation", "Pi"},
    {"finalpunctuation", "Pf"},
    {"otherpunctuation", "Po"},
    {"symbol", "S"},
    {"mathsymbol", "Sm"},
    {"currencysymbol", "Sc"},
    {"modifiersymbol", "Sk"},
    {"othersymbol", "So"},
    {"separator", "Z"},
    {"spaceseparator", "Zs"},
    {"lineseparator", "Zl"},
    {"paragraphseparator", "Zp"},
    {"other", "C"},
    {"control", "Cc"},
    {"cntrl", "Cc"},
    {"format", "Cf"},
    {"surrogate", "Cs"},
    {"privateuse", "Co"},
    {"unassigned", "Cn"},
};

// The union of the categories whose two-letter name starts with `prefix`, case ignored.
CodePointSet category_set(std::string_view prefix) {
  std::vector<CodePointRange> ranges;
  const size_t count = std::size(kCategoryStarts);
  for (size_t i = 0; i < count; ++i) {
    const std::string_view name = kCategoryNames[kCategoryStarts[i] & 31];
    bool matches = prefix.size() <= name.size();
    for (size_t k = 0; matches && k < prefix.size(); ++k) {
      matches = lower_ascii(name[k]) == lower_ascii(prefix[k]);
    }
    if (!matches) continue;
    const char32_t end = i + 1 < count ? kCategoryStarts[i + 1] >> 5 : kLastCodePoint + 1;
    ranges.push_back({kCategoryStarts[i] >> 5, end - 1});
  }
  return CodePointSet(std::move(ranges));
}

CodePointSet word_characters() {
  return set_of(kAlphabetic)
      .united(category_set("M"))
      .united(category_set("Nd"))
      .united(category_set("Pc"));
}

std::optional<CodePointSet> script_set(std::string_view folded) {
  if (folded == "arabic") return set_of(kScriptArabic);
  if (folded == "cyrillic") return set_of(kScriptCyrillic);
  if (folded == "devanagari") return set_of(kScriptDevanagari);
  if (folded == "greek") return set_of(kScriptGreek);
  if (folded == "han") return set_of(kScriptHan);
  if (folded == "hangul") return set_of(kScriptHangul);
  if (folded == "hebrew") return set_of(kScriptHebrew);
  if (folded == "hiragana") return set_of(kScriptHiragana);
  if (folded == "katakana") return set_of(kScriptKatakana);
  if (folded == "latin") return set_of(kScriptLatin);
  if (folded == "thai") return set_of(kScriptThai);
  return std::nullopt;
}

// Asks PCRE2 which characters a property of its own holds: scripts and the rarer binary ones.
std::optional<CodePointSet> pcre2_property(const std::string& folded) {
  const std::string pattern = "\\p{" + folded + "}+";
  int error = 0;
  PCRE2_SIZE offset = 0;
  const std::unique_ptr<pcre2_code, decltype(&pcre2_code_free)> code(
      pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(), PCRE2_UTF, &error,
                    &offset, nullptr),
      &pcre2_code_free);
  if (!code) return std::nullopt;
  pcre2_jit_compile(code.get(), PCRE2_JIT_COMPLETE);
  // Planes without characters, or with private ones only, are left out: they have no such
  // properties.
  std::string every;
  every.reserve(size_t{1} << 20);
  for (char32_t c = 0; c <= 0xe0fff; ++c) {
    if (c == kFirstSurrogate) c = kLastSurrogate + 1;
    if (c == 0x40000) c = 0xe0000;
    utf8_append(every, c);
  }
  const std::unique_ptr<pcre2_match_data, decltype(&pcre2_match_data_free)> match(
      pcre2_match_data_create(1, nullptr), &pcre2_match_data_free);
  if (!match) return std::nullopt;
  std::vector<CodePointRange> ranges;
  size_t at = 0;
  while (pcre2_match(code.get(), reinterpret_cast<PCRE2_SPTR>(every.data()), every.size(), at,
                     PCRE2_NO_UTF_CHECK, match.get(), nullptr) > 0) {
    const PCRE2_SIZE* bounds = pcre2_get_ovector_pointer(match.get());
    const std::string_view found = std::string_view(every).substr(bounds[0], bounds[1] - bounds[0]);
    size_t last = found.size() - 1;
    while ((static_cast<uint8_t>(found[last]) & 0xc0) == 0x80) --last;
    ranges.push_back({utf8_decode(found).code_point, utf8_decode(found.substr(last)).code_point});
    at = bounds[1];
  }
  return CodePointSet(std::move(ranges));
}

char32_t simple_lowercase(char32_t c) {
  const auto* const end = std::end(kLowercaseRuns);
  const auto* run = std::lower_bound(std::begin(kLowercaseRuns), end, c,
                                     [](const LowercaseRun& r, char32_t v) { return r.last < v; });
  if (run == end || c < run->first || (c - run->first) % run->step != 0) return c;
  return static_cast<char32_t>(static_cast<int32_t>(c) + run->shift);
}

// One name for all characters that differ only in case. The dotted and dotless i stand alone.
char32_t case_key(char32_t c) {
  if (c == 0x130 || c == 0x131) return c;
  return simple_lowercase(
      static_cast<char32_t>(utf8proc_toupper(static_cast<utf8proc_int32_t>(c))));
}

}  // namespace

CodePointSet::CodePointSet(std::vector<CodePointRange> ranges) {
  std::sort(ranges.begin(), ranges.end(),
            [](const CodePointRange& a, const CodePointRange& b) { return a.first < b.first; });
  for (const CodePointRange& range : ranges) {
    if (!ranges_.empty() && range.first <= ranges_.back().last + 1) {
      ranges_.back().last = std::max(ranges_.back().last, range.last);
    } else {
      ranges_.push_back(range);
    }
  }
}

bool CodePointSet::contains(char32_t c) const {
  const auto at = std::lower_bound(ranges_.begin(), ranges_.end(), c,
                                   [](const CodePointRange& r, char32_t v) { return r.last < v; });
  return at != ranges_.end() && at->first <= c;
}

CodePointSet CodePointSet::inverted() const {
  CodePointSet result;
  char32_t next = 0;
  for (const CodePointRange& range : ranges_) {
    if (range.first > next) result.ranges_.push_back({next, range.first - 1});
    next = range.last + 1;
  }
  if (next <= kLastCodePoint) result.ranges_.push_back({next, kLastCodePoint});
  return result;
}

CodePointSet CodePointSet::united(const CodePointSet& other) const {
  std::vector<CodePointRange> both = ranges_;
  both.insert(both.end(), other.ranges_.begin(), other.ranges_.end());
  return CodePointSet(std::move(both));
}

CodePointSet CodePointSet::intersected(const CodePointSet& other) const {
  return inverted().united(other.inverted()).inverted();
}

void CaseVariants::find_orbits() {
  constexpr char32_t kLastCased = 0x1e943;  // Adlam; nothing above has case
  std::unordered_map<char32_t, std::vector<char32_t>> orbits;
  for (char32_t c = 0; c <= kLastCased; ++c) {
    const char32_t key = case_key(c);
    // A character that is its own key has an orbit only if another comes to it.
    if (key != c) orbits[key].push_back(c);
  }
  for (const auto& [key, members] : orbits) {
    cased_.push_back({key, n_orbit_});
    for (const char32_t member : members) cased_.push_back({member, n_orbit_});
    ++n_orbit_;
  }
}

CodePointSet CaseVariants::add_to(const CodePointSet& set) {
  std::vector<CodePointRange> result = set.ranges();
  if (!result.empty() && result.back().last < 0x80) {  // what real patterns have
    for (char32_t c = 'A'; c <= 'Z'; ++c) {
      const char32_t lower = c + 0x20;
      if (!set.contains(c) && !set.contains(lower)) continue;
      result.insert(result.end(), {{c, c}, {lower, lower}});
      if (c == 'S') result.push_back({0x17f, 0x17f});    // long s
      if (c == 'K') result.push_back({0x212a, 0x212a});  // the Kelvin sign
    }
    return CodePointSet(std::move(result));
  }
  if (cased_.empty()) find_orbits();
  std::vector<bool> wanted(n_orbit_);
  for (const Cased& one : cased_) {
    if (set.contains(one.character)) wanted[one.orbit] = true;
  }
  for (const Cased& one : cased_) {
    if (wanted[one.orbit]) result.push_back({one.character, one.character});
  }
  return CodePointSet(std::move(result));
}

std::optional<CodePointSet> unicode_property(std::string_view name) {
  const std::string folded = folded_name(name);
  if (folded == "any") return CodePointSet::all();
  if (folded == "ascii") return CodePointSet({{0, 0x7f}});
  if (folded == "assigned") return category_set("Cn").inverted();
  if (folded == "lc") {
    return category_set("Lu").united(category_set("Ll")).united(category_set("Lt"));
  }
  if (folded == "space" || folded == "whitespace") return white_space();
  if (folded == "word") return oniguruma_word();
  if (folded == "blank") return category_set("Zs").united(CodePointSet::of('\t'));
  if (folded == "xdigit") return CodePointSet({{'0', '9'}, {'a', 'f'}, {'A', 'F'}});
  if (folded == "alpha" || folded == "alphabetic") return set_of(kAlphabetic);
  if (folded == "alnum") return set_of(kAlphabetic).united(category_set("Nd"));
  if (folded == "upper" || folded == "uppercase") {
    return category_set("Lu").united(set_of(kOtherUppercase));
  }
  if (folded == "lower" || folded == "lowercase") {
    return category_set("Ll").united(set_of(kOtherLowercase));
  }
  if (folded == "graph" || folded == "print") {
    const CodePointSet blank = category_set("Cn")
                                   .united(category_set("Cs"))
                                   .united(category_set("Cc"))
                                   .united(white_space());
    return folded == "graph" ? blank.inverted() : blank.inverted().united(category_set("Zs"));
  }
  for (const LongName& entry : kLongNames) {
    if (entry.name == folded) return category_set(entry.category);
  }
  if (folded.size() == 1 || folded.size() == 2) {
    CodePointSet set = category_set(folded);
    if (!set.empty()) return set;
  }
  if (std::optional<CodePointSet> script = script_set(folded)) return script;
  const bool plain = std::all_of(folded.begin(), folded.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
  });
  return plain && !folded.empty() && folded.size() <= 64 ? pcre2_property(folded) : std::nullopt;
}

std::optional<CodePointSet> posix_class(std::string_view name) {
  if (name == "punct") return category_set("P").united(category_set("S"));
  if (name == "word") return word_characters();
  for (const std::string_view known : {"alnum", "alpha", "ascii", "blank", "cntrl", "digit",
                                       "graph", "lower", "print", "space", "upper", "xdigit"}) {
    if (name == known) return unicode_property(name);
  }
  return std::nullopt;
}

CodePointSet white_space() {
  return CodePointSet({{0x9, 0xd},
                       {' ', ' '},
                       {0x85, 0x85},
                       {0xa0, 0xa0},
                       {0x1680, 0x1680},
                       {0x2000, 0x200a},
                       {0x2028, 0x2029},
                       {0x202f, 0x202f},
                       {0x205f, 0x205f},
                       {0x3000, 0x3000}});
}

CodePointSet rust_word() {
  return word_characters().united(CodePointSet({{0x200c, 0x200d}}));
}

CodePointSet oniguruma_word() {
  // Latin-1's superscripts and fractions: Oniguruma's own table for that range says so.
  return word_characters().united(CodePointSet({{0xb2, 0xb3}, {0xb9, 0xb9}, {0xbc, 0xbe}}));
}

CodePointSet rust_numeric() {
  return set_of(kRustNumeric);
}
CodePointSet punctuation() {
  return set_of(kPunctuation);
}
CodePointSet stripped_marks() {
  return set_of(kStrippedMarks);
}
CodePointSet newer_than_normalizer() {
  return set_of(kNewerThanNormalizer);
}

void append_lowercase(std::string& out, char32_t c) {
  if (c == 0x130) {
    out.append("i\xcc\x87");
  } else {
    utf8_append(out, simple_lowercase(c));
  }
}

void ClassTable::pack(const std::vector<uint8_t>& flat) {
  std::copy_n(flat.begin(), ascii_.size(), ascii_.begin());
  std::unordered_map<std::string_view, uint16_t> known;
  for (size_t begin = 0; begin < flat.size(); begin += kBlock) {
    const std::string_view block(reinterpret_cast<const char*>(flat.data()) + begin, kBlock);
    const auto [at, is_new] = known.emplace(block, static_cast<uint16_t>(known.size()));
    if (is_new) blocks_.insert(blocks_.end(), block.begin(), block.end());
    index_.push_back(at->second);
  }
}

ClassTable ClassTable::of(const CodePointSet& set) {
  std::vector<uint8_t> flat(kLastCodePoint + 1, 0);
  for (const CodePointRange& range : set.ranges()) {
    std::fill(flat.begin() + range.first, flat.begin() + range.last + 1, uint8_t{1});
  }
  ClassTable table;
  table.pack(flat);
  return table;
}

std::optional<ClassTable> ClassTable::build(std::span<const CodePointSet> sets,
                                            std::vector<std::vector<uint8_t>>& members) {
  std::vector<char32_t> borders = {0};
  for (const CodePointSet& set : sets) {
    for (const CodePointRange& range : set.ranges()) {
      borders.push_back(range.first);
      if (range.last < kLastCodePoint) borders.push_back(range.last + 1);
    }
  }
  std::sort(borders.begin(), borders.end());
  borders.erase(std::unique(borders.begin(), borders.end()), borders.end());

  members.assign(sets.size(), {});
  std::vector<uint8_t> flat(kLastCodePoint + 1, 0);
  // Class 0 is what lies in no set, so that it is the same in every table.
  std::unordered_map<std::string, uint8_t> classes = {{std::string(sets.size(), '0'), 0}};
  std::vector<size_t> at(sets.size(),
                         0);  // in each set, the first range that ends at or after here
  std::string signature(sets.size(), '0');
  for (size_t i = 0; i < borders.size(); ++i) {
    for (size_t k = 0; k < sets.size(); ++k) {
      const auto& ranges = sets[k].ranges();
      while (at[k] < ranges.size() && ranges[at[k]].last < borders[i]) ++at[k];
      signature[k] = at[k] < ranges.size() && ranges[at[k]].first <= borders[i] ? '1' : '0';
    }
    auto found = classes.find(signature);
    if (found == classes.end()) {
      if (classes.size() > 255) return std::nullopt;
      found = classes.emplace(signature, static_cast<uint8_t>(classes.size())).first;
      for (size_t k = 0; k < sets.size(); ++k) {
        if (signature[k] == '1') members[k].push_back(found->second);
      }
    }
    const char32_t end = i + 1 < borders.size() ? borders[i + 1] : kLastCodePoint + 1;
    std::fill(flat.begin() + borders[i], flat.begin() + end, found->second);
  }
  ClassTable table;
  table.pack(flat);
  return table;
}

size_t ClassTable::map(std::string_view text, uint8_t* out) const {
  const char* at = text.data();
  const char* const end = at + text.size();
  uint8_t* const begin = out;
  while (at < end) {
    const ValidCharacter c = valid_character(at);
    *out++ = (*this)[c.code_point];
    at += c.length;
  }
  return static_cast<size_t>(out - begin);
}

}  // namespace splitd::tok
