#include "tools/completion.h"

#include "tools/help.h"

namespace splitd::cli {
namespace {

std::string spaced(std::string_view choices) {
  std::string words(choices);
  for (char& c : words) {
    if (c == '|') c = ' ';
  }
  return words;
}

std::string command_names(std::span<const Command> commands) {
  std::string names;
  for (const Command& command : commands) {
    names += (names.empty() ? "" : " ") + std::string(command.name);
  }
  return names;
}

std::string long_name(const Flag& flag) {
  return "--" + std::string(flag.name);
}

// ── bash ──

std::string bash_action(const Flag& flag) {
  switch (flag.kind) {
    case FlagKind::choice:
      return "_splitd_words '" + spaced(flag.choices) + "'";
    case FlagKind::file:
      return "_splitd_paths -f";
    case FlagKind::directory:
      return "_splitd_paths -d";
    default:
      return ":";  // nothing that could be known
  }
}

std::string bash_action(const Positional& positional, std::span<const Command> commands) {
  if (!positional.choices.empty()) return "_splitd_words '" + spaced(positional.choices) + "'";
  switch (positional.completes) {
    case Completes::file:
    case Completes::model:  // a directory or a .gguf file; a name of a hub is typed
      return "_splitd_paths -f";
    case Completes::directory:
      return "_splitd_paths -d";
    case Completes::command:
      return "_splitd_words '" + command_names(commands) + "'";
    case Completes::nothing:
      break;
  }
  return ":";
}

constexpr std::string_view kBashHead = R"(# splitd in bash:  source <(splitd completion bash)
_splitd_words() { mapfile -t COMPREPLY < <(compgen -W "$1" -- "$cur"); }
_splitd_paths() {
  compopt -o filenames 2>/dev/null
  mapfile -t COMPREPLY < <(compgen "$1" -- "$cur")
}
_splitd() {
  local cur prev command word valued='' position=0 i
  COMPREPLY=()
  cur=${COMP_WORDS[COMP_CWORD]}
  prev=${COMP_WORDS[COMP_CWORD-1]}
  # --flag=value comes as three words.
  if [[ $cur == '=' ]]; then
    cur=''
  elif [[ $prev == '=' ]]; then
    prev=${COMP_WORDS[COMP_CWORD-2]}
  fi
  command=${COMP_WORDS[1]}
)";

constexpr std::string_view kBashPositions = R"(  for ((i = 2; i < COMP_CWORD; i++)); do
    word=${COMP_WORDS[i]}
    if [[ $word != -* || $word == - ]]; then
      position=$((position + 1))
    elif [[ ${COMP_WORDS[i+1]} == '=' ]]; then
      i=$((i + 2))
    elif [[ $valued == *" $word "* ]]; then
      i=$((i + 1))
    fi
  done
)";

std::string bash_command(const Command& command, std::span<const Command> commands) {
  std::string words;
  std::string valued;
  std::string cases;
  for (const Flag* flag : all_flags(command)) {
    words += (words.empty() ? "" : " ") + long_name(*flag);
    if (flag->kind == FlagKind::boolean) continue;
    std::string names = long_name(*flag);
    valued += " " + names + " ";
    if (flag->short_name != 0) {
      const std::string short_name = {'-', flag->short_name};
      valued += " " + short_name + " ";
      names += "|" + short_name;
    }
    cases += "        " + names + ") " + bash_action(*flag) + "; return ;;\n";
  }
  std::string out = "    " + std::string(command.name) + ")\n      valued='" + valued + "'\n";
  out += "      case $prev in\n" + cases + "      esac\n";
  out += "      if [[ $cur == -* ]]; then _splitd_words '" + words + "'; return; fi\n";
  out += "      _splitd_position\n      case $position in\n";
  for (size_t i = 0; i < command.positionals.size(); ++i) {
    const Positional& positional = command.positionals[i];
    out += "        " + (positional.repeats ? std::string("*") : std::to_string(i)) + ") " +
           bash_action(positional, commands) + " ;;\n";
  }
  return out + "      esac ;;\n";
}

// ── zsh ──

// Inside single quotes; `also` are characters that _arguments and _describe give a meaning to.
std::string zsh_text(std::string_view text, std::string_view also) {
  std::string out;
  for (const char c : text) {
    if (c == '\'') {
      out += "'\\''";
      continue;
    }
    if (also.find(c) != std::string_view::npos) out += '\\';
    out += c;
  }
  return out;
}

std::string zsh_action(const Flag& flag) {
  switch (flag.kind) {
    case FlagKind::choice:
      return "(" + spaced(flag.choices) + ")";
    case FlagKind::file:
      return "_files";
    case FlagKind::directory:
      return "_files -/";
    default:
      return " ";
  }
}

std::string zsh_action(const Positional& positional, std::span<const Command> commands) {
  if (!positional.choices.empty()) return "(" + spaced(positional.choices) + ")";
  switch (positional.completes) {
    case Completes::file:
    case Completes::model:
      return "_files";
    case Completes::directory:
      return "_files -/";
    case Completes::command:
      return "(" + command_names(commands) + ")";
    case Completes::nothing:
      break;
  }
  return " ";
}

std::string zsh_flag(const Flag& flag) {
  const bool valued = flag.kind != FlagKind::boolean;
  std::string tail = "[" + zsh_text(flag.help, "[]:\\") + "]";
  if (valued) tail += ":" + zsh_text(metavar_of(flag), ":\\") + ":" + zsh_action(flag);
  const std::string many = flag.repeatable ? "*" : "";
  std::string out = "        '" + many + long_name(flag) + (valued ? "=" : "") + tail + "'";
  if (flag.short_name != 0) {
    out += " \\\n        '" + many + "-" + flag.short_name + (valued ? "+" : "") + tail + "'";
  }
  return out;
}

std::string zsh_command(const Command& command, std::span<const Command> commands) {
  std::string out = "    " + std::string(command.name) + ")\n      _arguments -s -S";
  for (const Flag* flag : all_flags(command)) out += " \\\n" + zsh_flag(*flag);
  for (size_t i = 0; i < command.positionals.size(); ++i) {
    const Positional& positional = command.positionals[i];
    const std::string at = positional.repeats ? "*" : std::to_string(i + 1);
    out += " \\\n        '" + at + (positional.optional && !positional.repeats ? "::" : ":") +
           zsh_text(positional.name, ":\\") + ":" + zsh_action(positional, commands) + "'";
  }
  return out + " ;;\n";
}

}  // namespace

