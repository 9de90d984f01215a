// Owns: what Python does with +, %, [], in and the like, for every kind of value, and the way Jinja
// finds attributes: an attribute first and an item second for a.b, the other way round for a['b'].
#pragma once

#include <optional>

#include "runtime/model/chat/ast.h"
#include "runtime/model/chat/interpreter.h"

namespace splitd::jinja {

Value binary_operation(Interpreter& in, BinaryOp op, const Value& left, const Value& right);
Value negate(Interpreter& in, const Value& value);
Value positive(Interpreter& in, const Value& value);
bool contains(Interpreter& in, const Value& container, const Value& item);

Value get_attribute(Interpreter& in, const Value& object, const Text& name);
Value get_item(Interpreter& in, const Value& object, const Value& key);
// object[start:stop:step]; a bound that is None is left out.
Value get_slice(Interpreter& in, const Value& object, const Value& start, const Value& stop,
                const Value& step);

// len(value), or nothing where it has none.
std::optional<int64_t> length_of(Interpreter& in, const Value& value);
// An index, or nothing for what is no int.
std::optional<int64_t> to_index(const Value& value);
int64_t need_index(const Value& value, std::string_view what);

Value make_undefined(Interpreter& in, const Value& owner, const Text& name);
Value make_undefined_hint(Interpreter& in, std::string_view hint);  // hint outlives the rendering

// html.escape as markupsafe does it; the result is markup.
const Text* escape_markup(Interpreter& in, const Text& text);
// a + b of two strings, escaping as Markup does.
const Text* add_texts(Interpreter& in, const Text& left, const Text& right);

}  // namespace splitd::jinja
