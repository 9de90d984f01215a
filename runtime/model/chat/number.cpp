// Numbers as Python prints, reads and computes them.
#include "runtime/model/chat/number.h"

#include <charconv>
#include <cmath>
#include <limits>

#include "runtime/base/utf8.h"
#include "runtime/model/chat/unicode.h"

namespace splitd::jinja {
namespace {

[[noreturn]] void fail_too_large() {
  fail("integers beyond 128 bits are not supported");
}

uint128 magnitude(int128 value) {
  return value < 0 ? -static_cast<uint128>(value) : static_cast<uint128>(value);
}

std::string exponent_text(int exponent) {
  const std::string digits = std::to_string(std::abs(exponent));
  return std::string(exponent < 0 ? "e-" : "e+") + (digits.size() < 2 ? "0" : "") + digits;
}

// "1.2345e+06" → digits "12345" and the decimal exponent 6.
struct Decimal {
  std::string digits;
  int exponent = 0;
};
Decimal split_scientific(std::string_view text) {
  Decimal out;
  const size_t e = text.find('e');
  for (const char c : text.substr(0, e)) {
    if (c != '.') out.digits += c;
  }
  text.remove_prefix(e + 1);
  if (text[0] == '+') text.remove_prefix(1);
  std::from_chars(text.data(), text.data() + text.size(), out.exponent);
  return out;
}

std::string chars_of(double value, std::chars_format format, int precision) {
  std::string out(static_cast<size_t>(precision) + 340, '\0');
  const auto [end, error] =
      std::to_chars(out.data(), out.data() + out.size(), value, format, precision);
  out.resize(error == std::errc() ? static_cast<size_t>(end - out.data()) : 0);
  return out;
}

}  // namespace

std::string uint_text(uint128 value, unsigned base, bool upper) {
  std::string out;
  do {
    const unsigned digit = static_cast<unsigned>(value % base);
    out += static_cast<char>(digit < 10 ? '0' + digit : (upper ? 'A' : 'a') + digit - 10);
    value /= base;
  } while (value != 0);
  return {out.rbegin(), out.rend()};
}

std::string int_text(int128 value) {
  return (value < 0 ? "-" : "") + uint_text(magnitude(value), 10);
}

std::string float_repr(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value < 0 ? "-inf" : "inf";
  const std::string sign = std::signbit(value) ? "-" : "";
  char buffer[64];
  const auto [end, error] = std::to_chars(std::begin(buffer), std::end(buffer), std::fabs(value),
                                          std::chars_format::scientific);
  (void)error;  // 64 bytes hold every double
  const auto [digits, exponent] = split_scientific({buffer, static_cast<size_t>(end - buffer)});
  const int n = static_cast<int>(digits.size());
  if (exponent < -4 || exponent >= 16) {
    const std::string fraction = n > 1 ? "." + digits.substr(1) : "";
    return sign + digits[0] + fraction + exponent_text(exponent);
  }
  if (exponent < 0)
    return sign + "0." + std::string(static_cast<size_t>(-exponent - 1), '0') + digits;
  if (n <= exponent + 1) {
    return sign + digits + std::string(static_cast<size_t>(exponent + 1 - n), '0') + ".0";
  }
  const size_t point = static_cast<size_t>(exponent) + 1;
  return sign + digits.substr(0, point) + "." + digits.substr(point);
}

static std::string general_text(double value, int precision, bool alternate) {
  if (precision == 0) precision = 1;
  const std::string scientific = chars_of(value, std::chars_format::scientific, precision - 1);
  const int exponent = value == 0 ? 0 : split_scientific(scientific).exponent;
  std::string out;
  std::string tail;
  if (exponent < -4 || exponent >= precision) {
    out = scientific.substr(0, scientific.find('e'));
    tail = exponent_text(exponent);
  } else {
    out = chars_of(value, std::chars_format::fixed, precision - 1 - exponent);
  }
  if (out.find('.') != std::string::npos && !alternate) {
    while (out.back() == '0') out.pop_back();
    if (out.back() == '.') out.pop_back();
  }
  return out + tail;
}

std::string float_text(double value, char type, int precision, bool alternate) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value < 0 ? "-inf" : "inf";
  std::string out;
  if (type == 'f') {
    out = chars_of(value, std::chars_format::fixed, precision);
  } else if (type == 'e') {
    out = chars_of(value, std::chars_format::scientific, precision);
  } else {
    out = general_text(value, precision, alternate);
  }
  if (alternate && out.find('.') == std::string::npos) {
    out.insert(std::min(out.find('e'), out.size()), ".");
  }
  return out;
}

