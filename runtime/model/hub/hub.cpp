// The course of a pull: ask what there is, fetch the small files, decide about the weights, fetch
// them, give the directory its name.
#include "runtime/model/hub/hub.h"

#include <sys/stat.h>

#include <algorithm>
#include <cstdlib>
#include <system_error>
#include <thread>

#include "runtime/base/checked.h"
#include "runtime/base/json.h"
#include "runtime/base/sha256.h"
#include "runtime/model/formats/safetensors.h"
#include "runtime/model/formats/tensor_files.h"
#include "runtime/model/hub/pull_place.h"
#include "runtime/model/hub/remote_files.h"

namespace splitd {
namespace {

constexpr uint64_t kMaxIndexBytes = uint64_t{32} << 20;
constexpr uint64_t kMaxConfigBytes = uint64_t{4} << 20;
// Headers of all shards together, held while a part is planned: those of the largest public models
// are about 20 MB.
constexpr uint64_t kMaxHeadersBytes = uint64_t{256} << 20;
constexpr size_t kMaxShards = 4096;
// Left free on the disk: a full one breaks more than this pull.
constexpr uint64_t kSpareBytes = uint64_t{64} << 20;
constexpr const char* kIndexName = "model.safetensors.index.json";

uint64_t file_bytes(const std::string& path) {
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0 || !S_ISREG(info.st_mode)) return ~uint64_t{0};
  return static_cast<uint64_t>(info.st_size);
}

// What a file's bytes are of, for taking up an earlier run: the same source is the same bytes.
std::string source_of(const RepoFile& file, const std::string& commit) {
  if (!file.sha256.empty()) return "sha256 " + file.sha256;
  if (!file.git_sha1.empty()) return "git " + file.git_sha1;
  return "commit " + commit + " " + file.name;
}

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

class Pull {
 public:
  Pull(const PullOptions& options, RepoSpec spec, net::Url endpoint, PullPlace place)
      : options_(options),
        spec_(std::move(spec)),
        place_(std::move(place)),
        client_(options.download.http),
        remote_(std::move(endpoint), spec_, options.token) {}

  Result<PullResult> run();
  Tally& tally() { return tally_; }
  net::Cancellation& cancel() { return cancel_; }

 private:
  struct Shard {
    RepoFile remote;
    SafetensorsHeader header;
    PartLayout layout;
  };

  Result<RepoFile> file_of(const std::string& name);
  Status add_whole(const std::string& name, std::vector<DownloadJob>& jobs);
  Status add_part(const Shard& shard, std::vector<DownloadJob>& jobs);
  Status download(std::vector<DownloadJob> jobs);
  Status check_space(const std::vector<DownloadJob>& jobs) const;
  Status pull_model();
  Status pull_file();
  Status pull_weights(const ModelFileNames& names);
  Status pull_part(const ModelFileNames& names);
  Result<std::vector<std::string>> shards_of(const std::string& index_json) const;
  Result<std::string> fetch_index();
  Status read_header(net::HttpClient& client, Shard& shard, std::atomic<uint64_t>& held);
  Result<TensorNames> learn_names(const std::string& index_json, std::vector<Shard>& shards);
  Status write_part(std::vector<Shard>& shards, const Part& part, bool indexed);
  Result<bool> is_tied() const;
  PullResult result(const PullManifest& manifest, bool was_there) const;

