// Expressions. Each kind has a small function of its own, so that eval's stack frame stays small.
#include "runtime/model/chat/filters.h"
#include "runtime/model/chat/interpreter.h"
#include "runtime/model/chat/iterate.h"
#include "runtime/model/chat/operators.h"

namespace splitd::jinja {

// Arguments of one call: a few live on the stack.
struct Interpreter::CallValues {
  static constexpr size_t kFew = 4;
  Value few[kFew];
  std::vector<Value> many;
  size_t n = 0;
  std::vector<Named> named;

  void add(const Value& value) {
    if (n < kFew) {
      few[n++] = value;
      return;
    }
    if (n == kFew) many.assign(few, few + kFew);
    many.push_back(value);
    ++n;
  }
  Args args() const {
    const std::span<const Value> positional =
        n > kFew ? std::span<const Value>(many) : std::span<const Value>(few, n);
    return {positional, named};
  }
};

Value Interpreter::load(const NameExpr& name) {
  const Value& value = slot(name.slot);
  if (!value.is_missing()) return value;
  Undefined undefined;
  undefined.name = name.name;
  return Value::of(static_cast<const Undefined*>(arena_.make<Undefined>(undefined)));
}

Value Interpreter::eval(const Expr& expr) {
  const Deeper deeper(*this);
  step();
  switch (expr.kind) {
    case ExprKind::constant:
      return static_cast<const ConstantExpr&>(expr).value;
    case ExprKind::name:
      return load(static_cast<const NameExpr&>(expr));
    case ExprKind::list:
    case ExprKind::tuple:
      return eval_list(static_cast<const SequenceExpr&>(expr));
    case ExprKind::dict:
      return eval_dict(static_cast<const DictExpr&>(expr));
    case ExprKind::attribute:
      return eval_attribute(static_cast<const AttributeExpr&>(expr));
    case ExprKind::item:
      return eval_item(static_cast<const ItemExpr&>(expr));
    case ExprKind::slice:
      return eval_slice(static_cast<const SliceExpr&>(expr));
    case ExprKind::call:
      return eval_call(static_cast<const CallExpr&>(expr), nullptr);
    case ExprKind::filter:
      return eval_filter(static_cast<const FilterExpr&>(expr), nullptr);
    case ExprKind::test:
      return eval_test(static_cast<const TestExpr&>(expr));
    case ExprKind::negate:
    case ExprKind::positive:
    case ExprKind::invert:
      return eval_unary(static_cast<const UnaryExpr&>(expr));
    case ExprKind::binary:
      return eval_binary(static_cast<const BinaryExpr&>(expr));
    case ExprKind::logic: {
      const LogicExpr& logic = static_cast<const LogicExpr&>(expr);
      const Value left = eval(*logic.left);
      return is_true(left) == logic.is_and ? eval(*logic.right) : left;
    }
    case ExprKind::concat:
      return eval_concat(static_cast<const SequenceExpr&>(expr));
    case ExprKind::compare:
      return eval_compare(static_cast<const CompareExpr&>(expr));
    case ExprKind::conditional:
      return eval_conditional(static_cast<const ConditionalExpr&>(expr));
  }
  return Value::none();
}

Value Interpreter::eval_list(const SequenceExpr& expr) {
  std::vector<Value> items;
  items.reserve(expr.items.size());
  for (const Expr* const item : expr.items) items.push_back(eval(*item));
  return expr.kind == ExprKind::list ? new_list(*this, items) : new_tuple(*this, items);
}

Value Interpreter::eval_dict(const DictExpr& expr) {
  Dict* const dict = new_dict(*this, expr.items.size());
  for (const DictItem& item : expr.items) {
    const Value key = eval(*item.key);
    const Value value = eval(*item.value);
    position_ = item.key->offset;
    dict_set(*this, *dict, key, value);
  }
  return Value::of(static_cast<const Dict*>(dict));
}

Value Interpreter::eval_attribute(const AttributeExpr& expr) {
  const Value object = eval(*expr.object);
  position_ = expr.offset;
  return get_attribute(*this, object, *expr.name);
}

Value Interpreter::eval_item(const ItemExpr& expr) {
  const Value object = eval(*expr.object);
  const Value index = eval(*expr.index);
  position_ = expr.offset;
  return get_item(*this, object, index);
}

Value Interpreter::eval_slice(const SliceExpr& expr) {
  const Value object = eval(*expr.object);
  const Value start = expr.start != nullptr ? eval(*expr.start) : Value();
  const Value stop = expr.stop != nullptr ? eval(*expr.stop) : Value();
  const Value stride = expr.step != nullptr ? eval(*expr.step) : Value();
  position_ = expr.offset;
  return get_slice(*this, object, start, stop, stride);
}

void Interpreter::eval_args(const CallArgs& args, CallValues& values) {
  for (const Expr* const arg : args.positional) values.add(eval(*arg));
  for (const NamedExpr& arg : args.named) values.named.push_back({arg.name, eval(*arg.value)});
  if (args.more_positional != nullptr) {
    for (const Value& value : collect(*this, eval(*args.more_positional))) values.add(value);
  }
  if (args.more_named == nullptr) return;
  const Value more = eval(*args.more_named);
  if (!more.is(Kind::dict))
    fail("argument after ** must be a mapping, not " + std::string(type_name(more)));
  for (uint32_t i = 0; i < more.dict->size; ++i) {
    const Entry& entry = more.dict->entries[i];
    if (!entry.key.is_string()) fail("keywords must be strings");
    for (const Named& named : values.named) {
      step();
      if (named.name->view() == entry.key.text->view()) {
        fail("got multiple values for keyword argument " + quoted(named.name->view()));
      }
    }
    values.named.push_back({entry.key.text, entry.value});
  }
}

Value Interpreter::eval_call(const CallExpr& expr, const Macro* caller) {
  static const Text kCaller{"caller", 6, 6};
  const Value callee = eval(*expr.callee);
  CallValues values;
  eval_args(expr.args, values);
  if (caller != nullptr) values.named.push_back({&kCaller, Value::of(caller)});
  position_ = expr.offset;
  return call(callee, values.args());
}

Value Interpreter::call(const Value& callee, const Args& args) {
  refuse_undefined(callee);
  switch (callee.kind) {
    case Kind::native:
      step();
      return callee.native->function(*this, callee.native->self, args);
    case Kind::macro:
      return Value::of(call_macro(*callee.macro, args));
    case Kind::loop:
      if (args.positional.size() != 1 || !args.named.empty()) fail("loop() takes one argument");
      return Value::of(call_loop(*callee.loop, args.positional[0]));
    case Kind::joiner:
      if (!args.positional.empty() || !args.named.empty()) fail("a joiner takes no arguments");
      if (callee.joiner->used) return Value::of(callee.joiner->separator);
      callee.joiner->used = true;
      return new_string(*this, "");
    default:
      fail(quoted(type_name(callee)) + " object is not callable");
  }
}

Value Interpreter::eval_filter(const FilterExpr& expr, const Value* block_text) {
  // A filter block names its filters from the inside out; the innermost one has no input.
  Value input;
  if (expr.input == nullptr) {
    input = *block_text;
  } else if (block_text != nullptr && expr.input->kind == ExprKind::filter) {
    input = eval_filter(static_cast<const FilterExpr&>(*expr.input), block_text);
  } else {
    input = eval(*expr.input);
  }
  if (expr.filter == nullptr) {
    position_ = expr.offset;
    fail("no filter named " + quoted(expr.name->view()));
  }
  CallValues values;
  eval_args(expr.args, values);
  position_ = expr.offset;
  return expr.filter->function(*this, input, values.args());
}

Value Interpreter::eval_test(const TestExpr& expr) {
  const Value input = eval(*expr.input);
  if (expr.test == nullptr) {
    position_ = expr.offset;
    fail("no test named " + quoted(expr.name->view()));
  }
  CallValues values;
  eval_args(expr.args, values);
  position_ = expr.offset;
  return Value::of(expr.test->function(*this, input, values.args()));
}

Value Interpreter::eval_unary(const UnaryExpr& expr) {
  const Value operand = eval(*expr.operand);
  position_ = expr.offset;
  if (expr.kind == ExprKind::invert) return Value::of(!is_true(operand));
  return expr.kind == ExprKind::negate ? negate(*this, operand) : positive(*this, operand);
}

Value Interpreter::eval_binary(const BinaryExpr& expr) {
  const Value left = eval(*expr.left);
  const Value right = eval(*expr.right);
  position_ = expr.offset;
  return binary_operation(*this, expr.op, left, right);
}

Value Interpreter::eval_concat(const SequenceExpr& expr) {
  const Value first = eval(*expr.items[0]);
  const Value second = eval(*expr.items[1]);
  const Text* text = text_concat(arena_, *to_text(*this, first), *to_text(*this, second));
  for (const Expr* const item : expr.items.subspan(2)) {
    text = text_concat(arena_, *text, *to_text(*this, eval(*item)));
  }
  step_bytes(text->size);
  return Value::of(text);
}

static bool compare(Interpreter& in, CompareOp op, const Value& left, const Value& right) {
  switch (op) {
    case CompareOp::eq:
      return equals(in, left, right);
    case CompareOp::ne:
      return !equals(in, left, right);
    case CompareOp::lt:
      return order(in, left, right, "<") == -1;
    case CompareOp::le: {
      const int sign = order(in, left, right, "<=");
      return sign == -1 || sign == 0;
    }
    case CompareOp::gt:
      return order(in, left, right, ">") == 1;
    case CompareOp::ge: {
      const int sign = order(in, left, right, ">=");
      return sign == 0 || sign == 1;
    }
    case CompareOp::in:
      return contains(in, right, left);
    case CompareOp::not_in:
      return !contains(in, right, left);
  }
  return false;
}

Value Interpreter::eval_compare(const CompareExpr& expr) {
  Value left = eval(*expr.first);
  for (const Comparison& comparison : expr.rest) {
    const Value right = eval(*comparison.right);
    position_ = expr.offset;
    if (!compare(*this, comparison.op, left, right)) return Value::of(false);
    left = right;
  }
  return Value::of(true);
}

Value Interpreter::eval_conditional(const ConditionalExpr& expr) {
  if (is_true(eval(*expr.test))) return eval(*expr.yes);
  if (expr.no != nullptr) return eval(*expr.no);
  return make_undefined_hint(
      *this, "the inline if-expression evaluated to false and no else section was defined");
}

}  // namespace splitd::jinja