// Without the whitespace around it, digits of every script as ASCII; nothing when something in it
// can be in no number.
static std::optional<std::string> plain_number(std::string_view text) {
  text.remove_prefix(leading_space(text));
  text.remove_suffix(trailing_space(text));
  std::string out;
  for (size_t i = 0; i < text.size();) {
    const Utf8Step step = utf8_decode(text.substr(i));
    i += step.length;
    if (step.code_point < 0x80) {
      out += static_cast<char>(step.code_point);
    } else {
      const int digit = decimal_value(step.code_point);
      if (digit < 0) return std::nullopt;
      out += static_cast<char>('0' + digit);
    }
  }
  return out;
}

static int digit_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'z') return c - 'a' + 10;
  if (c >= 'A' && c <= 'Z') return c - 'A' + 10;
  return 99;
}

std::optional<int128> parse_int(std::string_view text, unsigned base) {
  const std::optional<std::string> plain = plain_number(text);
  if (!plain) return std::nullopt;
  std::string_view rest = *plain;
  bool negative = false;
  if (!rest.empty() && (rest[0] == '+' || rest[0] == '-')) {
    negative = rest[0] == '-';
    rest.remove_prefix(1);
  }
  bool after_prefix = false;
  if (rest.size() >= 2 && rest[0] == '0') {
    const char letter = static_cast<char>(rest[1] | 0x20);
    const unsigned named = letter == 'x' ? 16 : letter == 'o' ? 8 : letter == 'b' ? 2 : 0;
    if (named != 0 && (base == named || base == 0)) {
      base = named;
      rest.remove_prefix(2);
      after_prefix = true;  // 0x_ff is a number, _ff is not
    }
  }
  const bool only_zero = base == 0 && !rest.empty() && rest[0] == '0';
  if (base == 0) base = 10;
  int128 value = 0;
  bool digit_before = after_prefix;
  bool any = false;
  for (const char c : rest) {
    if (c == '_') {
      if (!digit_before) return std::nullopt;
      digit_before = false;
      continue;
    }
    const int digit = digit_value(c);
    if (digit >= static_cast<int>(base) || (only_zero && digit != 0)) return std::nullopt;
    if (__builtin_mul_overflow(value, static_cast<int128>(base), &value) ||
        __builtin_sub_overflow(value, static_cast<int128>(digit), &value)) {
      fail_too_large();
    }
    digit_before = true;
    any = true;
  }
  if (!any || !digit_before) return std::nullopt;
  if (negative) return value;  // built downwards: the most negative one fits too
  int128 positive;
  if (__builtin_sub_overflow(static_cast<int128>(0), value, &positive)) fail_too_large();
  return positive;
}

std::optional<double> parse_float(std::string_view text) {
  const std::optional<std::string> plain = plain_number(text);
  if (!plain || plain->empty()) return std::nullopt;
  std::string digits;
  for (size_t i = 0; i < plain->size(); ++i) {
    const char c = (*plain)[i];
    const auto is_digit_at = [&](size_t at) {
      return at < plain->size() && digit_value((*plain)[at]) < 10;
    };
    if (c == '_') {
      if (i == 0 || !is_digit_at(i - 1) || !is_digit_at(i + 1)) return std::nullopt;
      continue;
    }
    digits += static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c);
  }
  std::string_view rest = digits;
  bool negative = false;
  if (rest[0] == '+' || rest[0] == '-') {
    negative = rest[0] == '-';
    rest.remove_prefix(1);
  }
  double value = 0;
  if (rest == "inf" || rest == "infinity") {
    value = std::numeric_limits<double>::infinity();
  } else if (rest == "nan") {
    value = std::numeric_limits<double>::quiet_NaN();
  } else {
    if (rest.empty() || (digit_value(rest[0]) > 9 && rest[0] != '.')) return std::nullopt;
    const char* const end = rest.data() + rest.size();
    const auto [stop, error] = std::from_chars(rest.data(), end, value);
    if (stop != end || error == std::errc::invalid_argument) return std::nullopt;
    if (error == std::errc::result_out_of_range) {
      const size_t e = rest.find('e');
      const bool tiny = e != std::string_view::npos && rest.substr(e + 1, 1) == "-";
      value = tiny || rest.find_first_of("123456789") == std::string_view::npos
                  ? 0.0
                  : std::numeric_limits<double>::infinity();
    }
  }
  return negative ? -value : value;
}

