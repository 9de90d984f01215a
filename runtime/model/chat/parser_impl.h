// Owns: the parser's state and its rules, between parser.cpp (statements) and
// parser_expressions.cpp.
#pragma once

#include <initializer_list>
#include <string>
#include <vector>

#include "runtime/model/chat/ast.h"
#include "runtime/model/chat/lexer.h"

namespace splitd::jinja {

class Parser {
 public:
  Parser(std::string_view source, Arena& arena) : lexer_(source), arena_(arena) { advance(); }

  Body parse_template();

 private:
  using Words = std::initializer_list<std::string_view>;
  class Deeper;

  // Tokens.
  void advance();
  const Token& peek();
  bool at(TokenKind kind) const { return current_.kind == kind; }
  bool at_word(std::string_view word) const {
    return current_.kind == TokenKind::name && current_.text == word;
  }
  bool skip(TokenKind kind);
  bool skip_word(std::string_view word);
  Token expect(TokenKind kind, std::string_view what);
  void expect_word(std::string_view word);
  [[noreturn]] void fail_here(const std::string& message) const;

  // Statements: parser.cpp.
  Body parse_until(Words ends, std::string_view opener, uint32_t opener_offset);
  Body parse_block_body(Words ends, std::string_view opener, uint32_t opener_offset);
  Stmt* parse_statement();
  Stmt* parse_for(uint32_t offset);
  Stmt* parse_if(uint32_t offset);
  Stmt* parse_set(uint32_t offset);
  Stmt* parse_macro(uint32_t offset);
  Stmt* parse_call_block(uint32_t offset);
  Stmt* parse_generation(uint32_t offset);
  Stmt* parse_filter_block(uint32_t offset);
  Stmt* parse_with(uint32_t offset);
  Stmt* parse_print_tag(uint32_t offset);
  Stmt* parse_autoescape(uint32_t offset);
  void parse_signature(MacroCode& code);
  [[noreturn]] void refuse_statement(const Token& name) const;
  Stmt* group(std::vector<Stmt*> statements, uint32_t offset);
  Target* parse_target(bool in_for, bool with_attribute);
  Target* parse_one_target(bool with_attribute);
  const Text* name_text(const Token& token);

  // Expressions: parser_expressions.cpp.
  Expr* parse_expression(bool with_condition = true);
  Expr* parse_tuple(bool with_condition, bool parenthesised, std::string_view end_word = {});
  bool ends_tuple(std::string_view end_word) const;
  Expr* parse_or();
  Expr* parse_and();
  Expr* parse_not();
  Expr* parse_compare();
  Expr* parse_binary(int level);
  Expr* parse_unary(bool with_filters);
  Expr* parse_primary();
  Expr* parse_postfix(Expr* expr);
  Expr* parse_filters(Expr* expr);
  FilterExpr* parse_filter(Expr* input);
  Expr* parse_test(Expr* input);
  Expr* parse_subscript(Expr* object);
  Expr* parse_call(Expr* callee);
  Expr* parse_string();
  Expr* parse_list();
  Expr* parse_dict();
  CallArgs parse_arguments();
  std::string_view parse_dotted_name();

  template <class T>
  T* node(ExprKind kind, uint32_t offset);
  template <class T>
  T* statement(StmtKind kind, uint32_t offset);
  void hold(Expr& parent, const Expr* child);
  Expr* constant(const Value& value, uint32_t offset);

  Lexer lexer_;
  Arena& arena_;
  Token current_;
  Token ahead_;
  bool has_ahead_ = false;
  uint32_t expression_depth_ = 0;
  uint32_t statement_depth_ = 0;
  uint32_t loops_ = 0;      // around this place, inside the same function
  uint32_t for_loops_ = 0;  // around this place, also outside of a macro
};

class Parser::Deeper {
 public:
  Deeper(const Parser& parser, uint32_t& depth, uint32_t most, std::string_view what)
      : depth_(depth) {
    if (++depth_ > most) {
      --depth_;
      parser.fail_here(std::string(what) + " are nested more than " + std::to_string(most) +
                       " deep");
    }
  }
  Deeper(const Deeper&) = delete;
  Deeper& operator=(const Deeper&) = delete;
  ~Deeper() { --depth_; }

 private:
  uint32_t& depth_;
};

template <class T>
T* Parser::node(ExprKind kind, uint32_t offset) {
  T* const made = arena_.make<T>();
  made->kind = kind;
  made->offset = offset;
  return made;
}

template <class T>
T* Parser::statement(StmtKind kind, uint32_t offset) {
  T* const made = arena_.make<T>();
  made->kind = kind;
  made->offset = offset;
  return made;
}

}  // namespace splitd::jinja
