#include "runtime/model/tokenizer/split_regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <array>
#include <bitset>

#include "runtime/base/json.h"
#include "runtime/model/tokenizer/code_point_set.h"
#include "runtime/model/tokenizer/regex_rewrite.h"

namespace splitd::tok {
namespace {

template <auto free_it>
struct Freed {
  template <class T>
  void operator()(T* pointer) const {
    free_it(pointer);
  }
};
using CodePointer = std::unique_ptr<pcre2_code, Freed<pcre2_code_free>>;
using MatchData = std::unique_ptr<pcre2_match_data, Freed<pcre2_match_data_free>>;
using MatchContext = std::unique_ptr<pcre2_match_context, Freed<pcre2_match_context_free>>;
using JitStack = std::unique_ptr<pcre2_jit_stack, Freed<pcre2_jit_stack_free>>;

// PCRE2 counts backtracking steps of one match against a limit, but does not say how many it took.
// So a match starts with little and is tried again with more; what the failed tries took is charged
// to the call's budget. A long legal run costs a few percent, an endless pattern runs dry.
constexpr std::array<uint32_t, 6> kStepLimits = {256, 4096, 65536, 1u << 20, 1u << 24, 1u << 27};
constexpr uint64_t kStepBudget = uint64_t{1} << 28;
constexpr size_t kJitStackBytes = size_t{16} << 20;

std::string pcre2_message(int error) {
  std::array<PCRE2_UCHAR, 256> text{};
  pcre2_get_error_message(error, text.data(), text.size());
  return reinterpret_cast<const char*>(text.data());
}

Error pattern_error(std::string_view pattern, std::string_view why) {
  std::string message = "the pattern ";
  json_append_string(message, pattern.substr(0, 200));
  return model_error(message + (pattern.size() > 200 ? "…" : "") + ": " + std::string(why));
}

void append_byte(std::string& out, uint8_t byte) {
  constexpr char kHex[] = "0123456789abcdef";
  out += {'\\', 'x', kHex[byte >> 4], kHex[byte & 15]};
}

std::string class_syntax(const std::vector<uint8_t>& classes) {
  std::string out;
  if (classes.empty()) return "[^\\x00-\\xff]";
  if (classes.size() == 1) {
    append_byte(out, classes[0]);
    return out;
  }
  out = "[";
  for (const uint8_t one : classes) append_byte(out, one);
  return out + "]";
}

Result<CodePointer> compile_code(std::string_view pattern, const std::string& rewritten,
                                 uint32_t options) {
  int error = 0;
  PCRE2_SIZE offset = 0;
  CodePointer code(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(rewritten.data()), rewritten.size(),
                                 options | PCRE2_NEVER_UTF | PCRE2_NO_AUTO_CAPTURE, &error, &offset,
                                 nullptr));
  if (!code) return pattern_error(pattern, pcre2_message(error));
  return code;
}

}  // namespace

struct RegexScratch::Buffers {
  std::vector<uint8_t> classes;
  MatchData match{pcre2_match_data_create(1, nullptr)};
  MatchContext context{pcre2_match_context_create(nullptr)};
  JitStack stack;
  uint64_t budget = kStepBudget;
};

RegexScratch::RegexScratch() : buffers_(std::make_unique<Buffers>()) {
  if (!buffers_->match || !buffers_->context) throw std::bad_alloc();
}
RegexScratch::~RegexScratch() = default;

struct SplitRegex::Code {
  std::string pattern;
  CodePointer code;  // anchored: we choose where a match may start
  ClassTable table;
  std::bitset<256> starts;  // classes that a match can start with
  bool has_jit = false;
  bool matches_empty = false;

  Result<bool> match_at(size_t at, size_t length, RegexScratch::Buffers& buffers) const;
};

SplitRegex::SplitRegex(std::unique_ptr<const Code> code) : code_(std::move(code)) {}
SplitRegex::SplitRegex(SplitRegex&&) noexcept = default;
SplitRegex& SplitRegex::operator=(SplitRegex&&) noexcept = default;
SplitRegex::~SplitRegex() = default;