std::string bash_completion(std::span<const Command> commands) {
  std::string out(kBashHead);
  out += "  if ((COMP_CWORD == 1)); then _splitd_words '" + command_names(commands) +
         " --help --version'; return; fi\n";
  out += "  case $command in\n";
  for (const Command& command : commands) out += bash_command(command, commands);
  out += "  esac\n}\n";
  // Called by _splitd, whose local variables it sees, as bash's scoping has it.
  out += "_splitd_position() {\n" + std::string(kBashPositions) + "}\n";
  return out + "complete -F _splitd splitd\n";
}

std::string zsh_completion(std::span<const Command> commands) {
  std::string out =
      "#compdef splitd\n"
      "# splitd in zsh:  source <(splitd completion zsh), or this as _splitd in $fpath\n"
      "_splitd() {\n  local -a commands\n  commands=(\n";
  for (const Command& command : commands) {
    out += "    '" + std::string(command.name) + ":" + zsh_text(command.summary, ":\\") + "'\n";
  }
  out +=
      "  )\n"
      "  if ((CURRENT == 2)); then\n"
      "    _describe command commands\n"
      "    compadd -- --help --version\n"
      "    return\n"
      "  fi\n"
      "  local command=$words[2]\n"
      "  shift words\n"
      "  ((CURRENT--))\n"
      "  case $command in\n";
  for (const Command& command : commands) out += zsh_command(command, commands);
  out +=
      "  esac\n}\n"
      "if [[ $funcstack[1] == _splitd ]]; then _splitd \"$@\"; else compdef _splitd splitd; fi\n";
  return out;
}

}  // namespace splitd::cli
