// Owns: the interpreter's strings: immutable UTF-8 that remembers which of its bytes came from the
// input (messages, tools, documents: "tainted"). Whatever is built from tainted bytes is tainted;
// where an operation cannot say which bytes, it taints too many rather than too few.
// A Text lives in an arena. Const, and so thread-safe.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/model/chat/arena.h"

namespace splitd::jinja {

struct Mark {  // tainted bytes [begin, end)
  uint32_t begin = 0;
  uint32_t end = 0;
};

// Room behind a text under which a longer one can grow: a + b + c + … stays linear.
struct GrowingBuffer {
  uint32_t used = 0;
  uint32_t capacity = 0;
};

struct Text {
  const char* data = "";
  uint32_t size = 0;   // bytes
  uint32_t chars = 0;  // code points
  const Mark* marks = nullptr;
  uint32_t n_marks = 0;              // ascending, not touching, not empty
  bool markup = false;               // a markupsafe.Markup
  GrowingBuffer* growing = nullptr;  // whose bytes these are the beginning of

  std::string_view view() const { return {data, size}; }
  bool is_ascii() const { return chars == size; }
  bool is_tainted() const { return n_marks != 0; }
  std::span<const Mark> taint() const { return {marks, n_marks}; }
};

inline constexpr size_t kMaxTextBytes = size_t{64} << 20;

enum class Taint : bool { no, yes };

size_t count_chars(std::string_view utf8);

// The bytes are not copied: they must outlive the Text.
const Text* text_view(Arena& arena, std::string_view bytes, Taint taint);
const Text* text_copy(Arena& arena, std::string_view bytes, Taint taint);
// Bytes [begin, end) of a text, at character boundaries.
const Text* text_slice(Arena& arena, const Text& text, size_t begin, size_t end);
const Text* text_concat(Arena& arena, const Text& left, const Text& right);
const Text* text_as_markup(Arena& arena, const Text& text, bool markup);

// Byte offset of the n-th character (n ≤ chars).
size_t byte_offset(const Text& text, size_t n);

// Offset of `needle` at or after `from`, or npos; linear whatever the two are.
size_t find_bytes(std::string_view haystack, std::string_view needle, size_t from = 0);
size_t rfind_bytes(std::string_view haystack, std::string_view needle);

// Builds a Text piece by piece. What it holds counts in the arena's budget.
class TextBuilder {
 public:
  explicit TextBuilder(Arena& arena, size_t max_bytes = kMaxTextBytes)
      : arena_(arena), max_bytes_(max_bytes) {}
  TextBuilder(const TextBuilder&) = delete;
  TextBuilder& operator=(const TextBuilder&) = delete;
  ~TextBuilder() { arena_.release(charged_ + charged_for_marks_); }

  void append(std::string_view bytes, Taint taint = Taint::no);
  void append(const Text& text) { append(text, 0, text.size); }
  void append(const Text& text, size_t begin, size_t end);  // bytes of it
  void append_char(char32_t code_point, Taint taint);
  void append_repeated(char32_t code_point, size_t n, Taint taint = Taint::no);

  size_t size() const { return bytes_.size(); }
  std::string& bytes() { return bytes_; }
  const std::vector<Mark>& marks() const { return marks_; }
  const Text* finish();  // may go on afterwards

 private:
  void reserve(size_t more);
  void mark(size_t begin, size_t end);

  Arena& arena_;
  size_t max_bytes_;
  size_t charged_ = 0;
  size_t charged_for_marks_ = 0;
  std::string bytes_;
  std::vector<Mark> marks_;
};

struct Char {
  char32_t code_point = 0;
  uint32_t begin = 0;  // bytes
  uint32_t end = 0;
  Taint taint = Taint::no;
  std::string_view bytes;
};

// Walks a text by characters: for (Chars c(text); c.next();) use(c.current).
class Chars {
 public:
  explicit Chars(const Text& text) : text_(text) {}
  bool next();
  Char current;

 private:
  const Text& text_;
  uint32_t mark_ = 0;
};

}  // namespace splitd::jinja
