// Owns: sets of Unicode code points as sorted ranges, the named sets of regular expressions and
// tokenizer steps, and the table that sorts characters into numbered classes. The data is what the
// `tokenizers` library uses (make_unicode_data.py), whatever the installed PCRE2 or utf8proc know.
// Values; const methods are thread-safe.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace splitd::tok {

inline constexpr char32_t kLastCodePoint = 0x10ffff;

struct CodePointRange {
  char32_t first;
  char32_t last;
  bool operator==(const CodePointRange&) const = default;
};

class CodePointSet {
 public:
  CodePointSet() = default;
  explicit CodePointSet(std::vector<CodePointRange> ranges);  // any order, may overlap
  static CodePointSet of(char32_t c) { return CodePointSet({{c, c}}); }
  static CodePointSet all() { return CodePointSet({{0, kLastCodePoint}}); }

  const std::vector<CodePointRange>& ranges() const { return ranges_; }
  bool empty() const { return ranges_.empty(); }
  bool contains(char32_t c) const;
  CodePointSet inverted() const;
  CodePointSet united(const CodePointSet& other) const;
  CodePointSet intersected(const CodePointSet& other) const;
  bool operator==(const CodePointSet&) const = default;

 private:
  std::vector<CodePointRange> ranges_;  // ascending, neither overlapping nor adjacent
};

// Adds the characters that differ from a member only in case. Knowing all of them takes a while:
// one for a whole pattern.
class CaseVariants {
 public:
  CodePointSet add_to(const CodePointSet& set);

 private:
  struct Cased {
    char32_t character;
    uint32_t orbit;  // characters that differ only in case share it
  };
  void find_orbits();
  std::vector<Cased> cased_;  // filled when a set beyond ASCII asks
  uint32_t n_orbit_ = 0;
};

// \p{name}: general categories, the usual binary properties and scripts; case, spaces, '-' and '_'
// are ignored. Nothing when there is no such property.
std::optional<CodePointSet> unicode_property(std::string_view name);
std::optional<CodePointSet> posix_class(std::string_view name);  // [:name:]

CodePointSet white_space();            // \s
CodePointSet oniguruma_word();         // \w of patterns in the file
CodePointSet rust_word();              // \w of the library's own steps
CodePointSet rust_numeric();           // the Digits step
CodePointSet punctuation();            // the Punctuation step
CodePointSet stripped_marks();         // the StripAccents step
CodePointSet newer_than_normalizer();  // what NFC and its like leave alone

// Lower case as Rust's char::to_lowercase (no context); appends UTF-8.
void append_lowercase(std::string& out, char32_t c);

// The class (a small number) of every code point. Class of a character outside all sets is 0.
class ClassTable {
 public:
  // Characters that no set tells apart share a class. Fails (nothing) when more than 255 classes
  // would be needed. members[k] lists the classes that make up sets[k].
  static std::optional<ClassTable> build(std::span<const CodePointSet> sets,
                                         std::vector<std::vector<uint8_t>>& members);
  // Class 1 inside the set, 0 outside.
  static ClassTable of(const CodePointSet& set);

  uint8_t operator[](char32_t c) const {
    return c < 0x80 ? ascii_[c]
                    : blocks_[size_t{index_[c >> kBlockBits]} << kBlockBits | (c & (kBlock - 1))];
  }
  // One class a character. `text` is valid UTF-8; `out` has room for a byte per byte of it.
  size_t map(std::string_view text, uint8_t* out) const;

 private:
  static constexpr int kBlockBits = 7;
  static constexpr char32_t kBlock = 1 << kBlockBits;
  void pack(const std::vector<uint8_t>& flat);

  std::array<uint8_t, 128> ascii_{};
  std::vector<uint16_t> index_;
  std::vector<uint8_t> blocks_;
};

}  // namespace splitd::tok
