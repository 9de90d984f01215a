#include "tools/config_file.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>

#include "runtime/base/files.h"
#include "tools/app.h"
#include "tools/help.h"
#include "tools/suggest.h"
#include "tools/toml_reader.h"

namespace splitd::cli {
namespace {

bool is_configurable(const Flag& flag) {
  return flag.name != "help" && flag.name != "config";
}

// As a flag's value would be typed; nothing where TOML's kind is not the flag's.
std::optional<std::string> as_typed(const Flag& flag, const TomlEntry::Value& value) {
  const auto* text = std::get_if<std::string>(&value);
  switch (flag.kind) {
    case FlagKind::boolean:
      if (const auto* on = std::get_if<bool>(&value)) return *on ? "true" : "false";
      return std::nullopt;
    case FlagKind::real:
      if (const auto* real = std::get_if<double>(&value)) {
        std::array<char, 40> out;
        return std::string(out.data(), std::to_chars(out.data(), out.data() + 40, *real).ptr);
      }
      [[fallthrough]];
    case FlagKind::integer:
      if (const auto* whole = std::get_if<int64_t>(&value)) return std::to_string(*whole);
      return std::nullopt;
    case FlagKind::size:
      if (const auto* whole = std::get_if<int64_t>(&value)) return std::to_string(*whole);
      break;
    case FlagKind::integers:
      if (const auto* list = std::get_if<std::vector<int64_t>>(&value)) {
        std::string joined;
        for (const int64_t item : *list)
          joined += (joined.empty() ? "" : ",") + std::to_string(item);
        return joined;
      }
      return std::nullopt;
    case FlagKind::duration:
    case FlagKind::text:
    case FlagKind::choice:
    case FlagKind::range:
    case FlagKind::file:
    case FlagKind::directory:
      break;
  }
  if (text == nullptr) return std::nullopt;
  return *text;
}

std::string toml_form(const Flag& flag) {
  switch (flag.kind) {
    case FlagKind::size:
      return "a size such as 4096, \"512M\" or \"2G\"";
    case FlagKind::duration:
      return "a string with a time such as \"250ms\", \"60s\" or \"5m\"";
    case FlagKind::text:
      return flag.repeatable ? "a string or an array of strings" : "a string";
    case FlagKind::choice:
      return "a string, " + accepted(flag);
    case FlagKind::integers:
      return "an array of integers such as [1, 2, 3]";
    case FlagKind::range:
      return "a string with a range \"A:B\", 0 <= A < B";
    case FlagKind::file:
    case FlagKind::directory:
      return flag.repeatable ? "a string or an array of strings" : "a string with a path";
    default:
      return accepted(flag);
  }
}

class ConfigReader {
 public:
  ConfigReader(std::string_view file_name, std::span<const Command> commands,
               const Command& command, Arguments& arguments)
      : file_name_(file_name), commands_(commands), command_(command), arguments_(arguments) {}

  Status apply(const std::vector<TomlEntry>& entries) {
    for (const TomlEntry& entry : entries) {
      SPLITD_TRY(entry.table.empty() ? at_top(entry) : in_table(entry));
    }
    // What stands under the command's name wins over the top.
    for (Found& found : in_table_) arguments_.add_default(*found.flag, std::move(found.value));
    for (Found& found : at_top_) arguments_.add_default(*found.flag, std::move(found.value));
    return {};
  }

 private:
  struct Found {
    const Flag* flag;
    Value value;
  };

  Status in_table(const TomlEntry& entry);
  Status at_top(const TomlEntry& entry);
  Result<Value> value_for(const Flag& flag, const TomlEntry& entry) const;
  static std::vector<std::string_view> keys_of(const Command& command);
  Error error(const TomlEntry& entry, std::string message) const {
    return usage_error(std::string(file_name_) + ":" + std::to_string(entry.line) + ": " +
                       std::move(message));
  }

