// Padding, grouping and digits, as Python's format() does them.
#include "runtime/model/chat/format_spec.h"

#include <cmath>

#include "runtime/base/utf8.h"
#include "runtime/model/chat/number.h"

namespace splitd::jinja {
namespace {

constexpr int64_t kMaxPrecision = 10000;

const Text* pad(Interpreter& in, const Text& text, const FormatSpec& spec, char align) {
  const int64_t n = spec.width - text.chars;
  if (n <= 0) return &text;
  const int64_t left = align == '>' ? n : align == '^' ? n / 2 : 0;
  TextBuilder out(in.arena());
  out.append_repeated(spec.fill, static_cast<size_t>(left), spec.fill_taint);
  out.append(text);
  out.append_repeated(spec.fill, static_cast<size_t>(n - left), spec.fill_taint);
  in.step_bytes(out.size());
  return out.finish();
}

std::string group_digits(const std::string& digits, char separator, size_t each) {
  if (separator == 0) return digits;
  std::string out;
  for (size_t i = 0; i < digits.size(); ++i) {
    if (i > 0 && (digits.size() - i) % each == 0) out += separator;
    out += digits[i];
  }
  return out;
}

// sign + prefix + digits (which are grouped) + rest, padded.
const Text* lay_out_digits(Interpreter& in, const std::string& head, std::string digits,
                           const std::string& rest, const FormatSpec& spec, size_t each) {
  const bool zeros = spec.zero && spec.align == 0;
  if (zeros && spec.width > static_cast<int64_t>(kMaxTextBytes))
    fail_limit("the width is too large");
  std::string grouped = group_digits(digits, spec.grouping, each);
  if (zeros) {
    const size_t width = static_cast<size_t>(spec.width);
    const size_t other = head.size() + rest.size();
    in.step_bytes(width);
    if (spec.grouping == 0 && other + digits.size() < width) {
      grouped.insert(0, width - other - digits.size(), '0');
    } else if (width > other + grouped.size()) {
      // Zeros are grouped too, and no separator comes first.
      const size_t columns = width - other;
      size_t n = columns / (each + 1) * each + columns % (each + 1);
      if (columns % (each + 1) == 0) ++n;
      if (n > digits.size()) digits.insert(0, n - digits.size(), '0');
      grouped = group_digits(digits, spec.grouping, each);
    }
  }
  const Text* const body = text_copy(in.arena(), grouped + rest, Taint::no);
  const Text* const start = text_copy(in.arena(), head, Taint::no);
  if (spec.align == '=') {
    FormatSpec inner = spec;
    inner.width -= start->chars;
    return text_concat(in.arena(), *start, *pad(in, *body, inner, '>'));
  }
  return pad(in, *text_concat(in.arena(), *start, *body), spec, spec.align == 0 ? '>' : spec.align);
}

std::string sign_of(bool negative, const FormatSpec& spec) {
  return negative ? "-" : spec.sign == '-' ? "" : std::string(1, spec.sign);
}

}  // namespace

const Text* lay_out_text(Interpreter& in, const Text& text, const FormatSpec& spec) {
  const Text* cut = &text;
  if (spec.precision >= 0 && spec.precision < text.chars) {
    cut = text_slice(in.arena(), text, 0, byte_offset(text, static_cast<size_t>(spec.precision)));
  }
  return pad(in, *cut, spec, spec.align == 0 ? '<' : spec.align);
}

const Text* lay_out_int(Interpreter& in, int128 value, const FormatSpec& spec) {
  const uint128 size = value < 0 ? -static_cast<uint128>(value) : static_cast<uint128>(value);
  const char type = spec.type == 'X' ? 'x' : spec.type;
  const unsigned base = type == 'x' ? 16 : type == 'o' ? 8 : type == 'b' ? 2 : 10;
  std::string digits = uint_text(size, base, spec.type == 'X');
  if (spec.precision > kMaxPrecision) fail_limit("the precision is too large");
  if (spec.precision > static_cast<int64_t>(digits.size())) {
    digits.insert(0, static_cast<size_t>(spec.precision) - digits.size(), '0');
  }
  std::string head = sign_of(value < 0, spec);
  if (spec.alternate && base != 10) head += {'0', spec.type};
  return lay_out_digits(in, head, digits, "", spec, base == 10 ? 3 : 4);
}

// "{}" with a precision: like g, but never without a point.
static std::string plain_float(double value, int precision) {
  std::string out = float_text(value, 'g', precision);
  const bool exponential = out.find('e') != std::string::npos;
  if (!exponential && out.find('.') == std::string::npos) {
    if (static_cast<int64_t>(out.size()) >= precision + (value == 0 ? 1 : 0)) {
      out = float_text(value, 'e', std::max(precision, 1) - 1);
      const size_t e = out.find('e');
      size_t end = e;
      while (out.find('.') < e && (out[end - 1] == '0' || out[end - 1] == '.')) {
        if (out[--end] == '.') break;
      }
      return out.substr(0, end) + out.substr(e);
    }
    out += ".0";
  }
  return out;
}

const Text* lay_out_float(Interpreter& in, double value, const FormatSpec& spec) {
  if (spec.precision > kMaxPrecision) fail_limit("the precision is too large");
  in.step(20 + static_cast<uint64_t>(std::max<int64_t>(0, spec.precision)));
  const bool percent = spec.type == '%';
  const bool upper = spec.type == 'E' || spec.type == 'F' || spec.type == 'G';
  char type = static_cast<char>(upper ? spec.type + 32 : spec.type);
  if (type == 'n') type = 'g';
  if (percent) type = 'f';
  const double size = std::fabs(percent ? value * 100 : value);
  std::string text;
  if (type == 0) {
    text =
        spec.precision < 0 ? float_repr(size) : plain_float(size, static_cast<int>(spec.precision));
  } else {
    const int precision = spec.precision < 0 ? 6 : static_cast<int>(spec.precision);
    text = float_text(size, type, precision, spec.alternate);
  }
  if (upper) {
    for (char& c : text) c = static_cast<char>(c >= 'a' && c <= 'z' ? c - 32 : c);
  }
  if (percent) text += '%';
  const size_t whole = std::min(text.find_first_not_of("0123456789"), text.size());
  const bool negative = std::signbit(value) && !std::isnan(value);
  return lay_out_digits(in, sign_of(negative, spec), text.substr(0, whole), text.substr(whole),
                        spec, 3);
}

const Text* repr_text(Interpreter& in, const Value& value) {
  TextBuilder out(in.arena());
  append_repr(in, out, value);
  return out.finish();
}

const Text* ascii_text(Interpreter& in, const Value& value) {
  const Text& repr = *repr_text(in, value);
  if (repr.is_ascii()) return &repr;
  TextBuilder out(in.arena());
  for (Chars chars(repr); chars.next();) {
    const Char& c = chars.current;
    if (c.code_point < 0x80) {
      out.append(c.bytes, c.taint);
      continue;
    }
    const size_t width = c.code_point < 0x100 ? 2 : c.code_point < 0x10000 ? 4 : 8;
    const std::string digits = uint_text(c.code_point, 16);
    out.append((width == 2   ? "\\x"
                : width == 4 ? "\\u"
                             : "\\U") +
                   std::string(width - digits.size(), '0') + digits,
               c.taint);
  }
  return out.finish();
}

}  // namespace splitd::jinja
