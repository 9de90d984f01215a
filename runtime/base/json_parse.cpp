// The strict JSON parser: one pass, an explicit stack, no recursion. It fills Storage::nodes in
// preorder. Refuses: bad UTF-8, raw control characters, lone surrogates, duplicate keys (after
// unescaping), more than limits allow, and anything but white space after the value.
#include <algorithm>
#include <cstring>
#include <limits>

#include "runtime/base/json.h"
#include "runtime/base/utf8.h"

namespace splitd {
namespace {

using json_detail::Node;
using json_detail::Storage;

constexpr size_t kFewKeys = 16;  // up to here comparing all pairs beats hashing

class Parser {
 public:
  Parser(Storage& storage, JsonLimits limits) : storage_(storage), limits_(limits) {}
  Status run();

 private:
  using Open = Storage::Open;

  char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }
  void skip_space();
  Status value();        // one scalar, or opens a container
  Status close();        // the container on top of the stack
  Status after_value();  // commas and closings until the next value starts
  Status key();
  Status string();
  Status escaped_string(size_t begin);
  Result<char32_t> unicode_escape();
  Status number();
  Status literal(std::string_view word, JsonKind kind, bool flag);
  Status check_unique(uint32_t object);
  Node& push(JsonKind kind, size_t begin, size_t length, bool flag);
  Error error(std::string_view what) const { return error_at(at_, what); }
  Error error_at(size_t at, std::string_view what) const;

