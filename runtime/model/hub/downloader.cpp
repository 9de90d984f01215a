#include "runtime/model/hub/downloader.h"

#include <algorithm>
#include <system_error>
#include <thread>

#include "runtime/base/sha256.h"
#include "runtime/model/hub/git_blob.h"

namespace splitd {
namespace {

// A file that changed under us, or came out wrong, is worth a second try; after that it is the
// server that is broken.
constexpr int kMaxRestarts = 1;
constexpr uint64_t kLeastStretch = uint64_t{2} << 20;
// A connection that broke after fewer bytes, and before a quarter of what it was to bring, counts
// as a failed attempt.
constexpr uint64_t kProgressBytes = uint64_t{64} << 10;

}  // namespace

// With the mutex held.
bool Downloader::take_from(Active& active, Stretch& stretch) const {
  if (active.done || active.closing || active.restarting) return false;
  ByteSet taken = active.job.file.have();
  const bool alone = active.busy.size() == 0;
  stretch = {&active, {}, 0, false};
  if (taken.contains({0, active.job.file.bytes()})) {
    if (!alone) return false;
    stretch.close = active.closing = true;
    return true;
  }
  if (active.no_ranges) {
    if (!alone) return false;
    const PartLayout::Piece& all = active.job.pieces.front();
    stretch.local = {all.local, all.local + all.bytes};
    stretch.remote = all.remote;
    active.busy.add(stretch.local);
    return true;
  }
  for (const ByteRange range : active.busy.ranges()) taken.add(range);
  for (const PartLayout::Piece& piece : active.job.pieces) {
    ByteRange missing = taken.first_missing({piece.local, piece.local + piece.bytes});
    if (missing.size() == 0) continue;
    missing.end = std::min(missing.end, missing.begin + stretch_bytes_);
    stretch.local = missing;
    stretch.remote = piece.remote + (missing.begin - piece.local);
    active.busy.add(missing);
    return true;
  }
  return false;
}

bool Downloader::next(Stretch& stretch) {
  std::unique_lock lock(mutex_);
  while (!error_ && !cancel_.cancelled()) {
    bool all_done = true;
    for (Active& active : active_) {
      if (take_from(active, stretch)) return true;
      all_done = all_done && active.done;
    }
    if (all_done) return false;
    // A cancellation wakes the workers that read; they wake the ones that wait here.
    changed_.wait(lock);
  }
  return false;
}

Result<bool> Downloader::land(Active& active, ByteRange range) {
  bool save = false;
  {
    const std::lock_guard lock(mutex_);
    if (active.restarting) return false;
    const uint64_t before = active.job.file.have().size();
    active.job.file.landed(range);
    tally_.done += active.job.file.have().size() - before;
    active.unsaved += range.size();
    save = active.unsaved >= options_.save_bytes;
    if (save) active.unsaved = 0;
  }
  if (save) SPLITD_TRY(active.job.file.save());
  return true;
}

Status Downloader::release(const Stretch& stretch) {
  const std::lock_guard lock(mutex_);
  Active& active = *stretch.active;
  active.busy.remove(stretch.local);
  if (active.restarting && active.busy.size() == 0) {
    tally_.done -= active.job.file.have().size();
    SPLITD_TRY(active.job.file.restart());
    tally_.done += active.job.file.have().size();
    active.restarting = false;
  }
  changed_.notify_all();
  return {};
}

// With the mutex held.
Status Downloader::start_over(Active& active, const std::string& why) {
  if (active.restarting) return {};
  const std::string what = active.job.remote.name + ": " + why;
  if (++active.restarts > kMaxRestarts) return peer_error(what + ", again");
  log_.warning(what + "; starting it over");
  active.restarting = true;
  return {};
}

Status Downloader::receive(net::HttpResponse& response, const Stretch& stretch, uint64_t& got) {
  Active& active = *stretch.active;
  uint64_t at = stretch.local.begin;
  while (at < stretch.local.end || !response.length()) {
    SPLITD_ASSIGN(const std::span<const std::byte> data, response.read());
    if (data.empty()) break;
    if (data.size() > stretch.local.end - at) {
      return peer_error(active.job.remote.name + ": the answer is longer than the file");
    }
    SPLITD_TRY(active.job.file.write(at, data));
    SPLITD_ASSIGN(const bool wanted, land(active, {at, at + data.size()}));
    if (!wanted) return {};
    at += data.size();
    got += data.size();
    tally_.fetched += data.size();
  }
  if (at < stretch.local.end) {
    return peer_error(active.job.remote.name + ": the answer is shorter than the file");
  }
  return {};
}

// transient: worth taking up again where it stopped.
Status Downloader::fetch(net::HttpClient& client, const Stretch& stretch, uint64_t& got,
                         bool& transient) {
  Active& active = *stretch.active;
  const DownloadJob& job = active.job;
  const ByteRange range{stretch.remote, stretch.remote + stretch.local.size()};
  const bool all = range.begin == 0 && range.end == job.remote.size;
  SPLITD_ASSIGN(RemoteAnswer answer,
                remote_.open(client, job.remote, all ? std::nullopt : std::optional(range),
                             job.file.validator(), cancel_));
  {
    const std::lock_guard lock(mutex_);
    if (active.restarting) return {};
    if (answer.kind == RemoteAnswer::Kind::changed) {
      return start_over(active, "the server has another file now");
    }
    if (answer.kind == RemoteAnswer::Kind::whole) {
      if (!job.whole) {
        return peer_error(job.remote.name +
                          ": the server does not serve byte ranges, so a part cannot be fetched "
                          "alone; pull the whole model");
      }
      active.no_ranges = true;
      return {};
    }
    // Two first answers at once may still be of two files.
    const std::string known = job.file.validator();
    if (!known.empty() && !answer.validator.empty() && known != answer.validator) {
      return start_over(active, "the server has another file now");
    }
    if (known.empty()) active.job.file.set_validator(answer.validator);
  }
  transient = true;
  return receive(*answer.response, stretch, got);
}

// Empty: the content is what the hub states, as far as it states anything.
Result<std::string> Downloader::hash_problem(const DownloadJob& job) const {
  const std::string& sha256 = job.remote.sha256;
  const std::string& git_sha1 = job.remote.git_sha1;
  if (!job.whole || (sha256.empty() && git_sha1.empty())) return std::string();
  Sha256 sha256_hash;
  GitBlobHash git_hash(job.file.bytes());
  SPLITD_TRY(job.file.read_back([&](std::span<const std::byte> bytes) {
    if (sha256.empty()) {
      git_hash.update(bytes);
    } else {
      sha256_hash.update(bytes);
    }
    return !cancel_.cancelled();
  }));
  if (cancel_.cancelled()) return net::interrupted("checking " + job.remote.name);
  const std::string stated = sha256.empty() ? git_sha1 : sha256;
  const std::string found = sha256.empty() ? git_hash.finish() : hex(sha256_hash.finish());
  if (found == stated) return std::string();
  return (sha256.empty() ? "git blob hash " : "sha256 ") + found + " where the hub states " +
         stated;
}

Status Downloader::close(Active& active) {
  SPLITD_ASSIGN(const std::string problem, hash_problem(active.job));
  if (problem.empty()) SPLITD_TRY(active.job.file.finish());
  const std::lock_guard lock(mutex_);
  active.closing = false;
  active.done = problem.empty();
  if (!active.done) {
    SPLITD_TRY(start_over(active, problem));
    tally_.done -= active.job.file.have().size();
    SPLITD_TRY(active.job.file.restart());
    tally_.done += active.job.file.have().size();
    active.restarting = false;
  }
  changed_.notify_all();
  return {};
}

Status Downloader::work() {
  net::HttpClient client(options_.http);
  net::Backoff backoff(options_.http.retry);
  Stretch stretch;
  while (next(stretch)) {
    if (stretch.close) {
      SPLITD_TRY(close(*stretch.active));
      continue;
    }
    uint64_t got = 0;
    bool transient = false;
    Status status = fetch(client, stretch, got, transient);
    SPLITD_TRY(release(stretch));
    // A byte at a time is no progress: such a server would keep us for ever.
    const uint64_t enough = std::min(kProgressBytes, stretch.local.size() / 4 + 1);
    if (status.ok() || got >= enough) backoff.progress();
    if (status.ok()) continue;
    if (!transient || status.error().kind != ErrorKind::peer) return status;
    const std::optional<net::milliseconds> pause = backoff.next();
    if (!pause) return status;
    log_.info(status.error().message + "; again in " + std::to_string(pause->count()) + " ms");
    SPLITD_TRY(net::sleep_for(*pause, {net::Clock::time_point::max(), &cancel_}));
  }
  return {};
}

void Downloader::fail(Error error) {
  const std::lock_guard lock(mutex_);
  if (!error_) error_ = std::move(error);
  cancel_.cancel();  // the other workers have nothing left to do either
  changed_.notify_all();
}

Status Downloader::run(std::vector<DownloadJob> jobs) {
  active_.clear();
  const uint64_t most = std::max(1u, options_.connections);
  uint64_t missing = 0;
  for (const DownloadJob& job : jobs) missing += job.file.bytes() - job.file.have().size();
  // Little is shared evenly too, as far as that is worth a request.
  stretch_bytes_ = std::min(options_.stretch_bytes, std::max(kLeastStretch, missing / (4 * most)));
  uint64_t stretches = 0;
  for (DownloadJob& job : jobs) {
    stretches += 1 + job.file.bytes() / stretch_bytes_ + job.pieces.size();
    Active& active = active_.emplace_back(std::move(job));
    tally_.total += active.job.file.bytes();
    tally_.done += active.job.file.have().size();
  }
  std::vector<std::thread> workers;
  try {
    while (workers.size() < std::min(most, stretches)) {
      workers.emplace_back([this] {
        if (Status status = work(); !status.ok()) fail(status.take_error());
      });
    }
  } catch (const std::system_error& error) {
    if (workers.empty()) fail(failed(std::string("cannot start a thread: ") + error.what()));
  }
  for (std::thread& worker : workers) worker.join();
  Status saved;
  for (Active& active : active_) {
    if (!active.done && saved.ok()) saved = active.job.file.save();
  }
  if (error_) return *error_;
  if (cancel_.cancelled()) return net::interrupted("pulling");
  return saved;
}

}  // namespace splitd
