// Owns: `splitd pull`: a model, or the part of one that a machine will run, from a hub that speaks
// Hugging Face's API into a directory that appears whole or not at all. Resumable, hashed, bounded;
// what the hub says is not believed where it can be checked. One pull of a model at a time.
// The cache's layout and what a part holds: README.md.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "net/http_client.h"
#include "runtime/base/log.h"
#include "runtime/base/progress.h"
#include "runtime/base/result.h"
#include "runtime/model/hub/downloader.h"
#include "runtime/model/hub/part_plan.h"

namespace splitd {

struct PullOptions {
  std::string model;      // "org/name" or "org/name@revision"
  PartRequest part;       // the whole model by default
  std::string file;       // this one file of the repository instead (a .gguf)
  std::string directory;  // where to; empty: the cache
  std::string cache;      // the cache; empty: cache_directory()
  std::string endpoint = "https://huggingface.co";
  net::Secret token;
  DownloadOptions download;
  Log log;
};

// The endpoint from HF_ENDPOINT; the token from HF_TOKEN, or the file that huggingface_hub keeps it
// in; the proxy from HTTPS_PROXY. TLS trusts `ca_file`, or the system where it is empty.
[[nodiscard]] Result<PullOptions> pull_options_from_environment(const std::string& ca_file);

struct PullResult {
  std::string path;  // what MODEL may be from now on
  std::string commit;
  uint64_t bytes = 0;                 // of the files
  uint64_t fetched = 0;               // over the network, this time
  bool was_there = false;             // nothing had to be fetched
  std::string part;                   // as PartRequest::name()
  std::string layers;                 // of a part: "0:2,30:32"
  uint32_t n_layer = 0;               // of a part: all the model has
  std::vector<std::string> unhashed;  // files whose hash the hub does not state
};

// Runs on threads of its own; `progress` is called on the caller's, about ten times a second, and
// stops the pull by answering false. What was fetched stays, and the next pull takes it up.
[[nodiscard]] Result<PullResult> pull(const PullOptions& options, const ProgressFn& progress);

}  // namespace splitd
