// Finding filters by name, and the attribute paths that several of them take.
#include "runtime/model/chat/filters.h"

#include <algorithm>

#include "runtime/model/chat/number.h"
#include "runtime/model/chat/operators.h"
#include "runtime/model/chat/unicode.h"

namespace splitd::jinja {

static Value refuse(Interpreter&, const Value&, const Args&) {
  fail("this filter is not supported: it makes no sense in a prompt");
}

static constexpr Filter kRefused[] = {
    {"pprint", refuse}, {"random", refuse},   {"striptags", refuse},
    {"urlize", refuse}, {"wordwrap", refuse},
};

const Filter* find_filter(std::string_view name) {
  for (const std::span<const Filter> table :
       {text_filters(), sequence_filters(), value_filters(), std::span<const Filter>(kRefused)}) {
    for (const Filter& filter : table) {
      if (filter.name == name) return &filter;
    }
  }
  return nullptr;
}

// One step of a path: digits are an index.
static Value follow_part(Interpreter& in, const Value& item, const Text& part) {
  const std::string_view view = part.view();
  bool digits = !view.empty();
  for (Chars chars(part); digits && chars.next();) digits = is_digit(chars.current.code_point);
  if (digits) {
    const std::optional<int128> index = parse_int(view);
    if (!index) fail("invalid index " + quoted(view) + " in an attribute path");
    return get_item(in, item, Value::of(*index));
  }
  return get_item(in, item, Value::of(&part));
}

Value follow_path(Interpreter& in, const Value& item, const Value& path, const Value* fallback) {
  Value value = item;
  const auto settle = [&] {
    if (fallback != nullptr && value.is_undefined()) value = *fallback;
  };
  if (path.is_none()) return value;
  if (!path.is_string()) {
    value = get_item(in, value, path);
    settle();
    return value;
  }
  const Text& text = *path.text;
  size_t begin = 0;
  while (true) {
    const size_t dot = std::min(text.view().find('.', begin), size_t{text.size});
    value = follow_part(in, value, *text_slice(in.arena(), text, begin, dot));
    settle();
    if (dot == text.size) return value;
    begin = dot + 1;
  }
}

}  // namespace splitd::jinja
