// Owns: the filters and tests a template can name. Those of Jinja that make no sense for a prompt
// are known by name and fail when they are reached.
#pragma once

#include <string_view>

#include "runtime/model/chat/interpreter.h"

namespace splitd::jinja {

struct Filter {
  std::string_view name;
  Value (*function)(Interpreter& in, const Value& input, const Args& args);
};
struct Test {
  std::string_view name;
  bool (*function)(Interpreter& in, const Value& input, const Args& args);
};

const Filter* find_filter(std::string_view name);
const Test* find_test(std::string_view name);

// Tables of the parts: filters_text.cpp, filters_sequence.cpp, filters_value.cpp.
std::span<const Filter> text_filters();
std::span<const Filter> sequence_filters();
std::span<const Filter> value_filters();

// An attribute path as filters read one: "a.b.0", an int, or none.
Value follow_path(Interpreter& in, const Value& item, const Value& path, const Value* fallback);

// json.dumps with the options of the tojson filter.
Value to_json(Interpreter& in, const Value& value, const Args& args);

// str % arguments, and str.format: format_percent.cpp, format_braces.cpp.
Value format_percent(Interpreter& in, const Text& format, const Value& arguments);
Value format_braces(Interpreter& in, const Text& format, const Args& args, const Value* mapping);

}  // namespace splitd::jinja
