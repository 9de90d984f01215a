// The part of a model: its headers, the tensors it needs, and the files that hold them.
#include <algorithm>
#include <functional>
#include <mutex>
#include <system_error>
#include <thread>

#include "runtime/base/json.h"
#include "runtime/model/formats/tensor_files.h"
#include "runtime/model/hub/puller.h"

namespace splitd {
namespace {

constexpr uint64_t kMaxConfigBytes = uint64_t{4} << 20;
// Headers of all shards together, held while a part is planned: those of the largest public models
// are about 20 MB.
constexpr uint64_t kMaxHeadersBytes = uint64_t{256} << 20;

// Calls fn(client, i) for each i on several threads; the first failure is the answer.
Status for_each(size_t count, const DownloadOptions& options, const net::Cancellation& cancel,
                const std::function<Status(net::HttpClient&, size_t)>& fn) {
  std::atomic<size_t> next{0};
  std::mutex mutex;  // guards first
  Status first;
  const auto work = [&] {
    net::HttpClient client(options.http);
    for (size_t i = next++; i < count; i = next++) {
      Status status = cancel.cancelled() ? net::interrupted("pulling") : fn(client, i);
      if (status.ok()) continue;
      const std::lock_guard lock(mutex);
      if (first.ok()) first = std::move(status);
      next = count;
    }
  };
  std::vector<std::thread> threads;
  try {
    while (threads.size() + 1 < std::min<size_t>(count, options.connections)) {
      threads.emplace_back(work);
    }
  } catch (const std::system_error&) {
    // Fewer threads do it too.
  }
  work();
  for (std::thread& thread : threads) thread.join();
  return first;
}

}  // namespace

// The index of the whole model; a part gets one of its own.
Result<std::string> Puller::fetch_index() {
  SPLITD_ASSIGN(const RepoFile file, file_of(kIndexName));
  return remote_.fetch(client_, file, std::nullopt, kMaxIndexBytes, cancel_);
}

Status Puller::read_header(net::HttpClient& client, Shard& shard, std::atomic<uint64_t>& held) {
  const RepoFile& file = shard.remote;
  const std::string what = spec_.repo + " " + file.name;
  if (*file.size < 8) return model_error(what + ": too short for a safetensors file");
  SPLITD_ASSIGN(std::string bytes, remote_.fetch(client, file, ByteRange{0, 8}, 8, cancel_));
  const auto view = [&] { return std::as_bytes(std::span(bytes.data(), bytes.size())); };
  Result<uint64_t> length = safetensors_header_bytes(view());
  if (!length) return length.take_error().within(what);
  if (*length > *file.size - 8) return model_error(what + ": a header longer than the file");
  if ((held += *length) > kMaxHeadersBytes) {
    return model_error(spec_.repo + ": the shards' headers have more than " +
                       std::to_string(kMaxHeadersBytes >> 20) + " MiB together");
  }
  if (*length > 0) {
    SPLITD_ASSIGN(const std::string header, remote_.fetch(client, file, ByteRange{8, 8 + *length},
                                                          kMaxSafetensorsHeaderBytes, cancel_));
    bytes += header;
  }
  Result<SafetensorsHeader> header = parse_safetensors_header(view(), *file.size);
  if (!header) return header.take_error().within(what);
  shard.header = std::move(*header);
  return {};
}

// All tensors' names: the index has them; of a single file only its header does.
Result<TensorNames> Puller::learn_names(const std::string& index_json, std::vector<Shard>& shards) {
  std::vector<std::string> names;
  if (!index_json.empty()) {
    SPLITD_ASSIGN(const SafetensorsIndex index, parse_safetensors_index(index_json));
    for (const auto& [name, shard] : index.shard_of) names.push_back(name);
  } else {
    std::atomic<uint64_t> held{0};
    SPLITD_TRY(read_header(client_, shards.front(), held));
    for (const TensorInfo& tensor : shards.front().header.tensors) names.push_back(tensor.name);
  }
  Result<TensorNames> out =
      TensorNames::learn(std::vector<std::string_view>(names.begin(), names.end()));
  if (!out) return out.take_error().within(spec_.repo);
  return out;
}

Result<bool> Puller::is_tied() const {
  SPLITD_ASSIGN(std::string text, read_file(place_.incoming() + "/config.json", kMaxConfigBytes));
  Result<JsonDoc> doc = JsonDoc::parse(std::move(text));
  if (!doc) return model_error(spec_.repo + " config.json: " + doc.error().message);
  const auto says = [](std::optional<Json> object) {
    const auto value = object ? object->find("tie_word_embeddings") : std::nullopt;
    return value ? value->to_bool() : std::nullopt;
  };
  if (const auto tied = says(doc->root())) return *tied;
  return says(doc->root().find("text_config")).value_or(false);
}

Status Puller::pull_part(const ModelFileNames& names) {
  const bool indexed = !names.index.empty();
  std::string index_json;
  std::vector<std::string> files = {names.weights};
  if (indexed) {
    SPLITD_ASSIGN(index_json, fetch_index());
    SPLITD_ASSIGN(files, shards_of(index_json));
  }
  std::vector<Shard> shards(files.size());
  for (size_t i = 0; i < files.size(); ++i) {
    SPLITD_ASSIGN(shards[i].remote, file_of(files[i]));
  }
  SPLITD_ASSIGN(const TensorNames tensors, learn_names(index_json, shards));
  SPLITD_ASSIGN(const bool tied, is_tied());
  Result<Part> part = resolve_part(options_.part, tensors.n_layer(), tied);
  if (!part) return part.take_error().within(spec_.repo);
  manifest_.layers = part->layers_text();
  manifest_.n_layer = tensors.n_layer();
  if (indexed) {
    // Shards without anything for us are not even asked for their header.
    SPLITD_ASSIGN(const SafetensorsIndex index, parse_safetensors_index(index_json));
    std::vector<std::string> needed;
    for (const auto& [name, shard] : index.shard_of) {
      if (tensors.needs(*part, name)) needed.push_back(shard);
    }
    std::erase_if(shards, [&](const Shard& shard) {
      return std::find(needed.begin(), needed.end(), shard.remote.name) == needed.end();
    });
    std::atomic<uint64_t> held{0};
    SPLITD_TRY(for_each(
        shards.size(), options_.download, cancel_,
        [&](net::HttpClient& client, size_t i) { return read_header(client, shards[i], held); }));
  }
  for (Shard& shard : shards) {
    std::map<std::string, std::string> metadata = {
        {"splitd.source", spec_.repo + "@" + remote_.commit() + "/" + shard.remote.name},
        {"splitd.layers", part->layers_text() + " of " + std::to_string(tensors.n_layer())},
        {"splitd.part", manifest_.part}};
    if (!shard.remote.sha256.empty()) {
      metadata.emplace("splitd.source_sha256", shard.remote.sha256);
    }
    Result<PartLayout> layout = plan_part(shard.header, tensors, *part, std::move(metadata));
    if (!layout) return layout.take_error().within(spec_.repo + " " + shard.remote.name);
    shard.layout = std::move(*layout);
    shard.header = {};
  }
  return write_part(shards, indexed);
}

Status Puller::write_part(const std::vector<Shard>& shards, bool indexed) {
  std::vector<DownloadJob> jobs;
  for (const Shard& shard : shards) SPLITD_TRY(add_part(shard, jobs));
  SPLITD_TRY(download(std::move(jobs)));
  if (indexed) {
    JsonWriter index(2);
    uint64_t bytes = 0;
    for (const Shard& shard : shards) bytes += shard.layout.bytes - shard.layout.header.size();
    index.begin_object().key("metadata").begin_object().field("total_size", bytes).end_object();
    index.key("weight_map").begin_object();
    for (const Shard& shard : shards) {
      for (const TensorInfo& tensor : shard.layout.tensors) {
        index.field(tensor.name, shard.remote.name);
      }
    }
    const std::string text = index.end_object().end_object().take() + "\n";
    SPLITD_TRY(write_file(place_.incoming() + "/" + kIndexName, text));
    manifest_.files.push_back({kIndexName, text.size(), "", ""});
  }
  // No hash covers a part: that it is a model's part, and whole, is checked like any other file.
  Result<TensorFiles> files = TensorFiles::open_safetensors(place_.incoming());
  if (!files) return files.take_error();
  return {};
}

}  // namespace splitd
