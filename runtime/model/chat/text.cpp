// Strings that know which of their bytes are tainted.
#include "runtime/model/chat/text.h"

#include <algorithm>
#include <cstring>

#include "runtime/base/utf8.h"

namespace splitd::jinja {

size_t count_chars(std::string_view utf8) {
  size_t continuation = 0;
  for (const char c : utf8) continuation += (static_cast<unsigned char>(c) & 0xc0) == 0x80;
  return utf8.size() - continuation;
}

static void check_size(size_t bytes) {
  if (bytes > kMaxTextBytes) {
    fail_limit("makes a string of " + std::to_string(bytes) + " bytes, longer than the " +
               std::to_string(kMaxTextBytes >> 20) + " MiB allowed");
  }
}

const Text* text_view(Arena& arena, std::string_view bytes, Taint taint) {
  check_size(bytes.size());
  Text text;
  if (!bytes.empty()) text.data = bytes.data();
  text.size = static_cast<uint32_t>(bytes.size());
  text.chars = static_cast<uint32_t>(count_chars(bytes));
  if (taint == Taint::yes && !bytes.empty()) {
    text.marks = arena.make<Mark>(uint32_t{0}, text.size);
    text.n_marks = 1;
  }
  return arena.make<Text>(text);
}

const Text* text_copy(Arena& arena, std::string_view bytes, Taint taint) {
  check_size(bytes.size());
  char* const data = static_cast<char*>(arena.allocate(bytes.size()));
  if (!bytes.empty()) std::memcpy(data, bytes.data(), bytes.size());
  return text_view(arena, {data, bytes.size()}, taint);
}

// The marks that touch bytes [begin, end).
static std::span<const Mark> marks_within(const Text& text, size_t begin, size_t end) {
  const std::span<const Mark> marks = text.taint();
  const auto first = std::partition_point(marks.begin(), marks.end(),
                                          [&](const Mark& mark) { return mark.end <= begin; });
  const auto last =
      std::partition_point(first, marks.end(), [&](const Mark& mark) { return mark.begin < end; });
  return {first, last};
}

const Text* text_slice(Arena& arena, const Text& text, size_t begin, size_t end) {
  if (begin == 0 && end == text.size) return &text;
  Text slice;
  slice.data = text.data + begin;
  slice.size = static_cast<uint32_t>(end - begin);
  slice.chars = text.is_ascii() ? slice.size : static_cast<uint32_t>(count_chars(slice.view()));
  slice.markup = text.markup;
  const std::span<const Mark> marks = marks_within(text, begin, end);
  if (!marks.empty()) {
    Mark* const out = arena.array<Mark>(marks.size());
    for (size_t i = 0; i < marks.size(); ++i) {
      out[i].begin = static_cast<uint32_t>(std::max<size_t>(marks[i].begin, begin) - begin);
      out[i].end = static_cast<uint32_t>(std::min<size_t>(marks[i].end, end) - begin);
    }
    slice.marks = out;
    slice.n_marks = static_cast<uint32_t>(marks.size());
  }
  return arena.make<Text>(slice);
}

static void concat_marks(Arena& arena, const Text& left, const Text& right, Text& out) {
  if (!left.is_tainted() && !right.is_tainted()) return;
  Mark* const marks = arena.array<Mark>(size_t{left.n_marks} + right.n_marks);
  uint32_t n = 0;
  for (const Mark mark : left.taint()) marks[n++] = mark;
  for (const Mark mark : right.taint()) {
    const Mark moved{mark.begin + left.size, mark.end + left.size};
    if (n > 0 && marks[n - 1].end == moved.begin) {
      marks[n - 1].end = moved.end;
    } else {
      marks[n++] = moved;
    }
  }
  out.marks = marks;
  out.n_marks = n;
}

const Text* text_concat(Arena& arena, const Text& left, const Text& right) {
  const size_t size = size_t{left.size} + right.size;
  check_size(size);
  Text out;
  out.size = static_cast<uint32_t>(size);
  out.chars = left.chars + right.chars;
  constexpr uint32_t kWorthGrowing = 128;
  if (left.growing != nullptr && left.growing->used == left.size &&
      left.growing->capacity >= size) {
    // Only `left` reaches the end of its buffer: what lies behind it is nobody's.
    if (right.size > 0)
      std::memcpy(const_cast<char*>(left.data) + left.size, right.data, right.size);
    out.data = left.data;
    out.growing = left.growing;
    out.growing->used = out.size;
  } else {
    const size_t capacity = left.size >= kWorthGrowing ? size + size / 2 : size;
    char* const data = static_cast<char*>(arena.allocate(capacity));
    if (left.size > 0) std::memcpy(data, left.data, left.size);
    if (right.size > 0) std::memcpy(data + left.size, right.data, right.size);
    out.data = data;
    if (capacity > size) {
      out.growing = arena.make<GrowingBuffer>(out.size, static_cast<uint32_t>(capacity));
    }
  }
  concat_marks(arena, left, right, out);
  return arena.make<Text>(out);
}

const Text* text_as_markup(Arena& arena, const Text& text, bool markup) {
  if (text.markup == markup) return &text;
  Text out = text;
  out.markup = markup;
  return arena.make<Text>(out);
}

size_t byte_offset(const Text& text, size_t n) {
  if (text.is_ascii()) return n;
  if (n >= text.chars) return text.size;
  size_t i = 0;
  for (; n > 0; --n) {
    ++i;
    while (i < text.size && (static_cast<unsigned char>(text.data[i]) & 0xc0) == 0x80) ++i;
  }
  return i;
}

size_t find_bytes(std::string_view haystack, std::string_view needle, size_t from) {
  if (from > haystack.size()) return std::string_view::npos;
  if (needle.empty()) return from;
  haystack.remove_prefix(from);
  if (haystack.size() < needle.size()) return std::string_view::npos;
  const void* const at = memmem(haystack.data(), haystack.size(), needle.data(), needle.size());
  if (at == nullptr) return std::string_view::npos;
  return from + static_cast<size_t>(static_cast<const char*>(at) - haystack.data());
}

size_t rfind_bytes(std::string_view haystack, std::string_view needle) {
  if (needle.size() <= 8) return haystack.rfind(needle);
  // memmem is linear and has no reverse: search the mirror image.
  const std::string mirrored(haystack.rbegin(), haystack.rend());
  const std::string wanted(needle.rbegin(), needle.rend());
  const size_t at = find_bytes(mirrored, wanted);
  return at == std::string_view::npos ? at : haystack.size() - at - needle.size();
}

void TextBuilder::reserve(size_t more) {
  const size_t size = bytes_.size() + more;
  if (size > max_bytes_) {
    fail_limit("writes more than the " + std::to_string(max_bytes_ >> 20) + " MiB allowed");
  }
  if (size <= bytes_.capacity()) return;
  const size_t capacity = std::max(size, std::min(bytes_.capacity() * 2, max_bytes_));
  arena_.charge(capacity - charged_);
  charged_ = capacity;
  bytes_.reserve(capacity);
}

void TextBuilder::mark(size_t begin, size_t end) {
  if (begin == end) return;
  if (!marks_.empty() && marks_.back().end == begin) {
    marks_.back().end = static_cast<uint32_t>(end);
  } else {
    arena_.charge(sizeof(Mark));
    charged_for_marks_ += sizeof(Mark);
    marks_.push_back({static_cast<uint32_t>(begin), static_cast<uint32_t>(end)});
  }
}

void TextBuilder::append(std::string_view bytes, Taint taint) {
  reserve(bytes.size());
  const size_t begin = bytes_.size();
  bytes_ += bytes;
  if (taint == Taint::yes) mark(begin, bytes_.size());
}

void TextBuilder::append(const Text& text, size_t begin, size_t end) {
  const size_t start = bytes_.size();
  append(text.view().substr(begin, end - begin));
  for (const Mark m : marks_within(text, begin, end)) {
    mark(start + std::max<size_t>(m.begin, begin) - begin,
         start + std::min<size_t>(m.end, end) - begin);
  }
}

void TextBuilder::append_char(char32_t code_point, Taint taint) {
  reserve(4);
  const size_t begin = bytes_.size();
  utf8_append(bytes_, code_point);
  if (taint == Taint::yes) mark(begin, bytes_.size());
}

void TextBuilder::append_repeated(char32_t code_point, size_t n, Taint taint) {
  std::string one;
  utf8_append(one, code_point);
  if (n > max_bytes_) n = max_bytes_ + 1;  // reserve refuses it
  reserve(n * one.size());
  const size_t begin = bytes_.size();
  for (; n > 0; --n) bytes_ += one;
  if (taint == Taint::yes) mark(begin, bytes_.size());
}

const Text* TextBuilder::finish() {
  const Text* const plain = text_copy(arena_, bytes_, Taint::no);
  if (marks_.empty()) return plain;
  Text text = *plain;
  const std::span<Mark> marks = arena_.copy(marks_);
  text.marks = marks.data();
  text.n_marks = static_cast<uint32_t>(marks.size());
  return arena_.make<Text>(text);
}

bool Chars::next() {
  const uint32_t begin = current.end;
  if (begin >= text_.size) return false;
  const Utf8Step step = utf8_decode(text_.view().substr(begin));
  while (mark_ < text_.n_marks && text_.marks[mark_].end <= begin) ++mark_;
  current.code_point = step.code_point;
  current.begin = begin;
  current.end = begin + step.length;
  current.taint =
      mark_ < text_.n_marks && text_.marks[mark_].begin <= begin ? Taint::yes : Taint::no;
  current.bytes = text_.view().substr(begin, step.length);
  return true;
}

}  // namespace splitd::jinja
