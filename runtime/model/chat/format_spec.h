// Owns: laying out one value by width, precision, sign and type: what "%05.2f" and "{:>8,}" have in
// common.
#pragma once

#include "runtime/model/chat/interpreter.h"

namespace splitd::jinja {

struct FormatSpec {
  char32_t fill = ' ';
  Taint fill_taint = Taint::no;
  char align = 0;   // '<', '>', '^', '=' (after the sign), or 0 for the type's own
  char sign = '-';  // '-', '+', ' '
  bool alternate = false;
  bool zero = false;
  int64_t width = 0;
  char grouping = 0;  // ',', '_'
  int64_t precision = -1;
  char type = 0;
};

// The text cut to the precision and padded to the width.
const Text* lay_out_text(Interpreter& in, const Text& text, const FormatSpec& spec);
const Text* lay_out_int(Interpreter& in, int128 value, const FormatSpec& spec);
const Text* lay_out_float(Interpreter& in, double value, const FormatSpec& spec);

const Text* repr_text(Interpreter& in, const Value& value);
const Text* ascii_text(Interpreter& in, const Value& value);  // repr with everything else escaped

}  // namespace splitd::jinja