  std::string_view file_name_;
  std::span<const Command> commands_;
  const Command& command_;
  Arguments& arguments_;
  std::vector<Found> in_table_;
  std::vector<Found> at_top_;
};

std::vector<std::string_view> ConfigReader::keys_of(const Command& command) {
  std::vector<std::string_view> keys;
  for (const Flag* flag : all_flags(command)) {
    if (is_configurable(*flag)) keys.push_back(flag->name);
  }
  return keys;
}

Result<Value> ConfigReader::value_for(const Flag& flag, const TomlEntry& entry) const {
  const auto* list = std::get_if<std::vector<std::string>>(&entry.value);
  if (flag.repeatable && list != nullptr) {
    for (const std::string& text : *list) {
      const Result<Value> value = parse_value(flag, text);
      if (!value) return error(entry, quoted(entry.key) + ": " + value.error().message);
    }
    return Value(*list);
  }
  const std::optional<std::string> typed = as_typed(flag, entry.value);
  if (!typed) {
    return error(entry, quoted(entry.key) + " is " + entry.kind + "; accepted: " + toml_form(flag));
  }
  Result<Value> value = parse_value(flag, *typed);
  if (!value) return error(entry, quoted(entry.key) + ": " + value.error().message);
  if (flag.repeatable) return Value(std::vector<std::string>{*typed});
  return value;
}

Status ConfigReader::in_table(const TomlEntry& entry) {
  const Command* owner = find_command(commands_, entry.table);
  if (owner == nullptr) {
    std::vector<std::string_view> names;
    for (const Command& known : commands_) names.push_back(known.name);
    return error(entry, "unknown table " + quoted(entry.table) + did_you_mean(entry.table, names) +
                            "; a table is a command's name");
  }
  if (entry.key.empty()) return {};
  const Flag* flag = find_flag(*owner, entry.key);
  if (flag == nullptr || !is_configurable(*flag)) {
    return error(entry, "unknown key " + quoted(entry.key) + " in [" + entry.table + "]" +
                            did_you_mean(entry.key, keys_of(*owner)));
  }
  SPLITD_ASSIGN(Value value, value_for(*flag, entry));
  if (owner->name == command_.name) in_table_.push_back({flag, std::move(value)});
  return {};
}

// A key at the top must be accepted by this command's flag, or by some other command's if this one
// has none of that name.
Status ConfigReader::at_top(const TomlEntry& entry) {
  const Flag* own = find_flag(command_, entry.key);
  if (own != nullptr && is_configurable(*own)) {
    SPLITD_ASSIGN(Value value, value_for(*own, entry));
    at_top_.push_back({own, std::move(value)});
    return {};
  }
  std::vector<std::string_view> names;
  std::optional<Error> refused;
  for (const Command& command : commands_) {
    if (command.name == entry.key) {
      return error(entry,
                   quoted(entry.key) + " is a command: its flags stand under [" + entry.key + "]");
    }
    const Flag* flag = find_flag(command, entry.key);
    if (flag != nullptr && is_configurable(*flag)) {
      Result<Value> value = value_for(*flag, entry);
      if (value) return {};
      if (!refused) refused = value.take_error();
    }
    for (const std::string_view key : keys_of(command)) names.push_back(key);
  }
  if (refused) return std::move(*refused);
  return error(entry, "unknown key " + quoted(entry.key) + did_you_mean(entry.key, names));
}

}  // namespace

Status apply_config(std::string_view text, std::string_view file_name,
                    std::span<const Command> commands, const Command& command,
                    Arguments& arguments) {
  Result<std::vector<TomlEntry>> entries = read_toml(text);
  if (!entries) {
    Error error = entries.take_error();
    error.message = std::string(file_name) + ":" + error.message;
    return error;
  }
  return ConfigReader(file_name, commands, command, arguments).apply(*entries);
}

Status read_config(const std::string& path, std::span<const Command> commands,
                   const Command& command, Arguments& arguments) {
  SPLITD_ASSIGN(const std::string text, read_file(path, kMaxConfigBytes));
  return apply_config(text, path, commands, command, arguments);
}

}  // namespace splitd::cli
