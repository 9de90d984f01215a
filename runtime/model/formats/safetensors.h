// Owns: the safetensors format, strictly: anything the format does not allow is refused with the
// tensor and the numbers in the message. A hostile header costs a small multiple of its own size.
// Pure functions over bytes; files are opened by TensorFiles.
#pragma once

#include <cstddef>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "runtime/base/result.h"
#include "runtime/model/formats/tensor.h"

namespace splitd {

inline constexpr uint64_t kMaxSafetensorsHeaderBytes = uint64_t{32} << 20;

struct SafetensorsHeader {
  std::vector<TensorInfo> tensors;              // ascending by `begin`
  std::map<std::string, std::string> metadata;  // "__metadata__"
  uint64_t data_begin = 0;                      // 8 + header length
};

// The length field: what must be read beyond the first 8 bytes. Refuses lengths over the cap.
[[nodiscard]] Result<uint64_t> safetensors_header_bytes(std::span<const std::byte> first_8_bytes);

// `prefix` holds at least 8 + header length bytes of a file that is `file_bytes` long.
[[nodiscard]] Result<SafetensorsHeader> parse_safetensors_header(std::span<const std::byte> prefix,
                                                                 uint64_t file_bytes);

// model.safetensors.index.json: tensor name → shard file name (a plain name in the same directory).
struct SafetensorsIndex {
  std::map<std::string, std::string, std::less<>> shard_of;
  std::vector<std::string> shards;  // distinct, sorted
};
[[nodiscard]] Result<SafetensorsIndex> parse_safetensors_index(std::string_view json);

}  // namespace splitd
