// Owns: reading and writing JSON. Reading is strict RFC 8259 over untrusted text: UTF-8 checked,
// depth and size capped, duplicate keys refused, nothing after the value. Numbers keep their text,
// so 2^64 and -0 are what the file says. A document costs at most about 8 bytes per byte of text.
// A Json is a view: it lives as long as its JsonDoc (moving the doc is fine). Const is thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <iterator>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/base/result.h"

namespace splitd {

enum class JsonKind : uint8_t { null, boolean, number, string, array, object };

[[nodiscard]] std::string_view json_kind_name(JsonKind kind);  // "an object", "a string", …

namespace json_detail {
struct Node {
  uint32_t begin;   // strings and numbers: offset of their text
  uint32_t length;  // strings and numbers: bytes; arrays and objects: children
  uint32_t next;    // index of the node after this one and all that is inside it
  JsonKind kind;
  bool flag;  // booleans: the value; strings: the text had escapes and lies in `unescaped`
};
struct Storage {
  std::string owned;        // the text, when the document owns it
  std::string_view text;    // the text
  std::string unescaped;    // decoded strings that had escapes
  std::vector<Node> nodes;  // preorder; an object's children are key, value, key, value …
  struct Open {
    uint32_t node;
    bool is_object;
  };
  std::vector<Open> open;  // while parsing: the containers around
};
}  // namespace json_detail

class Json {
 public:
  struct Member;
  template <class Item>
  class Range;

  Json(const json_detail::Storage* storage, uint32_t index) : storage_(storage), index_(index) {}

  JsonKind kind() const { return node().kind; }
  bool is_null() const { return kind() == JsonKind::null; }
  bool is_bool() const { return kind() == JsonKind::boolean; }
  bool is_number() const { return kind() == JsonKind::number; }
  bool is_string() const { return kind() == JsonKind::string; }
  bool is_array() const { return kind() == JsonKind::array; }
  bool is_object() const { return kind() == JsonKind::object; }
  bool is_integer() const;  // a number without fraction or exponent

  // Each is nothing when the value is of another kind or does not fit.
  std::optional<bool> to_bool() const;
  std::optional<uint64_t> to_u64() const;  // an integer without sign: -0 and 2.0 are not
  std::optional<int64_t> to_i64() const;
  std::optional<double> to_f64() const;  // any number; overflow is nothing
  std::optional<std::string_view> to_string() const;

  // The string's content, or the number as it is written; empty for other kinds.
  std::string_view text() const;
  // The value as it would be quoted in an error message: short, one line.
  std::string describe() const;

  size_t size() const;                                   // children of an array or object, else 0
  std::optional<Json> find(std::string_view key) const;  // linear; nothing if not an object
  Range<Json> elements() const;                          // empty if not an array
  Range<Member> members() const;                         // empty if not an object

 private:
  const json_detail::Node& node() const { return storage_->nodes[index_]; }

  const json_detail::Storage* storage_;
  uint32_t index_;
};

struct Json::Member {
  std::string_view key;
  Json value;
};

template <class Item>
class Json::Range {
 public:
  class Iterator {
   public:
    using value_type = Item;
    using difference_type = std::ptrdiff_t;
    Iterator(const json_detail::Storage* storage, uint32_t index)
        : storage_(storage), index_(index) {}
    Item operator*() const;
    Iterator& operator++();
    bool operator==(const Iterator& other) const { return index_ == other.index_; }

   private:
    const json_detail::Storage* storage_;
    uint32_t index_;
  };

  Range(Iterator begin, Iterator end) : begin_(begin), end_(end) {}
  Iterator begin() const { return begin_; }
  Iterator end() const { return end_; }

 private:
  Iterator begin_;
  Iterator end_;
};

struct JsonLimits {
  size_t max_bytes = size_t{64} << 20;
  uint32_t max_depth = 128;
  // Values and keys, 16 bytes of memory each. A caller whose documents are never dense says so.
  size_t max_nodes = SIZE_MAX;
};

class JsonDoc {
 public:
  // The error says line and column. `parse` keeps the text; `parse_view` needs it to outlive the
  // doc.
  static Result<JsonDoc> parse(std::string text, JsonLimits limits = {});
  static Result<JsonDoc> parse_view(std::string_view text, JsonLimits limits = {});

  // For one small message after another: an empty document, and parse_view into the memory of the
  // text before. After an error there is no root.
  JsonDoc();
  Status read_view(std::string_view text, JsonLimits limits = {});

  Json root() const { return {storage_.get(), 0}; }

 private:
  explicit JsonDoc(std::unique_ptr<json_detail::Storage> storage) : storage_(std::move(storage)) {}
  std::unique_ptr<json_detail::Storage> storage_;
};

// Appends `text` (valid UTF-8) as a JSON string, quotes included; nothing beyond ASCII is escaped.
void json_append_string(std::string& out, std::string_view text);

// Writes one JSON value. indent 0 is compact ({"a":1}); else a line per member, as json.dumps does.
class JsonWriter {
 public:
  explicit JsonWriter(int indent = 0) : indent_(indent) {}

  JsonWriter& begin_object() { return open('{'); }
  JsonWriter& end_object() { return close('}'); }
  JsonWriter& begin_array() { return open('['); }
  JsonWriter& end_array() { return close(']'); }
  JsonWriter& key(std::string_view name);
  JsonWriter& string(std::string_view text);  // invalid UTF-8 becomes U+FFFD
  JsonWriter& number(uint64_t value);
  JsonWriter& number(int64_t value);
  JsonWriter& number(double value);  // shortest text that reads back the same; non-finite is null
  JsonWriter& boolean(bool value) { return raw(value ? "true" : "false"); }
  JsonWriter& null() { return raw("null"); }
  JsonWriter& raw(std::string_view json);  // a value that is JSON already
  JsonWriter& copy(Json value);            // a whole value, members in their order

  // key(name) and the value, in one.
  JsonWriter& field(std::string_view name, std::string_view text) { return key(name).string(text); }
  JsonWriter& field(std::string_view name, const char* text) { return key(name).string(text); }
  JsonWriter& field(std::string_view name, bool value) { return key(name).boolean(value); }
  JsonWriter& field(std::string_view name, double value) { return key(name).number(value); }
  JsonWriter& field(std::string_view name, uint64_t value) { return key(name).number(value); }
  JsonWriter& field(std::string_view name, int64_t value) { return key(name).number(value); }
  JsonWriter& field(std::string_view name, uint32_t value) {
    return key(name).number(uint64_t{value});
  }
  JsonWriter& field(std::string_view name, int value) { return key(name).number(int64_t{value}); }

  const std::string& text() const { return out_; }
  void clear();  // to begin another value in the same memory
  std::string take() { return std::move(out_); }

 private:
  JsonWriter& open(char bracket);
  JsonWriter& close(char bracket);
  void before_value();
  void new_line();

  std::string out_;
  std::vector<bool> has_items_;  // one per open bracket
  int indent_;
  bool after_key_ = false;
};

}  // namespace splitd
