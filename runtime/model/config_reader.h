// Owns: reading the members of one JSON object with a range for each. A member that is absent takes
// the fallback, and so does null where null means nothing else. Every refusal names the file's key,
// the value and what is accepted. Borrows the Json; const is thread-safe.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/base/json.h"
#include "runtime/base/result.h"

namespace splitd {

class ConfigReader {
 public:
  // `where` stands before every key in messages: "" or "text_config.".
  ConfigReader(Json object, std::string where) : object_(object), where_(std::move(where)) {}

  Json object() const { return object_; }
  // Absent and null are both nothing.
  std::optional<Json> find(std::string_view key) const;
  bool is_null(std::string_view key) const;  // present and null
  std::string name(std::string_view key) const { return where_ + std::string(key); }

  Result<uint64_t> integer(std::string_view key, uint64_t fallback, uint64_t min,
                           uint64_t max) const;
  Result<uint32_t> count(std::string_view key, uint32_t fallback, uint32_t max) const;  // 1 … max
  Result<double> positive(std::string_view key, double fallback) const;  // finite and > 0
  Result<bool> boolean(std::string_view key, bool fallback) const;
  Result<std::string> string(std::string_view key, std::string_view fallback) const;
  Result<std::vector<std::string>> strings(std::string_view key) const;  // empty when absent
  // Exactly `length` finite positive numbers; must be there.
  Result<std::vector<float>> positives(std::string_view key, size_t length) const;

  // model_error("<key> is <value>; accepted: <accepted>")
  Error refuse(std::string_view key, Json value, std::string_view accepted) const;

 private:
  Json object_;
  std::string where_;
};

// A double as short text: "0.75".
[[nodiscard]] std::string number_text(double value);

}  // namespace splitd
