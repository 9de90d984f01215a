// str.format, with the sandbox's way of looking up attributes.
#include <limits>

#include "runtime/base/utf8.h"
#include "runtime/model/chat/filters.h"
#include "runtime/model/chat/format_spec.h"
#include "runtime/model/chat/methods.h"
#include "runtime/model/chat/number.h"
#include "runtime/model/chat/operators.h"

namespace splitd::jinja {
namespace {

class BracesFormat {
 public:
  BracesFormat(Interpreter& in, const Args& args, const Value* mapping, bool markup)
      : in_(in), args_(args), mapping_(mapping), markup_(markup) {}

  const Text* run(const Text& format, int depth);

 private:
  size_t field(const Text& format, size_t at, int depth, TextBuilder& out);
  Value look_up(const Text& format, size_t begin, size_t end);
  Value argument(const Text& name);
  const Text* lay_out(const Value& value, const Text& spec);

  Interpreter& in_;
  const Args& args_;
  const Value* mapping_;
  bool markup_;
  int64_t next_index_ = 0;  // of {}; -1 once an index was given
};

bool all_digits(std::string_view text) {
  return !text.empty() && text.find_first_not_of("0123456789") == std::string_view::npos;
}

Value BracesFormat::argument(const Text& name) {
  if (name.size == 0 || all_digits(name.view())) {
    const bool automatic = name.size == 0;
    if (automatic ? next_index_ < 0 : next_index_ > 0) {
      fail("cannot switch between automatic and manual field numbering");
    }
    const int128 index = automatic ? next_index_ : parse_int(name.view()).value_or(-1);
    next_index_ = automatic ? next_index_ + 1 : -1;
    if (index < 0 || index >= static_cast<int128>(args_.positional.size())) {
      fail("replacement index out of range for positional args tuple");
    }
    return args_.positional[static_cast<size_t>(index)];
  }
  if (mapping_ != nullptr) {
    const Value value = get_item(in_, *mapping_, Value::of(&name));
    refuse_undefined(value);
    return value;
  }
  for (const Named& named : args_.named) {
    if (named.name->view() == name.view()) return named.value;
  }
  fail("no argument named " + quoted(name.view()));
}

// "name.attribute[key]" in format[begin, end).
Value BracesFormat::look_up(const Text& format, size_t begin, size_t end) {
  const std::string_view text = format.view().substr(0, end);
  const auto part = [&](size_t from, size_t to) {
    return text_slice(in_.arena(), format, from, to);
  };
  size_t at = std::min(text.find_first_of(".[", begin), end);
  Value value = argument(*part(begin, at));
  while (at < end) {
    in_.step();
    if (text[at] == '.') {
      const size_t stop = std::min(text.find_first_of(".[", at + 1), end);
      if (stop == at + 1) fail("empty attribute in format string");
      value = get_attribute(in_, value, *part(at + 1, stop));
      at = stop;
      continue;
    }
    if (text[at] != '[') fail("only '.' or '[' may follow ']' in format field specifier");
    const size_t stop = text.find(']', at + 1);
    if (stop == std::string_view::npos) fail("missing ']' in format string");
    const Text* const key = part(at + 1, stop);
    if (key->size == 0) fail("empty attribute in format string");
    Value index = Value::of(key);
    if (all_digits(key->view())) {
      const std::optional<int128> number = parse_int(key->view());
      index = Value::of(number.value_or(0));
    }
    value = get_item(in_, value, index);
    at = stop + 1;
  }
  return value;
}

// [[fill]align][sign][#][0][width][grouping][.precision][type]
FormatSpec read_spec(const Text& text) {
  FormatSpec spec;
  const std::string_view view = text.view();
  const auto is_align = [](char c) { return c == '<' || c == '>' || c == '^' || c == '='; };
  size_t at = 0;
  const size_t first = view.empty() ? 0 : utf8_decode(view).length;
  if (first < view.size() && is_align(view[first])) {
    spec.fill = utf8_decode(view).code_point;
    spec.fill_taint = text.is_tainted() ? Taint::yes : Taint::no;
    spec.align = view[first];
    at = first + 1;
  } else if (!view.empty() && is_align(view[0])) {
    spec.align = view[0];
    at = 1;
  }
  const auto take = [&](std::string_view set) {
    return at < view.size() && set.find(view[at]) != std::string_view::npos ? view[at++] : '\0';
  };
  const auto number = [&] {
    int64_t value = 0;
    while (at < view.size() && view[at] >= '0' && view[at] <= '9') {
      value = value * 10 + (view[at++] - '0');
      if (value > static_cast<int64_t>(kMaxTextBytes))
        fail_limit("a width in a format is too large");
    }
    return value;
  };
  if (const char sign = take("+- ")) spec.sign = sign;
  take("z");
  spec.alternate = take("#") != 0;
  if (take("0") != 0) {
    spec.zero = spec.align == 0;
    if (spec.align != 0 && first == 1 && is_align(view[0]) &&
        !(view.size() > 1 && is_align(view[1]))) {
      spec.fill = '0';
    }
  }
  spec.width = number();
  spec.grouping = take(",_");
  if (take(".") != 0) {
    const size_t before = at;
    spec.precision = number();
    if (at == before) fail("format specifier missing precision");
  }
  spec.type = take("bcdeEfFgGnosxX%");
  if (at != view.size()) fail("invalid format specifier " + quoted(view));
  return spec;
}

[[noreturn]] void fail_type(const FormatSpec& spec, const Value& value) {
  fail(std::string("unknown format code '") + spec.type + "' for object of type " +
       quoted(type_name(value)));
}

const Text* BracesFormat::lay_out(const Value& value, const Text& spec_text) {
  if (spec_text.size == 0) return soft_text(in_, value);
  FormatSpec spec = read_spec(spec_text);
  constexpr std::string_view kFloatTypes = "eEfFgG%";
  const bool float_type = kFloatTypes.find(spec.type) != std::string_view::npos && spec.type != 0;
  if (value.is_string()) {
    if (spec.type != 0 && spec.type != 's') fail_type(spec, value);
    if (spec.align == '=' || spec.sign != '-' || spec.grouping != 0 || spec.alternate) {
      fail("invalid format specifier for a string");
    }
    if (spec.zero) spec.fill = '0';
    return lay_out_text(in_, *value.text, spec);
  }
  if (value.is(Kind::real) || (value.is_int() && float_type)) {
    if (spec.type != 0 && spec.type != 'n' && !float_type) fail_type(spec, value);
    return lay_out_float(in_, value.as_real(), spec);
  }
  if (value.is_int()) {
    if (spec.type == 's') fail_type(spec, value);
    if (spec.precision >= 0) fail("precision not allowed in integer format specifier");
    if (spec.type != 'c') return lay_out_int(in_, value.as_int(), spec);
    if (value.as_int() < 0 || value.as_int() > 0x10ffff ||
        (value.as_int() >= 0xd800 && value.as_int() < 0xe000)) {
      fail("%c arg not in range(0x110000)");
    }
    std::string out;
    utf8_append(out, static_cast<char32_t>(value.as_int()));
    return lay_out_text(in_, *text_copy(in_.arena(), out, Taint::no), spec);
  }
  refuse_undefined(value);
  fail("unsupported format string passed to " + std::string(type_name(value)) + ".__format__");
}

// The field that begins behind the brace at `at` - 1; returns the position behind its end.
size_t BracesFormat::field(const Text& format, size_t at, int depth, TextBuilder& out) {
  const std::string_view text = format.view();
  size_t name_end = at;
  bool in_brackets = false;
  while (name_end < text.size() &&
         (in_brackets || std::string_view("}:!{").find(text[name_end]) == std::string_view::npos)) {
    in_brackets = (in_brackets || text[name_end] == '[') && text[name_end] != ']';
    ++name_end;
  }
  if (name_end >= text.size()) fail("expected '}' before end of string");
  if (text[name_end] == '{') fail("unexpected '{' in field name");
  const Value value = look_up(format, at, name_end);
  size_t spec_begin = name_end;
  char conversion = 0;
  if (text[spec_begin] == '!') {
    if (spec_begin + 2 >= text.size()) fail("unmatched '{' in format spec");
    conversion = text[spec_begin + 1];
    spec_begin += 2;
    if (text[spec_begin] != ':' && text[spec_begin] != '}')
      fail("expected ':' after conversion specifier");
  }
  size_t end = spec_begin;
  if (text[spec_begin] == ':') {
    ++spec_begin;
    size_t open = 1;
    for (end = spec_begin; end < text.size(); ++end) {
      if (text[end] == '{') ++open;
      if (text[end] == '}' && --open == 0) break;
    }
    if (end >= text.size()) fail("expected '}' before end of string");
  }
  Value shown = value;
  if (conversion == 's') shown = Value::of(soft_text(in_, value));
  if (conversion == 'r') shown = Value::of(repr_text(in_, value));
  if (conversion == 'a') shown = Value::of(ascii_text(in_, value));
  if (conversion != 0 && std::string_view("sra").find(conversion) == std::string_view::npos) {
    fail(std::string("unknown conversion specifier '") + conversion + "'");
  }
  const Text* spec = text_slice(in_.arena(), format, spec_begin, std::max(spec_begin, end));
  if (spec->view().find_first_of("{}") != std::string_view::npos) spec = run(*spec, depth - 1);
  const Text* const done = lay_out(shown, *spec);
  out.append(markup_ ? *escape_markup(in_, *done) : *done);
  return end + 1;
}

const Text* BracesFormat::run(const Text& format, int depth) {
  if (depth < 0) fail("max string recursion exceeded");
  TextBuilder out(in_.arena());
  const std::string_view text = format.view();
  size_t at = 0;
  while (at < text.size()) {
    in_.step();
    const size_t brace = std::min(text.find_first_of("{}", at), text.size());
    out.append(format, at, brace);
    at = brace;
    if (at == text.size()) break;
    const bool doubled = at + 1 < text.size() && text[at + 1] == text[at];
    if (doubled) {
      out.append(format, at, at + 1);
      at += 2;
    } else if (text[at] == '}') {
      fail("single '}' encountered in format string");
    } else {
      at = field(format, at + 1, depth, out);
    }
  }
  return out.finish();
}

}  // namespace

Value format_braces(Interpreter& in, const Text& format, const Args& args, const Value* mapping) {
  BracesFormat formatter(in, args, mapping, format.markup);
  return Value::of(text_as_markup(in.arena(), *formatter.run(format, 1), format.markup));
}

}  // namespace splitd::jinja
