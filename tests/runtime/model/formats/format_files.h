// Small model files, made byte by byte, for the tests of the readers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/model/formats/gguf.h"

namespace splitd {

inline std::span<const std::byte> as_bytes(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

template <class T>
std::string le(T value) {
  std::string out(sizeof value, '\0');
  std::memcpy(out.data(), &value, sizeof value);
  return out;
}
inline std::string le32(uint64_t value) {
  return le(static_cast<uint32_t>(value));
}
inline std::string le64(uint64_t value) {
  return le(value);
}

inline std::string from_hex(std::string_view text) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string out;
  for (size_t i = 0; i + 1 < text.size(); i += 2) {
    out.push_back(static_cast<char>(kDigits.find(text[i]) << 4 | kDigits.find(text[i + 1])));
  }
  return out;
}

// "[1,2]" as shape_text prints it.
inline std::string spaced(std::string_view json) {
  std::string out;
  for (char c : json) out += c == ',' ? std::string(", ") : std::string(1, c);
  return out;
}

// Lays a GGUF file out as writers do; every field can be made to lie.
struct GgufBuilder {
  struct Tensor {
    std::string name;
    std::vector<uint64_t> ne;  // innermost first, as in the file
    uint32_t type = 0;
    std::string data;
  };
  std::string magic = "GGUF";
  uint32_t version = 3;
  uint64_t alignment = 32;
  bool pad_last = true;
  std::string kvs;
  uint64_t n_kv = 0;
  std::vector<Tensor> tensors;
  std::function<uint64_t(size_t, uint64_t)> offset = [](size_t, uint64_t at) { return at; };
  uint64_t extra_tensors = 0;  // counted and not there

  static std::string text(std::string_view bytes) {
    return le64(bytes.size()) + std::string(bytes);
  }

  GgufBuilder& kv(std::string_view key, GgufType type, const std::string& value) {
    kvs += text(key) + le32(static_cast<uint32_t>(type)) + value;
    ++n_kv;
    return *this;
  }
  GgufBuilder& u32(std::string_view key, uint32_t value) {
    return kv(key, GgufType::u32, le(value));
  }
  GgufBuilder& string(std::string_view key, std::string_view value) {
    return kv(key, GgufType::string, text(value));
  }
  static std::string array(GgufType item, uint64_t count, const std::string& items) {
    return le32(static_cast<uint32_t>(item)) + le64(count) + items;
  }

  static void pad(std::string& out, uint64_t to) { out.resize((out.size() + to - 1) / to * to); }

  std::string build() const {
    std::string out = magic + le(version) + le64(tensors.size() + extra_tensors) + le64(n_kv) + kvs;
    std::string data;
    for (size_t i = 0; i < tensors.size(); ++i) {
      const Tensor& tensor = tensors[i];
      out += text(tensor.name) + le32(tensor.ne.size());
      for (uint64_t size : tensor.ne) out += le64(size);
      pad(data, alignment);
      out += le(tensor.type) + le64(offset(i, data.size()));
      data += tensor.data;
    }
    if (tensors.empty()) return out;
    if (pad_last) pad(data, alignment);
    pad(out, alignment);
    return out + data;
  }
};

}  // namespace splitd
