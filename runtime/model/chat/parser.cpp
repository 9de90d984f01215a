// Statements: what stands in {% … %}, and the text and {{ … }} between.
#include "runtime/model/chat/parser.h"

#include <algorithm>

#include "runtime/model/chat/parser_impl.h"

namespace splitd::jinja {

void Parser::advance() {
  if (has_ahead_) {
    current_ = ahead_;
    has_ahead_ = false;
  } else {
    current_ = lexer_.next();
  }
}

const Token& Parser::peek() {
  if (!has_ahead_) {
    ahead_ = lexer_.next();
    has_ahead_ = true;
  }
  return ahead_;
}

bool Parser::skip(TokenKind kind) {
  if (!at(kind)) return false;
  advance();
  return true;
}

bool Parser::skip_word(std::string_view word) {
  if (!at_word(word)) return false;
  advance();
  return true;
}

void Parser::fail_here(const std::string& message) const {
  fail_syntax(message, current_.offset);
}

Token Parser::expect(TokenKind kind, std::string_view what) {
  if (!at(kind)) fail_here("expected " + std::string(what) + ", got " + describe(current_));
  const Token token = current_;
  advance();
  return token;
}

void Parser::expect_word(std::string_view word) {
  if (!skip_word(word)) fail_here("expected " + quoted(word) + ", got " + describe(current_));
}

const Text* Parser::name_text(const Token& token) {
  return text_view(arena_, token.text, Taint::no);
}

Body Parser::parse_template() {
  return parse_until({}, {}, 0);
}

// Statements up to a tag that begins with one of `ends`, which becomes the current token.
Body Parser::parse_until(Words ends, std::string_view opener, uint32_t opener_offset) {
  std::vector<Stmt*> body;
  while (true) {
    const Token token = current_;
    switch (token.kind) {
      case TokenKind::data: {
        advance();
        if (token.text.empty()) break;
        DataStmt* const data = statement<DataStmt>(StmtKind::data, token.offset);
        data->text = text_view(arena_, token.text, Taint::no);
        body.push_back(data);
        break;
      }
      case TokenKind::print_begin: {
        advance();
        PrintStmt* const print = statement<PrintStmt>(StmtKind::print, token.offset);
        print->value = parse_tuple(true, false);
        expect(TokenKind::print_end, "end of print statement");
        body.push_back(print);
        break;
      }
      case TokenKind::block_begin:
        advance();
        if (current_.kind == TokenKind::name &&
            std::find(ends.begin(), ends.end(), current_.text) != ends.end()) {
          return arena_.copy(body);
        }
        body.push_back(parse_statement());
        expect(TokenKind::block_end, "end of statement block");
        break;
      default: {
        if (ends.size() == 0) return arena_.copy(body);
        std::string wanted;
        for (const std::string_view end : ends) {
          wanted += (wanted.empty() ? "" : " or ") + quoted(end);
        }
        fail_syntax("the template ends before the " + wanted + " of this " + quoted(opener),
                    opener_offset);
      }
    }
  }
}

Body Parser::parse_block_body(Words ends, std::string_view opener, uint32_t opener_offset) {
  skip(TokenKind::colon);  // as Jinja allows
  expect(TokenKind::block_end, "end of statement block");
  return parse_until(ends, opener, opener_offset);
}

Stmt* Parser::parse_statement() {
  const Deeper deeper(*this, statement_depth_, kMaxStatementDepth, "blocks");
  if (!at(TokenKind::name)) fail_here("expected the name of a tag, got " + describe(current_));
  const Token name = current_;
  advance();
  const std::string_view word = name.text;
  if (word == "for") return parse_for(name.offset);
  if (word == "if") return parse_if(name.offset);
  if (word == "set") return parse_set(name.offset);
  if (word == "macro") return parse_macro(name.offset);
  if (word == "call") return parse_call_block(name.offset);
  if (word == "generation") return parse_generation(name.offset);
  if (word == "filter") return parse_filter_block(name.offset);
  if (word == "with") return parse_with(name.offset);
  if (word == "print") return parse_print_tag(name.offset);
  if (word == "autoescape") return parse_autoescape(name.offset);
  if (word == "break" || word == "continue") {
    if (loops_ == 0) fail_syntax(quoted(word) + " outside of a loop", name.offset);
    return statement<Stmt>(word == "break" ? StmtKind::break_loop : StmtKind::continue_loop,
                           name.offset);
  }
  refuse_statement(name);
}

void Parser::refuse_statement(const Token& name) const {
  static constexpr std::string_view kOtherFiles[] = {"include", "import", "from", "extends"};
  if (std::find(std::begin(kOtherFiles), std::end(kOtherFiles), name.text) !=
      std::end(kOtherFiles)) {
    fail_syntax(quoted(name.text) + " is not supported: a chat template cannot use other files",
                name.offset);
  }
  if (name.text == "block") {
    fail_syntax("'block' is not supported: no template can extend a chat template", name.offset);
  }
  fail_syntax("unknown tag " + describe(name), name.offset);
}

Stmt* Parser::group(std::vector<Stmt*> statements, uint32_t offset) {
  BranchStmt* const stmt = statement<BranchStmt>(StmtKind::branch, offset);
  const std::vector<Branch> branches{{nullptr, arena_.copy(statements)}};
  stmt->branches = arena_.copy(branches);
  return stmt;
}

Target* Parser::parse_one_target(bool with_attribute) {
  const Token token = current_;
  Target* const target = arena_.make<Target>();
  target->offset = token.offset;
  if (skip(TokenKind::left_paren)) {
    std::vector<Target*> items;
    bool is_tuple = true;
    while (!at(TokenKind::right_paren)) {
      const Deeper deeper(*this, expression_depth_, kMaxExpressionDepth, "targets");
      items.push_back(parse_one_target(false));
      is_tuple = skip(TokenKind::comma);
      if (!is_tuple) break;
    }
    expect(TokenKind::right_paren, "')'");
    if (items.size() == 1 && !is_tuple) return items[0];
    target->kind = Target::Kind::tuple;
    target->items = arena_.copy(items);
    return target;
  }
  static constexpr std::string_view kConstants[] = {"true", "false", "none",
                                                    "True", "False", "None"};
  if (!at(TokenKind::name) ||
      std::find(std::begin(kConstants), std::end(kConstants), token.text) != std::end(kConstants)) {
    fail_here("can't assign to " + describe(token));
  }
  if (token.text == "loop" && for_loops_ > 0) fail_here("can't assign to 'loop' inside a for loop");
  advance();
  target->name = name_text(token);
  if (with_attribute && skip(TokenKind::dot)) {
    target->kind = Target::Kind::attribute;
    target->attribute = name_text(expect(TokenKind::name, "the name of an attribute"));
  }
  return target;
}

// Names separated by commas, up to "in", "=" or the tag's end.
Target* Parser::parse_target(bool in_for, bool with_attribute) {
  const uint32_t offset = current_.offset;
  std::vector<Target*> items;
  bool is_tuple = false;
  while (true) {
    if (!items.empty()) expect(TokenKind::comma, "','");
    if (at(TokenKind::block_end) || at(TokenKind::right_paren) || (in_for && at_word("in"))) break;
    items.push_back(parse_one_target(with_attribute));
    if (!at(TokenKind::comma)) break;
    is_tuple = true;
  }
  if (items.empty()) fail_here("expected a name, got " + describe(current_));
  if (!is_tuple) return items[0];
  Target* const target = arena_.make<Target>();
  target->kind = Target::Kind::tuple;
  target->offset = offset;
  target->items = arena_.copy(items);
  return target;
}

// The same target again, for the scope of a loop's test.
static Target* clone(Arena& arena, const Target& target) {
  Target* const copy = arena.make<Target>(target);
  std::vector<Target*> items;
  for (const Target* const item : target.items) items.push_back(clone(arena, *item));
  copy->items = arena.copy(items);
  return copy;
}

Stmt* Parser::parse_for(uint32_t offset) {
  ForStmt* const loop = statement<ForStmt>(StmtKind::for_loop, offset);
  ++for_loops_;
  loop->target = parse_target(true, false);
  expect_word("in");
  loop->iterable = parse_tuple(false, false, "recursive");
  if (skip_word("if")) {
    loop->test = parse_expression();
    loop->test_target = clone(arena_, *loop->target);
  }
  loop->recursive = skip_word("recursive");
  ++loops_;
  loop->body = parse_block_body({"endfor", "else"}, "for", offset);
  --loops_;
  loop->has_else = at_word("else");
  advance();
  if (loop->has_else) {
    loop->otherwise = parse_block_body({"endfor"}, "for", offset);
    advance();
  }
  --for_loops_;
  return loop;
}

Stmt* Parser::parse_if(uint32_t offset) {
  BranchStmt* const stmt = statement<BranchStmt>(StmtKind::branch, offset);
  std::vector<Branch> branches;
  bool more = true;
  while (more) {
    Branch branch{parse_tuple(false, false), {}};
    branch.body = parse_block_body({"elif", "else", "endif"}, "if", offset);
    branches.push_back(branch);
    more = at_word("elif");
    if (more) advance();
  }
  if (skip_word("else")) {
    branches.push_back({nullptr, parse_block_body({"endif"}, "if", offset)});
  }
  advance();
  stmt->branches = arena_.copy(branches);
  return stmt;
}

Stmt* Parser::parse_set(uint32_t offset) {
  Target* const target = parse_target(false, true);
  if (skip(TokenKind::assign)) {
    SetStmt* const set = statement<SetStmt>(StmtKind::set, offset);
    set->target = target;
    set->value = parse_tuple(true, false);
    return set;
  }
  SetBlockStmt* const set = statement<SetBlockStmt>(StmtKind::set_block, offset);
  set->target = target;
  while (skip(TokenKind::pipe)) set->filter = parse_filter(set->filter);
  set->body = parse_block_body({"endset"}, "set", offset);
  advance();
  return set;
}

void Parser::parse_signature(MacroCode& code) {
  expect(TokenKind::left_paren, "'('");
  std::vector<Parameter> parameters;
  while (!at(TokenKind::right_paren)) {
    if (!parameters.empty()) expect(TokenKind::comma, "','");
    const Token name = expect(TokenKind::name, "the name of a parameter");
    for (const Parameter& other : parameters) {
      if (other.name->view() == name.text) {
        fail_syntax("duplicate parameter " + describe(name), name.offset);
      }
    }
    Parameter parameter;
    parameter.name = name_text(name);
    if (skip(TokenKind::assign)) {
      parameter.fallback = parse_expression();
    } else if (!parameters.empty() && parameters.back().fallback != nullptr) {
      fail_syntax("a parameter without a default follows one that has a default", name.offset);
    }
    parameters.push_back(parameter);
  }
  expect(TokenKind::right_paren, "')'");
  code.parameters = arena_.copy(parameters);
}

Stmt* Parser::parse_macro(uint32_t offset) {
  MacroStmt* const macro = statement<MacroStmt>(StmtKind::macro, offset);
  const Token name = expect(TokenKind::name, "the name of a macro");
  macro->target = arena_.make<Target>();
  macro->target->offset = name.offset;
  macro->target->name = name_text(name);
  macro->code.name = macro->target->name;
  parse_signature(macro->code);
  const uint32_t loops_outside = std::exchange(loops_, 0);
  macro->code.body = parse_block_body({"endmacro"}, "macro", offset);
  loops_ = loops_outside;
  advance();
  return macro;
}

Stmt* Parser::parse_call_block(uint32_t offset) {
  CallBlockStmt* const stmt = statement<CallBlockStmt>(StmtKind::call_block, offset);
  if (at(TokenKind::left_paren)) parse_signature(stmt->code);
  Expr* const call = parse_expression();
  if (call->kind != ExprKind::call) fail_syntax("expected a call", offset);
  stmt->call = static_cast<CallExpr*>(call);
  const uint32_t loops_outside = std::exchange(loops_, 0);
  stmt->code.body = parse_block_body({"endcall"}, "call", offset);
  loops_ = loops_outside;
  advance();
  return stmt;
}

// transformers' tag around what the assistant says: it renders its body, as a call block would.
Stmt* Parser::parse_generation(uint32_t offset) {
  CallBlockStmt* const stmt = statement<CallBlockStmt>(StmtKind::call_block, offset);
  const uint32_t loops_outside = std::exchange(loops_, 0);
  stmt->code.body = parse_block_body({"endgeneration"}, "generation", offset);
  loops_ = loops_outside;
  advance();
  return stmt;
}

Stmt* Parser::parse_filter_block(uint32_t offset) {
  FilterBlockStmt* const stmt = statement<FilterBlockStmt>(StmtKind::filter_block, offset);
  stmt->filter = parse_filter(nullptr);
  while (skip(TokenKind::pipe)) stmt->filter = parse_filter(stmt->filter);
  stmt->body = parse_block_body({"endfilter"}, "filter", offset);
  advance();
  return stmt;
}

Stmt* Parser::parse_with(uint32_t offset) {
  WithStmt* const with = statement<WithStmt>(StmtKind::with, offset);
  std::vector<Target*> targets;
  std::vector<Expr*> values;
  while (!at(TokenKind::block_end)) {
    if (!targets.empty()) expect(TokenKind::comma, "','");
    targets.push_back(parse_target(false, false));
    expect(TokenKind::assign, "'='");
    values.push_back(parse_expression());
  }
  with->targets = arena_.copy(targets);
  with->values = arena_.copy(values);
  with->body = parse_block_body({"endwith"}, "with", offset);
  advance();
  return with;
}

Stmt* Parser::parse_print_tag(uint32_t offset) {
  std::vector<Stmt*> prints;
  while (!at(TokenKind::block_end)) {
    if (!prints.empty()) expect(TokenKind::comma, "','");
    PrintStmt* const print = statement<PrintStmt>(StmtKind::print, current_.offset);
    print->value = parse_expression();
    prints.push_back(print);
  }
  return group(std::move(prints), offset);
}

Stmt* Parser::parse_autoescape(uint32_t offset) {
  const Expr* const value = parse_expression();
  const bool off =
      value->kind == ExprKind::constant && !is_true(static_cast<const ConstantExpr*>(value)->value);
  if (!off) fail_syntax("'autoescape' is not supported: a prompt is no HTML", offset);
  WithStmt* const scope = statement<WithStmt>(StmtKind::with, offset);
  scope->body = parse_block_body({"endautoescape"}, "autoescape", offset);
  advance();
  return scope;
}

const Program* parse_program(std::string_view source, Arena& arena) {
  Program* const program = arena.make<Program>();
  program->body = Parser(source, arena).parse_template();
  bind_names(*program, arena);
  return program;
}

}  // namespace splitd::jinja
