// Owns: the values of the template language, with Python's meaning: None, bool, int (up to 127
// bits, beyond is an error), float, str, list, tuple, dict, range and the helpers of Jinja.
// A Value is a small handle into an arena; containers never change once built, namespaces apart.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "runtime/model/chat/arena.h"
#include "runtime/model/chat/text.h"

namespace splitd::jinja {

class Interpreter;
struct Value;
struct Args;
struct Iterator;
struct Macro;
struct Loop;

__extension__ using int128 = __int128;
__extension__ using uint128 = unsigned __int128;

enum class Kind : uint8_t {
  missing,  // no value at all: a variable that was never set. Never seen by a template
  undefined,
  none,
  boolean,
  integer,
  real,
  string,
  list,
  tuple,
  dict,
  range,
  view,      // dict.keys(), .values(), .items()
  iterator,  // a generator: can be walked once
  ns,        // namespace()
  native,    // a function of ours, a bound method among them
  macro,
  loop,
  cycler,
  joiner,
};

// Where an undefined value came from, for the message when something is done with it.
struct Undefined {
  std::string_view hint;       // the whole message, where not empty
  const Text* name = nullptr;  // of the variable or attribute
  std::string_view owner;      // "dict object": what lacked the attribute; empty for a variable
  bool unsafe = false;         // an attribute that the sandbox hides
};

struct Array {  // list, tuple
  const Value* items = nullptr;
  uint32_t size = 0;
  uint16_t depth = 1;     // of nesting, itself included
  bool is_group = false;  // a tuple of groupby: has .grouper and .list
};

struct Entry;
struct Dict {  // in order of insertion
  Entry* entries = nullptr;
  uint32_t size = 0;
  uint32_t capacity = 0;
  uint32_t* slots = nullptr;  // open addressing, index + 1; only when larger than a few entries
  uint32_t n_slots = 0;       // a power of two
  uint16_t depth = 1;
};

struct Range {
  int64_t start = 0;
  int64_t step = 1;
  int64_t size = 0;
  int64_t stop = 0;
};

enum class ViewKind : uint8_t { keys, values, items };
struct View {
  const Dict* dict = nullptr;
  ViewKind kind = ViewKind::keys;
};

struct Native;
struct Cycler;
struct Joiner;

struct WideInt {
  uint64_t low;
  int64_t high;
};

struct Value {
  Kind kind = Kind::missing;
  union {
    bool boolean;
    double real;
    WideInt integer;
    const Text* text;
    const Array* array;
    const Dict* dict;
    Dict* space;
    const Range* range;
    const View* view;
    Iterator* iterator;
    const Undefined* undefined;
    const Native* native;
    const Macro* macro;
    Loop* loop;
    Cycler* cycler;
    Joiner* joiner;
  };

  constexpr Value() : integer{0, 0} {}

  static Value none() { return Value(Kind::none); }
  static Value of(bool b) {
    Value v(Kind::boolean);
    v.boolean = b;
    return v;
  }
  static Value of(int128 i) {
    Value v(Kind::integer);
    v.integer.low = static_cast<uint64_t>(i);
    v.integer.high = static_cast<int64_t>(i >> 64);
    return v;
  }
  static Value of(int i) { return of(static_cast<int128>(i)); }
  static Value of(int64_t i) { return of(static_cast<int128>(i)); }
  static Value of(uint32_t i) { return of(static_cast<int128>(i)); }
  static Value of(size_t i) { return of(static_cast<int128>(i)); }
  static Value of(double d) {
    Value v(Kind::real);
    v.real = d;
    return v;
  }
  static Value of(const Text* text) {
    Value v(Kind::string);
    v.text = text;
    return v;
  }
  static Value list(const Array* array) {
    Value v(Kind::list);
    v.array = array;
    return v;
  }
  static Value tuple(const Array* array) {
    Value v(Kind::tuple);
    v.array = array;
    return v;
  }
  static Value of(const Dict* dict) {
    Value v(Kind::dict);
    v.dict = dict;
    return v;
  }
  static Value name_space(Dict* attributes) {
    Value v(Kind::ns);
    v.space = attributes;
    return v;
  }
  static Value of(const Range* range) {
    Value v(Kind::range);
    v.range = range;
    return v;
  }
  static Value of(const View* view) {
    Value v(Kind::view);
    v.view = view;
    return v;
  }
  static Value of(Iterator* iterator) {
    Value v(Kind::iterator);
    v.iterator = iterator;
    return v;
  }
  static Value of(const Undefined* undefined) {
    Value v(Kind::undefined);
    v.undefined = undefined;
    return v;
  }
  static Value of(const Native* native) {
    Value v(Kind::native);
    v.native = native;
    return v;
  }
  static Value of(const Macro* macro) {
    Value v(Kind::macro);
    v.macro = macro;
    return v;
  }
  static Value of(Loop* loop) {
    Value v(Kind::loop);
    v.loop = loop;
    return v;
  }
  static Value of(Cycler* cycler) {
    Value v(Kind::cycler);
    v.cycler = cycler;
    return v;
  }
  static Value of(Joiner* joiner) {
    Value v(Kind::joiner);
    v.joiner = joiner;
    return v;
  }

