// The methods of str. Results keep track of tainted bytes exactly, by slices or by character.
#include <algorithm>

#include "runtime/base/utf8.h"
#include "runtime/model/chat/arguments.h"
#include "runtime/model/chat/filters.h"
#include "runtime/model/chat/iterate.h"
#include "runtime/model/chat/methods.h"
#include "runtime/model/chat/operators.h"
#include "runtime/model/chat/unicode.h"

namespace splitd::jinja {
namespace {

const Text* piece(Interpreter& in, const Text& text, size_t begin, size_t end) {
  return text_slice(in.arena(), text, begin, end);
}

// A position that Python counts in characters, as bytes.
struct Window {
  size_t begin = 0;
  size_t end = 0;
  bool empty = false;  // start beyond the end: nothing is found there, not even ''
};
Window window_of(const Text& text, const Value& start, const Value& stop) {
  const int64_t size = text.chars;
  const auto place = [&](const Value& value, int64_t otherwise) {
    if (value.is_missing() || value.is_none()) return otherwise;
    int64_t i = need_index(value, "slice indices");
    if (i < 0) i = std::max<int64_t>(0, i + size);
    return i;
  };
  const int64_t begin = place(start, 0);
  const int64_t end = std::min(place(stop, size), size);
  if (begin > end) return {0, 0, true};
  return {byte_offset(text, static_cast<size_t>(begin)),
          byte_offset(text, static_cast<size_t>(end)), false};
}

int64_t char_index(const Text& text, size_t byte) {
  return text.is_ascii() ? static_cast<int64_t>(byte)
                         : static_cast<int64_t>(count_chars(text.view().substr(0, byte)));
}

int64_t search(Interpreter& in, const Value& self, const Args& args, std::string_view name,
               bool last) {
  need_positional(name, args, 1, 3);
  const Text& text = *self.text;
  const Text& wanted = need_text(args.positional[0], "the text to find");
  const auto arg = [&](size_t i) {
    return i < args.positional.size() ? args.positional[i] : Value();
  };
  const Window window = window_of(text, arg(1), arg(2));
  in.step_search(text.size);
  if (window.empty) return -1;
  const std::string_view inside = text.view().substr(window.begin, window.end - window.begin);
  const size_t at = last ? rfind_bytes(inside, wanted.view()) : find_bytes(inside, wanted.view());
  return at == std::string_view::npos ? -1 : char_index(text, window.begin + at);
}

Value find(Interpreter& in, const Value& self, const Args& args) {
  return Value::of(search(in, self, args, "find", false));
}
Value rfind(Interpreter& in, const Value& self, const Args& args) {
  return Value::of(search(in, self, args, "rfind", true));
}
Value index(Interpreter& in, const Value& self, const Args& args) {
  const int64_t at = search(in, self, args, "index", false);
  if (at < 0) fail("substring not found");
  return Value::of(at);
}
Value rindex(Interpreter& in, const Value& self, const Args& args) {
  const int64_t at = search(in, self, args, "rindex", true);
  if (at < 0) fail("substring not found");
  return Value::of(at);
}

Value count(Interpreter& in, const Value& self, const Args& args) {
  need_positional("count", args, 1, 3);
  const Text& wanted = need_text(args.positional[0], "the text to count");
  const auto arg = [&](size_t i) {
    return i < args.positional.size() ? args.positional[i] : Value();
  };
  const Window window = window_of(*self.text, arg(1), arg(2));
  in.step_search(self.text->size);
  if (window.empty) return Value::of(0);
  const std::string_view inside = self.text->view().substr(window.begin, window.end - window.begin);
  if (wanted.size == 0) return Value::of(count_chars(inside) + 1);
  int64_t n = 0;
  for (size_t at = find_bytes(inside, wanted.view()); at != std::string_view::npos;
       at = find_bytes(inside, wanted.view(), at + wanted.size)) {
    ++n;
  }
  return Value::of(n);
}

bool has_affix(Interpreter& in, const Value& self, const Args& args, std::string_view name,
               bool at_end) {
  need_positional(name, args, 1, 3);
  const auto arg = [&](size_t i) {
    return i < args.positional.size() ? args.positional[i] : Value();
  };
  const Window window = window_of(*self.text, arg(1), arg(2));
  in.step();
  const std::string_view inside = self.text->view().substr(window.begin, window.end - window.begin);
  const auto matches = [&](const Value& affix) {
    const Text& text = need_text(affix, std::string(name) + "'s first argument");
    return !window.empty &&
           (at_end ? inside.ends_with(text.view()) : inside.starts_with(text.view()));
  };
  const Value& affix = args.positional[0];
  if (!affix.is(Kind::tuple)) return matches(affix);
  return std::any_of(affix.items().begin(), affix.items().end(), matches);
}
Value startswith(Interpreter& in, const Value& self, const Args& args) {
  return Value::of(has_affix(in, self, args, "startswith", false));
}
Value endswith(Interpreter& in, const Value& self, const Args& args) {
  return Value::of(has_affix(in, self, args, "endswith", true));
}

Value strip_with(Interpreter& in, const Value& self, const Args& args, std::string_view name,
                 bool left, bool right) {
  need_positional(name, args, 0, 1);
  const Value chars = args.positional.empty() ? Value() : args.positional[0];
  return Value::of(strip_text(in, *self.text, chars, left, right));
}
Value strip(Interpreter& in, const Value& self, const Args& args) {
  return strip_with(in, self, args, "strip", true, true);
}
Value lstrip(Interpreter& in, const Value& self, const Args& args) {
  return strip_with(in, self, args, "lstrip", true, false);
}
Value rstrip(Interpreter& in, const Value& self, const Args& args) {
  return strip_with(in, self, args, "rstrip", false, true);
}

Value removeprefix(Interpreter& in, const Value& self, const Args& args) {
  need_positional("removeprefix", args, 1, 1);
  const Text& prefix = need_text(args.positional[0], "the prefix");
  const Text& text = *self.text;
  const bool has = text.view().starts_with(prefix.view());
  return Value::of(piece(in, text, has ? prefix.size : 0, text.size));
}
Value removesuffix(Interpreter& in, const Value& self, const Args& args) {
  need_positional("removesuffix", args, 1, 1);
  const Text& suffix = need_text(args.positional[0], "the suffix");
  const Text& text = *self.text;
  const bool has = text.view().ends_with(suffix.view());
  return Value::of(piece(in, text, 0, text.size - (has ? suffix.size : 0)));
}

Value replace(Interpreter& in, const Value& self, const Args& args) {
  need_positional("replace", args, 2, 3);
  const Text& old = need_text(args.positional[0], "the text to replace");
  const Text& with = need_text(args.positional[1], "the replacement");
  const int64_t most = args.positional.size() > 2 ? need_index(args.positional[2], "count") : -1;
  const Text& safe = self.text->markup ? *escape_markup(in, with) : with;
  const Text* const out = replace_text(in, *self.text, old, safe, most);
  return Value::of(text_as_markup(in.arena(), *out, self.text->markup));
}

std::vector<Value> split_spaces(Interpreter& in, const Text& text, int64_t most, bool from_right) {
  // Words as pairs of offsets, joined again where the limit says so.
  std::vector<std::pair<size_t, size_t>> words;
  size_t begin = 0;
  bool inside = false;
  for (Chars chars(text); chars.next();) {
    const bool space = is_space(chars.current.code_point);
    if (inside && space) words.emplace_back(begin, chars.current.begin);
    if (!inside && !space) begin = chars.current.begin;
    inside = !space;
  }
  if (inside) words.emplace_back(begin, text.size);
  in.step(words.size());
  std::vector<Value> out;
  const size_t limit = most < 0 ? words.size() : static_cast<size_t>(most);
  if (words.size() <= limit) {
    for (const auto& [from, to] : words) out.push_back(Value::of(piece(in, text, from, to)));
    return out;
  }
  const size_t rest = words.size() - limit;  // words that stay in one piece
  if (from_right) {
    const size_t end = words[rest - 1].second;
    out.push_back(Value::of(piece(in, text, leading_space(text.view()), end)));
    for (size_t i = rest; i < words.size(); ++i) {
      out.push_back(Value::of(piece(in, text, words[i].first, words[i].second)));
    }
  } else {
    for (size_t i = 0; i < limit; ++i) {
      out.push_back(Value::of(piece(in, text, words[i].first, words[i].second)));
    }
    out.push_back(Value::of(piece(in, text, words[limit].first, text.size)));
  }
  return out;
}

std::vector<Value> split_at(Interpreter& in, const Text& text, const Text& separator, int64_t most,
                            bool from_right) {
  if (separator.size == 0) fail("empty separator");
  std::vector<size_t> cuts;
  if (from_right && most >= 0) {
    std::string_view rest = text.view();
    while (static_cast<int64_t>(cuts.size()) < most) {
      const size_t at = rfind_bytes(rest, separator.view());
      if (at == std::string_view::npos) break;
      in.step_bytes(separator.size > 8 ? rest.size() : rest.size() - at);
      cuts.push_back(at);
      rest = rest.substr(0, at);
    }
    std::reverse(cuts.begin(), cuts.end());
  } else {
    size_t at = 0;
    while (most < 0 || static_cast<int64_t>(cuts.size()) < most) {
      at = find_bytes(text.view(), separator.view(), at);
      if (at == std::string_view::npos) break;
      in.step();
      cuts.push_back(at);
      at += separator.size;
    }
  }
  std::vector<Value> out;
  size_t begin = 0;
  for (const size_t cut : cuts) {
    out.push_back(Value::of(piece(in, text, begin, cut)));
    begin = cut + separator.size;
  }
  out.push_back(Value::of(piece(in, text, begin, text.size)));
  return out;
}

Value split_with(Interpreter& in, const Value& self, const Args& args, std::string_view name,
                 bool from_right) {
  const auto [separator, most] = bind(name, args, {"sep", "maxsplit"}, 0);
  const int64_t limit = most.is_missing() ? -1 : need_index(most, "maxsplit");
  in.step_search(self.text->size);
  if (separator.is_missing() || separator.is_none()) {
    in.step_chars(self.text->size);
    return new_list(in, split_spaces(in, *self.text, limit, from_right));
  }
  return new_list(
      in, split_at(in, *self.text, need_text(separator, "the separator"), limit, from_right));
}
Value split(Interpreter& in, const Value& self, const Args& args) {
  return split_with(in, self, args, "split", false);
}
Value rsplit(Interpreter& in, const Value& self, const Args& args) {
  return split_with(in, self, args, "rsplit", true);
}
Value splitlines(Interpreter& in, const Value& self, const Args& args) {
  const auto [keep_ends] = bind("splitlines", args, {"keepends"}, 0);
  return new_list(in, split_lines(in, *self.text, need_flag(keep_ends, "keepends")));
}

Value partition_with(Interpreter& in, const Value& self, const Args& args, std::string_view name,
                     bool last) {
  need_positional(name, args, 1, 1);
  const Text& text = *self.text;
  const Text& separator = need_text(args.positional[0], "the separator");
  if (separator.size == 0) fail("empty separator");
  in.step_search(text.size);
  const size_t at =
      last ? rfind_bytes(text.view(), separator.view()) : find_bytes(text.view(), separator.view());
  const Value empty = Value::of(piece(in, text, 0, 0));
  if (at == std::string_view::npos) {
    const Value parts[] = {last ? empty : self, empty, last ? self : empty};
    return new_tuple(in, parts);
  }
  const size_t end = at + separator.size;
  const Value parts[] = {Value::of(piece(in, text, 0, at)), Value::of(piece(in, text, at, end)),
                         Value::of(piece(in, text, end, text.size))};
  return new_tuple(in, parts);
}
Value partition(Interpreter& in, const Value& self, const Args& args) {
  return partition_with(in, self, args, "partition", false);
}
Value rpartition(Interpreter& in, const Value& self, const Args& args) {
  return partition_with(in, self, args, "rpartition", true);
}

Value join(Interpreter& in, const Value& self, const Args& args) {
  need_positional("join", args, 1, 1);
  Iterator* const items = iterate(in, args.positional[0]);
  TextBuilder out(in.arena());
  Value item;
  for (size_t i = 0; next_item(in, *items, item); ++i) {
    if (!item.is_string()) {
      refuse_undefined(item);
      fail("sequence item " + std::to_string(i) + ": expected str instance, " +
           std::string(type_name(item)) + " found");
    }
    in.step_bytes(size_t{item.text->size} + self.text->size);
    if (i > 0) out.append(*self.text);
    out.append(self.text->markup ? *escape_markup(in, *item.text) : *item.text);
  }
  return Value::of(text_as_markup(in.arena(), *out.finish(), self.text->markup));
}

const Text* fill_of(const Args& args) {
  if (args.positional.size() < 2) return nullptr;
  const Text& fill = need_text(args.positional[1], "the fill character");
  if (fill.chars != 1) fail("the fill character must be exactly one character long");
  return &fill;
}

const Text* pad(Interpreter& in, const Text& text, int64_t left, int64_t right, const Text* fill) {
  if (left + right <= 0) return &text;
  const char32_t c = fill == nullptr ? U' ' : utf8_decode(fill->view()).code_point;
  const Taint taint = fill != nullptr && fill->is_tainted() ? Taint::yes : Taint::no;
  TextBuilder out(in.arena());
  out.append_repeated(c, static_cast<size_t>(left), taint);
  out.append(text);
  out.append_repeated(c, static_cast<size_t>(right), taint);
  in.step_bytes(out.size());
  return text_as_markup(in.arena(), *out.finish(), text.markup);
}

int64_t missing_columns(const Text& text, int64_t width) {
  return width <= text.chars ? 0 : width - text.chars;
}

Value center(Interpreter& in, const Value& self, const Args& args) {
  need_positional("center", args, 1, 2);
  const int64_t width = need_index(args.positional[0], "width");
  return Value::of(center_text(in, *self.text, width, fill_of(args)));
}
Value ljust(Interpreter& in, const Value& self, const Args& args) {
  need_positional("ljust", args, 1, 2);
  const int64_t n = missing_columns(*self.text, need_index(args.positional[0], "width"));
  return Value::of(pad(in, *self.text, 0, n, fill_of(args)));
}
Value rjust(Interpreter& in, const Value& self, const Args& args) {
  need_positional("rjust", args, 1, 2);
  const int64_t n = missing_columns(*self.text, need_index(args.positional[0], "width"));
  return Value::of(pad(in, *self.text, n, 0, fill_of(args)));
}
Value zfill(Interpreter& in, const Value& self, const Args& args) {
  need_positional("zfill", args, 1, 1);
  const Text& text = *self.text;
  const int64_t n = missing_columns(text, need_index(args.positional[0], "width"));
  if (n == 0) return self;
  const bool sign = text.size > 0 && (text.data[0] == '+' || text.data[0] == '-');
  TextBuilder out(in.arena());
  out.append(text, 0, sign ? 1 : 0);
  out.append_repeated('0', static_cast<size_t>(n));
  out.append(text, sign ? 1 : 0, text.size);
  return Value::of(out.finish());
}

Value expandtabs(Interpreter& in, const Value& self, const Args& args) {
  const auto [size] = bind("expandtabs", args, {"tabsize"}, 0);
  const int64_t width = size.is_missing() ? 8 : need_index(size, "tabsize");
  in.step_chars(self.text->size);
  TextBuilder out(in.arena());
  int64_t column = 0;
  for (Chars chars(*self.text); chars.next();) {
    const Char& c = chars.current;
    if (c.code_point == '\t') {
      const int64_t n = width > 0 ? width - column % width : 0;
      out.append_repeated(' ', static_cast<size_t>(n), c.taint);
      column += n;
      continue;
    }
    out.append(c.bytes, c.taint);
    column = c.code_point == '\n' || c.code_point == '\r' ? 0 : column + 1;
  }
  return Value::of(out.finish());
}

Value format(Interpreter& in, const Value& self, const Args& args) {
  return format_braces(in, *self.text, args, nullptr);
}
Value format_map(Interpreter& in, const Value& self, const Args& args) {
  need_positional("format_map", args, 1, 1);
  return format_braces(in, *self.text, {}, &args.positional[0]);
}

Value refuse_bytes(Interpreter&, const Value&, const Args&) {
  fail("str.encode, str.translate and str.maketrans are not supported");
}

constexpr Method kMethods[] = {{"center", center},
                               {"count", count},
                               {"encode", refuse_bytes},
                               {"endswith", endswith},
                               {"expandtabs", expandtabs},
                               {"find", find},
                               {"format", format},
                               {"format_map", format_map},
                               {"index", index},
                               {"join", join},
                               {"ljust", ljust},
                               {"lstrip", lstrip},
                               {"maketrans", refuse_bytes},
                               {"partition", partition},
                               {"removeprefix", removeprefix},
                               {"removesuffix", removesuffix},
                               {"replace", replace},
                               {"rfind", rfind},
                               {"rindex", rindex},
                               {"rjust", rjust},
                               {"rpartition", rpartition},
                               {"rsplit", rsplit},
                               {"rstrip", rstrip},
                               {"split", split},
                               {"splitlines", splitlines},
                               {"startswith", startswith},
                               {"strip", strip},
                               {"translate", refuse_bytes},
                               {"zfill", zfill}};

}  // namespace

std::span<const Method> string_methods() {
  return kMethods;
}

const Text* strip_text(Interpreter& in, const Text& text, const Value& chars, bool left,
                       bool right) {
  size_t begin = 0;
  size_t end = text.size;
  if (chars.is_missing() || chars.is_none()) {
    if (left) begin = leading_space(text.view());
    if (right) end -= trailing_space(text.view().substr(begin));
    in.step_bytes(begin + text.size - end);
    return piece(in, text, begin, end);
  }
  const Text& set = need_text(chars, "strip's argument");
  const auto in_set = [&](std::string_view c) {
    in.step(2 + set.size / 16);
    return find_bytes(set.view(), c) != std::string_view::npos;  // UTF-8 matches at characters only
  };
  while (left && begin < end) {
    const size_t length = utf8_decode(text.view().substr(begin)).length;
    if (!in_set(text.view().substr(begin, length))) break;
    begin += length;
  }
  while (right && end > begin) {
    size_t from = end - 1;
    while (from > begin && (static_cast<unsigned char>(text.data[from]) & 0xc0) == 0x80) --from;
    if (!in_set(text.view().substr(from, end - from))) break;
    end = from;
  }
  return piece(in, text, begin, end);
}

const Text* replace_text(Interpreter& in, const Text& text, const Text& old, const Text& with,
                         int64_t most) {
  in.step_search(text.size);
  TextBuilder out(in.arena());
  int64_t n = 0;
  if (old.size == 0) {  // between all characters
    in.step_chars(text.size);
    for (Chars chars(text); chars.next();) {
      if (most < 0 || n < most) {
        out.append(with);
        ++n;
      }
      out.append(chars.current.bytes, chars.current.taint);
    }
    if (most < 0 || n < most) out.append(with);
    return out.finish();
  }
  size_t begin = 0;
  while (most < 0 || n < most) {
    const size_t at = find_bytes(text.view(), old.view(), begin);
    if (at == std::string_view::npos) break;
    in.step_bytes(with.size);
    out.append(text, begin, at);
    out.append(with);
    begin = at + old.size;
    ++n;
  }
  if (n == 0) return &text;
  out.append(text, begin, text.size);
  return out.finish();
}

const Text* center_text(Interpreter& in, const Text& text, int64_t width, const Text* fill) {
  const int64_t n = missing_columns(text, width);
  const int64_t left = n / 2 + (n & width & 1);  // where CPython puts the odd one
  return pad(in, text, left, n - left, fill);
}

std::vector<Value> split_lines(Interpreter& in, const Text& text, bool keep_ends) {
  in.step_chars(text.size);
  std::vector<Value> lines;
  size_t begin = 0;
  for (Chars chars(text); chars.next();) {
    if (!is_line_end(chars.current.code_point)) continue;
    const size_t end = chars.current.begin;
    size_t next = chars.current.end;
    const bool pair =
        chars.current.code_point == '\r' && next < text.size && text.data[next] == '\n';
    if (pair) {
      chars.next();
      ++next;
    }
    in.step();
    lines.push_back(Value::of(piece(in, text, begin, keep_ends ? next : end)));
    begin = next;
  }
  if (begin < text.size) lines.push_back(Value::of(piece(in, text, begin, text.size)));
  return lines;
}

}  // namespace splitd::jinja
