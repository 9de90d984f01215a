// What a running command asks its Context for.
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "runtime/base/files.h"
#include "tools/command.h"
#include "tools/interrupt.h"
#include "tools/progress_bar.h"

namespace splitd::cli {
namespace {

// A command that asks for what its own table lacks cannot go on; a test of it would find out.
[[noreturn]] void table_bug(const Command& command, std::string_view name, const char* what) {
  std::fprintf(stderr, "splitd: bug: '%.*s' of command '%.*s' %s\n", static_cast<int>(name.size()),
               name.data(), static_cast<int>(command.name.size()), command.name.data(), what);
  std::abort();
}

// The value of a flag as a T; `none` where there is no value.
template <class T>
const T& value_or(const Command& command, const Arguments& arguments, std::string_view name,
                  const T& none) {
  if (find_flag(command, name) == nullptr) table_bug(command, name, "is not in its table");
  const Value* value = arguments.find(name);
  if (value == nullptr) return none;
  const T* typed = std::get_if<T>(value);
  if (typed == nullptr) table_bug(command, name, "is of another kind");
  return *typed;
}

const Positional* find_positional(const Command& command, std::string_view name) {
  for (const Positional& positional : command.positionals) {
    if (positional.name == name) return &positional;
  }
  return nullptr;
}

const std::string kNoText;
const std::vector<std::string> kNoTexts;
const std::vector<int64_t> kNoIntegers;

bool is_dumb_terminal() {
  const char* term = std::getenv("TERM");
  return term == nullptr || std::strcmp(term, "dumb") == 0;
}

// One line on stderr in one write, so that lines of several threads stay whole.
void write_line(int fd, std::string_view prefix, std::string_view message) {
  std::string line = "splitd: " + std::string(prefix) + printable(message) + "\n";
  (void)write_all(fd, line);
}

}  // namespace

Context::Context(const Command& command, Arguments arguments, Streams streams)
    : command_(command),
      arguments_(std::move(arguments)),
      streams_(streams),
      out_(streams.out, "stdout"),
      err_(streams.err, "stderr") {
  // Fallbacks are filled in last, so given() is answered from what came before them.
  for (const Flag* flag : all_flags(command)) {
    if (arguments_.find(flag->name) != nullptr) {
      given_.insert(flag->name);
    } else if (!flag->fallback.empty()) {
      Result<Value> value = parse_value(*flag, flag->fallback);
      if (!value) table_bug(command, flag->name, "has a fallback that is not accepted");
      arguments_.add_default(*flag, std::move(*value));
    }
  }
}

Context::~Context() = default;

bool Context::given(std::string_view name) const {
  if (find_positional(command_, name) != nullptr) return arguments_.positional(name) != nullptr;
  if (find_flag(command_, name) == nullptr) table_bug(command_, name, "is not in its table");
  return given_.contains(name);
}

bool Context::flag(std::string_view name) const {
  return value_or(command_, arguments_, name, false);
}

int64_t Context::integer(std::string_view name) const {
  return value_or(command_, arguments_, name, int64_t{0});
}

double Context::real(std::string_view name) const {
  return value_or(command_, arguments_, name, 0.0);
}

uint64_t Context::size_bytes(std::string_view name) const {
  return value_or(command_, arguments_, name, uint64_t{0});
}

std::chrono::nanoseconds Context::duration(std::string_view name) const {
  return value_or(command_, arguments_, name, std::chrono::nanoseconds{0});
}

const std::string& Context::text(std::string_view name) const {
  return value_or(command_, arguments_, name, kNoText);
}

const std::vector<std::string>& Context::texts(std::string_view name) const {
  return value_or(command_, arguments_, name, kNoTexts);
}

const std::vector<int64_t>& Context::integers(std::string_view name) const {
  return value_or(command_, arguments_, name, kNoIntegers);
}

Range Context::range(std::string_view name) const {
  return value_or(command_, arguments_, name, Range{0, 0});
}

const std::string& Context::argument(std::string_view name) const {
  const std::vector<std::string>& words = rest(name);
  return words.empty() ? kNoText : words.front();
}

const std::vector<std::string>& Context::rest(std::string_view name) const {
  if (find_positional(command_, name) == nullptr) {
    table_bug(command_, name, "is not among its arguments");
  }
  const std::vector<std::string>* words = arguments_.positional(name);
  return words == nullptr ? kNoTexts : *words;
}

bool Context::stdin_is_terminal() const {
  return ::isatty(streams_.in) == 1;
}

Result<std::string> Context::read_stdin(uint64_t max_bytes) {
  Result<std::string> text = read_all(streams_.in, max_bytes);
  if (!text) return text.take_error().within("stdin");
  return text;
}

Log Context::log() {
  const bool debug = flag("verbose");
  const bool info = !quiet();
  return Log([this, debug, info](LogLevel level, std::string_view message) {
    if (level == LogLevel::debug && !debug) return;
    if (level == LogLevel::info && !info) return;
    const std::lock_guard lock(err_mutex_);
    if (bar_) bar_->wipe();
    write_line(streams_.err, level == LogLevel::warning ? "warning: " : "", message);
  });
}

ProgressFn Context::progress() {
  watch_interrupts();
  if (quiet() || !err_.is_terminal() || is_dumb_terminal()) {
    return [](const Progress&) { return !interrupted(); };
  }
  const std::lock_guard lock(err_mutex_);
  if (!bar_) bar_ = std::make_unique<ProgressBar>(streams_.err);
  return [bar = bar_.get()](const Progress& progress) {
    bar->draw(progress);
    return !interrupted();
  };
}

void Context::end_progress() {
  if (bar_) bar_->wipe();
}

bool Context::cancelled() const {
  watch_interrupts();
  return interrupted();
}

}  // namespace splitd::cli
