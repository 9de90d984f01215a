// Any bytes: the parser answers, and what it accepts survives being written and read again.
#include <cstdlib>
#include <string_view>

#include "runtime/base/json.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace splitd;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const Result<JsonDoc> doc = JsonDoc::parse_view(text);
  if (!doc) return 0;
  const std::string once = JsonWriter().copy(doc->root()).take();
  const Result<JsonDoc> again = JsonDoc::parse(once);
  if (!again || JsonWriter().copy(again->root()).take() != once) std::abort();
  return 0;
}
