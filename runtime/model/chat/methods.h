// Owns: attributes and methods of values: str.split, dict.items, loop.index and so on. What would
// change a value is hidden, as the sandbox of transformers does.
#pragma once

#include <optional>
#include <string_view>

#include "runtime/model/chat/interpreter.h"

namespace splitd::jinja {

struct Method {
  std::string_view name;
  NativeFunction function;
};

// The attribute as Python's getattr finds it; nothing where there is none.
std::optional<Value> find_attribute(Interpreter& in, const Value& object, std::string_view name);

// Each ascending by name.
std::span<const Method> string_methods();
std::span<const Method> case_methods();  // more of str's
std::span<const Method> dict_methods();
std::span<const Method> list_methods();

// What every template can call: range, dict, namespace, raise_exception, …
void add_globals(Interpreter& in, Dict& context);

// Parts of str that filters share.
const Text* strip_text(Interpreter& in, const Text& text, const Value& chars, bool left,
                       bool right);
const Text* replace_text(Interpreter& in, const Text& text, const Text& old, const Text& with,
                         int64_t count);
const Text* center_text(Interpreter& in, const Text& text, int64_t width, const Text* fill);
const Text* upper_text(Interpreter& in, const Text& text);
const Text* lower_text(Interpreter& in, const Text& text);
const Text* capitalize_text(Interpreter& in, const Text& text);
std::vector<Value> split_lines(Interpreter& in, const Text& text, bool keep_ends);

// datetime.strftime of seconds since the epoch, in UTC.
const Text* format_time(Interpreter& in, const Text& format);

}  // namespace splitd::jinja
