// Owns: fitting the arguments of a call to the parameters of a function of ours.
#pragma once

#include <array>
#include <initializer_list>
#include <string>
#include <string_view>

#include "runtime/model/chat/value.h"

namespace splitd::jinja {

// Values by parameter; those that were not given are missing.
template <size_t N>
using Bound = std::array<Value, N>;

void bind_arguments(std::string_view function, const Args& args,
                    std::span<const std::string_view> names, size_t n_required,
                    std::span<Value> values);

// bind("indent", args, {"width", "first", "blank"}, 0): as Python binds a call; fails for what
// does not fit. The first n_required must be given.
template <size_t N>
Bound<N> bind(std::string_view function, const Args& args, const std::string_view (&names)[N],
              size_t n_required) {
  Bound<N> values;
  bind_arguments(function, args, names, n_required, values);
  return values;
}

// For functions that take positional arguments only.
void need_positional(std::string_view function, const Args& args, size_t least, size_t most);

// A flag that Python's C code reads: an int or a bool; false where it is missing.
bool need_flag(const Value& value, std::string_view what);

const Text& need_text(const Value& value, std::string_view what);

}  // namespace splitd::jinja
