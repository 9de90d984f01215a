#include "tools/arguments.h"

#include <algorithm>
#include <optional>

#include "tools/command.h"
#include "tools/output.h"
#include "tools/suggest.h"

namespace splitd::cli {
namespace {

// The name that turns a boolean off: "no-json" for "json", "special" for "no-special".
std::string opposite(std::string_view name) {
  if (name.starts_with("no-")) return std::string(name.substr(3));
  return "no-" + std::string(name);
}

// Not how a flag looks: "-5", "- a list".
bool is_meant_as_argument(std::string_view word) {
  return word.find(' ') != std::string_view::npos ||
         (word.size() >= 2 && word[0] == '-' && word[1] >= '0' && word[1] <= '9');
}

}  // namespace

const FlagGroup& common_flags() {
  static const FlagGroup group = {
      .title = "Every command",
      .flags = {{.name = "config",
                 .kind = FlagKind::file,
                 .help = "read flags from a TOML file; those given here win"},
                {.name = "quiet", .help = "no progress and no information, only warnings"},
                {.name = "verbose", .help = "say more on stderr"},
                {.name = "help", .help = "show a command's flags", .short_name = 'h'}}};
  return group;
}

std::vector<const Flag*> all_flags(const Command& command) {
  std::vector<const Flag*> flags;
  for (const FlagGroup& group : command.flags) {
    for (const Flag& flag : group.flags) flags.push_back(&flag);
  }
  for (const Flag& flag : common_flags().flags) flags.push_back(&flag);
  return flags;
}

const Flag* find_flag(const Command& command, std::string_view name) {
  for (const Flag* flag : all_flags(command)) {
    if (flag->name == name) return flag;
  }
  return nullptr;
}

class ArgumentParser {
 public:
  ArgumentParser(const Command& command, std::span<const std::string> words)
      : command_(command), words_(words), flags_(all_flags(command)) {}

  Status run();
  bool asks_for_help() const;
  Arguments take() { return std::move(arguments_); }

 private:
  Status long_flag(std::string_view word);
  Status short_flags(std::string_view word);
  Status flag_with_value(const Flag& flag, std::string_view spelt,
                         std::optional<std::string_view> attached);
  Status set(const Flag& flag, std::string_view spelt, std::string_view text);
  Status positional(std::string_view word);
  Status name_positionals();
  Status check_choice(const Positional& known, std::string_view word) const;
  Error unknown_flag(std::string_view word) const;
  Error error(std::string message) const {
    return usage_error(std::string(command_.name) + ": " + std::move(message));
  }