int128 int_from_float(double value) {
  if (std::isnan(value)) fail("cannot convert float NaN to integer");
  if (std::isinf(value)) fail("cannot convert float infinity to integer");
  if (std::fabs(value) >= 0x1p127) fail_too_large();
  return static_cast<int128>(value);
}

Value add_numbers(const Value& a, const Value& b) {
  if (a.is(Kind::real) || b.is(Kind::real)) return Value::of(a.as_real() + b.as_real());
  int128 sum;
  if (__builtin_add_overflow(a.as_int(), b.as_int(), &sum)) fail_too_large();
  return Value::of(sum);
}

Value subtract_numbers(const Value& a, const Value& b) {
  if (a.is(Kind::real) || b.is(Kind::real)) return Value::of(a.as_real() - b.as_real());
  int128 difference;
  if (__builtin_sub_overflow(a.as_int(), b.as_int(), &difference)) fail_too_large();
  return Value::of(difference);
}

Value multiply_numbers(const Value& a, const Value& b) {
  if (a.is(Kind::real) || b.is(Kind::real)) return Value::of(a.as_real() * b.as_real());
  int128 product;
  if (__builtin_mul_overflow(a.as_int(), b.as_int(), &product)) fail_too_large();
  return Value::of(product);
}

Value divide_numbers(const Value& a, const Value& b) {
  if (a.is(Kind::real) || b.is(Kind::real)) {
    if (b.as_real() == 0) fail("float division by zero");
    return Value::of(a.as_real() / b.as_real());
  }
  if (b.as_int() == 0) fail("division by zero");
  // Exact operands give the correctly rounded quotient; beyond 64 bits it may be off by one ulp.
  const long double quotient =
      static_cast<long double>(a.as_int()) / static_cast<long double>(b.as_int());
  const bool exact =
      magnitude(a.as_int()) <= (uint128{1} << 53) && magnitude(b.as_int()) <= (uint128{1} << 53);
  return Value::of(exact ? a.as_real() / b.as_real() : static_cast<double>(quotient));
}

struct FloatDivision {
  double quotient;
  double remainder;
};
static FloatDivision divide_floor(double a, double b) {
  double remainder = std::fmod(a, b);
  double quotient = (a - remainder) / b;
  if (remainder != 0) {
    if ((b < 0) != (remainder < 0)) {
      remainder += b;
      quotient -= 1;
    }
  } else {
    remainder = std::copysign(0.0, b);
  }
  if (quotient != 0) {
    double whole = std::floor(quotient);
    if (quotient - whole > 0.5) whole += 1;
    quotient = whole;
  } else {
    quotient = std::copysign(0.0, a / b);
  }
  return {quotient, remainder};
}

Value floor_divide_numbers(const Value& a, const Value& b) {
  if (a.is(Kind::real) || b.is(Kind::real)) {
    if (b.as_real() == 0) fail("float floor division by zero");
    return Value::of(divide_floor(a.as_real(), b.as_real()).quotient);
  }
  const int128 x = a.as_int();
  const int128 y = b.as_int();
  if (y == 0) fail("integer division or modulo by zero");
  if (y == -1) return subtract_numbers(Value::of(0), a);
  const int128 quotient = x / y;
  return Value::of(x % y != 0 && (x < 0) != (y < 0) ? quotient - 1 : quotient);
}

Value modulo_numbers(const Value& a, const Value& b) {
  if (a.is(Kind::real) || b.is(Kind::real)) {
    if (b.as_real() == 0) fail("float modulo");
    return Value::of(divide_floor(a.as_real(), b.as_real()).remainder);
  }
  const int128 x = a.as_int();
  const int128 y = b.as_int();
  if (y == 0) fail("integer division or modulo by zero");
  if (y == -1) return Value::of(0);
  const int128 remainder = x % y;
  return Value::of(remainder != 0 && (remainder < 0) != (y < 0) ? remainder + y : remainder);
}

