// Owns: Python's numbers as text and back: int of any base, float repr, and the arithmetic whose
// rounding differs from C++. Pure functions.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "runtime/model/chat/value.h"

namespace splitd::jinja {

std::string int_text(int128 value);
std::string uint_text(uint128 value, unsigned base, bool upper = false);
std::string float_repr(double value);
// The digits of "%.<precision>f", "e" or "g"; '#' keeps trailing zeros of g.
std::string float_text(double value, char type, int precision, bool alternate = false);

// int(text, base) and float(text) as Python reads them, or nothing.
std::optional<int128> parse_int(std::string_view text, unsigned base = 10);
std::optional<double> parse_float(std::string_view text);
// int(value) of a float: towards zero; fails for what is not finite or too large.
int128 int_from_float(double value);

// Fails as Python does (division by zero, overflow) and where 128 bits do not hold the result.
Value add_numbers(const Value& a, const Value& b);
Value subtract_numbers(const Value& a, const Value& b);
Value multiply_numbers(const Value& a, const Value& b);
Value divide_numbers(const Value& a, const Value& b);
Value floor_divide_numbers(const Value& a, const Value& b);
Value modulo_numbers(const Value& a, const Value& b);
Value power_numbers(const Value& a, const Value& b);

double round_float(double value, int digits);         // half to even, on the exact value
int128 round_int(int128 value, int digits);           // digits < 0: to tens, hundreds …
int compare_numbers(const Value& a, const Value& b);  // -1, 0, 1; 2 where a NaN is in it

}  // namespace splitd::jinja
