// Iterators: each kind of source has one case in advance().
#include "runtime/model/chat/iterate.h"

#include "runtime/base/utf8.h"
#include "runtime/model/chat/filters.h"
#include "runtime/model/chat/operators.h"

namespace splitd::jinja {
namespace {

Iterator* new_iterator(Interpreter& in, Iterator::Source source) {
  Iterator* const iterator = in.arena().make<Iterator>();
  iterator->source = source;
  return iterator;
}

Iterator* over_values(Interpreter& in, std::span<const Value> items) {
  Iterator* const iterator = new_iterator(in, Iterator::Source::values);
  iterator->items = items.data();
  iterator->left = static_cast<int64_t>(items.size());
  return iterator;
}

Iterator* over_dict(Interpreter& in, const Dict& dict, ViewKind view) {
  Iterator* const iterator = new_iterator(in, Iterator::Source::entries);
  iterator->dict = &dict;
  iterator->view = view;
  iterator->left = dict.size;
  return iterator;
}

bool next_char(Interpreter& in, Iterator& it, Value& item) {
  if (it.at >= it.text->size) return false;
  const size_t begin = static_cast<size_t>(it.at);
  const size_t end = begin + utf8_decode(it.text->view().substr(begin)).length;
  it.at = static_cast<int64_t>(end);
  item = Value::of(text_slice(in.arena(), *it.text, begin, end));
  return true;
}

void entry_at(Interpreter& in, const Iterator& it, const Entry& entry, Value& item) {
  if (it.view == ViewKind::keys) {
    item = entry.key;
  } else if (it.view == ViewKind::values) {
    item = entry.value;
  } else {
    const Value pair[] = {entry.key, entry.value};
    item = new_tuple(in, pair);
  }
}

[[noreturn]] void fail_unknown(const Iterator& it, std::string_view what) {
  fail("no " + std::string(what) + " named " + quoted(it.unknown));
}

bool next_mapped(Interpreter& in, Iterator& it, Value& item) {
  Value source;
  if (!next_item(in, *it.inner, source)) return false;
  if (it.by_attribute) {
    const bool has_fallback = !it.fallback.is_missing() && !it.fallback.is_none();
    item = follow_path(in, source, it.attribute, has_fallback ? &it.fallback : nullptr);
    return true;
  }
  if (it.filter == nullptr) fail_unknown(it, "filter");
  item = it.filter->function(in, source, it.args);
  return true;
}

bool next_selected(Interpreter& in, Iterator& it, Value& item) {
  while (next_item(in, *it.inner, item)) {
    Value tested = item;
    if (it.by_attribute) tested = follow_path(in, item, it.attribute, nullptr);
    if (it.test == nullptr && !it.unknown.empty()) fail_unknown(it, "test");
    const bool passes =
        it.test == nullptr ? is_true(tested) : it.test->function(in, tested, it.args);
    if (passes == it.expected) return true;
  }
  return false;
}

bool next_passing(Interpreter& in, Iterator& it, Value& item) {
  Value source;
  while (next_item(in, *it.inner, source)) {
    item = in.run_loop_test(*it.loop, *it.activation, source);
    if (!item.is_missing()) return true;
  }
  return false;
}

void run_deferred(Interpreter& in, Iterator& it) {
  const Value list = it.function(in, it.self, it.args);
  it.source = Iterator::Source::values;
  it.items = list.array->items;
  it.left = list.array->size;
}

}  // namespace

bool next_item(Interpreter& in, Iterator& it, Value& item) {
  in.step();
  switch (it.source) {
    case Iterator::Source::empty:
      return false;
    case Iterator::Source::deferred: {
      const Interpreter::Deeper deeper(in);
      run_deferred(in, it);
      return next_item(in, it, item);
    }
    case Iterator::Source::values:
      if (it.left <= 0) return false;
      --it.left;
      item = it.items[it.at];
      it.at += it.step;
      return true;
    case Iterator::Source::chars:
      return next_char(in, it, item);
    case Iterator::Source::range:
      if (it.left <= 0) return false;
      --it.left;
      item = Value::of(it.at);
      it.at += it.left > 0 ? it.step : 0;
      return true;
    case Iterator::Source::entries:
      if (it.left <= 0) return false;
      --it.left;
      entry_at(in, it, it.dict->entries[it.at], item);
      it.at += it.step;
      return true;
    case Iterator::Source::loop: {
      if (!loop_advance(in, *it.own_loop)) return false;
      const Value pair[] = {it.own_loop->current, Value::of(it.own_loop)};
      item = new_tuple(in, pair);
      return true;
    }
    case Iterator::Source::map:
    case Iterator::Source::select:
    case Iterator::Source::loop_test: {
      // A template can pile these up without end.
      const Interpreter::Deeper deeper(in);
      if (it.source == Iterator::Source::map) return next_mapped(in, it, item);
      if (it.source == Iterator::Source::select) return next_selected(in, it, item);
      return next_passing(in, it, item);
    }
  }
  return false;
}

bool is_iterable(const Value& value) {
  switch (value.kind) {
    case Kind::undefined:
    case Kind::string:
    case Kind::list:
    case Kind::tuple:
    case Kind::dict:
    case Kind::range:
    case Kind::view:
    case Kind::iterator:
    case Kind::loop:
      return true;
    default:
      return false;
  }
}

Iterator* iterate(Interpreter& in, const Value& value) {
  switch (value.kind) {
    case Kind::undefined:
      return new_iterator(in, Iterator::Source::empty);
    case Kind::list:
    case Kind::tuple:
      return over_values(in, value.items());
    case Kind::string: {
      Iterator* const iterator = new_iterator(in, Iterator::Source::chars);
      iterator->text = value.text;
      return iterator;
    }
    case Kind::dict:
      return over_dict(in, *value.dict, ViewKind::keys);
    case Kind::view:
      return over_dict(in, *value.view->dict, value.view->kind);
    case Kind::range: {
      Iterator* const iterator = new_iterator(in, Iterator::Source::range);
      iterator->at = value.range->start;
      iterator->step = value.range->step;
      iterator->left = value.range->size;
      return iterator;
    }
    case Kind::iterator:
      return value.iterator;
    case Kind::loop: {
      Iterator* const iterator = new_iterator(in, Iterator::Source::loop);
      iterator->own_loop = value.loop;
      return iterator;
    }
    default:
      fail(quoted(type_name(value)) + " object is not iterable");
  }
}

Iterator* iterate_reversed(Interpreter& in, const Value& value) {
  if (value.is_string()) {  // reversed('ab') walks 'b', 'a'
    const std::vector<Value> chars = collect(in, value);
    Iterator* const iterator = over_values(in, in.arena().copy(chars));
    iterator->at = iterator->left - 1;
    iterator->step = -1;
    iterator->type = "reversed";
    return iterator;
  }
  if (!value.is_sequence() && !value.is(Kind::dict) && !value.is(Kind::view) &&
      !value.is(Kind::range)) {
    return nullptr;
  }
  Iterator* const iterator = iterate(in, value);
  if (iterator->left > 0) {
    iterator->at += iterator->step * (iterator->left - 1);
    iterator->step = -iterator->step;
  }
  iterator->type = value.is(Kind::list) ? "list_reverseiterator" : "reversed";
  return iterator;
}

std::vector<Value> collect(Interpreter& in, Iterator& iterator) {
  std::vector<Value> items;
  size_t charged = 0;
  Value item;
  while (next_item(in, iterator, item)) {
    // Outside the arena, but as bounded: steps end it long before memory does.
    if (items.size() == items.capacity()) {
      charged = std::max<size_t>(16, items.size() * 2);
      in.arena().charge(charged * sizeof(Value));
      in.arena().release(charged * sizeof(Value));
      items.reserve(charged);
    }
    items.push_back(item);
  }
  return items;
}

std::vector<Value> collect(Interpreter& in, const Value& value) {
  if (value.is_sequence()) {
    in.step(1 + value.array->size / 8);
    return {value.items().begin(), value.items().end()};
  }
  return collect(in, *iterate(in, value));
}

Value make_deferred(Interpreter& in, NativeFunction function, const Value& self, const Args& args) {
  Iterator* const iterator = new_iterator(in, Iterator::Source::deferred);
  iterator->function = function;
  iterator->self = self;
  iterator->args.positional = in.arena().copy(args.positional);
  iterator->args.named = in.arena().copy(args.named);
  return Value::of(iterator);
}

Value loop_peek(Interpreter& in, Loop& loop) {
  if (loop.after.is_missing()) {
    Value item;
    if (next_item(in, *loop.items, item)) loop.after = item;
  }
  return loop.after;
}

bool loop_advance(Interpreter& in, Loop& loop) {
  Value item = loop.after;
  loop.after = Value();
  if (item.is_missing() && !next_item(in, *loop.items, item)) return false;
  ++loop.index0;
  loop.before = loop.current;
  loop.current = item;
  return true;
}

int64_t loop_length(Interpreter& in, Loop& loop) {
  if (loop.length >= 0) return loop.length;
  const std::vector<Value> rest = collect(in, *loop.items);
  loop.items = over_values(in, in.arena().copy(rest));
  loop.length =
      static_cast<int64_t>(rest.size()) + loop.index0 + 1 + (loop.after.is_missing() ? 0 : 1);
  return loop.length;
}

}  // namespace splitd::jinja
