// Expressions, from the loosest binding (a if b else c) to the tightest (names and literals).
#include <algorithm>

#include "runtime/model/chat/parser_impl.h"

namespace splitd::jinja {

void Parser::hold(Expr& parent, const Expr* child) {
  if (child == nullptr || child->depth < parent.depth) return;
  if (child->depth >= kMaxExpressionDepth) {
    fail_syntax("expressions are nested more than " + std::to_string(kMaxExpressionDepth) + " deep",
                parent.offset);
  }
  parent.depth = static_cast<uint16_t>(child->depth + 1);
}

Expr* Parser::constant(const Value& value, uint32_t offset) {
  ConstantExpr* const expr = node<ConstantExpr>(ExprKind::constant, offset);
  expr->value = value;
  return expr;
}

bool Parser::ends_tuple(std::string_view end_word) const {
  return at(TokenKind::print_end) || at(TokenKind::block_end) || at(TokenKind::right_paren) ||
         (!end_word.empty() && at_word(end_word));
}

// One expression, or a tuple where commas follow.
Expr* Parser::parse_tuple(bool with_condition, bool parenthesised, std::string_view end_word) {
  const uint32_t offset = current_.offset;
  std::vector<Expr*> items;
  bool is_tuple = false;
  while (true) {
    if (!items.empty()) expect(TokenKind::comma, "','");
    if (ends_tuple(end_word)) break;
    items.push_back(parse_expression(with_condition));
    if (!at(TokenKind::comma)) break;
    is_tuple = true;
  }
  if (!is_tuple && !items.empty()) return items[0];
  if (!is_tuple && !parenthesised) fail_here("expected an expression, got " + describe(current_));
  SequenceExpr* const tuple = node<SequenceExpr>(ExprKind::tuple, offset);
  for (const Expr* const item : items) hold(*tuple, item);
  tuple->items = arena_.copy(items);
  return tuple;
}

Expr* Parser::parse_expression(bool with_condition) {
  const Deeper deeper(*this, expression_depth_, kMaxExpressionDepth, "expressions");
  Expr* expr = parse_or();
  while (with_condition && at_word("if")) {
    ConditionalExpr* const conditional =
        node<ConditionalExpr>(ExprKind::conditional, current_.offset);
    advance();
    conditional->yes = expr;
    conditional->test = parse_or();
    if (skip_word("else")) conditional->no = parse_expression();
    hold(*conditional, conditional->yes);
    hold(*conditional, conditional->test);
    hold(*conditional, conditional->no);
    expr = conditional;
  }
  return expr;
}

Expr* Parser::parse_or() {
  Expr* left = parse_and();
  while (at_word("or")) {
    LogicExpr* const logic = node<LogicExpr>(ExprKind::logic, current_.offset);
    advance();
    logic->left = left;
    logic->right = parse_and();
    hold(*logic, logic->left);
    hold(*logic, logic->right);
    left = logic;
  }
  return left;
}

Expr* Parser::parse_and() {
  Expr* left = parse_not();
  while (at_word("and")) {
    LogicExpr* const logic = node<LogicExpr>(ExprKind::logic, current_.offset);
    advance();
    logic->is_and = true;
    logic->left = left;
    logic->right = parse_not();
    hold(*logic, logic->left);
    hold(*logic, logic->right);
    left = logic;
  }
  return left;
}

Expr* Parser::parse_not() {
  if (!at_word("not")) return parse_compare();
  const Deeper deeper(*this, expression_depth_, kMaxExpressionDepth, "expressions");
  UnaryExpr* const expr = node<UnaryExpr>(ExprKind::invert, current_.offset);
  advance();
  expr->operand = parse_not();
  hold(*expr, expr->operand);
  return expr;
}

Expr* Parser::parse_compare() {
  Expr* const first = parse_binary(0);
  const uint32_t offset = current_.offset;
  std::vector<Comparison> rest;
  while (true) {
    CompareOp op;
    if (at(TokenKind::eq)) {
      op = CompareOp::eq;
    } else if (at(TokenKind::ne)) {
      op = CompareOp::ne;
    } else if (at(TokenKind::lt)) {
      op = CompareOp::lt;
    } else if (at(TokenKind::le)) {
      op = CompareOp::le;
    } else if (at(TokenKind::gt)) {
      op = CompareOp::gt;
    } else if (at(TokenKind::ge)) {
      op = CompareOp::ge;
    } else if (at_word("in")) {
      op = CompareOp::in;
    } else if (at_word("not") && peek().kind == TokenKind::name && peek().text == "in") {
      advance();
      op = CompareOp::not_in;
    } else {
      break;
    }
    advance();
    rest.push_back({op, parse_binary(0)});
  }
  if (rest.empty()) return first;
  CompareExpr* const compare = node<CompareExpr>(ExprKind::compare, offset);
  compare->first = first;
  hold(*compare, first);
  for (const Comparison& comparison : rest) hold(*compare, comparison.right);
  compare->rest = arena_.copy(rest);
  return compare;
}

namespace {
constexpr int kConcatLevel = 1;
struct BinaryToken {
  TokenKind token;
  int level;
  BinaryOp op;
};
constexpr BinaryToken kBinaryTokens[] = {
    {TokenKind::add, 0, BinaryOp::add},
    {TokenKind::subtract, 0, BinaryOp::subtract},
    {TokenKind::tilde, kConcatLevel, BinaryOp::add},
    {TokenKind::multiply, 2, BinaryOp::multiply},
    {TokenKind::divide, 2, BinaryOp::divide},
    {TokenKind::floor_divide, 2, BinaryOp::floor_divide},
    {TokenKind::modulo, 2, BinaryOp::modulo},
    {TokenKind::power, 3, BinaryOp::power},  // from the left, as in Jinja
};
}  // namespace

Expr* Parser::parse_binary(int level) {
  Expr* left = parse_unary(true);
  while (true) {
    const BinaryToken* const found =
        std::find_if(std::begin(kBinaryTokens), std::end(kBinaryTokens),
                     [this](const BinaryToken& binary) { return binary.token == current_.kind; });
    if (found == std::end(kBinaryTokens) || found->level < level) return left;
    const uint32_t offset = current_.offset;
    if (found->level == kConcatLevel) {
      SequenceExpr* const concat = node<SequenceExpr>(ExprKind::concat, offset);
      std::vector<Expr*> items{left};
      while (skip(TokenKind::tilde)) items.push_back(parse_binary(kConcatLevel + 1));
      for (const Expr* const item : items) hold(*concat, item);
      concat->items = arena_.copy(items);
      left = concat;
      continue;
    }
    advance();
    BinaryExpr* const binary = node<BinaryExpr>(ExprKind::binary, offset);
    binary->op = found->op;
    binary->left = left;
    binary->right = parse_binary(found->level + 1);
    hold(*binary, binary->left);
    hold(*binary, binary->right);
    left = binary;
  }
}

Expr* Parser::parse_unary(bool with_filters) {
  Expr* expr;
  if (at(TokenKind::subtract) || at(TokenKind::add)) {
    const Deeper deeper(*this, expression_depth_, kMaxExpressionDepth, "expressions");
    const ExprKind kind = at(TokenKind::subtract) ? ExprKind::negate : ExprKind::positive;
    UnaryExpr* const unary = node<UnaryExpr>(kind, current_.offset);
    advance();
    unary->operand = parse_unary(false);
    hold(*unary, unary->operand);
    expr = unary;
  } else {
    expr = parse_primary();
  }
  expr = parse_postfix(expr);
  return with_filters ? parse_filters(expr) : expr;
}

Expr* Parser::parse_primary() {
  const Token token = current_;
  switch (token.kind) {
    case TokenKind::name: {
      advance();
      if (token.text == "true" || token.text == "True")
        return constant(Value::of(true), token.offset);
      if (token.text == "false" || token.text == "False")
        return constant(Value::of(false), token.offset);
      if (token.text == "none" || token.text == "None")
        return constant(Value::none(), token.offset);
      NameExpr* const name = node<NameExpr>(ExprKind::name, token.offset);
      name->name = name_text(token);
      return name;
    }
    case TokenKind::string:
      return parse_string();
    case TokenKind::integer:
      advance();
      return constant(Value::of(integer_value(token)), token.offset);
    case TokenKind::real:
      advance();
      return constant(Value::of(real_value(token)), token.offset);
    case TokenKind::left_paren: {
      advance();
      Expr* const inside = parse_tuple(true, true);
      expect(TokenKind::right_paren, "')'");
      return inside;
    }
    case TokenKind::left_bracket:
      return parse_list();
    case TokenKind::left_brace:
      return parse_dict();
    default:
      fail_here("expected an expression, got " + describe(token));
  }
}

Expr* Parser::parse_string() {
  const uint32_t offset = current_.offset;
  std::string text;
  for (; at(TokenKind::string); advance()) text += unescape_string(current_);
  return constant(Value::of(text_copy(arena_, text, Taint::no)), offset);
}

Expr* Parser::parse_list() {
  SequenceExpr* const list = node<SequenceExpr>(ExprKind::list, current_.offset);
  expect(TokenKind::left_bracket, "'['");
  std::vector<Expr*> items;
  while (!at(TokenKind::right_bracket)) {
    if (!items.empty()) expect(TokenKind::comma, "','");
    if (at(TokenKind::right_bracket)) break;
    items.push_back(parse_expression());
    hold(*list, items.back());
  }
  advance();
  list->items = arena_.copy(items);
  return list;
}

Expr* Parser::parse_dict() {
  DictExpr* const dict = node<DictExpr>(ExprKind::dict, current_.offset);
  expect(TokenKind::left_brace, "'{'");
  std::vector<DictItem> items;
  while (!at(TokenKind::right_brace)) {
    if (!items.empty()) expect(TokenKind::comma, "','");
    if (at(TokenKind::right_brace)) break;
    Expr* const key = parse_expression();
    expect(TokenKind::colon, "':'");
    Expr* const value = parse_expression();
    hold(*dict, key);
    hold(*dict, value);
    items.push_back({key, value});
  }
  advance();
  dict->items = arena_.copy(items);
  return dict;
}

Expr* Parser::parse_postfix(Expr* expr) {
  while (true) {
    if (at(TokenKind::dot) || at(TokenKind::left_bracket)) {
      expr = parse_subscript(expr);
    } else if (at(TokenKind::left_paren)) {
      expr = parse_call(expr);
    } else {
      return expr;
    }
  }
}

Expr* Parser::parse_filters(Expr* expr) {
  while (true) {
    if (skip(TokenKind::pipe)) {
      expr = parse_filter(expr);
    } else if (at_word("is")) {
      expr = parse_test(expr);
    } else if (at(TokenKind::left_paren)) {
      expr = parse_call(expr);
    } else {
      return expr;
    }
  }
}

Expr* Parser::parse_subscript(Expr* object) {
  const uint32_t offset = current_.offset;
  if (skip(TokenKind::dot)) {
    const Token name = current_;
    advance();
    if (name.kind == TokenKind::name) {
      AttributeExpr* const attribute = node<AttributeExpr>(ExprKind::attribute, offset);
      attribute->object = object;
      attribute->name = name_text(name);
      hold(*attribute, object);
      return attribute;
    }
    if (name.kind != TokenKind::integer) {
      fail_syntax("expected a name or a number after '.', got " + describe(name), name.offset);
    }
    ItemExpr* const item = node<ItemExpr>(ExprKind::item, offset);
    item->object = object;
    item->index = constant(Value::of(integer_value(name)), name.offset);
    hold(*item, object);
    return item;
  }
  expect(TokenKind::left_bracket, "'['");
  std::vector<Expr*> indices;
  while (!at(TokenKind::right_bracket)) {
    if (!indices.empty()) expect(TokenKind::comma, "','");
    SliceExpr* slice = nullptr;
    Expr* const first = at(TokenKind::colon) ? nullptr : parse_expression();
    if (at(TokenKind::colon)) {
      slice = node<SliceExpr>(ExprKind::slice, offset);
      slice->object = object;
      slice->start = first;
      const auto part = [&]() -> Expr* {
        if (!skip(TokenKind::colon)) return nullptr;
        const bool empty =
            at(TokenKind::colon) || at(TokenKind::right_bracket) || at(TokenKind::comma);
        return empty ? nullptr : parse_expression();
      };
      slice->stop = part();
      slice->step = part();
      for (const Expr* const held : {slice->object, slice->start, slice->stop, slice->step}) {
        hold(*slice, held);
      }
      if (!at(TokenKind::right_bracket) || !indices.empty()) {
        fail_here("a slice must stand alone in its brackets");
      }
      advance();
      return slice;
    }
    indices.push_back(first);
  }
  advance();
  ItemExpr* const item = node<ItemExpr>(ExprKind::item, offset);
  item->object = object;
  if (indices.size() == 1) {
    item->index = indices[0];
  } else {
    SequenceExpr* const tuple = node<SequenceExpr>(ExprKind::tuple, offset);
    for (const Expr* const index : indices) hold(*tuple, index);
    tuple->items = arena_.copy(indices);
    item->index = tuple;
  }
  hold(*item, object);
  hold(*item, item->index);
  return item;
}

CallArgs Parser::parse_arguments() {
  const uint32_t offset = current_.offset;
  expect(TokenKind::left_paren, "'('");
  CallArgs args;
  std::vector<Expr*> positional;
  std::vector<NamedExpr> named;
  const auto need = [&](bool ok) {
    if (!ok) fail_syntax("the arguments of this call are in the wrong order", offset);
  };
  for (bool first = true; !at(TokenKind::right_paren); first = false) {
    if (!first) {
      expect(TokenKind::comma, "','");
      if (at(TokenKind::right_paren)) break;
    }
    if (skip(TokenKind::multiply)) {
      need(args.more_positional == nullptr && args.more_named == nullptr);
      args.more_positional = parse_expression();
    } else if (skip(TokenKind::power)) {
      need(args.more_named == nullptr);
      args.more_named = parse_expression();
    } else if (at(TokenKind::name) && peek().kind == TokenKind::assign) {
      need(args.more_named == nullptr);
      const Token name = current_;
      advance();
      advance();
      for (const NamedExpr& other : named) {
        if (other.name->view() == name.text) {
          fail_syntax("keyword argument " + describe(name) + " is repeated", name.offset);
        }
      }
      named.push_back({name_text(name), parse_expression()});
    } else {
      need(args.more_positional == nullptr && args.more_named == nullptr && named.empty());
      positional.push_back(parse_expression());
    }
  }
  expect(TokenKind::right_paren, "')'");
  args.positional = arena_.copy(positional);
  args.named = arena_.copy(named);
  return args;
}

static std::vector<const Expr*> children(const CallArgs& args) {
  std::vector<const Expr*> out(args.positional.begin(), args.positional.end());
  for (const NamedExpr& named : args.named) out.push_back(named.value);
  out.push_back(args.more_positional);
  out.push_back(args.more_named);
  return out;
}

Expr* Parser::parse_call(Expr* callee) {
  CallExpr* const call = node<CallExpr>(ExprKind::call, current_.offset);
  call->callee = callee;
  call->args = parse_arguments();
  hold(*call, callee);
  for (const Expr* const child : children(call->args)) hold(*call, child);
  return call;
}

// "name" or "name.name": filters and tests may have dots, though none of ours do.
std::string_view Parser::parse_dotted_name() {
  const Token first = expect(TokenKind::name, "the name of a filter or test");
  std::string_view name = first.text;
  while (skip(TokenKind::dot)) {
    const Token next = expect(TokenKind::name, "a name");
    name = {first.text.data(),
            static_cast<size_t>(next.text.data() + next.text.size() - first.text.data())};
  }
  return name;
}

FilterExpr* Parser::parse_filter(Expr* input) {
  FilterExpr* const filter = node<FilterExpr>(ExprKind::filter, current_.offset);
  filter->input = input;
  filter->name = text_view(arena_, parse_dotted_name(), Taint::no);
  if (at(TokenKind::left_paren)) filter->args = parse_arguments();
  hold(*filter, input);
  for (const Expr* const child : children(filter->args)) hold(*filter, child);
  return filter;
}

Expr* Parser::parse_test(Expr* input) {
  const uint32_t offset = current_.offset;
  advance();  // is
  const bool negated = skip_word("not");
  TestExpr* const test = node<TestExpr>(ExprKind::test, current_.offset);
  test->input = input;
  test->name = text_view(arena_, parse_dotted_name(), Taint::no);
  const bool argument_follows = at(TokenKind::name) || at(TokenKind::string) ||
                                at(TokenKind::integer) || at(TokenKind::real) ||
                                at(TokenKind::left_bracket) || at(TokenKind::left_brace);
  if (at(TokenKind::left_paren)) {
    test->args = parse_arguments();
  } else if (argument_follows && !at_word("else") && !at_word("or") && !at_word("and")) {
    if (at_word("is")) fail_here("tests cannot be chained with 'is'");
    const Deeper deeper(*this, expression_depth_, kMaxExpressionDepth, "expressions");
    const std::vector<Expr*> one{parse_postfix(parse_primary())};
    test->args.positional = arena_.copy(one);
  }
  hold(*test, input);
  for (const Expr* const child : children(test->args)) hold(*test, child);
  if (!negated) return test;
  UnaryExpr* const invert = node<UnaryExpr>(ExprKind::invert, offset);
  invert->operand = test;
  hold(*invert, test);
  return invert;
}

}  // namespace splitd::jinja
