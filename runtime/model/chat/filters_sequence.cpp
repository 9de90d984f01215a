// Filters over lists and other things that can be walked. Those that are generators in Jinja are
// here too: they do their work when their result is walked.
#include <algorithm>

#include "runtime/model/chat/arguments.h"
#include "runtime/model/chat/filters.h"
#include "runtime/model/chat/iterate.h"
#include "runtime/model/chat/methods.h"
#include "runtime/model/chat/operators.h"

namespace splitd::jinja {
namespace {

Value list(Interpreter& in, const Value& input, const Args& args) {
  need_positional("list", args, 0, 0);
  return new_list(in, collect(in, input));
}

Value first(Interpreter& in, const Value& input, const Args& args) {
  need_positional("first", args, 0, 0);
  Value item;
  if (next_item(in, *iterate(in, input), item)) return item;
  return make_undefined_hint(in, "no first item, sequence was empty");
}

Value last(Interpreter& in, const Value& input, const Args& args) {
  need_positional("last", args, 0, 0);
  Value item;
  if (input.is_undefined()) return make_undefined_hint(in, "no last item, sequence was empty");
  if (input.is_string() && input.text->size > 0) {
    return get_item(in, input, Value::of(-1));
  }
  Iterator* const items = iterate_reversed(in, input);
  if (items == nullptr) fail(quoted(type_name(input)) + " object is not reversible");
  if (next_item(in, *items, item)) return item;
  return make_undefined_hint(in, "no last item, sequence was empty");
}

Value reverse(Interpreter& in, const Value& input, const Args& args) {
  need_positional("reverse", args, 0, 0);
  if (input.is_string()) return get_slice(in, input, Value(), Value(), Value::of(-1));
  if (Iterator* const items = iterate_reversed(in, input)) return Value::of(items);
  std::vector<Value> items = collect(in, input);
  std::reverse(items.begin(), items.end());
  return new_list(in, items);
}

Value join(Interpreter& in, const Value& input, const Args& args) {
  const auto [separator, attribute] = bind("join", args, {"d", "attribute"}, 0);
  const Text* const between = separator.is_missing() ? nullptr : to_text(in, separator);
  TextBuilder out(in.arena());
  Iterator* const items = iterate(in, input);
  Value item;
  for (bool first_one = true; next_item(in, *items, item); first_one = false) {
    if (!first_one && between != nullptr) out.append(*between);
    if (!attribute.is_missing() && !attribute.is_none())
      item = follow_path(in, item, attribute, nullptr);
    append_text(in, out, item);
  }
  return Value::of(out.finish());
}

// What strings are compared by unless case matters.
Value ignore_case(Interpreter& in, const Value& value) {
  return value.is_string() ? Value::of(lower_text(in, *value.text)) : value;
}

// sort(attribute="a,b"): a list of keys for each item.
Value sort_key(Interpreter& in, const Value& item, const Value& attribute, bool case_sensitive) {
  std::vector<Value> keys;
  const auto add = [&](const Value& key) {
    keys.push_back(case_sensitive ? key : ignore_case(in, key));
  };
  if (!attribute.is_string()) {
    add(follow_path(in, item, attribute.is_missing() ? Value::none() : attribute, nullptr));
    return new_list(in, keys);
  }
  const Text& paths = *attribute.text;
  for (size_t begin = 0;;) {
    const size_t comma = std::min(paths.view().find(',', begin), size_t{paths.size});
    const Text* const path = text_slice(in.arena(), paths, begin, comma);
    add(follow_path(in, item, Value::of(path), nullptr));
    if (comma == paths.size) break;
    begin = comma + 1;
  }
  return new_list(in, keys);
}

Value sort(Interpreter& in, const Value& input, const Args& args) {
  const auto [reverse_arg, case_sensitive, attribute] =
      bind("sort", args, {"reverse", "case_sensitive", "attribute"}, 0);
  std::vector<Value> items = collect(in, input);
  std::vector<Value> keys;
  for (const Value& item : items) {
    keys.push_back(sort_key(in, item, attribute, is_true(case_sensitive)));
  }
  sort_stably(in, items, keys, need_flag(reverse_arg, "reverse"));
  return new_list(in, items);
}

Value dictsort(Interpreter& in, const Value& input, const Args& args) {
  const auto [case_sensitive, by, reverse_arg] =
      bind("dictsort", args, {"case_sensitive", "by", "reverse"}, 0);
  const std::string_view which = by.is_missing() ? "key" : need_text(by, "by").view();
  if (which != "key" && which != "value") fail("you can only sort by either \"key\" or \"value\"");
  refuse_undefined(input);
  if (!input.is(Kind::dict)) fail("dictsort needs a mapping, not " + quoted(type_name(input)));
  std::vector<Value> items;
  std::vector<Value> keys;
  for (uint32_t i = 0; i < input.dict->size; ++i) {
    const Entry& entry = input.dict->entries[i];
    const Value pair[] = {entry.key, entry.value};
    const Value key = which == "key" ? entry.key : entry.value;
    items.push_back(new_tuple(in, pair));
    keys.push_back(is_true(case_sensitive) ? key : ignore_case(in, key));
  }
  sort_stably(in, items, keys, need_flag(reverse_arg, "reverse"));
  return new_list(in, items);
}

Value extreme(Interpreter& in, const Value& input, const Args& args, bool largest) {
  const auto [case_sensitive, attribute] =
      bind(largest ? "max" : "min", args, {"case_sensitive", "attribute"}, 0);
  Iterator* const items = iterate(in, input);
  Value item;
  Value best;
  Value best_key;
  while (next_item(in, *items, item)) {
    Value key = follow_path(in, item, attribute.is_missing() ? Value::none() : attribute, nullptr);
    if (!is_true(case_sensitive)) key = ignore_case(in, key);
    const bool better = best.is_missing() || (largest ? order(in, key, best_key, ">") == 1
                                                      : order(in, key, best_key, "<") == -1);
    if (!better) continue;
    best = item;
    best_key = key;
  }
  if (best.is_missing()) return make_undefined_hint(in, "no aggregated item, sequence was empty");
  return best;
}
Value smallest(Interpreter& in, const Value& input, const Args& args) {
  return extreme(in, input, args, false);
}
Value largest(Interpreter& in, const Value& input, const Args& args) {
  return extreme(in, input, args, true);
}

Value sum(Interpreter& in, const Value& input, const Args& args) {
  const auto [attribute, start] = bind("sum", args, {"attribute", "start"}, 0);
  Value total = start.is_missing() ? Value::of(0) : start;
  if (total.is_string()) fail("sum() can't sum strings");
  Iterator* const items = iterate(in, input);
  Value item;
  while (next_item(in, *items, item)) {
    if (!attribute.is_missing() && !attribute.is_none())
      item = follow_path(in, item, attribute, nullptr);
    total = binary_operation(in, BinaryOp::add, total, item);
  }
  return total;
}

Value group_by(Interpreter& in, const Value& input, const Args& args) {
  const Bound<3> bound = bind("groupby", args, {"attribute", "default", "case_sensitive"}, 1);
  const Value& attribute = bound[0];
  const Value* const otherwise = bound[1].is_missing() || bound[1].is_none() ? nullptr : &bound[1];
  const bool case_sensitive = is_true(bound[2]);
  std::vector<Value> items = collect(in, input);
  std::vector<Value> keys;
  const auto key_of = [&](const Value& item) {
    const Value key = follow_path(in, item, attribute, otherwise);
    return case_sensitive ? key : ignore_case(in, key);
  };
  for (const Value& item : items) keys.push_back(key_of(item));
  sort_stably(in, items, keys, false);
  std::vector<Value> groups;
  for (size_t begin = 0; begin < items.size();) {
    const Value key = key_of(items[begin]);
    size_t end = begin + 1;
    while (end < items.size() && equals(in, key_of(items[end]), key)) ++end;
    // The key is shown as the first item of the group spells it.
    const Value parts[] = {follow_path(in, items[begin], attribute, otherwise),
                           new_list(in, std::span(items).subspan(begin, end - begin))};
    Array group = *new_tuple(in, parts).array;
    group.is_group = true;
    groups.push_back(Value::tuple(in.arena().make<Array>(group)));
    begin = end;
  }
  return new_list(in, groups);
}

Value unique_items(Interpreter& in, const Value& input, const Args& args) {
  const Value& case_sensitive = args.positional[0];
  const Value& attribute = args.positional[1];
  Dict* const seen = new_dict(in);
  std::vector<Value> items;
  for (const Value& item : collect(in, input)) {
    Value key = follow_path(in, item, attribute, nullptr);
    if (!is_true(case_sensitive)) key = ignore_case(in, key);
    if (dict_find(in, *seen, key) != nullptr) continue;
    dict_set(in, *seen, key, Value::none());
    items.push_back(item);
  }
  return new_list(in, items);
}
Value unique(Interpreter& in, const Value& input, const Args& args) {
  const auto [case_sensitive, attribute] = bind("unique", args, {"case_sensitive", "attribute"}, 0);
  const Value both[] = {case_sensitive, attribute.is_missing() ? Value::none() : attribute};
  return make_deferred(in, unique_items, input, {both, {}});
}

Value batch_items(Interpreter& in, const Value& input, const Args& args) {
  const Value& fill = args.positional[1];
  const Value& size = args.positional[0];
  std::vector<Value> batches;
  std::vector<Value> batch;
  for (const Value& item : collect(in, input)) {
    if (equals(in, Value::of(batch.size()), size)) {
      batches.push_back(new_list(in, batch));
      batch.clear();
    }
    batch.push_back(item);
  }
  if (!batch.empty()) {
    const bool fills = !fill.is_missing() && !fill.is_none();
    while (fills && order(in, Value::of(batch.size()), size) == -1) {
      in.step();
      in.arena().charge(sizeof(Value));
      batch.push_back(fill);
    }
    batches.push_back(new_list(in, batch));
  }
  return new_list(in, batches);
}
Value batch(Interpreter& in, const Value& input, const Args& args) {
  const Bound<2> bound = bind("batch", args, {"linecount", "fill_with"}, 1);
  return make_deferred(in, batch_items, input, {bound, {}});
}

Value slice_items(Interpreter& in, const Value& input, const Args& args) {
  const Value& fill = args.positional[1];
  const std::vector<Value> items = collect(in, input);
  const int64_t n = need_index(args.positional[0], "slices");
  if (n == 0) fail("integer division or modulo by zero");
  if (n < 0) return new_list(in, {});
  const int64_t size = static_cast<int64_t>(items.size());
  const int64_t each = size / n;
  const int64_t with_extra = size % n;
  std::vector<Value> slices;
  int64_t begin = 0;
  for (int64_t i = 0; i < n; ++i) {
    in.step();
    in.arena().charge(sizeof(Value));
    const int64_t end = begin + each + (i < with_extra ? 1 : 0);
    std::vector<Value> part(items.begin() + begin, items.begin() + end);
    if (!fill.is_missing() && !fill.is_none() && i >= with_extra) part.push_back(fill);
    slices.push_back(new_list(in, part));
    begin = end;
  }
  return new_list(in, slices);
}
Value slice(Interpreter& in, const Value& input, const Args& args) {
  const Bound<2> bound = bind("slice", args, {"slices", "fill_with"}, 1);
  return make_deferred(in, slice_items, input, {bound, {}});
}

Value dict_items(Interpreter& in, const Value& input, const Args&) {
  if (input.is_undefined()) return new_list(in, {});
  if (!input.is(Kind::dict)) fail("can only get item pairs from a mapping");
  const View view{input.dict, ViewKind::items};
  return new_list(in, collect(in, Value::of(&view)));
}
Value items(Interpreter& in, const Value& input, const Args& args) {
  need_positional("items", args, 0, 0);
  return make_deferred(in, dict_items, input, {});
}

Value make_iterator(Interpreter& in, Iterator iterator, const Args& args) {
  iterator.args.positional = in.arena().copy(args.positional);
  iterator.args.named = in.arena().copy(args.named);
  return Value::of(in.arena().make<Iterator>(iterator));
}

Value map(Interpreter& in, const Value& input, const Args& args) {
  Iterator iterator;
  if (!is_true(input)) return make_iterator(in, iterator, {});
  iterator.source = Iterator::Source::map;
  iterator.inner = iterate(in, input);
  if (args.positional.empty() && !args.named.empty()) {
    const auto [attribute, fallback] = bind("map", args, {"attribute", "default"}, 0);
    if (attribute.is_missing()) fail("map requires a filter argument");
    iterator.by_attribute = true;
    iterator.attribute = attribute;
    iterator.fallback = fallback;
    return make_iterator(in, iterator, {});
  }
  if (args.positional.empty()) fail("map requires a filter argument");
  const Text& name = need_text(args.positional[0], "the name of a filter");
  iterator.filter = find_filter(name.view());
  iterator.unknown = name.view();
  return make_iterator(in, iterator, {args.positional.subspan(1), args.named});
}

Value select_items(Interpreter& in, const Value& input, const Args& args, bool expected,
                   bool by_attribute) {
  Iterator iterator;
  if (!is_true(input)) return make_iterator(in, iterator, {});
  iterator.source = Iterator::Source::select;
  iterator.inner = iterate(in, input);
  iterator.expected = expected;
  iterator.by_attribute = by_attribute;
  std::span<const Value> rest = args.positional;
  if (by_attribute) {
    if (rest.empty()) fail("missing parameter for attribute name");
    iterator.attribute = rest[0];
    rest = rest.subspan(1);
  }
  if (rest.empty()) return make_iterator(in, iterator, {});
  const Text& name = need_text(rest[0], "the name of a test");
  iterator.test = find_test(name.view());
  iterator.unknown = name.view();
  return make_iterator(in, iterator, {rest.subspan(1), args.named});
}
Value select(Interpreter& in, const Value& input, const Args& args) {
  return select_items(in, input, args, true, false);
}
Value reject(Interpreter& in, const Value& input, const Args& args) {
  return select_items(in, input, args, false, false);
}
Value selectattr(Interpreter& in, const Value& input, const Args& args) {
  return select_items(in, input, args, true, true);
}
Value rejectattr(Interpreter& in, const Value& input, const Args& args) {
  return select_items(in, input, args, false, true);
}

constexpr Filter kFilters[] = {
    {"batch", batch},
    {"dictsort", dictsort},
    {"first", first},
    {"groupby", group_by},
    {"items", items},
    {"join", join},
    {"last", last},
    {"list", list},
    {"map", map},
    {"max", largest},
    {"min", smallest},
    {"reject", reject},
    {"rejectattr", rejectattr},
    {"reverse", reverse},
    {"select", select},
    {"selectattr", selectattr},
    {"slice", slice},
    {"sort", sort},
    {"sum", sum},
    {"unique", unique},
};

}  // namespace

std::span<const Filter> sequence_filters() {
  return kFilters;
}

}  // namespace splitd::jinja
