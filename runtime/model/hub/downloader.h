// Owns: fetching many pieces of many files at once. Each worker thread has a connection of its own
// and takes the next missing stretch of the first file that has one; what has landed is recorded as
// it goes, so a later run takes up where this one ended, however it ended. A whole file whose hash
// is wrong is fetched once more from its beginning, and then refused.
#pragma once

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "runtime/base/log.h"
#include "runtime/model/hub/part_file.h"
#include "runtime/model/hub/part_plan.h"
#include "runtime/model/hub/remote_files.h"

namespace splitd {

struct DownloadOptions {
  net::HttpClientOptions http;
  unsigned connections = 8;
  // What one request asks for at most: large enough that a round trip is nothing, small enough that
  // several connections share one file.
  uint64_t stretch_bytes = uint64_t{32} << 20;
  // How much may be fetched again after a power cut; each record costs a flush of the disk.
  uint64_t save_bytes = uint64_t{16} << 20;
};

// One file to end up on the disk.
struct DownloadJob {
  RepoFile remote;
  PartFile file;
  // Where its bytes come from, ascending and gapless behind the file's prefix. One piece that is
  // all of the remote file: a whole file, whose hash is checked.
  std::vector<PartLayout::Piece> pieces;
  bool whole = false;
};

// What is shown while work goes on; written by workers, read by whoever shows it.
struct Tally {
  std::atomic<uint64_t> done{0};     // bytes that are there
  std::atomic<uint64_t> total{0};    // bytes there will be
  std::atomic<uint64_t> fetched{0};  // bodies of files received, repeats included
};

class Downloader {
 public:
  // All are borrowed.
  Downloader(RemoteFiles& remote, const DownloadOptions& options, const Log& log, Tally& tally,
             net::Cancellation& cancel)
      : remote_(remote), options_(options), log_(log), tally_(tally), cancel_(cancel) {}

  // All of the jobs, each put in place when it is complete. After a failure, or when cancelled,
  // what is there has been recorded.
  Status run(std::vector<DownloadJob> jobs);

 private:
  struct Active {
    explicit Active(DownloadJob taken) : job(std::move(taken)) {}
    DownloadJob job;
    ByteSet busy;             // local ranges that workers are fetching
    bool no_ranges = false;   // the server only gives the whole file
    bool closing = false;     // a worker is checking it and putting it in place
    bool restarting = false;  // no new stretches; the last worker to let go begins anew
    bool done = false;
    int restarts = 0;
    uint64_t unsaved = 0;
  };
  struct Stretch {
    Active* active = nullptr;
    ByteRange local;
    uint64_t remote = 0;  // where it begins in the remote file
    bool close = false;   // nothing to fetch: the file is complete
  };

  Status work();
  bool next(Stretch& stretch);  // false: nothing is left to do, or it does not matter any more
  bool take_from(Active& active, Stretch& stretch) const;
  Status fetch(net::HttpClient& client, const Stretch& stretch, uint64_t& got, bool& transient);
  Status receive(net::HttpResponse& response, const Stretch& stretch, uint64_t& got);
  Result<bool> land(Active& active, ByteRange range);  // false: not wanted any more
  Status release(const Stretch& stretch);
  Status start_over(Active& active, const std::string& why);
  Status close(Active& active);
  Result<std::string> hash_problem(const DownloadJob& job) const;
  void fail(Error error);

  RemoteFiles& remote_;
  const DownloadOptions& options_;
  const Log& log_;
  Tally& tally_;
  net::Cancellation& cancel_;
  uint64_t stretch_bytes_ = 0;  // set before the workers start

  std::mutex mutex_;  // guards all below, and what an Active holds beside its file
  std::condition_variable changed_;
  std::vector<Active> active_;
  std::optional<Error> error_;
};

}  // namespace splitd
