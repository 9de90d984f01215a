#include "tools/toml_reader.h"

#include <optional>

#define TOML_HEADER_ONLY 1
#define TOML_EXCEPTIONS 0
#define TOML_ENABLE_FORMATTERS 0
#define TOML_MAX_NESTED_VALUES 16
#include <toml++/toml.h>

namespace splitd::cli {
namespace {

constexpr uint32_t kMaxKeyDots = 8;

// Walks over TOML text far enough to know what is inside strings and comments, and counts the dots
// of every key. Where the text is not TOML the two may disagree, but toml++ stops there.
class DotCounter {
 public:
  explicit DotCounter(std::string_view text) : text_(text) {}

  // The line on which a key has too many parts, or nothing.
  std::optional<uint32_t> too_deep() {
    while (at_ < text_.size()) {
      const char c = text_[at_];
      if (c == '"' || c == '\'') {
        skip_string(c);
        continue;
      }
      if (c == '#') {
        at_ = std::min(text_.find('\n', at_), text_.size());
        continue;
      }
      if (c == '\n') ++line_;
      if (c == '.') {
        if (++dots_ > kMaxKeyDots) return line_;
      } else if (c == '\n' || c == '=' || c == ',' || c == '[' || c == ']' || c == '{' ||
                 c == '}') {
        dots_ = 0;
      }
      ++at_;
    }
    return std::nullopt;
  }

 private:
  void skip_string(char quote) {
    const std::string triple(3, quote);
    const bool multi_line = text_.substr(at_, 3) == triple;
    at_ += multi_line ? 3 : 1;
    while (at_ < text_.size()) {
      const char c = text_[at_];
      if (c == '\n') {
        ++line_;
        if (!multi_line) return;  // not TOML: the string never ended
      }
      if (c == '\\' && quote == '"') {
        if (at_ + 1 < text_.size() && text_[at_ + 1] == '\n') ++line_;
        at_ += 2;
        continue;
      }
      if (c == quote && (!multi_line || text_.substr(at_, 3) == triple)) {
        at_ += multi_line ? 3 : 1;
        return;
      }
      ++at_;
    }
  }

  std::string_view text_;
  size_t at_ = 0;
  uint32_t line_ = 1;
  uint32_t dots_ = 0;
};

std::string kind_of(const toml::node& node) {
  switch (node.type()) {
    case toml::node_type::table:
      return "a table";
    case toml::node_type::array:
      return "an array";
    case toml::node_type::string:
      return "a string";
    case toml::node_type::integer:
      return "an integer";
    case toml::node_type::floating_point:
      return "a float";
    case toml::node_type::boolean:
      return "a boolean";
    default:
      return "a date or time";
  }
}

template <class T>
TomlEntry::Value all_of(const toml::array& array) {
  std::vector<T> values;
  for (const toml::node& item : array) {
    const std::optional<T> value = item.value_exact<T>();
    if (!value) return std::monostate();
    values.push_back(*value);
  }
  return values;
}

TomlEntry::Value value_of(const toml::node& node) {
  if (const auto* value = node.as_boolean()) return value->get();
  if (const auto* value = node.as_integer()) return value->get();
  if (const auto* value = node.as_floating_point()) return value->get();
  if (const auto* value = node.as_string()) return value->get();
  const toml::array* array = node.as_array();
  if (array == nullptr || array->empty()) return std::monostate();
  if (array->front().is_string()) return all_of<std::string>(*array);
  if (array->front().is_integer()) return all_of<int64_t>(*array);
  return std::monostate();
}

TomlEntry entry_of(std::string_view table, const toml::key& key, const toml::node& node) {
  return {.table = std::string(table),
          .key = std::string(key.str()),
          .line = key.source().begin.line,
          .kind = kind_of(node),
          .value = value_of(node)};
}

#define SPLITD_TEXT_(x) #x
#define SPLITD_TEXT(x) SPLITD_TEXT_(x)

}  // namespace

std::string_view toml_library_version() {
  return SPLITD_TEXT(TOML_LIB_MAJOR) "." SPLITD_TEXT(TOML_LIB_MINOR) "." SPLITD_TEXT(
      TOML_LIB_PATCH);
}

Result<std::vector<TomlEntry>> read_toml(std::string_view text) {
  if (const std::optional<uint32_t> line = DotCounter(text).too_deep()) {
    return usage_error(std::to_string(*line) + ":1: a key with more than " +
                       std::to_string(kMaxKeyDots) + " dots");
  }
  const toml::parse_result parsed = toml::parse(text, std::string_view());
  if (!parsed) {
    const toml::parse_error& error = parsed.error();
    const toml::source_position at = error.source().begin;
    return usage_error(std::to_string(at.line) + ":" + std::to_string(at.column) + ": " +
                       std::string(error.description()));
  }
  std::vector<TomlEntry> entries;
  for (const auto& [key, node] : parsed.table()) {
    const toml::table* table = node.as_table();
    if (table == nullptr) {
      entries.push_back(entry_of("", key, node));
      continue;
    }
    TomlEntry head = entry_of(key.str(), key, node);
    head.key.clear();
    entries.push_back(std::move(head));
    for (const auto& [inner_key, inner] : *table) {
      entries.push_back(entry_of(key.str(), inner_key, inner));
    }
  }
  return entries;
}

}  // namespace splitd::cli