static Value power_floats(double x, double y) {
  if (x == 0 && y < 0) fail("0.0 cannot be raised to a negative power");
  if (x < 0 && std::isfinite(x) && std::isfinite(y) && y != std::floor(y)) {
    fail("complex numbers are not supported");
  }
  const double power = std::pow(x, y);
  if (std::isinf(power) && std::isfinite(x) && std::isfinite(y))
    fail("numerical result out of range");
  return Value::of(power);
}

Value power_numbers(const Value& a, const Value& b) {
  if (a.is(Kind::real) || b.is(Kind::real)) return power_floats(a.as_real(), b.as_real());
  int128 exponent = b.as_int();
  if (exponent < 0) {
    if (a.as_int() == 0) fail("0.0 cannot be raised to a negative power");
    return power_floats(a.as_real(), b.as_real());
  }
  int128 base = a.as_int();
  int128 power = 1;
  while (exponent > 0) {
    if ((exponent & 1) != 0 && __builtin_mul_overflow(power, base, &power)) fail_too_large();
    exponent >>= 1;
    if (exponent > 0 && __builtin_mul_overflow(base, base, &base)) fail_too_large();
  }
  return Value::of(power);
}

double round_float(double value, int digits) {
  if (!std::isfinite(value) || digits > 330) return value;
  if (digits >= 0) {
    const std::string text = chars_of(value, std::chars_format::fixed, digits);
    double rounded = value;
    std::from_chars(text.data(), text.data() + text.size(), rounded);
    return rounded;
  }
  if (digits < -308 || std::fabs(value) >= 0x1p100)
    return digits < -308 ? std::copysign(0.0, value) : value;
  const int128 whole = static_cast<int128>(value);
  int128 rounded = round_int(whole, digits);
  // What lies behind the point decides only an exact tie.
  int128 unit = 1;
  for (int i = digits; i < 0 && unit < (int128{1} << 120); ++i) unit *= 10;
  const double rest = value - static_cast<double>(whole);
  const int128 below = whole < 0 ? -(whole % unit) : whole % unit;
  if (rest != 0 && below * 2 == unit) {
    rounded = whole - whole % unit + (whole < 0 ? -unit : unit);
  }
  return rounded == 0 ? std::copysign(0.0, value) : static_cast<double>(rounded);
}

int128 round_int(int128 value, int digits) {
  if (digits >= 0) return value;
  if (digits < -38) return 0;
  int128 unit = 1;
  for (int i = digits; i < 0; ++i) unit *= 10;
  const uint128 size = magnitude(value);
  const uint128 step = static_cast<uint128>(unit);
  uint128 whole = size / step;
  const uint128 below = size % step;
  const uint128 above = step - below;
  if (below > above || (below == above && (whole & 1) != 0)) ++whole;
  if (whole > (uint128{1} << 126) / step + 1) fail_too_large();
  const int128 rounded = static_cast<int128>(whole * step);
  return value < 0 ? -rounded : rounded;
}

int compare_numbers(const Value& a, const Value& b) {
  if (!a.is(Kind::real) && !b.is(Kind::real)) {
    const int128 x = a.as_int();
    const int128 y = b.as_int();
    return x < y ? -1 : x > y ? 1 : 0;
  }
  const double x = a.as_real();
  const double y = b.as_real();
  if (std::isnan(x) || std::isnan(y)) return 2;
  if (x != y) return x < y ? -1 : 1;
  // An int that rounds to the float is not always equal to it.
  if (a.is(Kind::real) != b.is(Kind::real) && std::fabs(x) >= 0x1p53 && std::fabs(x) < 0x1p126) {
    const int128 i = a.is(Kind::real) ? static_cast<int128>(x) : a.as_int();
    const int128 j = b.is(Kind::real) ? static_cast<int128>(y) : b.as_int();
    return i < j ? -1 : i > j ? 1 : 0;
  }
  return 0;
}

}  // namespace splitd::jinja
