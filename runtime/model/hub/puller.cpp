// Whole models and single files.
#include "runtime/model/hub/puller.h"

#include <sys/stat.h>

#include <algorithm>

#include "runtime/base/checked.h"
#include "runtime/base/sha256.h"

namespace splitd {
namespace {

constexpr size_t kMaxShards = 4096;
// Left free on the disk: a full one breaks more than this pull.
constexpr uint64_t kSpareBytes = uint64_t{64} << 20;

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

}  // namespace

// The entry of the list, with a size and, where the hub states one, a hash.
Result<RepoFile> Puller::file_of(const std::string& name) {
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

Status Puller::add_whole(const std::string& name, std::vector<DownloadJob>& jobs) {
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

Status Puller::add_part(const Shard& shard, std::vector<DownloadJob>& jobs) {
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

Status Puller::check_space(const std::vector<DownloadJob>& jobs) const {
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

Status Puller::download(std::vector<DownloadJob> jobs) {
  SPLITD_TRY(check_space(jobs));
  return Downloader(remote_, options_.download, options_.log, tally_, cancel_).run(std::move(jobs));
}

Status Puller::pull_file() {
  std::vector<DownloadJob> jobs;
  SPLITD_TRY(add_whole(options_.file, jobs));
  return download(std::move(jobs));
}

Status Puller::pull_model() {
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

Result<std::vector<std::string>> Puller::shards_of(const std::string& index_json) const {
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

Status Puller::pull_weights(const ModelFileNames& names) {
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

PullResult Puller::result(const PullManifest& manifest, bool was_there) const {
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

Result<PullResult> Puller::run() {
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

}  // namespace splitd
