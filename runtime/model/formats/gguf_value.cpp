// Views over metadata values. The reader has checked them, so nothing here checks bounds again.
#include <array>
#include <bit>
#include <cmath>
#include <cstring>

#include "runtime/base/json.h"
#include "runtime/model/formats/gguf.h"
#include "runtime/model/formats/gguf_wire.h"

namespace splitd {
namespace {

static_assert(std::endian::native == std::endian::little, "GGUF is little-endian");

template <class T>
T load(const std::byte* data) {
  T value;
  std::memcpy(&value, data, sizeof value);
  return value;
}

// An integer of either sign: exact, because only u64 exceeds an int64_t.
struct Integer {
  bool negative;
  uint64_t bits;
};

template <class T>
Integer load_integer(const std::byte* data) {
  const T value = load<T>(data);
  return {value < T{0}, static_cast<uint64_t>(value)};
}

std::optional<Integer> integer(GgufType type, const std::byte* data) {
  switch (type) {
    case GgufType::u8:
      return load_integer<uint8_t>(data);
    case GgufType::i8:
      return load_integer<int8_t>(data);
    case GgufType::u16:
      return load_integer<uint16_t>(data);
    case GgufType::i16:
      return load_integer<int16_t>(data);
    case GgufType::u32:
      return load_integer<uint32_t>(data);
    case GgufType::i32:
      return load_integer<int32_t>(data);
    case GgufType::u64:
      return load_integer<uint64_t>(data);
    case GgufType::i64:
      return load_integer<int64_t>(data);
    default:
      return std::nullopt;
  }
}

std::string_view string_at(const std::byte* data) {
  return {reinterpret_cast<const char*>(data) + 8, load<uint64_t>(data)};
}

}  // namespace

std::string_view gguf_type_name(GgufType type) {
  constexpr std::array<std::string_view, 13> kNames = {"u8",  "i8",  "u16",  "i16",    "u32",
                                                       "i32", "f32", "bool", "string", "array",
                                                       "u64", "i64", "f64"};
  return kNames[static_cast<size_t>(type)];
}

uint64_t gguf_scalar_bytes(GgufType type) {
  constexpr std::array<uint8_t, 13> kBytes = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
  return kBytes[static_cast<size_t>(type)];
}

uint64_t GgufValue::bytes() const {
  if (type_ == GgufType::string) return 8 + string_at(data_).size();
  if (type_ != GgufType::array) return gguf_scalar_bytes(type_);
  const uint64_t scalar = gguf_scalar_bytes(*element_type());
  if (scalar != 0) return kGgufArrayHeadBytes + size() * scalar;
  uint64_t total = kGgufArrayHeadBytes;
  for (const GgufValue item : elements()) total += item.bytes();
  return total;
}

std::optional<uint64_t> GgufValue::to_u64() const {
  const std::optional<Integer> value = integer(type_, data_);
  if (!value || value->negative) return std::nullopt;
  return value->bits;
}

std::optional<int64_t> GgufValue::to_i64() const {
  const std::optional<Integer> value = integer(type_, data_);
  if (!value) return std::nullopt;
  const auto as_signed = static_cast<int64_t>(value->bits);
  if ((as_signed < 0) != value->negative) return std::nullopt;
  return as_signed;
}

std::optional<double> GgufValue::to_f64() const {
  if (type_ == GgufType::f32) return double{load<float>(data_)};
  if (type_ == GgufType::f64) return load<double>(data_);
  constexpr int64_t kExact = int64_t{1} << 53;
  const std::optional<int64_t> value = to_i64();
  if (!value || *value > kExact || *value < -kExact) return std::nullopt;
  return static_cast<double>(*value);
}

std::optional<bool> GgufValue::to_bool() const {
  if (type_ != GgufType::boolean) return std::nullopt;
  return load<uint8_t>(data_) != 0;
}

std::optional<std::string_view> GgufValue::to_string() const {
  if (type_ != GgufType::string) return std::nullopt;
  return string_at(data_);
}

std::optional<GgufType> GgufValue::element_type() const {
  if (!is_array()) return std::nullopt;
  return static_cast<GgufType>(load<uint32_t>(data_));
}

uint64_t GgufValue::size() const {
  return is_array() ? load<uint64_t>(data_ + 4) : 0;
}

GgufValue::Elements GgufValue::elements() const {
  return {element_type().value_or(GgufType::u8), data_ + kGgufArrayHeadBytes, size()};
}

GgufValue::Elements::Iterator& GgufValue::Elements::Iterator::operator++() {
  data_ += GgufValue(type_, data_).bytes();
  --left_;
  return *this;
}

std::optional<std::vector<std::string_view>> GgufValue::to_strings() const {
  if (element_type() != GgufType::string) return std::nullopt;
  std::vector<std::string_view> out;
  out.reserve(size());
  for (const GgufValue item : elements()) out.push_back(*item.to_string());
  return out;
}

std::optional<std::vector<int64_t>> GgufValue::to_i64s() const {
  if (!is_array()) return std::nullopt;
  std::vector<int64_t> out;
  for (const GgufValue item : elements()) {
    const std::optional<int64_t> value = item.to_i64();
    if (!value) return std::nullopt;
    if (out.empty()) out.reserve(size());
    out.push_back(*value);
  }
  return out;
}

std::optional<std::vector<float>> GgufValue::to_f32s() const {
  if (element_type() != GgufType::f32 && element_type() != GgufType::f64) return std::nullopt;
  std::vector<float> out;
  out.reserve(size());
  for (const GgufValue item : elements()) out.push_back(static_cast<float>(*item.to_f64()));
  return out;
}

std::string GgufValue::describe() const {
  const std::string name(gguf_type_name(type_));
  if (const std::optional<std::string_view> text = to_string()) {
    return "the string " + quoted_name(*text);
  }
  if (is_array()) {
    return "an array of " + std::to_string(size()) + " " +
           std::string(gguf_type_name(*element_type()));
  }
  if (const std::optional<bool> value = to_bool())
    return *value ? "the bool true" : "the bool false";
  if (const std::optional<Integer> value = integer(type_, data_)) {
    return "the " + name + " " +
           (value->negative ? std::to_string(static_cast<int64_t>(value->bits))
                            : std::to_string(value->bits));
  }
  const double value = to_f64().value_or(0.0);
  if (std::isnan(value)) return "the " + name + " nan";
  if (std::isinf(value)) return "the " + name + (value < 0 ? " -inf" : " inf");
  return "the " + name + " " + JsonWriter().number(value).take();
}

}  // namespace splitd
