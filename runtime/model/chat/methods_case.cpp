// Case and character classes of str, shared with the filters of the same names.
#include "runtime/base/utf8.h"
#include "runtime/model/chat/arguments.h"
#include "runtime/model/chat/methods.h"
#include "runtime/model/chat/unicode.h"

namespace splitd::jinja {
namespace {

void append_mapping(TextBuilder& out, const CaseMapping& mapping, Taint taint) {
  for (const char32_t c : mapping) {
    if (c != 0) out.append_char(c, taint);
  }
}

// Whether the sigma at [begin, end) ends a word: something cased before it, nothing cased after.
bool is_final_sigma(const Text& text, size_t begin, size_t end) {
  bool cased_before = false;
  for (size_t at = begin; at > 0;) {
    size_t from = at - 1;
    while (from > 0 && (static_cast<unsigned char>(text.data[from]) & 0xc0) == 0x80) --from;
    const char32_t c = utf8_decode(text.view().substr(from, at - from)).code_point;
    at = from;
    if (is_case_ignorable(c)) continue;
    cased_before = is_cased(c);
    break;
  }
  if (!cased_before) return false;
  while (end < text.size) {
    const Utf8Step step = utf8_decode(text.view().substr(end));
    if (!is_case_ignorable(step.code_point)) return !is_cased(step.code_point);
    end += step.length;
  }
  return true;
}

void append_lower(Interpreter& in, TextBuilder& out, const Text& text, const Char& c) {
  if (c.code_point == 0x3a3) {  // Σ
    in.step();
    out.append_char(is_final_sigma(text, c.begin, c.end) ? 0x3c2 : 0x3c3, c.taint);
  } else {
    append_mapping(out, to_lower(c.code_point), c.taint);
  }
}

Value upper(Interpreter& in, const Value& self, const Args& args) {
  need_positional("upper", args, 0, 0);
  return Value::of(upper_text(in, *self.text));
}
Value lower(Interpreter& in, const Value& self, const Args& args) {
  need_positional("lower", args, 0, 0);
  return Value::of(lower_text(in, *self.text));
}
Value capitalize(Interpreter& in, const Value& self, const Args& args) {
  need_positional("capitalize", args, 0, 0);
  return Value::of(capitalize_text(in, *self.text));
}

Value title(Interpreter& in, const Value& self, const Args& args) {
  need_positional("title", args, 0, 0);
  in.step_chars(self.text->size);
  TextBuilder out(in.arena());
  bool after_cased = false;
  for (Chars chars(*self.text); chars.next();) {
    const Char& c = chars.current;
    if (after_cased) {
      append_lower(in, out, *self.text, c);
    } else {
      append_mapping(out, to_title(c.code_point), c.taint);
    }
    after_cased = is_cased(c.code_point);
  }
  return Value::of(text_as_markup(in.arena(), *out.finish(), self.text->markup));
}

Value swapcase(Interpreter& in, const Value& self, const Args& args) {
  need_positional("swapcase", args, 0, 0);
  in.step_chars(self.text->size);
  TextBuilder out(in.arena());
  for (Chars chars(*self.text); chars.next();) {
    const Char& c = chars.current;
    if (is_upper(c.code_point)) {
      append_lower(in, out, *self.text, c);
    } else {
      append_mapping(out, to_upper(c.code_point), c.taint);
    }
  }
  return Value::of(text_as_markup(in.arena(), *out.finish(), self.text->markup));
}

Value casefold(Interpreter& in, const Value& self, const Args& args) {
  need_positional("casefold", args, 0, 0);
  in.step_chars(self.text->size);
  TextBuilder out(in.arena());
  for (Chars chars(*self.text); chars.next();) {
    append_mapping(out, to_folded(chars.current.code_point), chars.current.taint);
  }
  return Value::of(text_as_markup(in.arena(), *out.finish(), self.text->markup));
}

template <class Predicate>
Value all_chars(Interpreter& in, const Value& self, const Args& args, std::string_view name,
                Predicate predicate, bool if_empty = false) {
  need_positional(name, args, 0, 0);
  in.step_chars(self.text->size);
  if (self.text->size == 0) return Value::of(if_empty);
  for (Chars chars(*self.text); chars.next();) {
    if (!predicate(chars.current.code_point)) return Value::of(false);
  }
  return Value::of(true);
}
Value isalnum(Interpreter& in, const Value& self, const Args& args) {
  return all_chars(in, self, args, "isalnum", is_alnum);
}
Value isalpha(Interpreter& in, const Value& self, const Args& args) {
  return all_chars(in, self, args, "isalpha", is_alpha);
}
Value isascii(Interpreter& in, const Value& self, const Args& args) {
  return all_chars(
      in, self, args, "isascii", [](char32_t c) { return c < 0x80; }, true);
}
Value isdecimal(Interpreter& in, const Value& self, const Args& args) {
  return all_chars(in, self, args, "isdecimal", is_decimal);
}
Value isdigit(Interpreter& in, const Value& self, const Args& args) {
  return all_chars(in, self, args, "isdigit", is_digit);
}
Value isnumeric(Interpreter& in, const Value& self, const Args& args) {
  return all_chars(in, self, args, "isnumeric", is_numeric);
}
Value isspace(Interpreter& in, const Value& self, const Args& args) {
  return all_chars(in, self, args, "isspace", is_space);
}
Value isprintable(Interpreter& in, const Value& self, const Args& args) {
  return all_chars(in, self, args, "isprintable", is_printable, true);
}
Value isidentifier(Interpreter& in, const Value& self, const Args& args) {
  if (self.text->size > 0 && !is_identifier_start(utf8_decode(self.text->view()).code_point)) {
    return Value::of(false);
  }
  return all_chars(in, self, args, "isidentifier", is_identifier_part);
}

Value is_case(Interpreter& in, const Value& self, const Args& args, std::string_view name,
              bool upper_case) {
  need_positional(name, args, 0, 0);
  in.step_chars(self.text->size);
  bool any = false;
  for (Chars chars(*self.text); chars.next();) {
    const char32_t c = chars.current.code_point;
    if (!is_cased(c)) continue;
    if (upper_case ? !is_upper(c) : !is_lower(c)) return Value::of(false);
    any = true;
  }
  return Value::of(any);
}
Value islower(Interpreter& in, const Value& self, const Args& args) {
  return is_case(in, self, args, "islower", false);
}
Value isupper(Interpreter& in, const Value& self, const Args& args) {
  return is_case(in, self, args, "isupper", true);
}
Value istitle(Interpreter& in, const Value& self, const Args& args) {
  need_positional("istitle", args, 0, 0);
  in.step_chars(self.text->size);
  bool any = false;
  bool after_cased = false;
  for (Chars chars(*self.text); chars.next();) {
    const char32_t c = chars.current.code_point;
    const bool begins = is_upper(c) || is_cased_title(c);
    if ((begins && after_cased) || (is_lower(c) && !after_cased)) return Value::of(false);
    after_cased = is_cased(c);
    any = any || after_cased;
  }
  return Value::of(any);
}

constexpr Method kMethods[] = {{"capitalize", capitalize},
                               {"casefold", casefold},
                               {"isalnum", isalnum},
                               {"isalpha", isalpha},
                               {"isascii", isascii},
                               {"isdecimal", isdecimal},
                               {"isdigit", isdigit},
                               {"isidentifier", isidentifier},
                               {"islower", islower},
                               {"isnumeric", isnumeric},
                               {"isprintable", isprintable},
                               {"isspace", isspace},
                               {"istitle", istitle},
                               {"isupper", isupper},
                               {"lower", lower},
                               {"swapcase", swapcase},
                               {"title", title},
                               {"upper", upper}};

}  // namespace

std::span<const Method> case_methods() {
  return kMethods;
}

const Text* upper_text(Interpreter& in, const Text& text) {
  in.step_chars(text.size);
  TextBuilder out(in.arena());
  for (Chars chars(text); chars.next();) {
    append_mapping(out, to_upper(chars.current.code_point), chars.current.taint);
  }
  return text_as_markup(in.arena(), *out.finish(), text.markup);
}

const Text* lower_text(Interpreter& in, const Text& text) {
  in.step_chars(text.size);
  TextBuilder out(in.arena());
  for (Chars chars(text); chars.next();) append_lower(in, out, text, chars.current);
  return text_as_markup(in.arena(), *out.finish(), text.markup);
}

const Text* capitalize_text(Interpreter& in, const Text& text) {
  in.step_chars(text.size);
  TextBuilder out(in.arena());
  for (Chars chars(text); chars.next();) {
    if (chars.current.begin == 0) {
      append_mapping(out, to_title(chars.current.code_point), chars.current.taint);
    } else {
      append_lower(in, out, text, chars.current);
    }
  }
  return text_as_markup(in.arena(), *out.finish(), text.markup);
}

}  // namespace splitd::jinja
