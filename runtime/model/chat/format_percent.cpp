// str % values: printf-style formatting.
#include <cmath>

#include "runtime/base/utf8.h"
#include "runtime/model/chat/filters.h"
#include "runtime/model/chat/format_spec.h"
#include "runtime/model/chat/number.h"
#include "runtime/model/chat/operators.h"

namespace splitd::jinja {
namespace {

class PercentFormat {
 public:
  PercentFormat(Interpreter& in, const Text& format, const Value& arguments)
      : in_(in), format_(format), arguments_(arguments), out_(in.arena()) {}

  const Text* run();

 private:
  char peek() const {
    if (at_ >= format_.size) fail("incomplete format");
    return format_.data[at_];
  }
  Value next_argument();
  Value read_key();
  int64_t read_number();
  void conversion();
  const Text* convert(const Value& value, FormatSpec& spec);
  const Text* escaped(const Text* text) {
    return format_.markup ? escape_markup(in_, *text) : text;
  }

  Interpreter& in_;
  const Text& format_;
  const Value& arguments_;
  TextBuilder out_;
  size_t at_ = 0;
  size_t used_ = 0;
};

Value PercentFormat::next_argument() {
  const size_t i = used_++;
  if (arguments_.is(Kind::tuple)) {
    if (i >= arguments_.array->size) fail("not enough arguments for format string");
    return arguments_.array->items[i];
  }
  if (i > 0) fail("not enough arguments for format string");
  return arguments_;
}

// "(name)": the value of that key.
Value PercentFormat::read_key() {
  const size_t begin = ++at_;
  size_t open = 1;
  while (open > 0) {
    const char c = peek();
    if (c == '(') ++open;
    if (c == ')') --open;
    ++at_;
  }
  if (!arguments_.is(Kind::dict)) fail("format requires a mapping");
  const std::string_view name = format_.view().substr(begin, at_ - 1 - begin);
  const Value* const found = dict_find(in_, *arguments_.dict, name);
  if (found == nullptr) fail("key " + quoted(name) + " is not in the mapping");
  return *found;
}

int64_t PercentFormat::read_number() {
  if (peek() == '*') {
    ++at_;
    return need_index(next_argument(), "* wants a value that");
  }
  int64_t number = 0;
  while (peek() >= '0' && peek() <= '9') {
    number = number * 10 + (format_.data[at_++] - '0');
    if (number > static_cast<int64_t>(kMaxTextBytes))
      fail_limit("a width in a format is too large");
  }
  return number;
}

double need_real(const Value& value) {
  refuse_undefined(value);
  if (!value.is_number()) fail("must be real number, not " + std::string(type_name(value)));
  return value.as_real();
}

const Text* PercentFormat::convert(const Value& value, FormatSpec& spec) {
  switch (spec.type) {
    case 's':
      return escaped(soft_text(in_, value));
    case 'r':
      return escaped(repr_text(in_, value));
    case 'a':
      return escaped(ascii_text(in_, value));
    case 'c': {
      if (value.is_string() && value.text->chars == 1) return escaped(value.text);
      if (!value.is_int() || value.as_int() < 0 || value.as_int() > 0x10ffff ||
          (value.as_int() >= 0xd800 && value.as_int() < 0xe000)) {
        fail("%c requires an int or a character");
      }
      std::string out;
      utf8_append(out, static_cast<char32_t>(value.as_int()));
      return text_copy(in_.arena(), out, Taint::no);
    }
    case 'd':
    case 'i':
    case 'u':
    case 'o':
    case 'x':
    case 'X': {
      refuse_undefined(value);
      const bool decimal = spec.type == 'd' || spec.type == 'i' || spec.type == 'u';
      if (!value.is_int() && !(decimal && value.is(Kind::real))) {
        fail(std::string("%") + spec.type + " format: a number is required, not " +
             std::string(type_name(value)));
      }
      const int128 number = value.is(Kind::real) ? int_from_float(value.real) : value.as_int();
      return lay_out_int(in_, number, spec);
    }
    case 'e':
    case 'E':
    case 'f':
    case 'F':
    case 'g':
    case 'G': {
      const double number = need_real(value);
      if (!std::isfinite(number)) spec.zero = false;
      return lay_out_float(in_, number, spec);
    }
    default:
      fail(std::string("unsupported format character '") + spec.type + "'");
  }
}

void PercentFormat::conversion() {
  Value value;
  FormatSpec spec;
  if (peek() == '(') value = read_key();
  bool left = false;
  for (;; ++at_) {
    const char c = peek();
    if (c == '-') {
      left = true;
    } else if (c == '+') {
      spec.sign = '+';
    } else if (c == ' ') {
      if (spec.sign != '+') spec.sign = ' ';
    } else if (c == '#') {
      spec.alternate = true;
    } else if (c == '0') {
      spec.zero = true;
    } else {
      break;
    }
  }
  spec.width = read_number();
  if (spec.width < 0) {
    left = true;
    spec.width = spec.width < -static_cast<int64_t>(kMaxTextBytes) ? int64_t{kMaxTextBytes} + 1
                                                                   : -spec.width;
  }
  if (peek() == '.') {
    ++at_;
    spec.precision = std::max<int64_t>(0, read_number());
  }
  if (peek() == 'h' || peek() == 'l' || peek() == 'L') ++at_;
  spec.type = peek();
  ++at_;
  if (spec.type == '%') return out_.append("%");
  if (left) spec.zero = false;
  if (value.is_missing()) value = next_argument();
  const bool textual = spec.type == 's' || spec.type == 'r' || spec.type == 'a' || spec.type == 'c';
  if (textual) {
    spec.zero = false;
    if (spec.type == 'c') spec.precision = -1;
    spec.align = left ? '<' : '>';
    out_.append(*lay_out_text(in_, *convert(value, spec), spec));
  } else {
    spec.align = left ? '<' : '\0';
    out_.append(*convert(value, spec));
  }
}

const Text* PercentFormat::run() {
  while (at_ < format_.size) {
    in_.step();
    const size_t percent = std::min(format_.view().find('%', at_), size_t{format_.size});
    out_.append(format_, at_, percent);
    at_ = percent;
    if (at_ == format_.size) break;
    ++at_;
    conversion();
  }
  const size_t given = arguments_.is(Kind::tuple) ? arguments_.array->size : 1;
  const bool mapping =
      arguments_.is(Kind::dict) || arguments_.is(Kind::list) || arguments_.is_undefined();
  if (used_ < given && !mapping) fail("not all arguments converted during string formatting");
  return text_as_markup(in_.arena(), *out_.finish(), format_.markup);
}

}  // namespace

Value format_percent(Interpreter& in, const Text& format, const Value& arguments) {
  return Value::of(PercentFormat(in, format, arguments).run());
}

}  // namespace splitd::jinja
