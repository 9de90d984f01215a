// Views over a parsed document, and the writer. The parser is in json_parse.cpp.
#include "runtime/base/json.h"

#include <charconv>
#include <cmath>

#include "runtime/base/utf8.h"

namespace splitd {

using json_detail::Node;

std::string_view json_kind_name(JsonKind kind) {
  switch (kind) {
    case JsonKind::null:
      return "null";
    case JsonKind::boolean:
      return "a boolean";
    case JsonKind::number:
      return "a number";
    case JsonKind::string:
      return "a string";
    case JsonKind::array:
      return "an array";
    case JsonKind::object:
      return "an object";
  }
  return "?";
}

std::string_view Json::text() const {
  const Node& n = node();
  if (n.kind == JsonKind::number || (n.kind == JsonKind::string && !n.flag)) {
    return storage_->text.substr(n.begin, n.length);
  }
  if (n.kind != JsonKind::string) return {};
  return std::string_view(storage_->unescaped).substr(n.begin, n.length);
}

bool Json::is_integer() const {
  return is_number() && text().find_first_of(".eE") == std::string_view::npos;
}

std::optional<bool> Json::to_bool() const {
  if (!is_bool()) return std::nullopt;
  return node().flag;
}

template <class T>
static std::optional<T> parse_number(std::string_view text) {
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::optional<uint64_t> Json::to_u64() const {
  if (!is_number()) return std::nullopt;
  return parse_number<uint64_t>(text());
}

std::optional<int64_t> Json::to_i64() const {
  if (!is_number()) return std::nullopt;
  return parse_number<int64_t>(text());
}

std::optional<double> Json::to_f64() const {
  if (!is_number()) return std::nullopt;
  if (const std::optional<double> value = parse_number<double>(text())) return value;
  // from_chars reports underflow as it does overflow; 1e-400 is 0 to every other reader.
  const size_t exponent = text().find_first_of("eE");
  const bool tiny = exponent != std::string_view::npos && text().substr(exponent + 1, 1) == "-";
  if (tiny) return text()[0] == '-' ? -0.0 : 0.0;
  return std::nullopt;
}

std::optional<std::string_view> Json::to_string() const {
  if (!is_string()) return std::nullopt;
  return text();
}

std::string Json::describe() const {
  constexpr size_t kMost = 60;
  switch (kind()) {
    case JsonKind::null:
      return "null";
    case JsonKind::boolean:
      return node().flag ? "true" : "false";
    case JsonKind::number:
      return std::string(text().substr(0, kMost));
    case JsonKind::array:
      return "an array of " + std::to_string(size());
    case JsonKind::object:
      return "an object of " + std::to_string(size());
    case JsonKind::string:
      break;
  }
  std::string_view shown = text();
  const bool cut = shown.size() > kMost;
  if (cut) shown = shown.substr(0, utf8_valid_prefix(shown.substr(0, kMost)));
  std::string out;
  json_append_string(out, shown);
  return cut ? out + "…" : out;
}

size_t Json::size() const {
  const Node& n = node();
  return n.kind == JsonKind::array || n.kind == JsonKind::object ? n.length : 0;
}

template <class Item>
auto Json::Range<Item>::Iterator::operator++() -> Iterator& {
  // An object's key is one node wide.
  const uint32_t value = std::is_same_v<Item, Json> ? index_ : index_ + 1;
  index_ = storage_->nodes[value].next;
  return *this;
}

template <>
Json Json::Range<Json>::Iterator::operator*() const {
  return {storage_, index_};
}

template <>
Json::Member Json::Range<Json::Member>::Iterator::operator*() const {
  return {Json(storage_, index_).text(), Json(storage_, index_ + 1)};
}

template class Json::Range<Json>::Iterator;
template class Json::Range<Json::Member>::Iterator;

Json::Range<Json> Json::elements() const {
  const uint32_t first = index_ + 1;
  const uint32_t last = is_array() ? node().next : first;
  return {{storage_, first}, {storage_, last}};
}

Json::Range<Json::Member> Json::members() const {
  const uint32_t first = index_ + 1;
  const uint32_t last = is_object() ? node().next : first;
  return {{storage_, first}, {storage_, last}};
}

std::optional<Json> Json::find(std::string_view key) const {
  for (const Member member : members()) {
    if (member.key == key) return member.value;
  }
  return std::nullopt;
}

void json_append_string(std::string& out, std::string_view text) {
  static constexpr char kHex[] = "0123456789abcdef";
  out.push_back('"');
  for (const char c : text) {
    const auto byte = static_cast<uint8_t>(c);
    switch (c) {
      case '"':
        out += "\\\"";
        continue;
      case '\\':
        out += "\\\\";
        continue;
      case '\n':
        out += "\\n";
        continue;
      case '\r':
        out += "\\r";
        continue;
      case '\t':
        out += "\\t";
        continue;
      case '\b':
        out += "\\b";
        continue;
      case '\f':
        out += "\\f";
        continue;
      default:
        break;
    }
    if (byte < 0x20) {
      out += "\\u00";
      out.push_back(kHex[byte >> 4]);
      out.push_back(kHex[byte & 15]);
    } else {
      out.push_back(c);
    }
  }
  out.push_back('"');
}

void JsonWriter::new_line() {
  if (indent_ == 0) return;
  out_.push_back('\n');
  out_.append(has_items_.size() * static_cast<size_t>(indent_), ' ');
}

void JsonWriter::before_value() {
  if (after_key_) {
    after_key_ = false;
    return;
  }
  if (has_items_.empty()) return;
  if (has_items_.back()) out_.push_back(',');
  has_items_.back() = true;
  new_line();
}

JsonWriter& JsonWriter::open(char bracket) {
  before_value();
  out_.push_back(bracket);
  has_items_.push_back(false);
  return *this;
}

JsonWriter& JsonWriter::close(char bracket) {
  const bool had_items = has_items_.back();
  has_items_.pop_back();
  if (had_items) new_line();
  out_.push_back(bracket);
  return *this;
}

JsonWriter& JsonWriter::key(std::string_view name) {
  string(name);
  out_ += indent_ == 0 ? ":" : ": ";
  after_key_ = true;
  return *this;
}

JsonWriter& JsonWriter::string(std::string_view text) {
  before_value();
  if (utf8_is_valid(text)) {
    json_append_string(out_, text);
  } else {
    json_append_string(out_, utf8_replace_invalid(text));
  }
  return *this;
}

namespace {
class NumberText {
 public:
  template <class T>
  explicit NumberText(T value)
      : end_(std::to_chars(buffer_, buffer_ + sizeof buffer_, value).ptr) {}
  std::string_view view() const { return {buffer_, static_cast<size_t>(end_ - buffer_)}; }

 private:
  char buffer_[32];
  char* end_;
};
}  // namespace

JsonWriter& JsonWriter::number(uint64_t value) {
  return raw(NumberText(value).view());
}
JsonWriter& JsonWriter::number(int64_t value) {
  return raw(NumberText(value).view());
}
JsonWriter& JsonWriter::number(double value) {
  return std::isfinite(value) ? raw(NumberText(value).view()) : null();
}

void JsonWriter::clear() {
  out_.clear();
  has_items_.clear();
  after_key_ = false;
}

JsonWriter& JsonWriter::raw(std::string_view json) {
  before_value();
  out_ += json;
  return *this;
}

JsonWriter& JsonWriter::copy(Json value) {
  switch (value.kind()) {
    case JsonKind::null:
      return null();
    case JsonKind::boolean:
      return boolean(*value.to_bool());
    case JsonKind::number:
      return raw(value.text());
    case JsonKind::string:
      return string(value.text());
    case JsonKind::array:
      begin_array();
      for (const Json item : value.elements()) copy(item);
      return end_array();
    case JsonKind::object:
      begin_object();
      for (const Json::Member member : value.members()) key(member.key).copy(member.value);
      return end_object();
  }
  return *this;
}

}  // namespace splitd
