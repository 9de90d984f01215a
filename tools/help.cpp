#include "tools/help.h"

#include <algorithm>

#include "runtime/base/utf8.h"

namespace splitd::cli {
namespace {

constexpr size_t kColumns = 79;
constexpr size_t kNarrowest = 10;  // of the left column
constexpr size_t kWidest = 30;     // a longer left side has its help on the next line

struct Row {
  std::string left;
  std::string right;
};

// Appends `text` word by word, wrapped; lines after the first begin `indent` columns in. A line
// break in the text is kept.
void append_wrapped(std::string& out, std::string_view text, size_t column, size_t indent) {
  bool line_begins = true;
  const auto new_line = [&] {
    out += "\n" + std::string(indent, ' ');
    column = indent;
    line_begins = true;
  };
  while (!text.empty()) {
    const size_t end = std::min(text.find_first_of(" \n"), text.size());
    const std::string_view word = text.substr(0, end);
    const size_t width = utf8_length(word);
    if (!line_begins && column + 1 + width > kColumns) new_line();
    if (!line_begins) {
      out += ' ';
      ++column;
    }
    out += word;
    column += width;
    line_begins = false;
    if (end < text.size() && text[end] == '\n') new_line();
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  out += '\n';
}

size_t left_width(const std::vector<Row>& rows) {
  size_t width = kNarrowest;
  for (const Row& row : rows) {
    const size_t own = utf8_length(row.left);
    if (own <= kWidest) width = std::max(width, own);
  }
  return width;
}

void append_rows(std::string& out, const std::vector<Row>& rows, size_t width) {
  const size_t indent = width + 4;
  for (const Row& row : rows) {
    out += "  " + row.left;
    const size_t own = utf8_length(row.left);
    if (own > width) {
      out += "\n" + std::string(indent, ' ');
    } else {
      out += std::string(width + 2 - own, ' ');
    }
    append_wrapped(out, row.right, indent, indent);
  }
}

Row flag_row(const Flag& flag) {
  Row row;
  row.left = flag.short_name != 0 ? std::string{'-', flag.short_name, ',', ' '} : "    ";
  row.left += "--" + std::string(flag.name);
  if (flag.kind != FlagKind::boolean) row.left += " " + metavar_of(flag);
  row.right = flag.help;
  if (flag.repeatable) row.right += " (may be repeated)";
  if (!flag.fallback.empty()) row.right += " (default " + std::string(flag.fallback) + ")";
  return row;
}

}  // namespace

std::string metavar_of(const Flag& flag) {
  if (!flag.metavar.empty()) return std::string(flag.metavar);
  switch (flag.kind) {
    case FlagKind::boolean:
      return {};
    case FlagKind::integer:
      return "N";
    case FlagKind::real:
      return "X";
    case FlagKind::size:
      return "SIZE";
    case FlagKind::duration:
      return "TIME";
    case FlagKind::text:
      return "TEXT";
    case FlagKind::choice:
      return std::string(flag.choices);
    case FlagKind::integers:
      return "N,N,…";
    case FlagKind::range:
      return "A:B";
    case FlagKind::file:
      return "FILE";
    case FlagKind::directory:
      return "DIR";
  }
  return {};
}

std::string usage_line(const Command& command) {
  std::string line = "splitd " + std::string(command.name);
  for (const Positional& positional : command.positionals) {
    std::string name(positional.name);
    if (positional.repeats) name += "…";
    line += positional.optional ? " [" + name + "]" : " " + name;
  }
  return line + " [flags]";
}

std::string command_help(const Command& command) {
  std::string out = "splitd " + std::string(command.name) + ": ";
  append_wrapped(out, command.summary, utf8_length(out), 2);
  out += "\nUsage: " + usage_line(command) + "\n";

  std::vector<Row> arguments;
  for (const Positional& positional : command.positionals) {
    arguments.push_back({std::string(positional.name), std::string(positional.help)});
  }
  std::vector<std::pair<std::string_view, std::vector<Row>>> groups;
  std::vector<Row> all = arguments;
  const auto add_group = [&](const FlagGroup& group) {
    std::vector<Row> rows;
    for (const Flag& flag : group.flags) rows.push_back(flag_row(flag));
    all.insert(all.end(), rows.begin(), rows.end());
    groups.emplace_back(group.title.empty() ? "Flags" : group.title, std::move(rows));
  };
  for (const FlagGroup& group : command.flags) add_group(group);

  const size_t width = left_width(all);
  append_rows(out, arguments, width);
  for (const auto& [title, rows] : groups) {
    out += "\n" + std::string(title) + ":\n";
    append_rows(out, rows, width);
  }
  out += "\nAlso --config FILE, --quiet, --verbose and -h, --help: see 'splitd help'.\n";
  if (!command.notes.empty()) {
    out += '\n';
    append_wrapped(out, command.notes, 0, 0);
  }
  if (!command.examples.empty()) out += "\nExamples:\n";
  for (const Example& example : command.examples) {
    out += "  " + std::string(example.line);
    if (!example.what.empty()) out += "  # " + std::string(example.what);
    out += '\n';
  }
  return out;
}

std::string overview(std::span<const Command> commands) {
  std::string out =
      "splitd: a large language model on two machines, the ends here, the middle there\n"
      "\nUsage: splitd COMMAND [arguments and flags]\n\n";
  std::vector<Row> rows;
  for (const Command& command : commands) {
    rows.push_back({std::string(command.name), std::string(command.summary)});
  }
  append_rows(out, rows, left_width(rows));
  out += "\n" + std::string(common_flags().title) + " takes:\n";
  rows.clear();
  for (const Flag& flag : common_flags().flags) rows.push_back(flag_row(flag));
  append_rows(out, rows, left_width(rows));
  out += "\n'splitd help COMMAND' shows a command's flags, 'splitd --version' the version.\n";
  return out;
}

}  // namespace splitd::cli
