// Owns: reading the members of tokenizer.json's components, with the member named in errors.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "runtime/base/json.h"
#include "runtime/base/result.h"

namespace splitd::tok {

inline constexpr size_t kMaxSteps = 16;  // of one kind; real files have up to six

inline Error bad_field(std::string_view name, std::optional<Json> value, std::string_view wanted) {
  return model_error("\"" + std::string(name) + "\" is " +
                     (value ? value->describe() : std::string("missing")) + "; " +
                     std::string(wanted) + " is accepted");
}

inline Result<std::string> string_field(Json json, std::string_view name) {
  const std::optional<Json> value = json.find(name);
  if (!value || !value->is_string()) return bad_field(name, value, "a string");
  return std::string(value->text());
}

inline Result<bool> bool_field(Json json, std::string_view name,
                               std::optional<bool> fallback = std::nullopt) {
  const std::optional<Json> value = json.find(name);
  if (!value && fallback) return *fallback;
  const std::optional<bool> flag = value ? value->to_bool() : std::nullopt;
  if (!flag) return bad_field(name, value, "true or false");
  return *flag;
}

// What a step may put into a text at one place; more would let a small text grow without bound.
inline constexpr size_t kMaxContentBytes = 256;

inline Result<std::string> content_field(Json json, std::string_view name) {
  SPLITD_ASSIGN(std::string content, string_field(json, name));
  if (content.size() > kMaxContentBytes) {
    return model_error("\"" + std::string(name) + "\" has " + std::to_string(content.size()) +
                       " bytes; at most " + std::to_string(kMaxContentBytes) + " are accepted");
  }
  return content;
}

// Calls `each` on a component, or on the members of a (nested) Sequence; `list` is their name.
template <class Each>
Status for_each_step(Json json, std::string_view list, size_t& count, const Each& each) {
  SPLITD_ASSIGN(const std::string type, string_field(json, "type"));
  if (type != "Sequence") {
    if (++count > kMaxSteps) {
      return model_error("more than " + std::to_string(kMaxSteps) + " steps");
    }
    Status status = each(std::string_view(type), json);
    if (!status.ok()) return status.take_error().within(type.substr(0, 100));
    return {};
  }
  const std::optional<Json> items = json.find(list);
  if (!items || !items->is_array()) return bad_field(list, items, "an array");
  for (const Json item : items->elements()) SPLITD_TRY(for_each_step(item, list, count, each));
  return {};
}

}  // namespace splitd::tok
