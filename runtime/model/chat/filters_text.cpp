// Filters whose result is text.
#include <algorithm>

#include "runtime/base/utf8.h"
#include "runtime/model/chat/arguments.h"
#include "runtime/model/chat/filters.h"
#include "runtime/model/chat/iterate.h"
#include "runtime/model/chat/methods.h"
#include "runtime/model/chat/number.h"
#include "runtime/model/chat/operators.h"
#include "runtime/model/chat/unicode.h"

namespace splitd::jinja {
namespace {

Value upper(Interpreter& in, const Value& input, const Args& args) {
  need_positional("upper", args, 0, 0);
  return Value::of(upper_text(in, *soft_text(in, input)));
}

Value lower(Interpreter& in, const Value& input, const Args& args) {
  need_positional("lower", args, 0, 0);
  return Value::of(lower_text(in, *soft_text(in, input)));
}

Value capitalize(Interpreter& in, const Value& input, const Args& args) {
  need_positional("capitalize", args, 0, 0);
  return Value::of(capitalize_text(in, *soft_text(in, input)));
}

// Words begin after whitespace and any of - ( { [ <.
Value title(Interpreter& in, const Value& input, const Args& args) {
  need_positional("title", args, 0, 0);
  const Text& text = *soft_text(in, input);
  in.step_chars(text.size);
  TextBuilder out(in.arena());
  const auto word = [&](size_t begin, size_t end) {
    if (begin == end) return;
    const size_t first = begin + utf8_decode(text.view().substr(begin)).length;
    out.append(*upper_text(in, *text_slice(in.arena(), text, begin, first)));
    out.append(*lower_text(in, *text_slice(in.arena(), text, first, end)));
  };
  size_t begin = 0;
  for (Chars chars(text); chars.next();) {
    const Char& c = chars.current;
    const bool splits = is_space(c.code_point) || c.code_point == '-' || c.code_point == '(' ||
                        c.code_point == '{' || c.code_point == '[' || c.code_point == '<';
    if (!splits) continue;
    word(begin, c.begin);
    out.append(c.bytes, c.taint);
    begin = c.end;
  }
  word(begin, text.size);
  return Value::of(out.finish());
}

Value trim(Interpreter& in, const Value& input, const Args& args) {
  const auto [chars] = bind("trim", args, {"chars"}, 0);
  return Value::of(strip_text(in, *soft_text(in, input), chars, true, true));
}

Value replace(Interpreter& in, const Value& input, const Args& args) {
  const auto [old, with, count] = bind("replace", args, {"old", "new", "count"}, 2);
  const int64_t most = count.is_missing() || count.is_none() ? -1 : need_index(count, "count");
  return Value::of(
      replace_text(in, *to_text(in, input), *to_text(in, old), *to_text(in, with), most));
}

Value string(Interpreter& in, const Value& input, const Args& args) {
  need_positional("string", args, 0, 0);
  return Value::of(soft_text(in, input));
}

Value safe(Interpreter& in, const Value& input, const Args& args) {
  need_positional("safe", args, 0, 0);
  return Value::of(text_as_markup(in.arena(), *soft_text(in, input), true));
}

Value escape(Interpreter& in, const Value& input, const Args& args) {
  need_positional("escape", args, 0, 0);
  return Value::of(escape_markup(in, *soft_text(in, input)));
}

Value force_escape(Interpreter& in, const Value& input, const Args& args) {
  need_positional("forceescape", args, 0, 0);
  return Value::of(escape_markup(in, *to_text(in, input)));
}

Value format(Interpreter& in, const Value& input, const Args& args) {
  const Text& text = *soft_text(in, input);
  if (!args.positional.empty() && !args.named.empty()) {
    fail("can't handle positional and keyword arguments at the same time");
  }
  if (args.named.empty()) return format_percent(in, text, new_tuple(in, args.positional));
  Dict* const dict = new_dict(in, args.named.size());
  for (const Named& named : args.named) dict_set(in, *dict, Value::of(named.name), named.value);
  return format_percent(in, text, Value::of(static_cast<const Dict*>(dict)));
}

Value center(Interpreter& in, const Value& input, const Args& args) {
  const auto [width] = bind("center", args, {"width"}, 0);
  const int64_t columns = width.is_missing() ? 80 : need_index(width, "width");
  return Value::of(center_text(in, *soft_text(in, input), columns, nullptr));
}

Value indent(Interpreter& in, const Value& input, const Args& args) {
  const auto [width, first, blank] = bind("indent", args, {"width", "first", "blank"}, 0);
  const Text& text = need_text(input, "the value to indent");
  const Text* indention;
  if (width.is_string()) {
    indention = width.text;
  } else {
    const int64_t columns = width.is_missing() ? 4 : need_index(width, "width");
    TextBuilder spaces(in.arena());
    if (columns > 0) spaces.append_repeated(' ', static_cast<size_t>(columns));
    indention = spaces.finish();
  }
  // With a newline added the last line is one like the others.
  const Text& whole = *text_concat(in.arena(), text, *text_view(in.arena(), "\n", Taint::no));
  const std::vector<Value> lines = split_lines(in, whole, false);
  TextBuilder out(in.arena());
  for (size_t i = 0; i < lines.size(); ++i) {
    if (i > 0) out.append("\n");
    const bool empty = lines[i].text->size == 0;
    if (i == 0 ? is_true(first) : (!empty || is_true(blank))) {
      in.step_bytes(indention->size);
      out.append(*indention);
    }
    out.append(*lines[i].text);
  }
  return Value::of(text_as_markup(in.arena(), *out.finish(), text.markup));
}

Value truncate(Interpreter& in, const Value& input, const Args& args) {
  const auto [length, kill_words, end, leeway] =
      bind("truncate", args, {"length", "killwords", "end", "leeway"}, 0);
  const int64_t most = length.is_missing() ? 255 : need_index(length, "length");
  const Text& tail =
      end.is_missing() ? *text_view(in.arena(), "...", Taint::no) : need_text(end, "end");
  const int64_t slack = leeway.is_missing() || leeway.is_none() ? 5 : need_index(leeway, "leeway");
  if (most < tail.chars) {
    fail("expected length >= " + std::to_string(tail.chars) + ", got " + std::to_string(most));
  }
  if (slack < 0) fail("expected leeway >= 0, got " + std::to_string(slack));
  const std::optional<int64_t> size = length_of(in, input);
  if (!size) fail("object of type " + quoted(type_name(input)) + " has no len()");
  if (*size <= most || *size - most <= slack) return input;
  const Text& text = need_text(input, "the value to truncate");
  size_t cut = byte_offset(text, static_cast<size_t>(most - tail.chars));
  in.step_bytes(cut);
  if (!is_true(kill_words)) {
    const size_t space = text.view().substr(0, cut).rfind(' ');
    if (space != std::string_view::npos) cut = space;
  }
  return Value::of(add_texts(in, *text_slice(in.arena(), text, 0, cut), tail));
}

Value wordcount(Interpreter& in, const Value& input, const Args& args) {
  need_positional("wordcount", args, 0, 0);
  const Text& text = *soft_text(in, input);
  in.step_chars(text.size);
  int64_t words = 0;
  bool inside = false;
  for (Chars chars(text); chars.next();) {
    const bool part = chars.current.code_point == '_' || is_alnum(chars.current.code_point);
    words += part && !inside;
    inside = part;
  }
  return Value::of(words);
}

void append_quoted(Interpreter& in, TextBuilder& out, const Text& text, bool for_query) {
  in.step_chars(text.size);
  constexpr std::string_view kSafe = "_.-~";
  for (Chars chars(text); chars.next();) {
    const Char& c = chars.current;
    for (const char byte : c.bytes) {
      const unsigned char b = static_cast<unsigned char>(byte);
      const bool plain = b < 0x80 && (is_alnum(b) || kSafe.find(byte) != std::string_view::npos ||
                                      (byte == '/' && !for_query));
      if (plain) {
        out.append({&byte, 1}, c.taint);
      } else if (byte == ' ' && for_query) {
        out.append("+", c.taint);
      } else {
        constexpr std::string_view kDigits = "0123456789ABCDEF";
        const char code[] = {'%', kDigits[b >> 4], kDigits[b & 15]};
        out.append({code, 3}, c.taint);
      }
    }
  }
}

Value urlencode(Interpreter& in, const Value& input, const Args& args) {
  need_positional("urlencode", args, 0, 0);
  TextBuilder out(in.arena());
  if (input.is_string() || !is_iterable(input)) {
    append_quoted(in, out, *to_text(in, input), false);
    return Value::of(out.finish());
  }
  std::vector<Value> pairs;
  if (input.is(Kind::dict)) {
    const View view{input.dict, ViewKind::items};
    pairs = collect(in, Value::of(&view));
  } else {
    pairs = collect(in, input);
  }
  for (size_t i = 0; i < pairs.size(); ++i) {
    const std::vector<Value> pair = collect(in, pairs[i]);
    if (pair.size() != 2) fail("urlencode needs pairs of a key and a value");
    if (i > 0) out.append("&");
    append_quoted(in, out, *to_text(in, pair[0]), true);
    out.append("=");
    append_quoted(in, out, *to_text(in, pair[1]), true);
  }
  return Value::of(out.finish());
}

Value xmlattr(Interpreter& in, const Value& input, const Args& args) {
  const auto [autospace] = bind("xmlattr", args, {"autospace"}, 0);
  if (!input.is(Kind::dict)) fail("xmlattr needs a mapping, not " + quoted(type_name(input)));
  TextBuilder out(in.arena());
  for (uint32_t i = 0; i < input.dict->size; ++i) {
    const auto& [key, value] = input.dict->entries[i];
    if (value.is_none() || value.is_undefined()) continue;
    const Text& name = need_text(key, "an attribute name");
    if (name.view().find_first_of(" \t\n\r\f\v/>=") != std::string_view::npos) {
      fail("invalid character in attribute name: " + quoted(name.view()));
    }
    if (out.size() > 0 || autospace.is_missing() || is_true(autospace)) out.append(" ");
    out.append(*escape_markup(in, name));
    out.append("=\"");
    out.append(*escape_markup(in, *soft_text(in, value)));
    out.append("\"");
  }
  return Value::of(out.finish());
}

Value filesizeformat(Interpreter& in, const Value& input, const Args& args) {
  const auto [binary] = bind("filesizeformat", args, {"binary"}, 0);
  const std::optional<double> parsed =
      input.is_number() ? std::optional(input.as_real())
                        : parse_float(need_text(input, "the size to format").view());
  if (!parsed) fail("could not convert string to float");
  const double base = is_true(binary) ? 1024 : 1000;
  if (*parsed == 1) return new_string(in, "1 Byte");
  if (*parsed < base) return new_string(in, int_text(int_from_float(*parsed)) + " Bytes");
  constexpr std::string_view kBinary[] = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB"};
  constexpr std::string_view kDecimal[] = {"kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB"};
  double unit = base;
  for (size_t i = 0;; ++i) {
    unit *= base;
    if (*parsed < unit || i == std::size(kBinary) - 1) {
      return new_string(in, float_text(base * *parsed / unit, 'f', 1) + " " +
                                std::string(is_true(binary) ? kBinary[i] : kDecimal[i]));
    }
  }
}

constexpr Filter kFilters[] = {
    {"capitalize", capitalize},
    {"center", center},
    {"e", escape},
    {"escape", escape},
    {"filesizeformat", filesizeformat},
    {"forceescape", force_escape},
    {"format", format},
    {"indent", indent},
    {"lower", lower},
    {"replace", replace},
    {"safe", safe},
    {"string", string},
    {"title", title},
    {"trim", trim},
    {"truncate", truncate},
    {"upper", upper},
    {"urlencode", urlencode},
    {"wordcount", wordcount},
    {"xmlattr", xmlattr},
};

}  // namespace

std::span<const Filter> text_filters() {
  return kFilters;
}

}  // namespace splitd::jinja
