#include "runtime/model/atomic_directory.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>

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

Result<AtomicDirectory> AtomicDirectory::create(const std::string& requested) {
  std::string path = requested;
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  struct stat info {};
  if (::lstat(path.c_str(), &info) == 0) {
    std::error_code code;
    if (!S_ISDIR(info.st_mode)) return usage_error(path + " exists and is no directory");
    if (!std::filesystem::is_empty(path, code) || code) {
      return usage_error(path + " exists and is not empty; choose another directory or remove it");
    }
  } else if (errno != ENOENT) {
    return system_error("cannot look at " + path);
  }
  std::string temporary = path + ".partial-XXXXXX";
  if (::mkdtemp(temporary.data()) == nullptr) return system_error("cannot create " + temporary);
  AtomicDirectory directory(std::move(path), std::move(temporary));
  if (::chmod(directory.temporary_.c_str(), 0755) != 0) {
    return system_error("cannot set the mode of " + directory.temporary_);
  }
  return directory;
}

AtomicDirectory::~AtomicDirectory() {
  std::error_code ignored;
  if (!temporary_.empty()) std::filesystem::remove_all(temporary_, ignored);
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
