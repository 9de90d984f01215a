// Filters over single values, and the tests of `is`.
#include <cmath>

#include "runtime/model/chat/arguments.h"
#include "runtime/model/chat/filters.h"
#include "runtime/model/chat/iterate.h"
#include "runtime/model/chat/methods.h"
#include "runtime/model/chat/number.h"
#include "runtime/model/chat/operators.h"
#include "runtime/model/chat/unicode.h"

namespace splitd::jinja {
namespace {

Value default_value(Interpreter& in, const Value& input, const Args& args) {
  const auto [value, boolean] = bind("default", args, {"default_value", "boolean"}, 0);
  if (!input.is_undefined() && !(is_true(boolean) && !is_true(input))) return input;
  return value.is_missing() ? new_string(in, "") : value;
}

Value length(Interpreter& in, const Value& input, const Args& args) {
  need_positional("length", args, 0, 0);
  const std::optional<int64_t> n = length_of(in, input);
  if (!n) fail("object of type " + quoted(type_name(input)) + " has no len()");
  return Value::of(*n);
}

Value attribute(Interpreter& in, const Value& input, const Args& args) {
  const auto [name] = bind("attr", args, {"name"}, 1);
  const Text& text = need_text(name, "the name of an attribute");
  refuse_undefined(input);
  if (const std::optional<Value> found = find_attribute(in, input, text.view())) return *found;
  return make_undefined(in, input, text);
}

Value absolute(Interpreter& in, const Value& input, const Args& args) {
  need_positional("abs", args, 0, 0);
  refuse_undefined(input);
  if (input.is(Kind::real)) return Value::of(std::fabs(input.real));
  if (!input.is_int()) fail("bad operand type for abs(): " + quoted(type_name(input)));
  return input.as_int() < 0 ? negate(in, input) : Value::of(input.as_int());
}

Value to_int(Interpreter&, const Value& input, const Args& args) {
  const auto [fallback, base_arg] = bind("int", args, {"default", "base"}, 0);
  const Value otherwise = fallback.is_missing() ? Value::of(0) : fallback;
  refuse_undefined(input);
  if (input.is_int()) return Value::of(input.as_int());
  if (input.is(Kind::real)) {
    return std::isnan(input.real) ? otherwise : Value::of(int_from_float(input.real));
  }
  if (!input.is_string()) return otherwise;
  const int64_t base = base_arg.is_missing() ? 10 : to_index(base_arg).value_or(-1);
  if (base == 0 || (base >= 2 && base <= 36)) {
    const std::optional<int128> whole = parse_int(input.text->view(), static_cast<unsigned>(base));
    if (whole) return Value::of(*whole);
  }
  const std::optional<double> real = parse_float(input.text->view());
  if (!real || !std::isfinite(*real)) return otherwise;
  return Value::of(int_from_float(*real));
}

Value to_float(Interpreter&, const Value& input, const Args& args) {
  const auto [fallback] = bind("float", args, {"default"}, 0);
  refuse_undefined(input);
  if (input.is_number()) return Value::of(input.as_real());
  if (input.is_string()) {
    if (const std::optional<double> real = parse_float(input.text->view())) return Value::of(*real);
  }
  return fallback.is_missing() ? Value::of(0.0) : fallback;
}

Value round(Interpreter& in, const Value& input, const Args& args) {
  const auto [precision, method] = bind("round", args, {"precision", "method"}, 0);
  const std::string_view how = method.is_missing() ? "common" : need_text(method, "method").view();
  if (how != "common" && how != "ceil" && how != "floor") {
    fail("method must be common, ceil or floor");
  }
  refuse_undefined(input);
  if (!input.is_number()) fail("type " + std::string(type_name(input)) + " cannot be rounded");
  const int64_t wanted = precision.is_missing() ? 0 : need_index(precision, "precision");
  const int digits = static_cast<int>(std::max<int64_t>(-400, std::min<int64_t>(400, wanted)));
  if (how == "common") {
    if (input.is_int()) return Value::of(round_int(input.as_int(), digits));
    in.step(50);  // it goes by way of the digits
    return Value::of(round_float(input.real, digits));
  }
  const Value scale = binary_operation(in, BinaryOp::power, Value::of(10), Value::of(digits));
  const double scaled = multiply_numbers(input, scale).as_real();
  const double whole = how == "ceil" ? std::ceil(scaled) : std::floor(scaled);
  return divide_numbers(Value::of(int_from_float(whole)), scale);
}

// ── Tests ──────────────────────────────────────────────────────────────────────────────────────

template <class Predicate>
bool simple(std::string_view name, const Value& input, const Args& args, Predicate predicate) {
  need_positional(name, args, 0, 0);
  return predicate(input);
}

bool modulo_is(Interpreter& in, const Value& input, const Value& divisor, int expected) {
  return equals(in, binary_operation(in, BinaryOp::modulo, input, divisor), Value::of(expected));
}
bool odd(Interpreter& in, const Value& input, const Args& args) {
  need_positional("odd", args, 0, 0);
  return modulo_is(in, input, Value::of(2), 1);
}
bool even(Interpreter& in, const Value& input, const Args& args) {
  need_positional("even", args, 0, 0);
  return modulo_is(in, input, Value::of(2), 0);
}
bool divisible_by(Interpreter& in, const Value& input, const Args& args) {
  const auto [divisor] = bind("divisibleby", args, {"num"}, 1);
  return modulo_is(in, input, divisor, 0);
}
bool defined(Interpreter&, const Value& input, const Args& args) {
  return simple("defined", input, args, [](const Value& v) { return !v.is_undefined(); });
}
bool undefined(Interpreter&, const Value& input, const Args& args) {
  return simple("undefined", input, args, [](const Value& v) { return v.is_undefined(); });
}
bool is_filter(Interpreter&, const Value& input, const Args& args) {
  return simple("filter", input, args, [](const Value& v) {
    if (!is_hashable(v)) fail("unhashable type: " + quoted(type_name(v)));
    return v.is_string() && find_filter(v.text->view()) != nullptr;
  });
}
bool is_test(Interpreter&, const Value& input, const Args& args) {
  return simple("test", input, args, [](const Value& v) {
    if (!is_hashable(v)) fail("unhashable type: " + quoted(type_name(v)));
    return v.is_string() && find_test(v.text->view()) != nullptr;
  });
}
bool none(Interpreter&, const Value& input, const Args& args) {
  return simple("none", input, args, [](const Value& v) { return v.is_none(); });
}
bool boolean(Interpreter&, const Value& input, const Args& args) {
  return simple("boolean", input, args, [](const Value& v) { return v.is(Kind::boolean); });
}
bool is_false(Interpreter&, const Value& input, const Args& args) {
  return simple("false", input, args,
                [](const Value& v) { return v.is(Kind::boolean) && !v.boolean; });
}
bool is_true_test(Interpreter&, const Value& input, const Args& args) {
  return simple("true", input, args,
                [](const Value& v) { return v.is(Kind::boolean) && v.boolean; });
}
bool integer(Interpreter&, const Value& input, const Args& args) {
  return simple("integer", input, args, [](const Value& v) { return v.is(Kind::integer); });
}
bool floating(Interpreter&, const Value& input, const Args& args) {
  return simple("float", input, args, [](const Value& v) { return v.is(Kind::real); });
}
bool number(Interpreter&, const Value& input, const Args& args) {
  return simple("number", input, args, [](const Value& v) { return v.is_number(); });
}
bool string(Interpreter&, const Value& input, const Args& args) {
  return simple("string", input, args, [](const Value& v) { return v.is_string(); });
}
bool mapping(Interpreter&, const Value& input, const Args& args) {
  return simple("mapping", input, args, [](const Value& v) { return v.is(Kind::dict); });
}
bool sequence(Interpreter&, const Value& input, const Args& args) {
  return simple("sequence", input, args, [](const Value& v) {
    return v.is_string() || v.is_sequence() || v.is(Kind::dict) || v.is(Kind::range) ||
           v.is_undefined();
  });
}
bool iterable(Interpreter&, const Value& input, const Args& args) {
  return simple("iterable", input, args, [](const Value& v) { return is_iterable(v); });
}
bool callable(Interpreter&, const Value& input, const Args& args) {
  return simple("callable", input, args, [](const Value& v) {
    return v.is(Kind::native) || v.is(Kind::macro) || v.is(Kind::loop) || v.is(Kind::joiner) ||
           v.is_undefined();
  });
}
bool escaped(Interpreter&, const Value& input, const Args& args) {
  return simple("escaped", input, args,
                [](const Value& v) { return v.is_string() && v.text->markup; });
}

template <class Predicate>
bool all_cased(const Text& text, Predicate wanted) {
  bool any = false;
  for (Chars chars(text); chars.next();) {
    const char32_t c = chars.current.code_point;
    if (!is_cased(c)) continue;
    if (!wanted(c)) return false;
    any = true;
  }
  return any;
}
bool lower(Interpreter& in, const Value& input, const Args& args) {
  need_positional("lower", args, 0, 0);
  return all_cased(*to_text(in, input), is_lower);
}
bool upper(Interpreter& in, const Value& input, const Args& args) {
  need_positional("upper", args, 0, 0);
  return all_cased(*to_text(in, input), is_upper);
}

bool same_as(Interpreter& in, const Value& input, const Args& args) {
  const auto [other] = bind("sameas", args, {"other"}, 1);
  if (input.kind != other.kind) return false;
  switch (input.kind) {
    case Kind::none:
    case Kind::boolean:
    case Kind::integer:
      return equals(in, input, other);
    case Kind::real:
      return false;
    case Kind::string:
      return input.text == other.text ||
             (input.text->chars <= 1 && input.text->view() == other.text->view());
    default:
      return input.native == other.native;
  }
}
bool in_test(Interpreter& in, const Value& input, const Args& args) {
  const auto [container] = bind("in", args, {"seq"}, 1);
  return contains(in, container, input);
}

Value other_of(std::string_view name, const Args& args) {
  need_positional(name, args, 1, 1);
  return args.positional[0];
}
bool eq(Interpreter& in, const Value& input, const Args& args) {
  return equals(in, input, other_of("eq", args));
}
bool ne(Interpreter& in, const Value& input, const Args& args) {
  return !equals(in, input, other_of("ne", args));
}
bool gt(Interpreter& in, const Value& input, const Args& args) {
  return order(in, input, other_of("gt", args), ">") == 1;
}
bool ge(Interpreter& in, const Value& input, const Args& args) {
  const int sign = order(in, input, other_of("ge", args), ">=");
  return sign == 0 || sign == 1;
}
bool lt(Interpreter& in, const Value& input, const Args& args) {
  return order(in, input, other_of("lt", args), "<") == -1;
}
bool le(Interpreter& in, const Value& input, const Args& args) {
  const int sign = order(in, input, other_of("le", args), "<=");
  return sign == -1 || sign == 0;
}

constexpr Filter kFilters[] = {
    {"abs", absolute},          {"attr", attribute}, {"count", length}, {"d", default_value},
    {"default", default_value}, {"float", to_float}, {"int", to_int},   {"length", length},
    {"round", round},           {"tojson", to_json},
};

constexpr Test kTests[] = {
    {"odd", odd},
    {"even", even},
    {"divisibleby", divisible_by},
    {"defined", defined},
    {"undefined", undefined},
    {"filter", is_filter},
    {"test", is_test},
    {"none", none},
    {"boolean", boolean},
    {"false", is_false},
    {"true", is_true_test},
    {"integer", integer},
    {"float", floating},
    {"lower", lower},
    {"upper", upper},
    {"string", string},
    {"mapping", mapping},
    {"number", number},
    {"sequence", sequence},
    {"iterable", iterable},
    {"callable", callable},
    {"sameas", same_as},
    {"escaped", escaped},
    {"in", in_test},
    {"==", eq},
    {"eq", eq},
    {"equalto", eq},
    {"!=", ne},
    {"ne", ne},
    {">", gt},
    {"gt", gt},
    {"greaterthan", gt},
    {">=", ge},
    {"ge", ge},
    {"<", lt},
    {"lt", lt},
    {"lessthan", lt},
    {"<=", le},
    {"le", le},
};

}  // namespace

std::span<const Filter> value_filters() {
  return kFilters;
}

const Test* find_test(std::string_view name) {
  for (const Test& test : kTests) {
    if (test.name == name) return &test;
  }
  return nullptr;
}

}  // namespace splitd::jinja