Result<SplitRegex> SplitRegex::compile(std::string_view pattern) {
  if (pattern.size() > kMaxPatternBytes) {
    return model_error("a pattern of " + std::to_string(pattern.size()) + " bytes; at most " +
                       std::to_string(kMaxPatternBytes) + " are accepted");
  }
  Result<RewrittenRegex> rewritten = rewrite_regex(pattern);
  if (!rewritten) return pattern_error(pattern, rewritten.error().message);
  auto code = std::make_unique<Code>();
  code->pattern = pattern;
  std::vector<std::vector<uint8_t>> members;
  std::optional<ClassTable> table = ClassTable::build(rewritten->sets, members);
  if (!table) return pattern_error(pattern, "tells more than 256 kinds of characters apart");
  code->table = std::move(*table);
  std::string syntax;
  for (const RegexItem& item : rewritten->items) {
    syntax += item.set < 0 ? item.syntax : class_syntax(members[static_cast<size_t>(item.set)]);
  }

  SPLITD_ASSIGN(const CodePointer floating, compile_code(pattern, syntax, 0));
  SPLITD_ASSIGN(code->code, compile_code(pattern, syntax, PCRE2_ANCHORED));
  uint32_t empty = 0;
  uint32_t first_type = 0;
  uint32_t first = 0;
  const uint8_t* bitmap = nullptr;
  pcre2_pattern_info(floating.get(), PCRE2_INFO_MATCHEMPTY, &empty);
  pcre2_pattern_info(floating.get(), PCRE2_INFO_FIRSTCODETYPE, &first_type);
  pcre2_pattern_info(floating.get(), PCRE2_INFO_FIRSTCODEUNIT, &first);
  pcre2_pattern_info(floating.get(), PCRE2_INFO_FIRSTBITMAP, &bitmap);
  code->matches_empty = empty != 0;
  code->starts.set();
  if (!code->matches_empty && (first_type == 1 || bitmap != nullptr)) {
    for (size_t c = 0; c < 256; ++c) {
      code->starts[c] = first_type == 1 ? c == first : (bitmap[c / 8] >> (c % 8) & 1) != 0;
    }
  }
  code->has_jit = pcre2_jit_compile(code->code.get(), PCRE2_JIT_COMPLETE) == 0;
  return SplitRegex(std::move(code));
}

// Whether the pattern matches the mapped text at exactly this place.
Result<bool> SplitRegex::Code::match_at(size_t at, size_t length,
                                        RegexScratch::Buffers& buffers) const {
  for (const uint32_t limit : kStepLimits) {
    if (limit > buffers.budget) break;
    pcre2_set_match_limit(buffers.context.get(), limit);
    const auto attempt = [&] {
      auto* run = has_jit ? &pcre2_jit_match : &pcre2_match;
      return run(code.get(), buffers.classes.data(), length, at, 0, buffers.match.get(),
                 buffers.context.get());
    };
    int found = attempt();
    if (found == PCRE2_ERROR_JIT_STACKLIMIT && !buffers.stack) {
      buffers.stack.reset(pcre2_jit_stack_create(32 << 10, kJitStackBytes, nullptr));
      if (!buffers.stack) throw std::bad_alloc();
      pcre2_jit_stack_assign(buffers.context.get(), nullptr, buffers.stack.get());
      found = attempt();
    }
    if (found >= 0) return true;
    if (found == PCRE2_ERROR_NOMATCH) return false;
    if (found != PCRE2_ERROR_MATCHLIMIT) return pattern_error(pattern, pcre2_message(found));
    buffers.budget -= limit;
  }
  return pattern_error(pattern, "takes too many steps on this text");
}

Status SplitRegex::find_all(std::string_view text, RegexScratch& scratch,
                            std::vector<Match>& matches) const {
  matches.clear();
  RegexScratch::Buffers& buffers = *scratch.buffers_;
  if (buffers.classes.size() < text.size()) buffers.classes.resize(text.size());
  const size_t length = code_->table.map(text, buffers.classes.data());
  const PCRE2_SIZE* const bounds = pcre2_get_ovector_pointer(buffers.match.get());

  const bool one_byte_each = length == text.size();
  size_t byte = 0;  // where the character number `character` begins
  size_t character = 0;
  const auto byte_of = [&](size_t index) {
    if (one_byte_each) return index;
    for (; character < index; ++character) {
      const auto lead = static_cast<uint8_t>(text[byte]);
      byte += lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
    }
    return byte;
  };
  size_t last_end = SIZE_MAX;
  size_t at = 0;
  while (at <= length) {
    if (!code_->matches_empty) {
      while (at < length && !code_->starts[buffers.classes[at]]) ++at;
      if (at == length) break;
    }
    SPLITD_ASSIGN(const bool found, code_->match_at(at, length, buffers));
    const size_t end = bounds[1];
    if (!found || (end == at && last_end == at)) {
      ++at;
      continue;
    }
    const size_t begin_byte = byte_of(at);
    matches.push_back({begin_byte, byte_of(end)});
    at = end;
    last_end = end;
  }
  return {};
}

}  // namespace splitd::tok