  const PullOptions& options_;
  const RepoSpec spec_;
  PullPlace place_;
  net::Cancellation cancel_;
  Tally tally_;
  net::HttpClient client_;
  RemoteFiles remote_;
  RepoInfo info_;
  PullManifest manifest_;
  std::vector<std::string> unhashed_;
};

// The entry of the list, with a size and, where the hub states one, a hash.
Result<RepoFile> Pull::file_of(const std::string& name) {
  const RepoFile* entry = info_.find(name);
  if (!is_plain_file_name(name) || entry == nullptr) {
    return model_error(spec_.repo + " has no file " + net::quoted(name));
  }
  RepoFile file = *entry;
  SPLITD_TRY(remote_.complete(client_, file, cancel_));
  if (*file.size > uint64_t{1} << 50) {
    return peer_error(spec_.repo + " " + name + ": a size of " + std::to_string(*file.size) +
                      " bytes is not believable");
  }
  return file;
}

Status Pull::add_whole(const std::string& name, std::vector<DownloadJob>& jobs) {
  SPLITD_ASSIGN(RepoFile file, file_of(name));
  manifest_.files.push_back({name, *file.size, file.sha256, file.git_sha1});
  if (file.sha256.empty() && file.git_sha1.empty()) unhashed_.push_back(name);
  const std::string path = place_.incoming() + "/" + name;
  // Nothing has its final name before its hash was checked.
  if (file_bytes(path) == *file.size) return {};
  const uint64_t size = *file.size;
  SPLITD_ASSIGN(PartFile part, PartFile::open(path, source_of(file, remote_.commit()), size, ""));
  std::vector<PartLayout::Piece> pieces;
  if (size > 0) pieces.push_back({0, 0, size});
  jobs.push_back({std::move(file), std::move(part), std::move(pieces), true});
  return {};
}

Status Pull::add_part(const Shard& shard, std::vector<DownloadJob>& jobs) {
  const std::string path = place_.incoming() + "/" + shard.remote.name;
  manifest_.files.push_back(
      {shard.remote.name, shard.layout.bytes, shard.remote.sha256, shard.remote.git_sha1});
  if (file_bytes(path) == shard.layout.bytes) return {};
  Sha256 header;
  header.update(shard.layout.header);
  const std::string source =
      source_of(shard.remote, remote_.commit()) + " as " + hex(header.finish());
  SPLITD_ASSIGN(PartFile part,
                PartFile::open(path, source, shard.layout.bytes, shard.layout.header));
  jobs.push_back({shard.remote, std::move(part), shard.layout.pieces, false});
  return {};
}

Status Pull::check_space(const std::vector<DownloadJob>& jobs) const {
  uint64_t missing = 0;
  for (const DownloadJob& job : jobs) {
    const auto sum = checked_add(missing, job.file.bytes() - job.file.have().size());
    if (!sum) return peer_error(spec_.repo + ": sizes beyond what 64 bits can count");
    missing = *sum;
  }
  SPLITD_ASSIGN(const uint64_t free, place_.free_bytes());
  if (missing == 0 || (free >= kSpareBytes && missing <= free - kSpareBytes)) return {};
  return failed(place_.incoming() + ": " + std::to_string(missing >> 20) +
                " MiB are still to be fetched, but the disk has only " +
                std::to_string(free >> 20) + " MiB left (" + std::to_string(kSpareBytes >> 20) +
                " MiB stay free)");
}

Status Pull::download(std::vector<DownloadJob> jobs) {
  SPLITD_TRY(check_space(jobs));
  return Downloader(remote_, options_.download, options_.log, tally_, cancel_).run(std::move(jobs));
}

Status Pull::pull_file() {
  std::vector<DownloadJob> jobs;
  SPLITD_TRY(add_whole(options_.file, jobs));
  return download(std::move(jobs));
}

Status Pull::pull_model() {
  Result<ModelFileNames> names = choose_model_files(info_);
  if (!names) return names.take_error().within(spec_.repo);
  using Kind = PartRequest::Kind;
  const Kind kind = options_.part.kind;
  std::vector<DownloadJob> jobs;
  for (const std::string& name : names->config) SPLITD_TRY(add_whole(name, jobs));
  if (kind == Kind::whole || kind == Kind::ends) {
    for (const std::string& name : names->tokenizer) SPLITD_TRY(add_whole(name, jobs));
    const auto& list = names->tokenizer;
    if (std::find(list.begin(), list.end(), "tokenizer.json") == list.end()) {
      options_.log.warning(spec_.repo + " has no tokenizer.json: it can run on token ids only");
    }
  }
  if (kind == Kind::whole && !names->index.empty()) SPLITD_TRY(add_whole(names->index, jobs));
  SPLITD_TRY(download(std::move(jobs)));
  return kind == Kind::whole ? pull_weights(*names) : pull_part(*names);
}

Result<std::vector<std::string>> Pull::shards_of(const std::string& index_json) const {
  Result<SafetensorsIndex> index = parse_safetensors_index(index_json);
  if (!index) return index.take_error().within(spec_.repo + " " + kIndexName);
  if (index->shards.size() > kMaxShards) {
    return model_error(spec_.repo + ": " + std::to_string(index->shards.size()) +
                       " shards; at most " + std::to_string(kMaxShards) + " are accepted");
  }
  for (const std::string& shard : index->shards) {
    if (!shard.ends_with(".safetensors")) {
      return model_error(spec_.repo + " " + kIndexName + ": the shard " + net::quoted(shard) +
                         " is no .safetensors file");
    }
  }
  return index->shards;
}

Status Pull::pull_weights(const ModelFileNames& names) {
  std::vector<std::string> files = {names.weights};
  if (!names.index.empty()) {
    SPLITD_ASSIGN(const std::string json,
                  read_file(place_.incoming() + "/" + kIndexName, kMaxIndexBytes));
    SPLITD_ASSIGN(files, shards_of(json));
  }
  std::vector<DownloadJob> jobs;
  for (const std::string& name : files) SPLITD_TRY(add_whole(name, jobs));
  return download(std::move(jobs));
}

// The index of the whole model; a part gets one of its own.
Result<std::string> Pull::fetch_index() {
  SPLITD_ASSIGN(const RepoFile file, file_of(kIndexName));
  return remote_.fetch(client_, file, std::nullopt, kMaxIndexBytes, cancel_);
}

Status Pull::read_header(net::HttpClient& client, Shard& shard, std::atomic<uint64_t>& held) {
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
Result<TensorNames> Pull::learn_names(const std::string& index_json, std::vector<Shard>& shards) {
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

Result<bool> Pull::is_tied() const {
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

Status Pull::pull_part(const ModelFileNames& names) {
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
  return write_part(shards, *part, indexed);
}

Status Pull::write_part(std::vector<Shard>& shards, const Part& part, bool indexed) {
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
  options_.log.info(spec_.repo + ": layers " + part.layers_text() + " of " +
                    std::to_string(part.layers.size()));
  return {};
}

PullResult Pull::result(const PullManifest& manifest, bool was_there) const {
  PullResult out;
  out.path = place_.target();
  if (!options_.file.empty()) out.path += "/" + options_.file;
  out.commit = manifest.commit;
  for (const PullManifest::File& file : manifest.files) out.bytes += file.bytes;
  out.fetched = tally_.fetched;
  out.was_there = was_there;
  out.part = manifest.part;
  out.layers = manifest.layers;
  out.n_layer = manifest.n_layer;
  out.unhashed = unhashed_;
  return out;
}

Result<PullResult> Pull::run() {
  SPLITD_ASSIGN(info_, remote_.info(client_, cancel_));
  if (is_commit(spec_.revision) && spec_.revision != info_.commit) {
    return peer_error(spec_.repo + ": the hub answers with commit " + info_.commit +
                      " when asked for " + spec_.revision);
  }
  manifest_.repo = spec_.repo;
  manifest_.commit = info_.commit;
  manifest_.part = options_.file.empty() ? options_.part.name() : "file-" + options_.file;
  SPLITD_ASSIGN(const bool there, place_.settle(manifest_));
  if (there) {
    SPLITD_TRY(place_.write_ref(info_.commit));
    SPLITD_ASSIGN(const PullManifest manifest, PullManifest::read(place_.target()));
    return result(manifest, true);
  }
  SPLITD_TRY(options_.file.empty() ? pull_model() : pull_file());
  SPLITD_TRY(place_.finish(manifest_));
  SPLITD_TRY(place_.write_ref(info_.commit));
  return result(manifest_, false);
}

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

// Where huggingface_hub's login keeps the token.
std::string token_path() {
  if (std::string path = environment("HF_TOKEN_PATH"); !path.empty()) return path;
  if (std::string home = environment("HF_HOME"); !home.empty()) return home + "/token";
  if (std::string cache = environment("XDG_CACHE_HOME"); !cache.empty()) {
    return cache + "/huggingface/token";
  }
  return environment("HOME") + "/.cache/huggingface/token";
}

net::Secret token_from_environment() {
  std::string text = environment("HF_TOKEN");
  if (text.empty()) text = environment("HUGGING_FACE_HUB_TOKEN");
  if (text.empty()) {
    Result<std::string> file = read_file(token_path(), 4096);
    if (file.ok()) text = std::move(*file);
  }
  const auto is_blank = [](char c) { return c == ' ' || c == '\n' || c == '\r' || c == '\t'; };
  while (!text.empty() && is_blank(text.back())) text.pop_back();
  const auto first = std::find_if_not(text.begin(), text.end(), is_blank);
  text.erase(text.begin(), first);
  return net::Secret(std::move(text));
}

Result<net::Url> endpoint_url(const PullOptions& options) {
  Result<net::Url> url = net::parse_url(options.endpoint);
  if (!url) return url.take_error().within("HF_ENDPOINT");
  if (!url->query.empty()) return usage_error("HF_ENDPOINT: a query does not belong there");
  if (!url->path.ends_with('/')) url->path += '/';
  return url;
}

}  // namespace

Result<PullOptions> pull_options_from_environment(const std::string& ca_file) {
  PullOptions out;
  if (const std::string endpoint = environment("HF_ENDPOINT"); !endpoint.empty()) {
    out.endpoint = endpoint;
  }
  out.token = token_from_environment();
  net::HttpConnectOptions& connect = out.download.http.connect;
  SPLITD_TRY(net::use_proxy_from_environment(connect));
  SPLITD_ASSIGN(connect.tls, net::TlsClient::create({ca_file}));
  return out;
}

Result<PullResult> pull(const PullOptions& options, const ProgressFn& progress) {
  SPLITD_ASSIGN(RepoSpec spec, parse_repo_spec(options.model));
  SPLITD_ASSIGN(net::Url endpoint, endpoint_url(options));
  if (!options.file.empty() &&
      !(is_plain_file_name(options.file) && options.file.ends_with(".gguf"))) {
    return usage_error("--file " + net::quoted(options.file) +
                       ": a .gguf file at the top of the repository is expected");
  }
  if (!options.file.empty() && options.part.kind != PartRequest::Kind::whole) {
    return usage_error("--file names one whole file: no layers can be chosen");
  }
  if (!endpoint.secure() && !net::is_loopback(endpoint.host)) {
    options.log.warning("the hub " + endpoint.shown() +
                        " is not encrypted: the hashes that it states protect nothing, and no "
                        "token is sent");
  }
  std::string cache = options.cache;
  if (cache.empty() && options.directory.empty()) {
    SPLITD_ASSIGN(cache, cache_directory());
  }
  const std::string what = spec.repo;
  SPLITD_ASSIGN(PullPlace place, options.directory.empty()
                                     ? PullPlace::in_cache(cache, spec)
                                     : PullPlace::in_directory(options.directory));
  Pull work(options, std::move(spec), std::move(endpoint), std::move(place));

  std::mutex mutex;  // guards outcome
  std::condition_variable finished;
  std::optional<Result<PullResult>> outcome;
  std::thread thread;
  try {
    thread = std::thread([&] {
      Result<PullResult> result = work.run();
      const std::lock_guard lock(mutex);
      outcome = std::move(result);
      finished.notify_all();
    });
  } catch (const std::system_error& error) {
    return failed(std::string("cannot start a thread: ") + error.what());
  }
  std::unique_lock lock(mutex);
  while (!finished.wait_for(lock, std::chrono::milliseconds(100),
                            [&] { return outcome.has_value(); })) {
    lock.unlock();
    const Tally& tally = work.tally();
    if (progress && !progress({what, tally.done, tally.total})) work.cancel().cancel();
    lock.lock();
  }
  lock.unlock();
  thread.join();
  return std::move(*outcome);
}

}  // namespace splitd
