// Source text → tokens. The order in which things are tried is that of Jinja's lexer.
#include "runtime/model/chat/lexer.h"

#include <charconv>

#include "runtime/base/utf8.h"
#include "runtime/model/chat/number.h"
#include "runtime/model/chat/unicode.h"

namespace splitd::jinja {
namespace {

bool is_ascii_digit(char c) {
  return c >= '0' && c <= '9';
}

// End of digits with single underscores between them; `from` when there are none.
template <class IsDigit>
size_t digits_end(std::string_view text, size_t from, IsDigit is_digit) {
  size_t at = from;
  while (at < text.size()) {
    if (is_digit(text[at])) {
      ++at;
    } else if (text[at] == '_' && at > from && at + 1 < text.size() && is_digit(text[at + 1])) {
      at += 2;
    } else {
      break;
    }
  }
  return at;
}

// Length of the name at the start, 0 when there is none.
size_t name_length(std::string_view text) {
  size_t at = 0;
  while (at < text.size()) {
    const Utf8Step step = utf8_decode(text.substr(at));
    const char32_t c = step.code_point;
    const bool part = c < 0x80 ? c == '_' || is_ascii_digit(static_cast<char>(c)) ||
                                     ((c | 0x20) >= 'a' && (c | 0x20) <= 'z')
                      : at == 0 ? is_identifier_start(c)
                                : is_identifier_part(c);
    if (!part) break;
    at += step.length;
  }
  return at;
}

// After `from`: optional sign, whitespace, `word`, whitespace. Position behind it, or npos; `sign`
// is '-', '+' or 0.
size_t tag_word_end(std::string_view source, size_t from, std::string_view word, char& sign) {
  sign = 0;
  if (from < source.size() && (source[from] == '-' || source[from] == '+')) sign = source[from++];
  from += leading_space(source.substr(from));
  if (source.substr(from, word.size()) != word) return std::string_view::npos;
  from += word.size();
  return from + leading_space(source.substr(from));
}

}  // namespace

std::string normalize_source(std::string_view source) {
  std::string out;
  out.reserve(source.size());
  for (size_t i = 0; i < source.size(); ++i) {
    if (source[i] != '\r') {
      out += source[i];
      continue;
    }
    out += '\n';
    if (i + 1 < source.size() && source[i + 1] == '\n') ++i;
  }
  if (!out.empty() && out.back() == '\n') out.pop_back();
  return out;
}

Token Lexer::next() {
  if (!queued_.empty()) {
    const Token token = queued_.back();
    queued_.pop_back();
    return token;
  }
  return state_ == State::data ? data_token() : code_token();
}

void Lexer::trim_newline() {
  if (at_ < source_.size() && source_[at_] == '\n') ++at_;
  line_starting_ = source_[at_ - 1] == '\n';
}

// The text from at_ to `end`, where a tag with that sign begins.
std::string_view Lexer::read_data(size_t end, char sign, bool strips) {
  std::string_view text = source_.substr(at_, end - at_);
  if (sign == '-') {
    text.remove_suffix(trailing_space(text));
  } else if (sign != '+' && strips) {
    const size_t line = text.rfind('\n') + 1;  // 0 when there is none
    const std::string_view last = text.substr(line);
    if ((line > 0 || line_starting_) && leading_space(last) == last.size())
      text = text.substr(0, line);
  }
  return text;
}

// `begin` is behind the sign of a comment's start.
void Lexer::skip_comment(size_t begin) {
  const size_t end = source_.find("#}", begin);
  if (end == std::string_view::npos) {
    if (begin == source_.size()) return;  // Jinja misses only an end that has something before it
    fail_syntax("missing end of comment tag", static_cast<uint32_t>(at_));
  }
  at_ = end + 2;
  const char sign = end > begin ? source_[end - 1] : '\0';
  if (sign == '-') {
    at_ += leading_space(source_.substr(at_));
    line_starting_ = source_[at_ - 1] == '\n';
  } else if (sign == '+') {
    line_starting_ = false;
  } else {
    trim_newline();
  }
}

// Whether a raw block begins at `begin`. Its text becomes `token`, or is queued behind the text
// before it.
bool Lexer::read_raw(size_t begin, Token& token, std::string_view before) {
  char sign;
  const size_t word = tag_word_end(source_, begin + 2, "raw", sign);
  if (word == std::string_view::npos) return false;
  const bool strips = source_.substr(word, 3) == "-%}";
  if (!strips && source_.substr(word, 2) != "%}") return false;
  const Token first{TokenKind::data, static_cast<uint32_t>(at_), before};
  at_ = word + (strips ? 3 : 2);
  if (strips) at_ += leading_space(source_.substr(at_));
  line_starting_ = source_[at_ - 1] == '\n';

  for (size_t at = source_.find("{%", at_); at != std::string_view::npos;
       at = source_.find("{%", at + 1)) {
    const size_t end = tag_word_end(source_, at + 2, "endraw", sign);
    if (end == std::string_view::npos) continue;
    const std::string_view close = source_.substr(end, 3);
    const bool minus = close == "-%}";
    const bool plus = close == "+%}";
    if (!minus && !plus && close.substr(0, 2) != "%}") continue;
    const Token raw{TokenKind::data, static_cast<uint32_t>(at_), read_data(at, sign, true)};
    at_ = end + (minus || plus ? 3 : 2);
    if (minus) at_ += leading_space(source_.substr(at_));
    if (minus || plus) {
      line_starting_ = source_[at_ - 1] == '\n';
    } else {
      trim_newline();
    }
    token = first;
    queued_.push_back(raw);
    return true;
  }
  if (at_ < source_.size()) {
    fail_syntax("missing end of raw directive", static_cast<uint32_t>(begin));
  }
  token = first;
  return true;
}

Token Lexer::data_token() {
  while (at_ < source_.size()) {
    size_t begin = source_.find('{', at_);
    while (begin != std::string_view::npos &&
           (begin + 1 >= source_.size() ||
            std::string_view("%#{").find(source_[begin + 1]) == std::string_view::npos)) {
      begin = source_.find('{', begin + 1);
    }
    const uint32_t offset = static_cast<uint32_t>(at_);
    if (begin == std::string_view::npos) {
      const Token rest{TokenKind::data, offset, source_.substr(at_)};
      at_ = source_.size();
      return rest;
    }
    const char what = source_[begin + 1];
    const char next = begin + 2 < source_.size() ? source_[begin + 2] : '\0';
    const char sign = next == '-' || next == '+' ? next : '\0';
    const std::string_view before = read_data(begin, sign, what != '{');
    Token token{TokenKind::data, offset, before};
    if (what == '%' && read_raw(begin, token, before)) {
      return token;
    }
    at_ = begin + (sign != 0 ? 3 : 2);
    line_starting_ = false;
    if (what == '#') {
      skip_comment(at_);
      if (!before.empty()) return token;
      continue;
    }
    state_ = what == '%' ? State::block : State::print;
    const Token tag{what == '%' ? TokenKind::block_begin : TokenKind::print_begin,
                    static_cast<uint32_t>(begin), source_.substr(begin, 2)};
    if (before.empty()) return tag;
    queued_.push_back(tag);
    return token;
  }
  return {TokenKind::end, static_cast<uint32_t>(source_.size()), {}};
}

bool Lexer::ends_code(Token& token) {
  if (!open_.empty()) return false;
  const std::string_view rest = source_.substr(at_, 3);
  const bool block = state_ == State::block;
  const std::string_view close = block ? "%}" : "}}";
  const char sign = rest.empty() ? '\0' : rest[0];
  const bool signed_end = (sign == '-' || (block && sign == '+')) && rest.substr(1) == close;
  if (!signed_end && rest.substr(0, 2) != close) return false;
  token = {block ? TokenKind::block_end : TokenKind::print_end, static_cast<uint32_t>(at_), close};
  at_ += signed_end ? 3 : 2;
  state_ = State::data;
  if (signed_end && sign == '-') at_ += leading_space(source_.substr(at_));
  if (!signed_end && block) {
    trim_newline();
  } else {
    line_starting_ = source_[at_ - 1] == '\n';
  }
  return true;
}

size_t Lexer::number_length(bool& is_real) const {
  const std::string_view rest = source_.substr(at_);
  const auto decimal = [](char c) { return is_ascii_digit(c); };
  is_real = false;
  const size_t whole = digits_end(rest, 0, decimal);
  if (whole == 0) return 0;
  if (at_ == 0 || source_[at_ - 1] != '.') {
    size_t end = whole;
    if (end < rest.size() && rest[end] == '.') {
      const size_t fraction = digits_end(rest, end + 1, decimal);
      if (fraction > end + 1) end = fraction;
    }
    if (end < rest.size() && (rest[end] | 0x20) == 'e') {
      size_t exponent = end + 1;
      if (exponent < rest.size() && (rest[exponent] == '+' || rest[exponent] == '-')) ++exponent;
      const size_t stop = digits_end(rest, exponent, decimal);
      if (stop > exponent) end = stop;
    }
    if (end > whole) {
      is_real = true;
      return end;
    }
  }
  if (rest[0] != '0') return whole;
  if (rest.size() > 2) {
    const auto in = [](std::string_view digits) {
      return [digits](char c) { return digits.find(c) != std::string_view::npos; };
    };
    // One underscore may follow the prefix.
    const size_t begin = rest[2] == '_' ? 3 : 2;
    const char letter = static_cast<char>(rest[1] | 0x20);
    size_t end = begin;
    if (letter == 'b') end = digits_end(rest, begin, in("01"));
    if (letter == 'o') end = digits_end(rest, begin, in("01234567"));
    if (letter == 'x') end = digits_end(rest, begin, in("0123456789abcdefABCDEF"));
    if (end > begin) return end;
  }
  return digits_end(rest, 0, [](char c) { return c == '0'; });
}

Token Lexer::code_token() {
  Token token;
  if (ends_code(token)) return token;
  at_ += leading_space(source_.substr(at_));
  if (ends_code(token)) return token;
  const uint32_t offset = static_cast<uint32_t>(at_);
  if (at_ >= source_.size()) return {TokenKind::end, offset, {}};

  bool is_real;
  size_t length = number_length(is_real);
  TokenKind kind = is_real ? TokenKind::real : TokenKind::integer;
  if (length == 0) {
    length = name_length(source_.substr(at_));
    kind = TokenKind::name;
  }
  const char quote = source_[at_];
  if (length == 0 && (quote == '\'' || quote == '"')) {
    size_t end = at_ + 1;
    while (end < source_.size() && source_[end] != quote) end += source_[end] == '\\' ? 2 : 1;
    if (end >= source_.size()) fail_syntax("this string has no end", offset);
    length = end + 1 - at_;
    kind = TokenKind::string;
  }
  if (length == 0) return operator_token();
  token = {kind, offset, source_.substr(at_, length)};
  at_ += length;
  return token;
}

Token Lexer::operator_token() {
  struct Operator {
    std::string_view text;
    TokenKind kind;
  };
  static constexpr Operator kOperators[] = {
      {"//", TokenKind::floor_divide},
      {"**", TokenKind::power},
      {"==", TokenKind::eq},
      {"!=", TokenKind::ne},
      {">=", TokenKind::ge},
      {"<=", TokenKind::le},
      {"+", TokenKind::add},
      {"-", TokenKind::subtract},
      {"/", TokenKind::divide},
      {"*", TokenKind::multiply},
      {"%", TokenKind::modulo},
      {"~", TokenKind::tilde},
      {"[", TokenKind::left_bracket},
      {"]", TokenKind::right_bracket},
      {"(", TokenKind::left_paren},
      {")", TokenKind::right_paren},
      {"{", TokenKind::left_brace},
      {"}", TokenKind::right_brace},
      {">", TokenKind::gt},
      {"<", TokenKind::lt},
      {"=", TokenKind::assign},
      {".", TokenKind::dot},
      {":", TokenKind::colon},
      {"|", TokenKind::pipe},
      {",", TokenKind::comma},
      {";", TokenKind::semicolon},
  };
  const uint32_t offset = static_cast<uint32_t>(at_);
  const std::string_view rest = source_.substr(at_);
  for (const Operator& op : kOperators) {
    if (rest.substr(0, op.text.size()) != op.text) continue;
    const char c = op.text[0];
    if (c == '(' || c == '[' || c == '{') {
      open_.push_back(c == '(' ? ')' : c == '[' ? ']' : '}');
    } else if (c == ')' || c == ']' || c == '}') {
      if (open_.empty()) fail_syntax("unexpected " + quoted(op.text), offset);
      if (open_.back() != c) {
        fail_syntax("unexpected " + quoted(op.text) + ", expected " + quoted({&open_.back(), 1}),
                    offset);
      }
      open_.pop_back();
    }
    at_ += op.text.size();
    return {op.kind, offset, op.text};
  }
  const Utf8Step step = utf8_decode(rest);
  fail_syntax("unexpected character " + quoted(rest.substr(0, step.length)), offset);
}

int128 integer_value(const Token& token) {
  try {
    const std::optional<int128> value = parse_int(token.text, 0);
    if (value) return *value;
  } catch (const Failure& failure) {
    fail_syntax(failure.message, token.offset);
  }
  fail_syntax("not a number: " + std::string(token.text), token.offset);
}

double real_value(const Token& token) {
  const std::optional<double> value = parse_float(token.text);
  if (!value) fail_syntax("not a number: " + std::string(token.text), token.offset);
  return *value;
}

// The character of an escape with `length` hexadecimal digits at `at`.
static char32_t hex_escape(const Token& token, std::string_view text, size_t at, size_t length) {
  uint32_t value = 0;
  const char* const begin = text.data() + at;
  const bool fits = at + length <= text.size();
  const char* const end = begin + (fits ? length : 0);
  const auto [stop, error] = std::from_chars(begin, end, value, 16);
  if (!fits || stop != end || error != std::errc()) {
    fail_syntax("truncated \\x, \\u or \\U escape in a string", token.offset);
  }
  if (value > 0x10ffff || (value >= 0xd800 && value < 0xe000)) {
    fail_syntax("an escape in a string is no Unicode character", token.offset);
  }
  return value;
}

// What follows a backslash at text[at]; returns the position behind it.
static size_t append_escape(const Token& token, std::string_view text, size_t at,
                            std::string& out) {
  const char c = text[at];
  constexpr std::string_view kLetters = "\\'\"abfnrtv";
  constexpr std::string_view kMeanings = "\\'\"\a\b\f\n\r\t\v";
  if (const size_t i = kLetters.find(c); i != std::string_view::npos) {
    out += kMeanings[i];
    return at + 1;
  }
  if (c == '\n') return at + 1;
  if (c == 'x' || c == 'u' || c == 'U') {
    const size_t length = c == 'x' ? 2 : c == 'u' ? 4 : 8;
    utf8_append(out, hex_escape(token, text, at + 1, length));
    return at + 1 + length;
  }
  if (c >= '0' && c <= '7') {
    char32_t value = 0;
    size_t end = at;
    for (; end < text.size() && end < at + 3 && text[end] >= '0' && text[end] <= '7'; ++end) {
      value = value * 8 + static_cast<char32_t>(text[end] - '0');
    }
    utf8_append(out, value);
    return end;
  }
  if (c == 'N') fail_syntax("\\N{…} escapes are not supported", token.offset);
  out += '\\';
  if (static_cast<unsigned char>(c) < 0x80) return at;
  // Jinja turns what is not ASCII into an escape first, whose backslash this one then swallows.
  const Utf8Step step = utf8_decode(text.substr(at));
  const std::string digits = uint_text(step.code_point, 16);
  const size_t width = step.code_point < 0x100 ? 2 : step.code_point < 0x10000 ? 4 : 8;
  out += width == 2 ? 'x' : width == 4 ? 'u' : 'U';
  out += std::string(width - digits.size(), '0') + digits;
  return at + step.length;
}

std::string unescape_string(const Token& token) {
  const std::string_view text = token.text.substr(1, token.text.size() - 2);
  std::string out;
  for (size_t i = 0; i < text.size();) {
    const size_t backslash = std::min(text.find('\\', i), text.size());
    out += text.substr(i, backslash - i);
    i = backslash;
    if (i < text.size()) i = append_escape(token, text, i + 1, out);
  }
  return out;
}

std::string describe(const Token& token) {
  switch (token.kind) {
    case TokenKind::end:
      return "end of template";
    case TokenKind::data:
      return "template data";
    case TokenKind::block_begin:
      return "begin of statement block";
    case TokenKind::block_end:
      return "end of statement block";
    case TokenKind::print_begin:
      return "begin of print statement";
    case TokenKind::print_end:
      return "end of print statement";
    default:
      return quoted(token.text.substr(0, utf8_valid_prefix(token.text.substr(0, 40))));
  }
}

}  // namespace splitd::jinja
