// Owns: the template's source as tokens, with the whitespace rules of chat templates (trim_blocks,
// lstrip_blocks, the signs - and +, one final newline dropped). Tokens come one at a time, so a
// large template costs no list of them. Fails with the offset of what it cannot read.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/model/chat/value.h"

namespace splitd::jinja {

enum class TokenKind : uint8_t {
  end,
  data,
  block_begin,
  block_end,
  print_begin,
  print_end,
  name,
  string,
  integer,
  real,
  // operators
  add,
  subtract,
  divide,
  floor_divide,
  multiply,
  modulo,
  power,
  tilde,
  left_bracket,
  right_bracket,
  left_paren,
  right_paren,
  left_brace,
  right_brace,
  eq,
  ne,
  gt,
  ge,
  lt,
  le,
  assign,
  dot,
  colon,
  pipe,
  comma,
  semicolon,
};

struct Token {
  TokenKind kind = TokenKind::end;
  uint32_t offset = 0;
  std::string_view text;  // of the source; data: what is left of it after stripping
};

// The source with \r\n and \r as \n and without its last newline.
std::string normalize_source(std::string_view source);

// Content of a string token: its escapes as Python reads them.
std::string unescape_string(const Token& token);
int128 integer_value(const Token& token);
double real_value(const Token& token);

// "end of template", "'foo'", …: for messages.
std::string describe(const Token& token);

class Lexer {
 public:
  explicit Lexer(std::string_view normalized) : source_(normalized) {}
  Token next();

 private:
  enum class State : uint8_t { data, block, print };

  Token data_token();
  Token code_token();
  bool ends_code(Token& token);
  std::string_view read_data(size_t end, char sign, bool strips);
  void skip_comment(size_t begin);
  bool read_raw(size_t begin, Token& token, std::string_view before);
  void trim_newline();
  Token operator_token();
  size_t number_length(bool& is_real) const;

  std::string_view source_;
  size_t at_ = 0;
  State state_ = State::data;
  bool line_starting_ = true;
  bool after_dot_ = false;
  std::vector<char> open_;     // brackets
  std::vector<Token> queued_;  // tokens that follow the one just returned, last first
};

}  // namespace splitd::jinja
