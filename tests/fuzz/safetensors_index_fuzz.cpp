// Any text as an index: the shards of an accepted one are plain names, and all that are named.
#include <algorithm>
#include <cstdlib>

#include "runtime/model/formats/safetensors.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace splitd;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const Result<SafetensorsIndex> index = parse_safetensors_index(text);
  if (!index) return 0;
  for (const std::string& shard : index->shards) {
    if (shard.empty() || shard == "." || shard == "..") std::abort();
    if (shard.find_first_of(std::string_view("/\\\0\n", 4)) != std::string::npos) std::abort();
  }
  for (const auto& [name, shard] : index->shard_of) {
    if (!std::binary_search(index->shards.begin(), index->shards.end(), shard)) std::abort();
  }
  return 0;
}
