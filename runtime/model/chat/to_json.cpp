// json.dumps as the tojson filter of transformers calls it: nothing is escaped for HTML, and
// characters beyond ASCII stay as they are.
#include <cmath>

#include "runtime/model/chat/arguments.h"
#include "runtime/model/chat/filters.h"
#include "runtime/model/chat/number.h"
#include "runtime/model/chat/operators.h"

namespace splitd::jinja {
namespace {

struct Style {
  bool ensure_ascii = false;
  bool pretty = false;
  const Text* indent = nullptr;
  const Text* item_separator = nullptr;
  const Text* key_separator = nullptr;
  bool sort_keys = false;
};

class Dumper {
 public:
  Dumper(Interpreter& in, const Style& style) : in_(in), style_(style), out_(in.arena()) {}

  void dump(const Value& value);
  const Text* finish() { return out_.finish(); }

 private:
  void text(const Text& text);
  void dict(const Dict& dict);
  void key(const Value& key);
  void array(std::span<const Value> items);
  void new_line();
  void unit(char32_t code, Taint taint);

  Interpreter& in_;
  const Style& style_;
  TextBuilder out_;
  size_t level_ = 0;
};

std::string float_json(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value < 0 ? "-Infinity" : "Infinity";
  return float_repr(value);
}

void Dumper::unit(char32_t code, Taint taint) {
  const std::string digits = uint_text(code, 16);
  out_.append("\\u" + std::string(4 - digits.size(), '0') + digits, taint);
}

void Dumper::text(const Text& text) {
  in_.step_chars(text.size);
  out_.append("\"");
  for (Chars chars(text); chars.next();) {
    const Char& c = chars.current;
    const char32_t code = c.code_point;
    constexpr std::string_view kShort = "\"\\\n\r\t\b\f";
    constexpr std::string_view kLetters = "\"\\nrtbf";
    const size_t at = code < 0x80 ? kShort.find(static_cast<char>(code)) : std::string_view::npos;
    if (at != std::string_view::npos) {
      const char escape[] = {'\\', kLetters[at]};
      out_.append({escape, 2}, c.taint);
    } else if (code < 0x20 || (style_.ensure_ascii && code >= 0x7f && code < 0x10000)) {
      unit(code, c.taint);
    } else if (style_.ensure_ascii && code >= 0x10000) {
      unit(0xd800 + ((code - 0x10000) >> 10), c.taint);
      unit(0xdc00 + ((code - 0x10000) & 0x3ff), c.taint);
    } else {
      out_.append(c.bytes, c.taint);
    }
  }
  out_.append("\"");
}

void Dumper::new_line() {
  if (!style_.pretty) return;
  out_.append("\n");
  in_.step(1 + level_ * style_.indent->size / 64);
  for (size_t i = 0; i < level_; ++i) out_.append(*style_.indent);
}

void Dumper::array(std::span<const Value> items) {
  out_.append("[");
  ++level_;
  for (size_t i = 0; i < items.size(); ++i) {
    if (i > 0) out_.append(*style_.item_separator);
    new_line();
    dump(items[i]);
  }
  --level_;
  if (!items.empty()) new_line();
  out_.append("]");
}

void Dumper::key(const Value& key) {
  switch (key.kind) {
    case Kind::string:
      return text(*key.text);
    case Kind::none:
      return out_.append("\"null\"");
    case Kind::boolean:
      return out_.append(key.boolean ? "\"true\"" : "\"false\"");
    case Kind::integer:
      return out_.append("\"" + int_text(key.as_int()) + "\"");
    case Kind::real:
      return out_.append("\"" + float_json(key.real) + "\"");
    default:
      fail("keys must be str, int, float, bool or None, not " + std::string(type_name(key)));
  }
}

void Dumper::dict(const Dict& dict) {
  std::vector<Value> order;
  std::vector<Value> keys;
  if (style_.sort_keys) {
    for (uint32_t i = 0; i < dict.size; ++i) {
      order.push_back(Value::of(i));
      keys.push_back(dict.entries[i].key);
    }
    sort_stably(in_, order, keys, false);
  }
  out_.append("{");
  ++level_;
  for (uint32_t i = 0; i < dict.size; ++i) {
    if (i > 0) out_.append(*style_.item_separator);
    new_line();
    const Entry& entry =
        dict.entries[style_.sort_keys ? static_cast<size_t>(order[i].as_int()) : i];
    key(entry.key);
    out_.append(*style_.key_separator);
    dump(entry.value);
  }
  --level_;
  if (dict.size > 0) new_line();
  out_.append("}");
}

void Dumper::dump(const Value& value) {
  const Interpreter::Deeper deeper(in_);
  in_.step();
  switch (value.kind) {
    case Kind::none:
      return out_.append("null");
    case Kind::boolean:
      return out_.append(value.boolean ? "true" : "false");
    case Kind::integer:
      return out_.append(int_text(value.as_int()));
    case Kind::real:
      return out_.append(float_json(value.real));
    case Kind::string:
      return text(*value.text);
    case Kind::list:
    case Kind::tuple:
      return array(value.items());
    case Kind::dict:
      return dict(*value.dict);
    default:
      fail("object of type " + std::string(type_name(value)) + " is not JSON serializable");
  }
}

}  // namespace

Value to_json(Interpreter& in, const Value& input, const Args& args) {
  const auto [ensure_ascii, indent, separators, sort_keys] =
      bind("tojson", args, {"ensure_ascii", "indent", "separators", "sort_keys"}, 0);
  Style style;
  style.ensure_ascii = is_true(ensure_ascii);
  style.sort_keys = is_true(sort_keys);
  style.pretty = !indent.is_missing() && !indent.is_none();
  if (style.pretty && indent.is_string()) {
    style.indent = indent.text;
  } else if (style.pretty) {
    const int64_t columns = need_index(indent, "indent");
    TextBuilder spaces(in.arena());
    if (columns > 0) spaces.append_repeated(' ', static_cast<size_t>(columns));
    style.indent = spaces.finish();
  }
  if (separators.is_missing() || separators.is_none()) {
    style.item_separator = text_view(in.arena(), style.pretty ? "," : ", ", Taint::no);
    style.key_separator = text_view(in.arena(), ": ", Taint::no);
  } else {
    if (!separators.is_sequence() || separators.array->size != 2) {
      fail("tojson's separators must be a pair of strings");
    }
    style.item_separator = &need_text(separators.array->items[0], "a separator");
    style.key_separator = &need_text(separators.array->items[1], "a separator");
  }
  Dumper dumper(in, style);
  dumper.dump(input);
  return Value::of(dumper.finish());
}

}  // namespace splitd::jinja
