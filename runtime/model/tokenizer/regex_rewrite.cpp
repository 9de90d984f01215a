// Oniguruma's syntax as its default mode reads it: \h is a hexadecimal digit, ^ and $ match at
// lines, (?m) makes the dot match newlines, [[a-z]&&[^b]] intersects, x{2,3}+ repeats a repetition.
// One file in spite of its length: one grammar, whose rules all call each other.
#include "runtime/model/tokenizer/regex_rewrite.h"

#include <algorithm>
#include <optional>
#include <unordered_map>

#include "runtime/base/utf8.h"

namespace splitd::tok {
namespace {

constexpr size_t kMaxSets = 256;
constexpr size_t kMaxProperties = 32;  // some take milliseconds to look up
constexpr int kMaxDepth = 100;
constexpr unsigned kMaxRepeat = 65535;  // PCRE2's own limit

struct Options {
  bool ignore_case = false;
  bool dot_matches_newline = false;
  bool extended = false;
};

class Rewriter {
 public:
  explicit Rewriter(std::string_view pattern) : pattern_(pattern) {}
  Result<RewrittenRegex> run();

 private:
  struct Group {
    Options outside;         // what holds again after the group
    size_t begin;            // its first item
    int extra_closings = 0;  // groups opened by (?i) that end with it
  };

  bool at_end() const { return at_ >= pattern_.size(); }
  char peek(size_t ahead = 0) const {
    return at_ + ahead < pattern_.size() ? pattern_[at_ + ahead] : '\0';
  }
  bool accept(std::string_view text) {
    if (pattern_.substr(at_, text.size()) != text) return false;
    at_ += text.size();
    return true;
  }
  Error error(std::string_view what) const {
    return model_error(std::string(what) + " at byte " + std::to_string(at_));
  }
  char32_t next_character() {
    const Utf8Step step = utf8_decode(pattern_.substr(at_));
    at_ += step.length;
    return step.code_point;
  }

  Status item();
  Status open_group();
  Status inline_options();
  void close_group();
  Status escape();
  Status quantifier();
  bool interval(unsigned& low, std::optional<unsigned>& high);
  Result<char32_t> escaped_character();
  Result<std::optional<CodePointSet>> escaped_set();  // \d \w \s \h \p{…} and their opposites
  Result<CodePointSet> property(std::string_view name);
  Result<CodePointSet> bracket(int depth);
  Result<CodePointSet> bracket_items(int depth);
  Result<std::optional<CodePointSet>> posix_bracket();

  Status emit_set(CodePointSet set);
  void emit(std::string syntax) { result_.items.push_back({-1, std::move(syntax)}); }
  int set_index(const CodePointSet& set);
  // Adds an assertion whose parts are sets: "(?<=" W ")" …
  void emit_parts(std::initializer_list<std::pair<std::string_view, const CodePointSet*>> parts);

