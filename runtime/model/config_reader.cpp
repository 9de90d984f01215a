#include "runtime/model/config_reader.h"

#include <cmath>

namespace splitd {

std::string number_text(double value) {
  return JsonWriter().number(value).take();
}

std::optional<Json> ConfigReader::find(std::string_view key) const {
  const std::optional<Json> value = object_.find(key);
  if (!value || value->is_null()) return std::nullopt;
  return value;
}

bool ConfigReader::is_null(std::string_view key) const {
  const std::optional<Json> value = object_.find(key);
  return value && value->is_null();
}

Error ConfigReader::refuse(std::string_view key, Json value, std::string_view accepted) const {
  return model_error(name(key) + " is " + value.describe() +
                     "; accepted: " + std::string(accepted));
}

Result<uint64_t> ConfigReader::integer(std::string_view key, uint64_t fallback, uint64_t min,
                                       uint64_t max) const {
  const std::optional<Json> value = find(key);
  if (!value) return fallback;
  const std::optional<uint64_t> number = value->to_u64();
  if (!number || *number < min || *number > max) {
    return refuse(key, *value,
                  "an integer from " + std::to_string(min) + " to " + std::to_string(max));
  }
  return *number;
}

Result<uint32_t> ConfigReader::count(std::string_view key, uint32_t fallback, uint32_t max) const {
  SPLITD_ASSIGN(const uint64_t number, integer(key, fallback, 1, max));
  return static_cast<uint32_t>(number);
}

Result<double> ConfigReader::positive(std::string_view key, double fallback) const {
  const std::optional<Json> value = find(key);
  if (!value) return fallback;
  const std::optional<double> number = value->to_f64();
  // What does not survive as a float could not be computed with.
  if (!number || !(static_cast<float>(*number) > 0.0f) ||
      !std::isfinite(static_cast<float>(*number))) {
    return refuse(key, *value, "a positive number");
  }
  return *number;
}

Result<bool> ConfigReader::boolean(std::string_view key, bool fallback) const {
  const std::optional<Json> value = find(key);
  if (!value) return fallback;
  if (!value->is_bool()) return refuse(key, *value, "true or false");
  return *value->to_bool();
}

Result<std::string> ConfigReader::string(std::string_view key, std::string_view fallback) const {
  const std::optional<Json> value = find(key);
  if (!value) return std::string(fallback);
  if (!value->is_string()) return refuse(key, *value, "a string");
  return std::string(*value->to_string());
}

Result<std::vector<std::string>> ConfigReader::strings(std::string_view key) const {
  std::vector<std::string> out;
  const std::optional<Json> value = find(key);
  if (!value) return out;
  if (!value->is_array()) return refuse(key, *value, "a list of strings");
  for (const Json item : value->elements()) {
    if (!item.is_string()) return refuse(key, item, "a list of strings");
    out.emplace_back(*item.to_string());
  }
  return out;
}

Result<std::vector<float>> ConfigReader::positives(std::string_view key, size_t length) const {
  const std::string accepted = "a list of " + std::to_string(length) + " positive numbers";
  const std::optional<Json> value = find(key);
  if (!value) return model_error(name(key) + " is missing; accepted: " + accepted);
  if (!value->is_array() || value->size() != length) return refuse(key, *value, accepted);
  std::vector<float> out;
  out.reserve(length);
  for (const Json item : value->elements()) {
    const std::optional<double> number = item.to_f64();
    const float narrow = number ? static_cast<float>(*number) : 0.0f;
    if (!(narrow > 0.0f) || !std::isfinite(narrow)) return refuse(key, item, accepted);
    out.push_back(narrow);
  }
  return out;
}

}  // namespace splitd
