// Owns: the course of one pull: ask what there is, fetch the small files, decide about the weights,
// fetch them, give the directory its name. run() once, on one thread; tally() and cancel() from
// any.
#pragma once

#include <atomic>
#include <string>
#include <vector>

#include "runtime/model/formats/safetensors.h"
#include "runtime/model/hub/hub.h"
#include "runtime/model/hub/pull_place.h"
#include "runtime/model/hub/remote_files.h"

namespace splitd {

inline constexpr uint64_t kMaxIndexBytes = uint64_t{32} << 20;
inline constexpr const char* kIndexName = "model.safetensors.index.json";

class Puller {
 public:
  Puller(const PullOptions& options, RepoSpec spec, net::Url endpoint, PullPlace place)
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
  Status write_part(const std::vector<Shard>& shards, bool indexed);
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

}  // namespace splitd
