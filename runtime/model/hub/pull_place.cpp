#include "runtime/model/hub/pull_place.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>

#include "runtime/base/json.h"

namespace splitd {
namespace {

constexpr const char* kManifest = "/splitd_pull.json";
constexpr const char* kRooms[] = {"/refs", "/snapshots", "/incoming"};
constexpr uint64_t kMaxManifestBytes = uint64_t{16} << 20;

Status make_directories(const std::string& path) {
  std::error_code error;
  std::filesystem::create_directories(path, error);
  if (error && !is_directory(path)) {
    return failed("cannot create " + path + ": " + error.message());
  }
  return {};
}

// A lock on a directory needs no file of its own and goes when the process does.
Result<FileDescriptor> lock_directory(const std::string& path, const std::string& what) {
  for (int attempt = 0; attempt < 10; ++attempt) {
    SPLITD_TRY(make_directories(path));
    FileDescriptor directory(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!directory.valid()) return system_error("cannot open " + path);
    if (::flock(directory.get(), LOCK_EX | LOCK_NB) != 0) {
      if (errno == EWOULDBLOCK) return failed("another pull " + what + " is running");
      return system_error("cannot lock " + path);
    }
    // Whoever held it may have renamed it in the meantime: then this lock is on something else.
    struct stat mine {};
    struct stat there {};
    if (::fstat(directory.get(), &mine) == 0 && ::stat(path.c_str(), &there) == 0 &&
        mine.st_ino == there.st_ino && mine.st_dev == there.st_dev) {
      return directory;
    }
  }
  return failed("another pull " + what + " is running");
}

std::string without_slash(std::string path) {
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  return path;
}

bool is_empty_directory(const std::string& path) {
  std::error_code error;
  return is_directory(path) && std::filesystem::is_empty(path, error) && !error;
}

}  // namespace

std::string PullManifest::json() const {
  JsonWriter out(2);
  out.begin_object().field("repo", repo).field("commit", commit).field("part", part);
  if (n_layer > 0) out.field("layers", layers).field("n_layer", n_layer);
  out.key("files").begin_array();
  for (const File& file : files) {
    out.begin_object().field("name", file.name).field("bytes", file.bytes);
    if (!file.sha256.empty()) out.field("source_sha256", file.sha256);
    if (!file.git_sha1.empty()) out.field("source_git_sha1", file.git_sha1);
    out.end_object();
  }
  return out.end_array().end_object().take() + "\n";
}

Result<PullManifest> PullManifest::read(const std::string& directory) {
  SPLITD_ASSIGN(std::string text, read_file(directory + kManifest, kMaxManifestBytes));
  SPLITD_ASSIGN(const JsonDoc doc, JsonDoc::parse(std::move(text)));
  const auto string_in = [](Json object, std::string_view key) {
    const std::optional<Json> value = object.find(key);
    return value ? std::string(value->text()) : std::string();
  };
  const Json root = doc.root();
  PullManifest out;
  out.repo = string_in(root, "repo");
  out.commit = string_in(root, "commit");
  out.part = string_in(root, "part");
  out.layers = string_in(root, "layers");
  const std::optional<Json> n_layer = root.find("n_layer");
  if (n_layer) out.n_layer = static_cast<uint32_t>(n_layer->to_u64().value_or(0));
  const std::optional<Json> files = root.find("files");
  if (!files) return failed(directory + kManifest + ": no files");
  for (const Json item : files->elements()) {
    const std::optional<Json> bytes = item.find("bytes");
    if (!bytes || !bytes->to_u64()) return failed(directory + kManifest + ": a file without bytes");
    out.files.push_back({string_in(item, "name"), *bytes->to_u64(),
                         string_in(item, "source_sha256"), string_in(item, "source_git_sha1")});
  }
  return out;
}

bool PullManifest::intact(const std::string& directory) const {
  for (const File& file : files) {
    struct stat info {};
    if (::stat((directory + "/" + file.name).c_str(), &info) != 0) return false;
    if (static_cast<uint64_t>(info.st_size) != file.bytes) return false;
  }
  return !files.empty();
}

Result<PullPlace> PullPlace::in_cache(const std::string& cache, const RepoSpec& spec) {
  PullPlace out;
  out.spec_ = spec;
  out.cache_ = cache;
  const std::string home = repo_directory(cache, spec);
  SPLITD_ASSIGN(out.lock_, lock_directory(home, "of " + spec.repo));
  for (const char* room : kRooms) SPLITD_TRY(make_directories(home + room));
  return out;
}

Result<PullPlace> PullPlace::in_directory(const std::string& directory) {
  PullPlace out;
  out.target_ = without_slash(directory);
  out.incoming_ = out.target_ + ".pulling";
  const bool free = !path_exists(out.target_) || is_empty_directory(out.target_);
  if (!free && !path_exists(out.target_ + kManifest)) {
    return usage_error(out.target_ + " exists and is not an earlier pull; name a new directory");
  }
  SPLITD_ASSIGN(out.lock_,
                lock_directory(free ? out.incoming_ : out.target_, "into " + out.target_));
  return out;
}

PullPlace::~PullPlace() {
  if (!lock_.valid()) return;
  // A pull that came to nothing leaves nothing: rmdir takes empty directories only.
  if (!incoming_.empty()) ::rmdir(incoming_.c_str());
  if (cache_.empty()) return;
  const std::string home = repo_directory(cache_, spec_);
  for (const char* room : kRooms) ::rmdir((home + room).c_str());
  ::rmdir(home.c_str());
}

Result<bool> PullPlace::settle(const PullManifest& manifest) {
  if (!cache_.empty()) {
    const std::string name = manifest.commit + (manifest.part.empty() ? "" : "." + manifest.part);
    target_ = snapshots_path(cache_, spec_) + "/" + name;
    incoming_ = repo_directory(cache_, spec_) + "/incoming/" + name;
  }
  if (path_exists(target_) && !is_empty_directory(target_)) {
    const Result<PullManifest> there = PullManifest::read(target_);
    if (there.ok() && there->same_pull(manifest) && there->intact(target_)) return true;
    const bool ours = there.ok() && there->same_pull(manifest);
    if (cache_.empty() && !ours) {
      return usage_error(target_ + " holds another pull" +
                         (there.ok() ? " (" + there->repo + "@" + there->commit + ")" : "") +
                         "; name a new directory");
    }
    // Files are missing or cut: what is left is taken up again.
    if (path_exists(incoming_) && !is_empty_directory(incoming_)) {
      return failed(target_ + " is damaged and " + incoming_ + " is unfinished; remove one");
    }
    if (::rename(target_.c_str(), incoming_.c_str()) != 0) {
      return system_error("cannot rename " + target_);
    }
  }
  SPLITD_TRY(make_incoming(manifest));
  return false;
}

// Files left there by an earlier run are taken up, so they must be of this very pull.
Status PullPlace::make_incoming(const PullManifest& manifest) {
  SPLITD_TRY(make_directories(incoming_));
  if (path_exists(incoming_ + kManifest)) {
    SPLITD_ASSIGN(const PullManifest there, PullManifest::read(incoming_));
    if (there.same_pull(manifest)) return {};
    return failed(incoming_ + " is an unfinished pull of something else (" + there.repo + "@" +
                  there.commit + "); remove it");
  }
  if (!is_empty_directory(incoming_)) {
    return failed(incoming_ + " holds files that are no pull's; remove it");
  }
  return write_file(incoming_ + kManifest, manifest.json());
}

Result<uint64_t> PullPlace::free_bytes() const {
  struct statvfs info {};
  if (::statvfs(incoming_.c_str(), &info) != 0) return system_error("cannot look at " + incoming_);
  return uint64_t{info.f_bavail} * info.f_frsize;
}

Status PullPlace::finish(const PullManifest& manifest) {
  SPLITD_TRY(write_file(incoming_ + kManifest, manifest.json()));  // also flushes the directory
  if (::rename(incoming_.c_str(), target_.c_str()) != 0) {
    return system_error("cannot rename " + incoming_ + " to " + target_);
  }
  return {};
}

Status PullPlace::write_ref(const std::string& commit) const {
  if (cache_.empty() || is_commit(spec_.revision)) return {};
  return write_file(ref_path(cache_, spec_), commit + "\n");
}

}  // namespace splitd
