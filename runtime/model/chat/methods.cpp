// Attributes of every kind of value, and the methods of list, dict and Jinja's helpers.
#include "runtime/model/chat/methods.h"

#include <algorithm>
#include <cmath>

#include "runtime/model/chat/arguments.h"
#include "runtime/model/chat/iterate.h"
#include "runtime/model/chat/number.h"
#include "runtime/model/chat/operators.h"

namespace splitd::jinja {
namespace {

// ── list and tuple ─────────────────────────────────────────────────────────────────────────────

Value list_index(Interpreter& in, const Value& self, const Args& args) {
  need_positional("index", args, 1, 3);
  const auto arg = [&](size_t i) {
    return i < args.positional.size() ? args.positional[i] : Value();
  };
  const Value part = get_slice(in, self, arg(1), arg(2), Value());
  const int64_t size = self.array->size;
  int64_t begin = arg(1).is_missing() ? 0 : need_index(arg(1), "start");
  if (begin < 0) begin = std::max<int64_t>(0, begin + size);
  for (uint32_t i = 0; i < part.array->size; ++i) {
    if (equals(in, part.array->items[i], args.positional[0])) return Value::of(begin + i);
  }
  fail("the value is not in the " + std::string(type_name(self)));
}
Value list_count(Interpreter& in, const Value& self, const Args& args) {
  need_positional("count", args, 1, 1);
  int64_t n = 0;
  for (const Value& item : self.items()) n += equals(in, item, args.positional[0]);
  return Value::of(n);
}
Value list_copy(Interpreter&, const Value& self, const Args& args) {
  need_positional("copy", args, 0, 0);
  return self;
}

constexpr Method kListMethods[] = {
    {"copy", list_copy}, {"count", list_count}, {"index", list_index}};
constexpr std::string_view kListHidden[] = {"append", "clear",  "extend",  "insert",
                                            "pop",    "remove", "reverse", "sort"};

// ── dict ───────────────────────────────────────────────────────────────────────────────────────

Value make_view(Interpreter& in, const Value& self, const Args& args, ViewKind kind) {
  need_positional("keys, values and items", args, 0, 0);
  return Value::of(static_cast<const View*>(in.arena().make<View>(self.dict, kind)));
}
Value dict_keys(Interpreter& in, const Value& self, const Args& args) {
  return make_view(in, self, args, ViewKind::keys);
}
Value dict_values(Interpreter& in, const Value& self, const Args& args) {
  return make_view(in, self, args, ViewKind::values);
}
Value dict_items(Interpreter& in, const Value& self, const Args& args) {
  return make_view(in, self, args, ViewKind::items);
}
Value dict_get(Interpreter& in, const Value& self, const Args& args) {
  need_positional("get", args, 1, 2);
  const Value* const found = dict_find(in, *self.dict, args.positional[0]);
  if (found != nullptr) return *found;
  return args.positional.size() > 1 ? args.positional[1] : Value::none();
}
Value dict_copy(Interpreter&, const Value& self, const Args& args) {
  need_positional("copy", args, 0, 0);
  return self;
}
Value dict_fromkeys(Interpreter& in, const Value&, const Args& args) {
  need_positional("fromkeys", args, 1, 2);
  const Value value = args.positional.size() > 1 ? args.positional[1] : Value::none();
  Dict* const dict = new_dict(in);
  for (const Value& key : collect(in, args.positional[0])) dict_set(in, *dict, key, value);
  return Value::of(static_cast<const Dict*>(dict));
}

constexpr Method kDictMethods[] = {{"copy", dict_copy}, {"fromkeys", dict_fromkeys},
                                   {"get", dict_get},   {"items", dict_items},
                                   {"keys", dict_keys}, {"values", dict_values}};
constexpr std::string_view kDictHidden[] = {"clear", "pop", "popitem", "setdefault", "update"};

// ── numbers ────────────────────────────────────────────────────────────────────────────────────

Value is_integer(Interpreter&, const Value& self, const Args& args) {
  need_positional("is_integer", args, 0, 0);
  return Value::of(std::isfinite(self.real) && std::floor(self.real) == self.real);
}
Value bit_length(Interpreter&, const Value& self, const Args& args) {
  need_positional("bit_length", args, 0, 0);
  const int128 value = self.as_int();
  const uint128 size = value < 0 ? -static_cast<uint128>(value) : static_cast<uint128>(value);
  return Value::of(size == 0 ? size_t{0} : uint_text(size, 2).size());
}
constexpr Method kRealMethods[] = {{"is_integer", is_integer}};
constexpr Method kIntMethods[] = {{"bit_length", bit_length}};

// ── loop, cycler ───────────────────────────────────────────────────────────────────────────────

Value loop_cycle(Interpreter&, const Value& self, const Args& args) {
  need_positional("cycle", args, 0, SIZE_MAX);
  if (args.positional.empty()) fail("no items for cycling given");
  return args.positional[static_cast<size_t>(self.loop->index0) % args.positional.size()];
}
Value loop_changed(Interpreter& in, const Value& self, const Args& args) {
  need_positional("changed", args, 0, SIZE_MAX);
  const Value now = new_tuple(in, args.positional);
  const bool same =
      self.loop->changed != nullptr && equals(in, Value::tuple(self.loop->changed), now);
  self.loop->changed = now.array;
  return Value::of(!same);
}
constexpr Method kLoopMethods[] = {{"changed", loop_changed}, {"cycle", loop_cycle}};

Value cycler_next(Interpreter&, const Value& self, const Args& args) {
  need_positional("next", args, 0, 0);
  Cycler& cycler = *self.cycler;
  const Value item = cycler.items->items[cycler.position];
  cycler.position = (cycler.position + 1) % cycler.items->size;
  return item;
}
Value cycler_reset(Interpreter&, const Value& self, const Args& args) {
  need_positional("reset", args, 0, 0);
  self.cycler->position = 0;
  return Value::none();
}
constexpr Method kCyclerMethods[] = {{"next", cycler_next}, {"reset", cycler_reset}};

// ── Finding them ───────────────────────────────────────────────────────────────────────────────

std::optional<Value> find_method(Interpreter& in, std::span<const Method> methods,
                                 const Value& self, std::string_view name) {
  const auto at = std::lower_bound(methods.begin(), methods.end(), name,
                                   [](const Method& m, std::string_view n) { return m.name < n; });
  if (at == methods.end() || at->name != name) return std::nullopt;
  Native native;
  native.name = at->name;
  native.function = at->function;
  native.self = self;
  return Value::of(static_cast<const Native*>(in.arena().make<Native>(native)));
}

// What the sandbox hides: it looks like an attribute that is undefined, and says why when used.
std::optional<Value> find_hidden(Interpreter& in, std::span<const std::string_view> names,
                                 const Value& self, std::string_view name) {
  if (std::find(names.begin(), names.end(), name) == names.end()) return std::nullopt;
  Undefined undefined;
  undefined.name = text_copy(in.arena(), name, Taint::no);
  undefined.owner = type_name(self);
  undefined.unsafe = true;
  return Value::of(static_cast<const Undefined*>(in.arena().make<Undefined>(undefined)));
}

std::optional<Value> loop_attribute(Interpreter& in, const Value& self, std::string_view name) {
  Loop& loop = *self.loop;
  if (name == "index") return Value::of(loop.index0 + 1);
  if (name == "index0") return Value::of(loop.index0);
  if (name == "first") return Value::of(loop.index0 == 0);
  if (name == "last") return Value::of(loop_peek(in, loop).is_missing());
  if (name == "length") return Value::of(loop_length(in, loop));
  if (name == "revindex") return Value::of(loop_length(in, loop) - loop.index0);
  if (name == "revindex0") return Value::of(loop_length(in, loop) - loop.index0 - 1);
  if (name == "depth") return Value::of(loop.depth0 + 1);
  if (name == "depth0") return Value::of(loop.depth0);
  if (name == "previtem") {
    return loop.index0 == 0 ? make_undefined_hint(in, "there is no previous item") : loop.before;
  }
  if (name == "nextitem") {
    const Value next = loop_peek(in, loop);
    return next.is_missing() ? make_undefined_hint(in, "there is no next item") : next;
  }
  return find_method(in, kLoopMethods, self, name);
}

std::optional<Value> macro_attribute(Interpreter& in, const MacroCode& code,
                                     std::string_view name) {
  if (name == "name") return code.name == nullptr ? Value::none() : Value::of(code.name);
  if (name == "catch_kwargs") return Value::of(code.takes_kwargs);
  if (name == "catch_varargs") return Value::of(code.takes_varargs);
  if (name == "caller") return Value::of(code.takes_caller || code.names_caller);
  if (name != "arguments") return std::nullopt;
  std::vector<Value> names;
  for (const Parameter& parameter : code.parameters) names.push_back(Value::of(parameter.name));
  return new_tuple(in, names);
}

std::optional<Value> number_attribute(Interpreter& in, const Value& self, std::string_view name) {
  if (name == "real") return self.is_int() ? Value::of(self.as_int()) : self;
  if (name == "imag") return self.is_int() ? Value::of(0) : Value::of(0.0);
  if (self.is(Kind::real)) return find_method(in, kRealMethods, self, name);
  if (name == "numerator") return Value::of(self.as_int());
  if (name == "denominator") return Value::of(1);
  return find_method(in, kIntMethods, self, name);
}

std::optional<Value> array_attribute(Interpreter& in, const Value& self, std::string_view name) {
  if (self.array->is_group) {
    if (name == "grouper") return self.array->items[0];
    if (name == "list") return self.array->items[1];
  }
  if (self.is(Kind::list)) {
    if (const auto hidden = find_hidden(in, kListHidden, self, name)) return hidden;
  } else if (name == "copy") {
    return std::nullopt;
  }
  return find_method(in, kListMethods, self, name);
}

std::optional<Value> range_attribute(const Range& range, std::string_view name) {
  if (name == "start") return Value::of(range.start);
  if (name == "stop") return Value::of(range.stop);
  if (name == "step") return Value::of(range.step);
  return std::nullopt;
}

}  // namespace

std::span<const Method> dict_methods() {
  return kDictMethods;
}
std::span<const Method> list_methods() {
  return kListMethods;
}

std::optional<Value> find_attribute(Interpreter& in, const Value& object, std::string_view name) {
  in.step();
  switch (object.kind) {
    case Kind::string:
      if (const auto found = find_method(in, string_methods(), object, name)) return found;
      return find_method(in, case_methods(), object, name);
    case Kind::dict: {
      static constexpr std::string_view kInternal[] = {"__class__", "__doc__", "__init__",
                                                       "__len__"};
      if (const auto hidden = find_hidden(in, kInternal, object, name)) return hidden;
      if (const auto hidden = find_hidden(in, kDictHidden, object, name)) return hidden;
      return find_method(in, kDictMethods, object, name);
    }
    case Kind::list:
    case Kind::tuple:
      return array_attribute(in, object, name);
    case Kind::ns: {
      const Value* const found = dict_find(in, *object.space, name);
      if (found == nullptr) return std::nullopt;
      return *found;
    }
    case Kind::range:
      return range_attribute(*object.range, name);
    case Kind::boolean:
    case Kind::integer:
    case Kind::real:
      return number_attribute(in, object, name);
    case Kind::loop:
      return loop_attribute(in, object, name);
    case Kind::macro:
      return macro_attribute(in, *object.macro->code, name);
    case Kind::cycler:
      if (name == "current") return object.cycler->items->items[object.cycler->position];
      return find_method(in, kCyclerMethods, object, name);
    case Kind::joiner:
      if (name == "sep") return Value::of(object.joiner->separator);
      if (name == "used") return Value::of(object.joiner->used);
      return std::nullopt;
    case Kind::native:
      if (object.native->name == "dict" && name == "fromkeys") {
        return find_method(in, kDictMethods, object, name);
      }
      return std::nullopt;
    default:
      return std::nullopt;
  }
}

}  // namespace splitd::jinja
