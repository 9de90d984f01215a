// Arithmetic, membership, indexing, slicing, and the two orders of looking for an attribute.
#include "runtime/model/chat/operators.h"

#include <limits>

#include "runtime/model/chat/filters.h"
#include "runtime/model/chat/iterate.h"
#include "runtime/model/chat/methods.h"
#include "runtime/model/chat/number.h"

namespace splitd::jinja {
namespace {

constexpr std::string_view kSymbols[] = {"+", "-", "*", "/", "//", "%", "** or pow()"};

[[noreturn]] void fail_operands(BinaryOp op, const Value& left, const Value& right) {
  refuse_undefined(left);
  refuse_undefined(right);
  if (op == BinaryOp::add && (left.is_string() || left.is_sequence())) {
    const std::string type(type_name(left));
    fail("can only concatenate " + type + " (not \"" + std::string(type_name(right)) + "\") to " +
         type);
  }
  fail("unsupported operand type(s) for " + std::string(kSymbols[static_cast<size_t>(op)]) + ": " +
       quoted(type_name(left)) + " and " + quoted(type_name(right)));
}

int64_t clamp_index(int128 i) {
  if (i > std::numeric_limits<int64_t>::max()) return std::numeric_limits<int64_t>::max();
  if (i < std::numeric_limits<int64_t>::min()) return std::numeric_limits<int64_t>::min();
  return static_cast<int64_t>(i);
}

Value concat_arrays(Interpreter& in, const Value& left, const Value& right) {
  std::vector<Value> items = collect(in, left);
  in.step(1 + right.array->size / 8);
  items.insert(items.end(), right.items().begin(), right.items().end());
  return left.is(Kind::list) ? new_list(in, items) : new_tuple(in, items);
}

Value repeat(Interpreter& in, const Value& value, int128 times) {
  const uint64_t size = value.is_string() ? value.text->size : value.array->size;
  if (times < 0 || size == 0) times = 0;
  const uint64_t most = value.is_string() ? kMaxTextBytes : (size_t{16} << 20);
  if (times > 0 && static_cast<uint128>(times) > most / size) {
    fail_limit("repeats a " + std::string(type_name(value)) + " of " + std::to_string(size) + " " +
               int_text(times) + " times, which is too much");
  }
  const uint64_t n = static_cast<uint64_t>(times);
  in.step_bytes(n * size * (value.is_string() ? 1 : sizeof(Value)));
  if (value.is_string()) {
    TextBuilder out(in.arena());
    for (uint64_t i = 0; i < n; ++i) out.append(*value.text);
    return Value::of(text_as_markup(in.arena(), *out.finish(), value.text->markup));
  }
  Value* const items = in.arena().array<Value>(n * size);
  for (uint64_t i = 0; i < n * size; ++i) items[i] = value.array->items[i % size];
  Array array = *value.array;
  array.items = items;
  array.size = static_cast<uint32_t>(n * size);
  array.is_group = false;
  const Array* const made = in.arena().make<Array>(array);
  return value.is(Kind::list) ? Value::list(made) : Value::tuple(made);
}

Value add(Interpreter& in, const Value& left, const Value& right) {
  if (left.is_number() && right.is_number()) return add_numbers(left, right);
  if (left.is_string() && right.is_string())
    return Value::of(add_texts(in, *left.text, *right.text));
  if (left.is_sequence() && left.kind == right.kind) return concat_arrays(in, left, right);
  fail_operands(BinaryOp::add, left, right);
}

Value multiply(Interpreter& in, const Value& left, const Value& right) {
  if (left.is_number() && right.is_number()) return multiply_numbers(left, right);
  if ((left.is_string() || left.is_sequence()) && right.is_int()) {
    return repeat(in, left, right.as_int());
  }
  if ((right.is_string() || right.is_sequence()) && left.is_int()) {
    return repeat(in, right, left.as_int());
  }
  fail_operands(BinaryOp::multiply, left, right);
}

}  // namespace

Value binary_operation(Interpreter& in, BinaryOp op, const Value& left, const Value& right) {
  if (op == BinaryOp::add) return add(in, left, right);
  if (op == BinaryOp::multiply) return multiply(in, left, right);
  if (op == BinaryOp::modulo && left.is_string()) {
    return format_percent(in, *left.text, right);
  }
  if (!left.is_number() || !right.is_number()) fail_operands(op, left, right);
  switch (op) {
    case BinaryOp::subtract:
      return subtract_numbers(left, right);
    case BinaryOp::divide:
      return divide_numbers(left, right);
    case BinaryOp::floor_divide:
      return floor_divide_numbers(left, right);
    case BinaryOp::modulo:
      return modulo_numbers(left, right);
    default:
      return power_numbers(left, right);
  }
}

Value negate(Interpreter&, const Value& value) {
  refuse_undefined(value);
  if (value.is(Kind::real)) return Value::of(-value.real);
  if (value.is_int()) return subtract_numbers(Value::of(0), value);
  fail("bad operand type for unary -: " + quoted(type_name(value)));
}

Value positive(Interpreter&, const Value& value) {
  refuse_undefined(value);
  if (value.is(Kind::real)) return value;
  if (value.is_int()) return Value::of(value.as_int());
  fail("bad operand type for unary +: " + quoted(type_name(value)));
}

bool contains(Interpreter& in, const Value& container, const Value& item) {
  switch (container.kind) {
    case Kind::string:
      if (!item.is_string()) {
        fail("'in <string>' requires string as left operand, not " + std::string(type_name(item)));
      }
      in.step_search(container.text->size);
      return find_bytes(container.text->view(), item.text->view()) != std::string_view::npos;
    case Kind::dict:
      return dict_find(in, *container.dict, item) != nullptr;
    case Kind::view:
      if (container.view->kind == ViewKind::keys) {
        return dict_find(in, *container.view->dict, item) != nullptr;
      }
      break;
    case Kind::range:
      if (item.is(Kind::integer) || item.is(Kind::boolean)) {
        const Range& range = *container.range;
        const int128 offset = item.as_int() - range.start;
        return range.size > 0 && offset % range.step == 0 && offset / range.step >= 0 &&
               offset / range.step < range.size;
      }
      break;
    default:
      break;
  }
  if (!is_iterable(container)) {
    fail("argument of type " + quoted(type_name(container)) + " is not iterable");
  }
  Iterator* const items = iterate(in, container);
  Value other;
  while (next_item(in, *items, other)) {
    if (equals(in, other, item)) return true;
  }
  return false;
}

std::optional<int64_t> length_of(Interpreter& in, const Value& value) {
  switch (value.kind) {
    case Kind::undefined:
      return 0;
    case Kind::string:
      return value.text->chars;
    case Kind::list:
    case Kind::tuple:
      return value.array->size;
    case Kind::dict:
      return value.dict->size;
    case Kind::view:
      return value.view->dict->size;
    case Kind::range:
      return value.range->size;
    case Kind::loop:
      return loop_length(in, *value.loop);
    default:
      return std::nullopt;
  }
}

std::optional<int64_t> to_index(const Value& value) {
  if (!value.is_int()) return std::nullopt;
  return clamp_index(value.as_int());
}

int64_t need_index(const Value& value, std::string_view what) {
  refuse_undefined(value);
  const std::optional<int64_t> index = to_index(value);
  if (!index) {
    fail(std::string(what) + " must be an integer, not " + quoted(type_name(value)));
  }
  return *index;
}

Value make_undefined(Interpreter& in, const Value& owner, const Text& name) {
  Undefined undefined;
  undefined.name = &name;
  undefined.owner = type_name(owner);
  return Value::of(static_cast<const Undefined*>(in.arena().make<Undefined>(undefined)));
}

Value make_undefined_hint(Interpreter& in, std::string_view hint) {
  Undefined undefined;
  undefined.hint = hint;
  return Value::of(static_cast<const Undefined*>(in.arena().make<Undefined>(undefined)));
}

// object[key], or nothing where Python raises TypeError or LookupError.
static std::optional<Value> try_item(Interpreter& in, const Value& object, const Value& key) {
  refuse_undefined(object);
  if (object.is(Kind::dict)) {
    if (!is_hashable(key)) return std::nullopt;
    const Value* const found = dict_find(in, *object.dict, key);
    if (found == nullptr) return std::nullopt;
    return *found;
  }
  const bool indexed = object.is_string() || object.is_sequence() || object.is(Kind::range);
  std::optional<int64_t> index = indexed ? to_index(key) : std::nullopt;
  if (!index) return std::nullopt;
  const int64_t size = *length_of(in, object);
  if (*index < 0) *index += size;
  if (*index < 0 || *index >= size) return std::nullopt;
  if (object.is_sequence()) return object.array->items[*index];
  if (object.is(Kind::range)) return Value::of(object.range->start + *index * object.range->step);
  in.step_search(object.text->is_ascii() ? 0 : static_cast<size_t>(*index));
  const size_t begin = byte_offset(*object.text, static_cast<size_t>(*index));
  const Text rest{object.text->data + begin, object.text->size - static_cast<uint32_t>(begin),
                  object.text->chars - static_cast<uint32_t>(*index)};
  return Value::of(text_slice(in.arena(), *object.text, begin, begin + byte_offset(rest, 1)));
}

Value get_attribute(Interpreter& in, const Value& object, const Text& name) {
  refuse_undefined(object);
  if (const std::optional<Value> found = find_attribute(in, object, name.view())) return *found;
  if (object.is(Kind::dict)) {
    if (const Value* const value = dict_find(in, *object.dict, name.view())) return *value;
  }
  return make_undefined(in, object, name);
}

Value get_item(Interpreter& in, const Value& object, const Value& key) {
  if (const std::optional<Value> found = try_item(in, object, key)) return *found;
  if (key.is_string()) {
    if (const std::optional<Value> found = find_attribute(in, object, key.text->view()))
      return *found;
  }
  return make_undefined(in, object, key.is_string() ? *key.text : *to_text(in, key));
}

// Python's slice.indices: start, step and how many there are.
static Range slice_range(int64_t size, const Value& start, const Value& stop, const Value& step) {
  const auto bound = [](const Value& value, int64_t otherwise) {
    if (value.is_missing() || value.is_none()) return otherwise;
    const std::optional<int64_t> index = to_index(value);
    if (!index) fail("slice indices must be integers or None");
    return *index;
  };
  Range range;
  range.step = bound(step, 1);
  if (range.step == 0) fail("slice step cannot be zero");
  const bool up = range.step > 0;
  const auto clip = [&](int64_t i) {
    if (i < 0) i += size;  // cannot overflow: size ≥ 0
    if (i < 0) return up ? int64_t{0} : int64_t{-1};
    return i < size ? i : (up ? size : size - 1);
  };
  const auto given = [](const Value& value) { return !value.is_missing() && !value.is_none(); };
  range.start = given(start) ? clip(bound(start, 0)) : (up ? 0 : size - 1);
  range.stop = given(stop) ? clip(bound(stop, 0)) : (up ? size : -1);
  const int128 distance = up ? int128{range.stop} - range.start : int128{range.start} - range.stop;
  const int128 stride = up ? int128{range.step} : -int128{range.step};
  range.size = distance <= 0 ? 0 : static_cast<int64_t>((distance - 1) / stride + 1);
  return range;
}

static Value slice_text(Interpreter& in, const Text& text, const Range& range) {
  in.step_bytes(text.size);
  if (range.size == 0) {
    return Value::of(
        text_as_markup(in.arena(), *text_view(in.arena(), {}, Taint::no), text.markup));
  }
  if (range.step == 1) {
    const size_t begin = byte_offset(text, static_cast<size_t>(range.start));
    const size_t end = byte_offset(text, static_cast<size_t>(range.start + range.size));
    return Value::of(text_slice(in.arena(), text, begin, end));
  }
  in.step_chars(text.size);
  std::vector<uint32_t> offsets;
  offsets.reserve(size_t{text.chars} + 1);
  for (Chars chars(text); chars.next();) offsets.push_back(chars.current.begin);
  offsets.push_back(text.size);
  TextBuilder out(in.arena());
  int64_t at = range.start;
  for (int64_t i = 0; i < range.size; ++i) {
    const size_t n = static_cast<size_t>(at);
    out.append(text, offsets[n], offsets[n + 1]);
    if (i + 1 < range.size) at += range.step;
  }
  return Value::of(text_as_markup(in.arena(), *out.finish(), text.markup));
}

Value get_slice(Interpreter& in, const Value& object, const Value& start, const Value& stop,
                const Value& step) {
  refuse_undefined(object);
  if (object.is_string()) {
    return slice_text(in, *object.text, slice_range(object.text->chars, start, stop, step));
  }
  if (object.is(Kind::range)) {
    const Range range = slice_range(object.range->size, start, stop, step);
    Range out;
    out.start = object.range->start + range.start * object.range->step;
    out.stop = object.range->start + range.stop * object.range->step;
    out.step = static_cast<int64_t>(clamp_index(int128{object.range->step} * range.step));
    out.size = range.size;
    return Value::of(static_cast<const Range*>(in.arena().make<Range>(out)));
  }
  if (!object.is_sequence()) {
    if (object.is(Kind::dict)) fail("unhashable type: 'slice'");
    fail(quoted(type_name(object)) + " object is not subscriptable");
  }
  const Range range = slice_range(object.array->size, start, stop, step);
  Value* const items = in.arena().array<Value>(static_cast<size_t>(range.size));
  in.step(1 + static_cast<uint64_t>(range.size) / 8);
  int64_t at = range.start;
  for (int64_t i = 0; i < range.size; ++i) {
    items[i] = object.array->items[at];
    if (i + 1 < range.size) at += range.step;
  }
  const std::span<const Value> made(items, static_cast<size_t>(range.size));
  return object.is(Kind::list) ? new_list(in, made) : new_tuple(in, made);
}

const Text* escape_markup(Interpreter& in, const Text& text) {
  if (text.markup) return &text;
  in.step_chars(text.size);
  TextBuilder out(in.arena());
  for (Chars chars(text); chars.next();) {
    const Char& c = chars.current;
    std::string_view bytes = c.bytes;
    if (c.code_point == '&') bytes = "&amp;";
    if (c.code_point == '<') bytes = "&lt;";
    if (c.code_point == '>') bytes = "&gt;";
    if (c.code_point == '\'') bytes = "&#39;";
    if (c.code_point == '"') bytes = "&#34;";
    out.append(bytes, c.taint);
  }
  return text_as_markup(in.arena(), *out.finish(), true);
}

const Text* add_texts(Interpreter& in, const Text& left, const Text& right) {
  in.step_bytes(right.size);
  if (!left.markup && !right.markup) return text_concat(in.arena(), left, right);
  const Text* const sum =
      text_concat(in.arena(), *escape_markup(in, left), *escape_markup(in, right));
  return text_as_markup(in.arena(), *sum, true);
}

}  // namespace splitd::jinja
