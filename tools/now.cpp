#include "tools/now.h"

#include <charconv>
#include <cstdlib>
#include <ctime>
#include <string_view>

#include "tools/output.h"

namespace splitd::cli {

Result<int64_t> current_time() {
  const char* fixed = std::getenv("SOURCE_DATE_EPOCH");
  if (fixed == nullptr || *fixed == '\0') return static_cast<int64_t>(std::time(nullptr));
  const std::string_view text = fixed;
  int64_t seconds = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), seconds);
  if (error != std::errc() || end != text.data() + text.size()) {
    return usage_error("SOURCE_DATE_EPOCH: " + quoted(text) +
                       " is not a whole number of seconds since 1970");
  }
  return seconds;
}

}  // namespace splitd::cli
