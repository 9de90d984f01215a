#include "runtime/model/atomic_directory.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <vector>

#include "runtime/base/files.h"

namespace splitd {
namespace {

// The directory that `path` is an entry of.
std::string parent_of(const std::string& path) {
  const size_t slash = path.find_last_of('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

Status sync_directory(const std::string& path) {
  const FileDescriptor directory(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!directory.valid()) return system_error("cannot open " + path);
  if (::fsync(directory.get()) != 0) return system_error("cannot sync " + path);
  return {};
}

std::string gigabytes(uint64_t bytes) {
  char text[32];
  std::snprintf(text, sizeof text, "%.2f GB", static_cast<double>(bytes) * 1e-9);
  return text;
}

}  // namespace

static Status check_target(const std::string& path) {
  struct stat info {};
  if (::lstat(path.c_str(), &info) != 0) {
    if (errno == ENOENT) return {};
    return system_error("cannot look at " + path);
  }
  std::error_code code;
  if (!S_ISDIR(info.st_mode)) return usage_error(path + " exists and is no directory");
  if (std::filesystem::is_empty(path, code) && !code) return {};
  return usage_error(path + " exists and is not empty; choose another directory or remove it");
}

// The directory open and locked, and still the one that has this name.
static Result<FileDescriptor> lock_directory(const std::string& path) {
  FileDescriptor directory(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!directory.valid()) return system_error("cannot open " + path);
  struct stat ours {
  }, named{};
  const bool locked = ::flock(directory.get(), LOCK_EX | LOCK_NB) == 0;
  const bool same = ::fstat(directory.get(), &ours) == 0 && ::lstat(path.c_str(), &named) == 0 &&
                    ours.st_ino == named.st_ino && ours.st_dev == named.st_dev;
  if (locked && same) return directory;
  return failed(path + " is being written by another process");
}

Result<AtomicDirectory> AtomicDirectory::create(const std::string& requested,
                                                const std::string& mark) {
  std::string path = requested;
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  SPLITD_TRY(check_target(path));
  std::string temporary = path + ".partial";
  if (::mkdir(temporary.c_str(), 0755) != 0 && errno != EEXIST) {
    return system_error("cannot create " + temporary);
  }
  SPLITD_ASSIGN(FileDescriptor lock, lock_directory(temporary));
  std::error_code code;
  const bool empty = std::filesystem::is_empty(temporary, code);
  if (code || (!empty && (mark.empty() || !path_exists(temporary + "/" + mark)))) {
    return usage_error(temporary + " exists and was made by something else; remove it");
  }
  AtomicDirectory directory(std::move(path), std::move(temporary), std::move(lock));
  directory.keep_ = !empty;
  if (::chmod(directory.temporary_.c_str(), 0755) != 0) {
    return system_error("cannot set the mode of " + directory.temporary_);
  }
  return directory;
}

AtomicDirectory::~AtomicDirectory() {
  std::error_code ignored;
  if (!temporary_.empty() && !keep_) std::filesystem::remove_all(temporary_, ignored);
}

Status AtomicDirectory::keep_only(const std::vector<std::string>& names) {
  std::error_code code;
  std::vector<std::filesystem::path> entries;
  for (const auto& entry : std::filesystem::directory_iterator(temporary_, code)) {
    const bool kept = std::find(names.begin(), names.end(), entry.path().filename()) != names.end();
    if (!kept) entries.push_back(entry.path());
  }
  for (const std::filesystem::path& entry : entries) std::filesystem::remove_all(entry, code);
  if (code) return failed("cannot clear " + temporary_ + ": " + code.message());
  return {};
}

Status AtomicDirectory::check_space(uint64_t bytes) const {
  struct statvfs disk {};
  if (::statvfs(temporary_.c_str(), &disk) != 0)
    return system_error("cannot look at " + temporary_);
  const uint64_t free_bytes = uint64_t{disk.f_bavail} * disk.f_frsize;
  if (free_bytes >= bytes) return {};
  return failed("not enough room for " + path_ + ": " + gigabytes(bytes) + " are needed, " +
                gigabytes(free_bytes) + " are free");
}

Status AtomicDirectory::commit() {
  SPLITD_TRY(sync_directory(temporary_));
  // Over an empty directory this is atomic too; anything else at the name is refused.
  if (::rename(temporary_.c_str(), path_.c_str()) != 0) {
    return system_error("cannot rename " + temporary_ + " to " + path_);
  }
  temporary_.clear();
  return sync_directory(parent_of(path_));
}

}  // namespace splitd
