// model.safetensors.index.json. Of a shard's name only a plain file name in the same directory is
// accepted, so an index cannot make a reader open anything else.
#include <algorithm>
#include <utility>

#include "runtime/base/json.h"
#include "runtime/model/formats/safetensors.h"

namespace splitd {
namespace {

constexpr size_t kMostIndexBytes = size_t{32} << 20;
constexpr size_t kMostEntries = size_t{1} << 19;  // the largest public models have 150,000

bool is_plain_name(std::string_view name) {
  if (name.empty() || name == "." || name == ".." || name.size() > 255) return false;
  return std::none_of(name.begin(), name.end(), [](char c) {
    return c == '/' || c == '\\' || static_cast<unsigned char>(c) < 0x20 || c == 0x7f;
  });
}

}  // namespace

Result<SafetensorsIndex> parse_safetensors_index(std::string_view json) {
  const JsonLimits limits{
      .max_bytes = kMostIndexBytes, .max_depth = 128, .max_nodes = json.size() / 4 + 4096};
  SPLITD_ASSIGN(const JsonDoc doc, JsonDoc::parse_view(json, limits));
  const Json root = doc.root();
  if (!root.is_object()) return model_error("is " + root.describe() + ", not an object");
  const std::optional<Json> map = root.find("weight_map");
  if (!map) return model_error("no weight_map");
  if (!map->is_object()) {
    return model_error("weight_map is " + map->describe() + ", not an object");
  }
  if (map->size() > kMostEntries) {
    return model_error("weight_map has " + std::to_string(map->size()) + " entries; at most " +
                       std::to_string(kMostEntries) + " are accepted");
  }
  SafetensorsIndex index;
  for (const Json::Member entry : map->members()) {
    const std::optional<std::string_view> shard = entry.value.to_string();
    if (!shard) {
      return model_error("weight_map " + quoted_name(entry.key) + " is " + entry.value.describe() +
                         ", not a file name");
    }
    if (!is_plain_name(*shard)) {
      return model_error("weight_map " + quoted_name(entry.key) + " names the shard " +
                         quoted_name(*shard) + ", which is not a plain file name");
    }
    index.shard_of.emplace(entry.key, *shard);
    index.shards.emplace_back(*shard);
  }
  if (index.shard_of.empty()) return model_error("weight_map is empty");
  std::sort(index.shards.begin(), index.shards.end());
  index.shards.erase(std::unique(index.shards.begin(), index.shards.end()), index.shards.end());
  return index;
}

}  // namespace splitd