  Storage& storage_;
  JsonLimits limits_;
  std::string_view text_ = storage_.text;
  size_t at_ = 0;
  std::vector<Open>& stack_ = storage_.open;
};

Error Parser::error_at(size_t at, std::string_view what) const {
  const std::string_view before = text_.substr(0, at);
  const auto line = 1 + std::count(before.begin(), before.end(), '\n');
  const size_t line_start = before.rfind('\n') + 1;  // npos + 1 is 0
  return model_error("not JSON at line " + std::to_string(line) + ", column " +
                     std::to_string(at - line_start + 1) + ": " + std::string(what));
}

void Parser::skip_space() {
  while (at_ < text_.size()) {
    const char c = text_[at_];
    if (c != ' ' && c != '\n' && c != '\t' && c != '\r') return;
    ++at_;
  }
}

Node& Parser::push(JsonKind kind, size_t begin, size_t length, bool flag) {
  const auto next = static_cast<uint32_t>(storage_.nodes.size() + 1);
  return storage_.nodes.emplace_back(
      Node{static_cast<uint32_t>(begin), static_cast<uint32_t>(length), next, kind, flag});
}

Status Parser::literal(std::string_view word, JsonKind kind, bool flag) {
  if (text_.substr(at_, word.size()) != word) return error("expected a value");
  at_ += word.size();
  push(kind, 0, 0, flag);
  return {};
}

Status Parser::number() {
  const size_t begin = at_;
  const auto digits = [this] {
    const size_t first = at_;
    while (peek() >= '0' && peek() <= '9') ++at_;
    return at_ - first;
  };
  if (peek() == '-') ++at_;
  const bool leading_zero = peek() == '0';
  const size_t whole = digits();
  if (whole == 0) return error("expected a digit");
  if (leading_zero && whole > 1) return error_at(begin, "a number with a leading zero");
  if (peek() == '.') {
    ++at_;
    if (digits() == 0) return error("expected a digit after the decimal point");
  }
  if (peek() == 'e' || peek() == 'E') {
    ++at_;
    if (peek() == '+' || peek() == '-') ++at_;
    if (digits() == 0) return error("expected a digit in the exponent");
  }
  push(JsonKind::number, begin, at_ - begin, false);
  return {};
}

// Eight bytes at once: whether any is a quote, a backslash or below 0x20.
bool has_special(const char* bytes) {
  constexpr uint64_t kOnes = 0x0101010101010101u;
  constexpr uint64_t kHigh = 0x8080808080808080u;
  uint64_t word;
  std::memcpy(&word, bytes, 8);
  const auto zero_byte = [](uint64_t x) { return (x - kOnes) & ~x & kHigh; };
  const uint64_t below_space = (word - kOnes * 0x20) & ~word & kHigh;
  return (zero_byte(word ^ kOnes * '"') | zero_byte(word ^ kOnes * '\\') | below_space) != 0;
}

Status Parser::string() {
  const size_t begin = ++at_;
  while (true) {
    while (at_ + 8 <= text_.size() && !has_special(text_.data() + at_)) at_ += 8;
    if (at_ >= text_.size()) return error_at(begin - 1, "a string without an end");
    const char c = text_[at_];
    if (c == '"') break;
    if (c == '\\') return escaped_string(begin);
    if (static_cast<uint8_t>(c) < 0x20) return error("a raw control character in a string");
    ++at_;
  }
  push(JsonKind::string, begin, at_ - begin, false);
  ++at_;
  return {};
}

Status Parser::escaped_string(size_t begin) {
  std::string& out = storage_.unescaped;
  const size_t out_begin = out.size();
  out.append(text_.substr(begin, at_ - begin));
  while (true) {
    if (at_ >= text_.size()) return error_at(begin - 1, "a string without an end");
    const char c = text_[at_];
    if (c == '"') break;
    if (static_cast<uint8_t>(c) < 0x20) return error("a raw control character in a string");
    ++at_;
    if (c != '\\') {
      out.push_back(c);
      continue;
    }
    const char escape = peek();
    ++at_;
    switch (escape) {
      case '"':
      case '\\':
      case '/':
        out.push_back(escape);
        break;
      case 'b':
        out.push_back('\b');
        break;
      case 'f':
        out.push_back('\f');
        break;
      case 'n':
        out.push_back('\n');
        break;
      case 'r':
        out.push_back('\r');
        break;
      case 't':
        out.push_back('\t');
        break;
      case 'u': {
        SPLITD_ASSIGN(const char32_t code_point, unicode_escape());
        utf8_append(out, code_point);
        break;
      }
      default:
        return error_at(at_ - 2, "an unknown escape in a string");
    }
  }
  push(JsonKind::string, out_begin, out.size() - out_begin, true);
  ++at_;
  return {};
}

// After "\u": four hex digits, and the low half where they are a high surrogate.
Result<char32_t> Parser::unicode_escape() {
  const size_t begin = at_ - 2;
  const auto four = [this]() -> std::optional<char32_t> {
    char32_t value = 0;
    for (int i = 0; i < 4; ++i, ++at_) {
      const char c = peek();
      const char lower = static_cast<char>(c | 0x20);
      if (c >= '0' && c <= '9')
        value = value * 16 + static_cast<char32_t>(c - '0');
      else if (lower >= 'a' && lower <= 'f')
        value = value * 16 + static_cast<char32_t>(lower - 'a' + 10);
      else
        return std::nullopt;
    }
    return value;
  };
  const std::optional<char32_t> first = four();
  if (!first) return error("expected four hexadecimal digits after \\u");
  if (*first < 0xd800 || *first > 0xdfff) return *first;
  if (*first > 0xdbff || text_.substr(at_, 2) != "\\u") return error_at(begin, "a lone surrogate");
  at_ += 2;
  const std::optional<char32_t> second = four();
  if (!second || *second < 0xdc00 || *second > 0xdfff) return error_at(begin, "a lone surrogate");
  return 0x10000 + ((*first - 0xd800) << 10) + (*second - 0xdc00);
}

Status Parser::key() {
  skip_space();
  if (peek() != '"') return error("expected a quoted key");
  SPLITD_TRY(string());
  skip_space();
  if (peek() != ':') return error("expected ':'");
  ++at_;
  return {};
}

Status Parser::value() {
  skip_space();
  switch (peek()) {
    case '"':
      return string();
    case 't':
      return literal("true", JsonKind::boolean, true);
    case 'f':
      return literal("false", JsonKind::boolean, false);
    case 'n':
      return literal("null", JsonKind::null, false);
    case '{':
    case '[':
      break;
    case '\0':
      return error(at_ < text_.size() ? "expected a value" : "the text ends early");
    default: {
      const char c = peek();
      if (c == '-' || (c >= '0' && c <= '9')) return number();
      return error("expected a value");
    }
  }
  const bool is_object = peek() == '{';
  if (stack_.size() >= limits_.max_depth) {
    return error("nested deeper than " + std::to_string(limits_.max_depth) + " levels");
  }
  ++at_;
  stack_.push_back({static_cast<uint32_t>(storage_.nodes.size()), is_object});
  push(is_object ? JsonKind::object : JsonKind::array, 0, 0, false);
  skip_space();
  if (peek() == (is_object ? '}' : ']')) return close();
  return is_object ? key() : Status();
}

Status Parser::close() {
  const Open top = stack_.back();
  stack_.pop_back();
  ++at_;
  storage_.nodes[top.node].next = static_cast<uint32_t>(storage_.nodes.size());
  return top.is_object ? check_unique(top.node) : Status();
}

uint64_t hash_key(std::string_view key) {
  uint64_t hash = key.size();
  while (!key.empty()) {
    uint64_t word = 0;
    const size_t taken = std::min<size_t>(key.size(), 8);
    std::memcpy(&word, key.data(), taken);
    hash = (hash ^ word) * 0x9e3779b97f4a7c15u;
    hash ^= hash >> 32;
    key.remove_prefix(taken);
  }
  return hash;
}

Status Parser::check_unique(uint32_t object) {
  const uint32_t count = storage_.nodes[object].length;
  if (count < 2) return {};
  const Json view(&storage_, object);
  const auto refuse = [&](std::string_view key) {
    std::string quoted;
    json_append_string(quoted, key.substr(0, 100));
    return error_at(at_ - 1, "the key " + quoted + " stands twice in one object");
  };
  if (count <= kFewKeys) {
    for (auto a = view.members().begin(); a != view.members().end(); ++a) {
      auto b = a;
      for (++b; b != view.members().end(); ++b) {
        if ((*a).key == (*b).key) return refuse((*a).key);
      }
    }
    return {};
  }
  // Sorted by hash, so that keys made to collide cost a string comparison and never a quadratic
  // run.
  struct Hashed {
    uint64_t hash;
    std::string_view key;
  };
  std::vector<Hashed> keys;
  keys.reserve(count);
  for (const Json::Member member : view.members())
    keys.push_back({hash_key(member.key), member.key});
  std::sort(keys.begin(), keys.end(), [](const Hashed& a, const Hashed& b) {
    return a.hash != b.hash ? a.hash < b.hash : a.key < b.key;
  });
  for (size_t i = 1; i < keys.size(); ++i) {
    if (keys[i - 1].hash == keys[i].hash && keys[i - 1].key == keys[i].key) {
      return refuse(keys[i].key);
    }
  }
  return {};
}

Status Parser::after_value() {
  while (!stack_.empty()) {
    skip_space();
    const Open top = stack_.back();
    const char c = peek();
    if (c == ',') {
      ++at_;
      return top.is_object ? key() : Status();
    }
    if (c != (top.is_object ? '}' : ']')) {
      return error(top.is_object ? "expected ',' or '}'" : "expected ',' or ']'");
    }
    SPLITD_TRY(close());
    if (!stack_.empty()) ++storage_.nodes[stack_.back().node].length;
  }
  return {};
}

// No less than the values and keys in `text`: one before each of these, and no two share a byte.
size_t most_values(std::string_view text) {
  size_t count = 1;
  for (const char c : text) count += (c == ',') + (c == ':') + (c == '[') + (c == '{');
  return std::min(count, text.size() / 2 + 1);
}

Status Parser::run() {
  constexpr size_t kMostBytes = std::numeric_limits<uint32_t>::max() / 2;  // offsets are 32 bits
  if (text_.size() > std::min(limits_.max_bytes, kMostBytes)) {
    return model_error("JSON of " + std::to_string(text_.size()) + " bytes; at most " +
                       std::to_string(std::min(limits_.max_bytes, kMostBytes)) + " are accepted");
  }
  const size_t valid = utf8_valid_prefix(text_);
  if (valid != text_.size()) return error_at(valid, "not UTF-8");
  storage_.nodes.reserve(std::min(most_values(text_), limits_.max_nodes) + 4);
  do {
    const size_t depth = stack_.size();
    SPLITD_TRY(value());
    if (storage_.nodes.size() > limits_.max_nodes) {
      return error("more than " + std::to_string(limits_.max_nodes) + " values and keys");
    }
    const bool opened = stack_.size() > depth;
    if (opened) continue;
    if (!stack_.empty()) ++storage_.nodes[stack_.back().node].length;
    SPLITD_TRY(after_value());
  } while (!stack_.empty());
  skip_space();
  if (at_ != text_.size()) return error("something follows the value");
  return {};
}

Result<std::unique_ptr<Storage>> parse_storage(std::unique_ptr<Storage> storage,
                                               JsonLimits limits) {
  SPLITD_TRY(Parser(*storage, limits).run());
  return storage;
}

}  // namespace

JsonDoc::JsonDoc() : storage_(std::make_unique<Storage>()) {}

Status JsonDoc::read_view(std::string_view text, JsonLimits limits) {
  storage_->text = text;
  storage_->unescaped.clear();
  storage_->nodes.clear();
  storage_->open.clear();
  return Parser(*storage_, limits).run();
}

Result<JsonDoc> JsonDoc::parse(std::string text, JsonLimits limits) {
  auto storage = std::make_unique<Storage>();
  storage->owned = std::move(text);
  storage->text = storage->owned;
  SPLITD_ASSIGN(storage, parse_storage(std::move(storage), limits));
  return JsonDoc(std::move(storage));
}

Result<JsonDoc> JsonDoc::parse_view(std::string_view text, JsonLimits limits) {
  auto storage = std::make_unique<Storage>();
  storage->text = text;
  SPLITD_ASSIGN(storage, parse_storage(std::move(storage), limits));
  return JsonDoc(std::move(storage));
}

}  // namespace splitd