  std::string_view pattern_;
  size_t at_ = 0;
  Options options_;
  std::vector<Group> groups_;
  RewrittenRegex result_;
  CaseVariants case_variants_;
  std::unordered_map<std::string, CodePointSet> properties_;  // those met, by name
  size_t atom_ = 0;  // first item of what a quantifier would repeat
  bool has_atom_ = false;
};

int Rewriter::set_index(const CodePointSet& set) {
  const auto known = std::find(result_.sets.begin(), result_.sets.end(), set);
  const auto index = static_cast<int>(known - result_.sets.begin());
  if (known == result_.sets.end()) result_.sets.push_back(set);
  return index;
}

Status Rewriter::emit_set(CodePointSet set) {
  atom_ = result_.items.size();
  has_atom_ = true;
  result_.items.push_back({set_index(set), {}});
  if (result_.sets.size() > kMaxSets) {
    return error("more than " + std::to_string(kMaxSets) + " different sets of characters");
  }
  return {};
}

void Rewriter::emit_parts(
    std::initializer_list<std::pair<std::string_view, const CodePointSet*>> parts) {
  atom_ = result_.items.size();
  has_atom_ = true;
  for (const auto& [syntax, set] : parts) {
    if (!syntax.empty()) emit(std::string(syntax));
    if (set != nullptr) result_.items.push_back({set_index(*set), {}});
  }
}

Result<RewrittenRegex> Rewriter::run() {
  while (!at_end()) SPLITD_TRY(item());
  if (!groups_.empty() && groups_.back().begin != SIZE_MAX) return error("a group without ')'");
  while (!groups_.empty()) close_group();
  return std::move(result_);
}

Status Rewriter::item() {
  if (options_.extended) {
    const char c = peek();
    if (c == ' ' || (c >= '\t' && c <= '\r')) {
      ++at_;
      return {};
    }
    if (c == '#') {
      while (!at_end() && peek() != '\n') ++at_;
      return {};
    }
  }
  const CodePointSet newline = CodePointSet::of('\n');
  switch (peek()) {
    case '\\':
      return escape();
    case '[': {
      ++at_;
      SPLITD_ASSIGN(CodePointSet set, bracket(0));
      return emit_set(std::move(set));
    }
    case '.':
      ++at_;
      return emit_set(options_.dot_matches_newline ? CodePointSet::all() : newline.inverted());
    case '(':
      return open_group();
    case ')':
      if (groups_.empty() || groups_.back().begin == SIZE_MAX) return error("')' without a group");
      ++at_;
      close_group();
      return {};
    case '|':
      ++at_;
      emit("|");
      has_atom_ = false;
      return {};
    case '^':
      ++at_;
      emit_parts({{"(?:\\A|(?<=", &newline}, {")(?!\\z))", nullptr}});
      return {};
    case '$':
      ++at_;
      emit_parts({{"(?:\\z|(?=", &newline}, {"))", nullptr}});
      return {};
    case '*':
    case '+':
    case '?':
      return quantifier();
    case '{': {
      const size_t begin = at_;
      unsigned low = 0;
      std::optional<unsigned> high;
      const bool is_interval = interval(low, high);
      at_ = begin;
      if (is_interval) return quantifier();
      break;
    }
    default:
      break;
  }
  const CodePointSet set = CodePointSet::of(next_character());
  return emit_set(options_.ignore_case ? case_variants_.add_to(set) : set);
}

Status Rewriter::open_group() {
  if (groups_.size() >= kMaxDepth) return error("groups nested too deep");
  ++at_;
  const size_t begin = result_.items.size();
  if (peek() != '?') {
    if (peek() == '*') return error("(*…) is not supported");
    groups_.push_back({options_, begin});
    emit("(?:");  // nothing can refer to it
    has_atom_ = false;
    return {};
  }
  ++at_;
  if (accept("#")) {
    const size_t end = pattern_.find(')', at_);
    if (end == std::string_view::npos) return error("a comment without ')'");
    at_ = end + 1;
    return {};
  }
  for (const std::string_view opening : {":", "=", "!", ">", "<=", "<!"}) {
    if (!accept(opening)) continue;
    groups_.push_back({options_, begin});
    emit("(?" + std::string(opening));
    has_atom_ = false;
    return {};
  }
  if (peek() == '<' || peek() == '\'') {
    const char closing = peek() == '<' ? '>' : '\'';
    const size_t end = pattern_.find(closing, at_ + 1);
    if (end == std::string_view::npos || end == at_ + 1) return error("a group without a name");
    at_ = end + 1;
    groups_.push_back({options_, begin});
    emit("(?:");
    has_atom_ = false;
    return {};
  }
  return inline_options();
}

// (?im-x) or (?im-x:…), after the question mark.
Status Rewriter::inline_options() {
  Options changed = options_;
  bool on = true;
  for (; !at_end() && peek() != ')' && peek() != ':'; ++at_) {
    switch (peek()) {
      case '-':
        on = false;
        break;
      case 'i':
        changed.ignore_case = on;
        break;
      case 'm':
        changed.dot_matches_newline = on;
        break;
      case 'x':
        changed.extended = on;
        break;
      default:
        return error("an unsupported kind of group");
    }
  }
  if (at_end()) return error("a group without ')'");
  const size_t begin = result_.items.size();
  if (peek() == ':') {
    groups_.push_back({options_, begin});
  } else if (groups_.empty()) {
    groups_.push_back({options_, SIZE_MAX});  // ends with the pattern
    // All that follows, alternatives too, belongs to the option: a(?i)b|c is a(?i:b|c).
  } else {
    ++groups_.back().extra_closings;
  }
  ++at_;
  emit("(?:");
  has_atom_ = false;
  options_ = changed;
  return {};
}

void Rewriter::close_group() {
  const Group group = groups_.back();
  groups_.pop_back();
  for (int i = 0; i < group.extra_closings + 1; ++i) emit(")");
  options_ = group.outside;
  atom_ = group.begin == SIZE_MAX ? 0 : group.begin;
  has_atom_ = true;
}

// {n} {n,} {n,m} {,m}; false (and anywhere) when the brace is an ordinary character.
bool Rewriter::interval(unsigned& low, std::optional<unsigned>& high) {
  ++at_;
  const auto number = [this]() -> std::optional<unsigned> {
    std::optional<unsigned> value;
    while (peek() >= '0' && peek() <= '9') {
      const unsigned next = value.value_or(0) * 10 + static_cast<unsigned>(peek() - '0');
      value = std::min(next, kMaxRepeat + 1);
      ++at_;
    }
    return value;
  };
  const std::optional<unsigned> first = number();
  const bool has_comma = accept(",");
  const std::optional<unsigned> second = has_comma ? number() : first;
  if (!accept("}") || (!first && !second)) return false;
  low = first.value_or(0);
  high = second;
  return true;
}

Status Rewriter::quantifier() {
  if (!has_atom_) return error("nothing to repeat");
  std::string repeat;
  bool is_interval = false;
  bool is_fixed = false;
  if (peek() == '{') {
    unsigned low = 0;
    std::optional<unsigned> high;
    (void)interval(low, high);
    if (low > kMaxRepeat || high.value_or(0) > kMaxRepeat) {
      return error("a repetition beyond " + std::to_string(kMaxRepeat));
    }
    if (high && *high < low) return error("a repetition {n,m} with m below n");
    repeat = "{" + std::to_string(low) + "," + (high ? std::to_string(*high) : "") + "}";
    is_interval = true;
    is_fixed = high == low;
  } else {
    repeat = peek();
    ++at_;
  }
  // Repeating a repetition needs brackets in PCRE2, where x*+ and x{2}+ are possessive.
  const auto wrap = [this] {
    result_.items.insert(result_.items.begin() + static_cast<std::ptrdiff_t>(atom_), {-1, "(?:"});
    emit(")");
  };
  emit(repeat);
  if (peek() == '?') {
    ++at_;
    if (is_fixed) {  // {n}? is {n}, or nothing
      wrap();
      emit("?");
    } else {
      result_.items.back().syntax += '?';
    }
  } else if (peek() == '+' && !is_interval) {
    ++at_;
    result_.items.back().syntax += '+';
  }
  if (peek() == '*' || peek() == '+' || peek() == '?' || peek() == '{') wrap();
  return {};
}

Result<CodePointSet> Rewriter::property(std::string_view name) {
  const auto known = properties_.find(std::string(name));
  if (known != properties_.end()) return known->second;
  if (properties_.size() >= kMaxProperties) {
    return error("more than " + std::to_string(kMaxProperties) + " properties");
  }
  std::optional<CodePointSet> set = unicode_property(name);
  if (!set) return error("an unknown property \\p{" + std::string(name.substr(0, 64)) + "}");
  properties_.emplace(name, *set);
  return std::move(*set);
}

Result<std::optional<CodePointSet>> Rewriter::escaped_set() {
  const char c = peek();
  std::optional<CodePointSet> set;
  switch (c) {
    case 'd':
    case 'D':
      set = unicode_property("Nd");
      break;
    case 'w':
    case 'W':
      set = oniguruma_word();
      break;
    case 's':
    case 'S':
      set = white_space();
      break;
    case 'h':
    case 'H':
      set = unicode_property("XDigit");
      break;
    case 'p':
    case 'P': {
      if (peek(1) != '{') return set;
      const size_t end = pattern_.find('}', at_);
      if (end == std::string_view::npos) return error("\\p{ without '}'");
      std::string_view name = pattern_.substr(at_ + 2, end - at_ - 2);
      bool opposite = c == 'P';
      if (!name.empty() && name.front() == '^') {
        opposite = !opposite;
        name.remove_prefix(1);
      }
      SPLITD_ASSIGN(set, property(name));
      at_ = end + 1;
      if (opposite) set = set->inverted();
      return set;
    }
    default:
      return set;
  }
  ++at_;
  if (c >= 'A' && c <= 'Z') set = set->inverted();
  return set;
}

// What follows a backslash when it is one character.
Result<char32_t> Rewriter::escaped_character() {
  const auto digits = [this](size_t most, unsigned base) {
    char32_t value = 0;
    size_t count = 0;
    for (; count < most; ++count, ++at_) {
      const char c = peek();
      const char lower = static_cast<char>(c | 0x20);
      unsigned digit = 99;
      if (c >= '0' && c <= '9') digit = static_cast<unsigned>(c - '0');
      if (lower >= 'a' && lower <= 'f') digit = static_cast<unsigned>(lower - 'a' + 10);
      if (digit >= base) break;
      value = std::min<char32_t>(value * base + digit, kLastCodePoint + 1);
    }
    return std::pair(value, count);
  };
  const char c = peek();
  switch (c) {
    case 't':
      ++at_;
      return U'\t';
    case 'n':
      ++at_;
      return U'\n';
    case 'r':
      ++at_;
      return U'\r';
    case 'f':
      ++at_;
      return U'\f';
    case 'v':
      ++at_;
      return U'\v';
    case 'a':
      ++at_;
      return U'\a';
    case 'e':
      ++at_;
      return char32_t{0x1b};
    case 'c':
      ++at_;
      if (at_end() || static_cast<uint8_t>(peek()) >= 0x80) return error("\\c without a letter");
      return static_cast<char32_t>(pattern_[at_++] & 0x1f);
    case 'x':
    case 'u': {
      ++at_;
      const bool braces = c == 'x' && accept("{");
      const auto [value, count] = digits(braces ? 8 : c == 'x' ? 2 : 4, 16);
      const bool complete = braces ? accept("}") && count > 0 : c == 'x' || count == 4;
      const bool surrogate = value >= 0xd800 && value <= 0xdfff;
      const bool raw_byte = !braces && c == 'x' && value >= 0x80;
      if (!complete || value > kLastCodePoint || surrogate || raw_byte) {
        return error("not a character: use \\x{…} with a code point");
      }
      return value;
    }
    case '0':
    case '1':
    case '2':
    case '3':
    case '4':
    case '5':
    case '6':
    case '7': {
      const auto [value, count] = digits(3, 8);
      if (value >= 0x80) return error("not a character: use \\x{…} with a code point");
      return value;
    }
    default:
      if (at_end()) return error("a backslash at the end");
      return next_character();
  }
}

Status Rewriter::escape() {
  ++at_;
  const CodePointSet newline = CodePointSet::of('\n');
  const CodePointSet word = oniguruma_word();
  const auto anchor = [this](std::string syntax) {
    ++at_;
    atom_ = result_.items.size();
    has_atom_ = true;
    emit(std::move(syntax));
    return Status();
  };
  switch (peek()) {
    case 'A':
    case 'z':
    case 'G':
      return anchor(std::string("\\") + peek());
    case 'Z':
      ++at_;
      emit_parts({{"(?=", &newline}, {"?\\z)", nullptr}});
      return {};
    case 'b':
      ++at_;
      emit_parts({{"(?:(?<=", &word},
                  {")(?!", &word},
                  {")|(?<!", &word},
                  {")(?=", &word},
                  {"))", nullptr}});
      return {};
    case 'B':
      ++at_;
      emit_parts({{"(?:(?<=", &word},
                  {")(?=", &word},
                  {")|(?<!", &word},
                  {")(?!", &word},
                  {"))", nullptr}});
      return {};
    case 'N':
      ++at_;
      return emit_set(newline.inverted());
    case 'O':
      ++at_;
      return emit_set(CodePointSet::all());
    case 'R': {
      ++at_;
      const CodePointSet carriage_return = CodePointSet::of('\r');
      const CodePointSet any({{'\n', '\r'}, {0x85, 0x85}, {0x2028, 0x2029}});
      emit_parts({{"(?>", &carriage_return}, {"", &newline}, {"|", &any}, {")", nullptr}});
      return {};
    }
    case 'K':
    case 'X':
    case 'y':
    case 'Y':
    case 'k':
    case 'g':
    case 'M':
    case 'C':
      return error(std::string("\\") + peek() + " is not supported");
    default:
      break;
  }
  if (peek() >= '1' && peek() <= '9') {
    const bool octal = peek() <= '7' && peek(1) >= '0' && peek(1) <= '7';
    if (!octal) return error("back references are not supported");
  }
  SPLITD_ASSIGN(std::optional<CodePointSet> set, escaped_set());
  if (!set) {
    SPLITD_ASSIGN(const char32_t c, escaped_character());
    set = CodePointSet::of(c);
  }
  return emit_set(options_.ignore_case ? case_variants_.add_to(*set) : std::move(*set));
}

// [:name:] or [:^name:], at the colon; nothing when it is not one.
Result<std::optional<CodePointSet>> Rewriter::posix_bracket() {
  std::optional<CodePointSet> none;
  const size_t end = pattern_.find(":]", at_ + 1);
  if (peek() != ':' || end == std::string_view::npos || end - at_ > 20) return none;
  std::string_view name = pattern_.substr(at_ + 1, end - at_ - 1);
  const bool opposite = !name.empty() && name.front() == '^';
  if (opposite) name.remove_prefix(1);
  const bool letters =
      std::all_of(name.begin(), name.end(), [](char c) { return c >= 'a' && c <= 'z'; });
  if (!letters || name.empty()) return none;
  std::optional<CodePointSet> set = posix_class(name);
  if (!set) return error("an unknown class [:" + std::string(name) + ":]");
  at_ = end + 2;
  if (opposite) set = set->inverted();
  return set;
}

// After '['; up to and with ']'.
Result<CodePointSet> Rewriter::bracket(int depth) {
  if (depth >= kMaxDepth) return error("classes nested too deep");
  const bool opposite = accept("^");
  SPLITD_ASSIGN(CodePointSet set, bracket_items(depth));
  while (accept("&&")) {
    SPLITD_ASSIGN(const CodePointSet other, bracket_items(depth));
    set = set.intersected(other);
  }
  if (!accept("]")) return error("a class without ']'");
  if (options_.ignore_case) set = case_variants_.add_to(set);
  return opposite ? set.inverted() : std::move(set);
}

// The union of what stands before ']' or "&&".
Result<CodePointSet> Rewriter::bracket_items(int depth) {
  std::vector<CodePointRange> ranges;
  const auto add = [&ranges](const CodePointSet& set) {
    ranges.insert(ranges.end(), set.ranges().begin(), set.ranges().end());
  };
  bool first = true;
  while (true) {
    if (at_end()) return error("a class without ']'");
    const bool closes =
        peek() == ']' && !(first && pattern_.find(']', at_ + 1) != std::string_view::npos);
    if (closes || (peek() == '&' && peek(1) == '&')) break;
    first = false;
    std::optional<char32_t> low;
    if (accept("[")) {
      SPLITD_ASSIGN(std::optional<CodePointSet> named, posix_bracket());
      if (!named) {
        SPLITD_ASSIGN(named, bracket(depth + 1));
      }
      add(*named);
    } else if (accept("\\")) {
      SPLITD_ASSIGN(const std::optional<CodePointSet> set, escaped_set());
      if (set) {
        add(*set);
      } else if (accept("b")) {
        low = U'\b';
      } else {
        SPLITD_ASSIGN(low, escaped_character());
      }
    } else {
      low = next_character();
    }
    if (!low) continue;
    // A range, unless the hyphen is the last thing in the class.
    if (peek() == '-' && peek(1) != ']' && at_ + 1 < pattern_.size() &&
        !(peek(1) == '&' && peek(2) == '&')) {
      ++at_;
      char32_t high = 0;
      if (peek() == '[') return error("a class as the end of a range");
      if (accept("\\")) {
        SPLITD_ASSIGN(const std::optional<CodePointSet> set, escaped_set());
        if (set) return error("a class as the end of a range");
        SPLITD_ASSIGN(high, escaped_character());
      } else {
        high = next_character();
      }
      if (high < *low) return error("an empty range in a class");
      ranges.push_back({*low, high});
    } else {
      ranges.push_back({*low, *low});
    }
  }
  return CodePointSet(std::move(ranges));
}

}  // namespace

Result<RewrittenRegex> rewrite_regex(std::string_view pattern) {
  return Rewriter(pattern).run();
}

}  // namespace splitd::tok