  bool is(Kind k) const { return kind == k; }
  bool is_missing() const { return kind == Kind::missing; }
  bool is_undefined() const { return kind == Kind::undefined; }
  bool is_none() const { return kind == Kind::none; }
  bool is_string() const { return kind == Kind::string; }
  bool is_sequence() const { return kind == Kind::list || kind == Kind::tuple; }
  // bool is an int, as in Python.
  bool is_int() const { return kind == Kind::integer || kind == Kind::boolean; }
  bool is_number() const { return is_int() || kind == Kind::real; }

  int128 as_int() const {
    if (kind == Kind::boolean) return boolean ? 1 : 0;
    return static_cast<int128>((static_cast<uint128>(static_cast<uint64_t>(integer.high)) << 64) |
                               integer.low);
  }
  double as_real() const { return kind == Kind::real ? real : static_cast<double>(as_int()); }
  std::span<const Value> items() const { return {array->items, array->size}; }

 private:
  explicit Value(Kind k) : kind(k), integer{0, 0} {}
};

struct Entry {
  Value key;
  Value value;
};

using NativeFunction = Value (*)(Interpreter&, const Value& self, const Args&);
struct Native {
  std::string_view name;
  NativeFunction function = nullptr;
  Value self;  // what a method is bound to
  std::string_view type = "builtin_function_or_method";
};

struct Cycler {
  const Array* items = nullptr;
  uint32_t position = 0;
};

struct Joiner {
  const Text* separator = nullptr;
  bool used = false;
};

struct Named {
  const Text* name = nullptr;
  Value value;
};

struct Args {
  std::span<const Value> positional;
  std::span<const Named> named;
};

// Deepest nesting of lists and dicts: what walks a value may recurse.
inline constexpr uint16_t kMaxValueDepth = 200;

std::string_view type_name(const Value& value);  // as Python's type(value).__name__
bool is_true(const Value& value);

// == as Python means it; never fails.
bool equals(Interpreter& in, const Value& a, const Value& b);
// -1, 0 or 1, and 2 where a NaN decides. Fails for what cannot be ordered; `symbol` is for the
// message.
int order(Interpreter& in, const Value& a, const Value& b, std::string_view symbol = "<");
// Which comes first stays first among equals.
void sort_stably(Interpreter& in, std::span<Value> items, std::span<const Value> keys,
                 bool reverse);

// str(value) and repr(value). soft_text keeps markup as markup.
const Text* soft_text(Interpreter& in, const Value& value);
const Text* to_text(Interpreter& in, const Value& value);
void append_text(Interpreter& in, TextBuilder& out, const Value& value);
void append_repr(Interpreter& in, TextBuilder& out, const Value& value);

// An undefined value fails whatever is done with it.
[[noreturn]] void fail_undefined(const Undefined& undefined);
inline void refuse_undefined(const Value& value) {
  if (value.is_undefined()) fail_undefined(*value.undefined);
}

// Entry of a dict, or null. Fails for a key that cannot be hashed.
const Value* dict_find(Interpreter& in, const Dict& dict, const Value& key);
const Value* dict_find(Interpreter& in, const Dict& dict, std::string_view key);
// Adds or replaces.
void dict_set(Interpreter& in, Dict& dict, const Value& key, const Value& value);
Dict* new_dict(Interpreter& in, size_t expected = 0);
bool is_hashable(const Value& value);

Value new_list(Interpreter& in, std::span<const Value> items);
Value new_tuple(Interpreter& in, std::span<const Value> items);
Value new_string(Interpreter& in, std::string_view bytes, Taint taint = Taint::no);

}  // namespace splitd::jinja
