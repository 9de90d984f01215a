// Owns: the GGUF v3 format (little-endian), strictly: metadata and tensors, of one file or of a
// split set. Every count, length and offset is bounded before anything is allocated or followed;
// anything the format does not allow is refused with the key or tensor and the numbers in the
// message. Values are views into the mapped file: big vocabularies are not copied.
// Const methods are thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <iterator>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/base/result.h"
#include "runtime/model/formats/tensor.h"
#include "runtime/model/formats/tensor_files.h"

namespace splitd {

inline constexpr uint64_t kMaxGgufMetadataBytes = uint64_t{256} << 20;  // of one file
inline constexpr uint64_t kMaxGgufKeys = uint64_t{1} << 16;
inline constexpr uint64_t kMaxGgufTensors = uint64_t{1} << 17;  // of one file
inline constexpr uint64_t kMaxGgufAlignment = uint64_t{1} << 20;
inline constexpr uint32_t kMaxGgufArrayDepth = 4;  // arrays of arrays of …
inline constexpr uint64_t kMaxGgufFiles = 1024;    // of a split set

// The numbers are the format's.
enum class GgufType : uint32_t {
  u8 = 0,
  i8 = 1,
  u16 = 2,
  i16 = 3,
  u32 = 4,
  i32 = 5,
  f32 = 6,
  boolean = 7,
  string = 8,
  array = 9,
  u64 = 10,
  i64 = 11,
  f64 = 12,
};

[[nodiscard]] std::string_view gguf_type_name(GgufType type);  // "u8", "string", "array", …

// One checked value: a view that lives as long as the Gguf it came from.
class GgufValue {
 public:
  class Elements;

  // `data` points at a value of this type that the reader has checked to lie in the file.
  GgufValue(GgufType type, const std::byte* data) : type_(type), data_(data) {}

  GgufType type() const { return type_; }
  bool is_array() const { return type_ == GgufType::array; }

  // Each is nothing when the value is of another kind or does not fit.
  std::optional<uint64_t> to_u64() const;  // any integer type
  std::optional<int64_t> to_i64() const;   // any integer type
  std::optional<double> to_f64() const;    // f32, f64, and integers that a double holds exactly
  std::optional<bool> to_bool() const;
  std::optional<std::string_view> to_string() const;  // raw bytes: UTF-8 is the reader's to check

  // Arrays; an empty range and zero for anything else.
  uint64_t size() const;
  std::optional<GgufType> element_type() const;
  Elements elements() const;  // in order, one pass: for (GgufValue item : value.elements())

  // The whole array, or nothing when it is no array of such items. Strings are views.
  std::optional<std::vector<std::string_view>> to_strings() const;
  std::optional<std::vector<int64_t>> to_i64s() const;  // any integer type
  std::optional<std::vector<float>> to_f32s() const;    // f32 or f64

  // For error messages: short, one line, "the string \"abc\"", "the u32 7", "an array of 3 f32".
  std::string describe() const;
  // Bytes the value takes in the file.
  uint64_t bytes() const;

 private:
  GgufType type_;
  const std::byte* data_;
};

class GgufValue::Elements {
 public:
  class Iterator {
   public:
    using value_type = GgufValue;
    using difference_type = std::ptrdiff_t;
    Iterator(GgufType type, const std::byte* data, uint64_t left)
        : type_(type), data_(data), left_(left) {}
    GgufValue operator*() const { return {type_, data_}; }
    Iterator& operator++();
    bool operator==(const Iterator& other) const { return left_ == other.left_; }

   private:
    GgufType type_;
    const std::byte* data_;
    uint64_t left_;
  };

  Elements(GgufType type, const std::byte* data, uint64_t count)
      : type_(type), data_(data), count_(count) {}
  Iterator begin() const { return {type_, data_, count_}; }
  Iterator end() const { return {type_, nullptr, 0}; }

 private:
  GgufType type_;
  const std::byte* data_;
  uint64_t count_;
};

// What one file's header says. A pure function over bytes; views point into them.
struct GgufHeader {
  struct Entry {
    std::string_view key;
    GgufValue value;
  };
  std::vector<Entry> metadata;      // ascending by key
  std::vector<TensorInfo> tensors;  // ascending by `begin`; shapes outermost first (ne reversed)
  uint64_t alignment = 32;          // general.alignment
  uint64_t data_begin = 0;          // from the start of the file; `begin` counts from there too
};
[[nodiscard]] Result<GgufHeader> parse_gguf_header(std::span<const std::byte> file);
// …of a file of which only the first bytes are at hand: nothing where the header goes on beyond
// them.
[[nodiscard]] Result<std::optional<GgufHeader>> parse_gguf_header(std::span<const std::byte> first,
                                                                  uint64_t file_bytes);

// A GGUF model: one file, or name-00001-of-0000N.gguf and its companions in the same directory,
// whose metadata is the first file's.
class Gguf {
 public:
  // Of a split set the first file is named; any other is refused with the name of the first.
  // With FileAccess::read the headers alone are mapped: of tensors only files().read() works.
  static Result<Gguf> open(const std::string& path, FileAccess access = FileAccess::mapped);

  const std::vector<GgufHeader::Entry>& metadata() const { return metadata_; }  // ascending by key
  std::optional<GgufValue> find(std::string_view key) const;

  // The value of a key that must be there. The error says that it is missing, or what it is and
  // what would be accepted.
  Result<uint64_t> u64(std::string_view key) const;
  Result<int64_t> i64(std::string_view key) const;
  Result<double> f64(std::string_view key) const;
  Result<bool> boolean(std::string_view key) const;
  Result<std::string_view> string(std::string_view key) const;
  Result<std::vector<std::string_view>> strings(std::string_view key) const;
  Result<std::vector<int64_t>> i64s(std::string_view key) const;
  Result<std::vector<float>> f32s(std::string_view key) const;

  const TensorFiles& files() const { return files_; }  // tensors, views, advice

 private:
  Gguf(TensorFiles files, std::vector<GgufHeader::Entry> metadata)
      : files_(std::move(files)), metadata_(std::move(metadata)) {}
  TensorFiles files_;
  std::vector<GgufHeader::Entry> metadata_;
};

}  // namespace splitd
