// str(value) and repr(value), as Python writes them.
#include "runtime/model/chat/interpreter.h"
#include "runtime/model/chat/iterate.h"
#include "runtime/model/chat/number.h"
#include "runtime/model/chat/unicode.h"

namespace splitd::jinja {

static void append_escaped(TextBuilder& out, const Char& c) {
  const size_t width = c.code_point < 0x100 ? 2 : c.code_point < 0x10000 ? 4 : 8;
  const std::string digits = uint_text(c.code_point, 16);
  std::string escape = width == 2 ? "\\x" : width == 4 ? "\\u" : "\\U";
  escape += std::string(width - digits.size(), '0') + digits;
  out.append(escape, c.taint);
}

static void append_string_repr(TextBuilder& out, const Text& text) {
  const std::string_view view = text.view();
  const bool has_single = view.find('\'') != std::string_view::npos;
  const char quote = has_single && view.find('"') == std::string_view::npos ? '"' : '\'';
  if (text.markup) out.append("Markup(");
  out.append(std::string_view(&quote, 1));
  for (Chars chars(text); chars.next();) {
    const Char& c = chars.current;
    if (c.code_point == '\\' || c.code_point == static_cast<unsigned char>(quote)) {
      out.append("\\", c.taint);
      out.append(c.bytes, c.taint);
    } else if (c.code_point == '\n' || c.code_point == '\r' || c.code_point == '\t') {
      out.append(c.code_point == '\n' ? "\\n" : c.code_point == '\r' ? "\\r" : "\\t", c.taint);
    } else if (is_printable(c.code_point)) {
      out.append(c.bytes, c.taint);
    } else {
      append_escaped(out, c);
    }
  }
  out.append(std::string_view(&quote, 1));
  if (text.markup) out.append(")");
}

static void append_items(Interpreter& in, TextBuilder& out, std::span<const Value> items) {
  for (size_t i = 0; i < items.size(); ++i) {
    if (i > 0) out.append(", ");
    append_repr(in, out, items[i]);
  }
}

static void append_dict_repr(Interpreter& in, TextBuilder& out, const Dict& dict) {
  out.append("{");
  for (uint32_t i = 0; i < dict.size; ++i) {
    if (i > 0) out.append(", ");
    append_repr(in, out, dict.entries[i].key);
    out.append(": ");
    append_repr(in, out, dict.entries[i].value);
  }
  out.append("}");
}

static void append_view_repr(Interpreter& in, TextBuilder& out, const View& view) {
  out.append(type_name(Value::of(&view)));
  out.append("([");
  for (uint32_t i = 0; i < view.dict->size; ++i) {
    if (i > 0) out.append(", ");
    const Entry& entry = view.dict->entries[i];
    if (view.kind == ViewKind::items) out.append("(");
    if (view.kind != ViewKind::values) append_repr(in, out, entry.key);
    if (view.kind == ViewKind::items) out.append(", ");
    if (view.kind != ViewKind::keys) append_repr(in, out, entry.value);
    if (view.kind == ViewKind::items) out.append(")");
  }
  out.append("])");
}

static void append_macro_repr(TextBuilder& out, const Macro& macro) {
  out.append("<Macro ");
  if (macro.code->name == nullptr) {
    out.append("anonymous");
  } else {
    append_string_repr(out, *macro.code->name);
  }
  out.append(">");
}

static std::string range_repr(const Range& range) {
  std::string text = "range(" + std::to_string(range.start) + ", " + std::to_string(range.stop);
  if (range.step != 1) text += ", " + std::to_string(range.step);
  return text + ")";
}

void append_repr(Interpreter& in, TextBuilder& out, const Value& value) {
  const Interpreter::Deeper deeper(in);
  in.step();
  switch (value.kind) {
    case Kind::missing:
    case Kind::undefined:
      return out.append("Undefined");
    case Kind::none:
      return out.append("None");
    case Kind::boolean:
      return out.append(value.boolean ? "True" : "False");
    case Kind::integer:
      return out.append(int_text(value.as_int()));
    case Kind::real:
      return out.append(float_repr(value.real));
    case Kind::string:
      in.step_chars(value.text->size);
      return append_string_repr(out, *value.text);
    case Kind::list:
      out.append("[");
      append_items(in, out, value.items());
      return out.append("]");
    case Kind::tuple:
      out.append("(");
      append_items(in, out, value.items());
      return out.append(value.array->size == 1 ? ",)" : ")");
    case Kind::dict:
      return append_dict_repr(in, out, *value.dict);
    case Kind::range:
      return out.append(range_repr(*value.range));
    case Kind::view:
      return append_view_repr(in, out, *value.view);
    case Kind::ns:
      out.append("<Namespace ");
      append_dict_repr(in, out, *value.space);
      return out.append(">");
    case Kind::macro:
      return append_macro_repr(out, *value.macro);
    case Kind::loop:
      return out.append("<LoopContext " + std::to_string(value.loop->index0 + 1) + "/" +
                        std::to_string(loop_length(in, *value.loop)) + ">");
    default:
      out.append("<");
      out.append(type_name(value));
      return out.append(" object>");
  }
}

void append_text(Interpreter& in, TextBuilder& out, const Value& value) {
  if (value.is_string()) {
    in.step_bytes(value.text->size);
    out.append(*value.text);
  } else if (!value.is_undefined()) {
    append_repr(in, out, value);
  }
}

const Text* soft_text(Interpreter& in, const Value& value) {
  if (value.is_string()) return value.text;
  TextBuilder out(in.arena());
  append_text(in, out, value);
  return out.finish();
}

const Text* to_text(Interpreter& in, const Value& value) {
  return text_as_markup(in.arena(), *soft_text(in, value), false);
}

}  // namespace splitd::jinja
