// Owns: walking values: lists, the characters of strings, ranges, and the generators that filters
// such as map and select return, which do their work as they are walked, once.
#pragma once

#include "runtime/model/chat/interpreter.h"

namespace splitd::jinja {

struct Test;
struct Filter;

struct Iterator {
  enum class Source : uint8_t {
    values,     // items[at], at += step until n are done
    chars,      // of a text
    range,      //
    entries,    // of a dict: keys, values or items
    deferred,   // function(self, args) gives the list when the first item is asked for
    map,        // transform of inner
    select,     // what passes of inner
    loop_test,  // what passes the test of a for loop
    loop,       // the loop of a for statement, walked by its own body
    empty,
  };
  Source source = Source::empty;
  std::string_view type = "generator";  // Python's name of it
  bool reversed = false;

  const Value* items = nullptr;  // values
  int64_t at = 0;
  int64_t left = 0;
  int64_t step = 1;

  const Text* text = nullptr;  // chars: `at` is a byte offset
  const Dict* dict = nullptr;  // entries
  ViewKind view = ViewKind::keys;

  NativeFunction function = nullptr;  // deferred
  Value self;
  Args args;

  Loop* own_loop = nullptr;  // loop

  Iterator* inner = nullptr;       // map, select, loop_test
  const Filter* filter = nullptr;  // map: a filter, or else the attribute
  const Test* test = nullptr;      // select: a test, or else truth
  bool expected = true;            // select: the answer that passes
  bool by_attribute = false;       // map and select: look at an attribute of the item
  Value attribute;
  Value fallback;                 // map: instead of an undefined attribute; may be missing
  std::string_view unknown;       // name of a filter or test that does not exist
  const ForStmt* loop = nullptr;  // loop_test
  Activation* activation = nullptr;
};

// Fails with Python's message for what cannot be walked.
Iterator* iterate(Interpreter& in, const Value& value);
bool is_iterable(const Value& value);
bool next_item(Interpreter& in, Iterator& iterator, Value& item);

// Everything that is left of it, at most as many as the limits allow.
std::vector<Value> collect(Interpreter& in, const Value& value);
std::vector<Value> collect(Interpreter& in, Iterator& iterator);

// reversed(value); nothing where Python cannot.
Iterator* iterate_reversed(Interpreter& in, const Value& value);

Value make_deferred(Interpreter& in, NativeFunction function, const Value& self, const Args& args);

// len(loop), walking ahead where the items have no length.
int64_t loop_length(Interpreter& in, Loop& loop);
// The item after the current one; missing when there is none.
Value loop_peek(Interpreter& in, Loop& loop);
bool loop_advance(Interpreter& in, Loop& loop);

}  // namespace splitd::jinja