  const Command& command_;
  std::span<const std::string> words_;
  size_t next_ = 0;
  std::vector<const Flag*> flags_;
  std::vector<std::string> loose_;  // positional words in order
  Arguments arguments_;
};

// Whether one of the words before "--" asks for help, whatever is wrong with the others.
bool ArgumentParser::asks_for_help() const {
  for (const std::string& word : words_) {
    if (word == "--") return false;
    if (word == "--help" || word == "-h") return true;
  }
  return false;
}

Status ArgumentParser::run() {
  bool only_positionals = false;
  while (next_ < words_.size()) {
    const std::string& word = words_[next_++];
    if (only_positionals || word == "-" || !word.starts_with('-')) {
      SPLITD_TRY(positional(word));
    } else if (word == "--") {
      only_positionals = true;
    } else if (word.starts_with("--")) {
      SPLITD_TRY(long_flag(word));
    } else {
      SPLITD_TRY(short_flags(word));
    }
  }
  return name_positionals();
}

Status ArgumentParser::long_flag(std::string_view word) {
  const size_t equals = word.find('=');
  const std::string_view spelt = word.substr(0, equals);
  const std::string_view name = spelt.substr(2);
  std::optional<std::string_view> attached;
  if (equals != std::string_view::npos) attached = word.substr(equals + 1);

  for (const Flag* flag : flags_) {
    if (flag->name == name) return flag_with_value(*flag, spelt, attached);
  }
  for (const Flag* flag : flags_) {
    if (flag->kind != FlagKind::boolean || opposite(flag->name) != name) continue;
    if (attached) return error(std::string(spelt) + " takes no value");
    arguments_.values_.insert_or_assign(std::string(flag->name), false);
    return {};
  }
  return unknown_flag(spelt);
}

// -n 5, -n5; booleans may be bundled in front: -xn5.
Status ArgumentParser::short_flags(std::string_view word) {
  for (size_t i = 1; i < word.size(); ++i) {
    const auto is_this = [&](const Flag* flag) { return flag->short_name == word[i]; };
    const auto found = std::find_if(flags_.begin(), flags_.end(), is_this);
    if (found == flags_.end()) return unknown_flag(word);
    const Flag& flag = **found;
    const std::string spelt = {'-', word[i]};
    if (flag.kind == FlagKind::boolean) {
      SPLITD_TRY(flag_with_value(flag, spelt, std::nullopt));
      continue;
    }
    std::optional<std::string_view> attached;
    if (i + 1 < word.size()) attached = word.substr(i + 1);
    return flag_with_value(flag, spelt, attached);
  }
  return {};
}

Status ArgumentParser::flag_with_value(const Flag& flag, std::string_view spelt,
                                       std::optional<std::string_view> attached) {
  if (flag.kind == FlagKind::boolean) {
    if (attached) {
      return error(std::string(spelt) + " takes no value; --" + opposite(flag.name) +
                   " turns it off");
    }
    arguments_.values_.insert_or_assign(std::string(flag.name), true);
    return {};
  }
  if (attached) return set(flag, spelt, *attached);
  // A word that looks like a flag is one that was forgotten a value for; -5 is a number.
  if (next_ >= words_.size()) {
    return error(std::string(spelt) + " needs a value: " + accepted(flag));
  }
  if (words_[next_].starts_with("--")) {
    return error(std::string(spelt) + " needs a value: " + accepted(flag) + " (one that begins " +
                 "with -- is written --" + std::string(flag.name) + "=--…)");
  }
  return set(flag, spelt, words_[next_++]);
}

Status ArgumentParser::set(const Flag& flag, std::string_view spelt, std::string_view text) {
  Result<Value> value = parse_value(flag, text);
  if (!value) return error(std::string(spelt) + ": " + value.error().message);
  if (!flag.repeatable) {
    arguments_.values_.insert_or_assign(std::string(flag.name), std::move(*value));
    return {};
  }
  Value& all = arguments_.values_.try_emplace(std::string(flag.name), std::vector<std::string>())
                   .first->second;
  std::get<std::vector<std::string>>(all).push_back(std::get<std::string>(std::move(*value)));
  return {};
}

Status ArgumentParser::positional(std::string_view word) {
  const bool last_repeats = !command_.positionals.empty() && command_.positionals.back().repeats;
  if (loose_.size() >= command_.positionals.size() && !last_repeats) {
    std::string takes;
    for (const Positional& known : command_.positionals) takes += " " + std::string(known.name);
    return error("unexpected argument " + quoted(word) + ": " +
                 (takes.empty() ? std::string("it takes none") : "it takes" + takes));
  }
  loose_.emplace_back(word);
  return {};
}

Status ArgumentParser::check_choice(const Positional& known, std::string_view word) const {
  const std::vector<std::string_view> choices = split_choices(known.choices);
  if (choices.empty() || std::ranges::find(choices, word) != choices.end()) return {};
  return error(std::string(known.name) + ": " + quoted(word) + " is not " + one_of(known.choices) +
               did_you_mean(word, choices));
}

Status ArgumentParser::name_positionals() {
  for (size_t i = 0; i < command_.positionals.size(); ++i) {
    const Positional& known = command_.positionals[i];
    if (i < loose_.size()) {
      SPLITD_TRY(check_choice(known, loose_[i]));
      const auto begin = loose_.begin() + static_cast<std::ptrdiff_t>(i);
      arguments_.positionals_[std::string(known.name)] = {begin,
                                                          known.repeats ? loose_.end() : begin + 1};
      continue;
    }
    if (known.optional) continue;
    std::string message = "missing " + std::string(known.name);
    if (!known.help.empty()) message += ": " + std::string(known.help);
    return error(message + "; see 'splitd " + std::string(command_.name) + " --help'");
  }
  return {};
}

Error ArgumentParser::unknown_flag(std::string_view word) const {
  std::string message = "unknown flag " + quoted(word);
  if (is_meant_as_argument(word)) {
    return error(message + "; an argument that begins with - goes behind --");
  }
  std::vector<std::string_view> names;
  for (const Flag* flag : flags_) names.push_back(flag->name);
  const std::string_view bare = word.substr(std::min(word.find_first_not_of('-'), word.size()));
  std::string hint = did_you_mean(bare, names, "--");
  if (hint.empty()) hint = "; see 'splitd " + std::string(command_.name) + " --help'";
  return error(message + hint);
}

Result<Arguments> Arguments::parse(const Command& command, std::span<const std::string> words) {
  ArgumentParser parser(command, words);
  Status status = parser.run();
  if (!status.ok() && !parser.asks_for_help()) return status.take_error();
  Arguments arguments = parser.take();
  if (!status.ok()) arguments.values_.insert_or_assign("help", true);
  return arguments;
}

void Arguments::add_default(const Flag& flag, Value value) {
  values_.try_emplace(std::string(flag.name), std::move(value));
}

const Value* Arguments::find(std::string_view name) const {
  const auto found = values_.find(name);
  return found == values_.end() ? nullptr : &found->second;
}

const std::vector<std::string>* Arguments::positional(std::string_view name) const {
  const auto found = positionals_.find(name);
  return found == positionals_.end() ? nullptr : &found->second;
}

}  // namespace splitd::cli
