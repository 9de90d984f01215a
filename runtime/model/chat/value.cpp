// What every kind of value is: its type, its truth, its equals and order, its hash in a dict.
#include "runtime/model/chat/value.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>

#include "runtime/model/chat/interpreter.h"
#include "runtime/model/chat/iterate.h"
#include "runtime/model/chat/number.h"

namespace splitd::jinja {

std::string_view type_name(const Value& value) {
  switch (value.kind) {
    case Kind::missing:
    case Kind::undefined:
      return "Undefined";
    case Kind::none:
      return "NoneType";
    case Kind::boolean:
      return "bool";
    case Kind::integer:
      return "int";
    case Kind::real:
      return "float";
    case Kind::string:
      return value.text->markup ? "Markup" : "str";
    case Kind::list:
      return "list";
    case Kind::tuple:
      return "tuple";
    case Kind::dict:
      return "dict";
    case Kind::range:
      return "range";
    case Kind::view:
      return value.view->kind == ViewKind::keys     ? "dict_keys"
             : value.view->kind == ViewKind::values ? "dict_values"
                                                    : "dict_items";
    case Kind::iterator:
      return value.iterator->type;
    case Kind::ns:
      return "Namespace";
    case Kind::native:
      return value.native->type;
    case Kind::macro:
      return "Macro";
    case Kind::loop:
      return "LoopContext";
    case Kind::cycler:
      return "Cycler";
    case Kind::joiner:
      return "Joiner";
  }
  return "object";
}

bool is_true(const Value& value) {
  switch (value.kind) {
    case Kind::missing:
    case Kind::undefined:
    case Kind::none:
      return false;
    case Kind::boolean:
      return value.boolean;
    case Kind::integer:
      return value.integer.low != 0 || value.integer.high != 0;
    case Kind::real:
      return value.real != 0;
    case Kind::string:
      return value.text->size != 0;
    case Kind::list:
    case Kind::tuple:
      return value.array->size != 0;
    case Kind::dict:
      return value.dict->size != 0;
    case Kind::range:
      return value.range->size != 0;
    case Kind::view:
      return value.view->dict->size != 0;
    default:
      return true;
  }
}

void fail_undefined(const Undefined& undefined) {
  const std::string name = undefined.name == nullptr ? "" : std::string(undefined.name->view());
  if (!undefined.hint.empty()) fail(std::string(undefined.hint));
  if (undefined.unsafe) {
    fail("access to attribute " + quoted(name) + " of " + quoted(undefined.owner) +
         " object is unsafe: templates cannot change values or reach Python's internals");
  }
  if (undefined.owner.empty()) fail(quoted(name) + " is undefined");
  fail(quoted(std::string(undefined.owner) + " object") + " has no attribute " + quoted(name));
}

static bool dicts_equal(Interpreter& in, const Dict& a, const Dict& b) {
  if (a.size != b.size) return false;
  for (uint32_t i = 0; i < a.size; ++i) {
    const Value* const other = dict_find(in, b, a.entries[i].key);
    if (other == nullptr || !equals(in, a.entries[i].value, *other)) return false;
  }
  return true;
}

static bool arrays_equal(Interpreter& in, const Array& a, const Array& b) {
  if (&a == &b) return true;
  if (a.size != b.size) return false;
  for (uint32_t i = 0; i < a.size; ++i) {
    if (!equals(in, a.items[i], b.items[i])) return false;
  }
  return true;
}

bool equals(Interpreter& in, const Value& a, const Value& b) {
  in.step();
  if (a.is_number() && b.is_number()) return compare_numbers(a, b) == 0;
  if (a.kind != b.kind) return false;
  switch (a.kind) {
    case Kind::missing:
    case Kind::undefined:
    case Kind::none:
      return true;
    case Kind::string:
      if (a.text->size != b.text->size) return false;
      in.step_bytes(a.text->size);
      return a.text->view() == b.text->view();
    case Kind::list:
    case Kind::tuple:
      return arrays_equal(in, *a.array, *b.array);
    case Kind::dict:
      return a.dict == b.dict || dicts_equal(in, *a.dict, *b.dict);
    case Kind::range: {
      const Range& x = *a.range;
      const Range& y = *b.range;
      return x.size == y.size &&
             (x.size == 0 || (x.start == y.start && (x.size == 1 || x.step == y.step)));
    }
    case Kind::view:
      return a.view == b.view ||
             (a.view->kind == b.view->kind && a.view->kind != ViewKind::values &&
              dicts_equal(in, *a.view->dict, *b.view->dict));
    default:
      return a.native == b.native;  // the same object
  }
}

[[noreturn]] static void fail_order(const Value& a, const Value& b, std::string_view symbol) {
  refuse_undefined(a);
  refuse_undefined(b);
  fail(quoted(symbol) + " not supported between instances of " + quoted(type_name(a)) + " and " +
       quoted(type_name(b)));
}

int order(Interpreter& in, const Value& a, const Value& b, std::string_view symbol) {
  in.step();
  if (a.is_number() && b.is_number()) return compare_numbers(a, b);
  if (a.kind != b.kind) fail_order(a, b, symbol);
  if (a.is_string()) {
    in.step_bytes(std::min(a.text->size, b.text->size));
    const int sign = a.text->view().compare(b.text->view());  // UTF-8 sorts as code points do
    return sign < 0 ? -1 : sign > 0 ? 1 : 0;
  }
  if (!a.is_sequence()) fail_order(a, b, symbol);
  const uint32_t n = std::min(a.array->size, b.array->size);
  for (uint32_t i = 0; i < n; ++i) {
    const Value& x = a.array->items[i];
    const Value& y = b.array->items[i];
    if (!equals(in, x, y)) return order(in, x, y, symbol);
  }
  return a.array->size < b.array->size ? -1 : a.array->size > b.array->size ? 1 : 0;
}

void sort_stably(Interpreter& in, std::span<Value> items, std::span<const Value> keys,
                 bool reverse) {
  // Merge sort by index: what cannot be ordered fails in the middle without harm, and NaNs, which
  // are no order at all, cannot lead it astray.
  const size_t n = items.size();
  std::vector<uint32_t> from(n);
  std::vector<uint32_t> to(n);
  for (size_t i = 0; i < n; ++i) from[i] = static_cast<uint32_t>(i);
  for (size_t width = 1; width < n; width *= 2) {
    for (size_t begin = 0; begin < n; begin += 2 * width) {
      const size_t middle = std::min(begin + width, n);
      const size_t end = std::min(begin + 2 * width, n);
      size_t left = begin;
      size_t right = middle;
      for (size_t out = begin; out < end; ++out) {
        const bool from_right =
            left == middle ||
            (right < end && (reverse ? order(in, keys[from[left]], keys[from[right]])
                                     : order(in, keys[from[right]], keys[from[left]])) == -1);
        to[out] = from_right ? from[right++] : from[left++];
      }
    }
    from.swap(to);
  }
  const std::vector<Value> unsorted(items.begin(), items.end());
  for (size_t i = 0; i < n; ++i) items[i] = unsorted[from[i]];
}

bool is_hashable(const Value& value) {
  if (value.is(Kind::list) || value.is(Kind::dict) || value.is(Kind::view)) return false;
  if (!value.is(Kind::tuple)) return true;
  return std::all_of(value.items().begin(), value.items().end(), is_hashable);
}

static size_t mix(size_t hash, size_t more) {
  hash ^= more + 0x9e3779b97f4a7c15 + (hash << 6) + (hash >> 2);
  return hash * 0xff51afd7ed558ccd;
}

static size_t hash_of(Interpreter& in, const Value& value) {
  in.step();
  switch (value.kind) {
    case Kind::none:
      return 1;
    case Kind::boolean:
    case Kind::integer: {
      const int128 i = value.as_int();
      return mix(static_cast<size_t>(i), static_cast<size_t>(i >> 64));
    }
    case Kind::real:
      // Equal numbers hash alike, 1 and 1.0 among them.
      if (std::floor(value.real) == value.real && std::fabs(value.real) < 0x1p126) {
        return hash_of(in, Value::of(static_cast<int128>(value.real)));
      }
      return std::hash<double>()(value.real);
    case Kind::string:
      in.step_bytes(value.text->size);
      return std::hash<std::string_view>()(value.text->view());
    case Kind::tuple: {
      size_t hash = 3;
      for (const Value& item : value.items()) hash = mix(hash, hash_of(in, item));
      return hash;
    }
    default:
      return mix(static_cast<size_t>(value.kind), std::hash<const void*>()(value.native));
  }
}

static constexpr uint32_t kLinear = 8;  // dicts up to this size are searched from end to end

// The slot that holds the key, or the empty one where it would be.
template <class Matches>
static uint32_t& probe(Interpreter& in, const Dict& dict, size_t hash, Matches matches) {
  uint32_t at = static_cast<uint32_t>(hash) & (dict.n_slots - 1);
  while (dict.slots[at] != 0 && !matches(dict.entries[dict.slots[at] - 1].key)) {
    in.step();
    at = (at + 1) & (dict.n_slots - 1);
  }
  return dict.slots[at];
}

static void refuse_unhashable(const Value& key) {
  if (!is_hashable(key)) fail("unhashable type: " + quoted(type_name(key)));
}

const Value* dict_find(Interpreter& in, const Dict& dict, const Value& key) {
  if (key.is_string()) return dict_find(in, dict, key.text->view());
  refuse_unhashable(key);
  const auto matches = [&](const Value& other) { return equals(in, key, other); };
  if (dict.slots == nullptr) {
    for (uint32_t i = 0; i < dict.size; ++i) {
      if (matches(dict.entries[i].key)) return &dict.entries[i].value;
    }
    return nullptr;
  }
  const uint32_t found = probe(in, dict, hash_of(in, key), matches);
  return found == 0 ? nullptr : &dict.entries[found - 1].value;
}

const Value* dict_find(Interpreter& in, const Dict& dict, std::string_view key) {
  in.step_bytes(key.size());
  const auto matches = [&](const Value& other) {
    return other.is_string() && other.text->view() == key;
  };
  if (dict.slots == nullptr) {
    for (uint32_t i = 0; i < dict.size; ++i) {
      if (matches(dict.entries[i].key)) return &dict.entries[i].value;
    }
    return nullptr;
  }
  const uint32_t found = probe(in, dict, std::hash<std::string_view>()(key), matches);
  return found == 0 ? nullptr : &dict.entries[found - 1].value;
}

static void grow_slots(Interpreter& in, Dict& dict) {
  dict.n_slots = std::max(uint32_t{32}, dict.n_slots * 4);
  dict.slots = in.arena().array<uint32_t>(dict.n_slots);
  for (uint32_t i = 0; i < dict.size; ++i) {
    probe(in, dict, hash_of(in, dict.entries[i].key), [](const Value&) { return false; }) = i + 1;
  }
}

static uint16_t depth_of(const Value& value) {
  switch (value.kind) {
    case Kind::list:
    case Kind::tuple:
      return value.array->depth;
    case Kind::dict:
      return value.dict->depth;
    case Kind::view:
      return static_cast<uint16_t>(value.view->dict->depth + 1);
    default:
      return 0;
  }
}

static uint16_t deeper(uint16_t depth) {
  if (depth >= kMaxValueDepth) {
    fail_limit("lists and dicts are nested more than " + std::to_string(kMaxValueDepth) + " deep");
  }
  return static_cast<uint16_t>(depth + 1);
}

void dict_set(Interpreter& in, Dict& dict, const Value& key, const Value& value) {
  const uint16_t depth = deeper(std::max(depth_of(key), depth_of(value)));
  if (const Value* const found = dict_find(in, dict, key)) {
    const_cast<Value&>(*found) = value;
    dict.depth = std::max(dict.depth, depth);
    return;
  }
  if (dict.size == dict.capacity) {
    dict.capacity = std::max(uint32_t{4}, dict.capacity * 2);
    Entry* const entries = in.arena().array<Entry>(dict.capacity);
    std::copy(dict.entries, dict.entries + dict.size, entries);
    dict.entries = entries;
  }
  dict.entries[dict.size++] = {key, value};
  dict.depth = std::max(dict.depth, depth);
  if (dict.size > kLinear && dict.size * 2 > dict.n_slots) {
    grow_slots(in, dict);
  } else if (dict.slots != nullptr) {
    probe(in, dict, hash_of(in, key), [](const Value&) { return false; }) = dict.size;
  }
}

Dict* new_dict(Interpreter& in, size_t expected) {
  Dict* const dict = in.arena().make<Dict>();
  if (expected > 0) {
    dict->entries = in.arena().array<Entry>(expected);
    dict->capacity = static_cast<uint32_t>(expected);
  }
  return dict;
}

static const Array* make_array(Interpreter& in, std::span<const Value> items) {
  in.step(1 + items.size() / 8);
  Array array;
  const std::span<Value> copy = in.arena().copy(items);
  array.items = copy.data();
  array.size = static_cast<uint32_t>(copy.size());
  uint16_t depth = 0;
  for (const Value& item : items) depth = std::max(depth, depth_of(item));
  array.depth = deeper(depth);
  return in.arena().make<Array>(array);
}

Value new_list(Interpreter& in, std::span<const Value> items) {
  return Value::list(make_array(in, items));
}
Value new_tuple(Interpreter& in, std::span<const Value> items) {
  return Value::tuple(make_array(in, items));
}
Value new_string(Interpreter& in, std::string_view bytes, Taint taint) {
  return Value::of(text_copy(in.arena(), bytes, taint));
}

}  // namespace splitd::jinja
