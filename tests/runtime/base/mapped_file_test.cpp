#include "runtime/base/mapped_file.h"

#include <fcntl.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "runtime/base/files.h"
#include "tests/temp_dir.h"

namespace splitd {
namespace {

TEST(MappedFile, ShowsTheBytes) {
  const TempDir dir;
  ASSERT_TRUE(write_file(dir.path() + "/a", "hello").ok());
  Result<MappedFile> file = MappedFile::open(dir.path() + "/a");
  ASSERT_TRUE(file.ok());
  const MappedFile moved = std::move(*file);
  EXPECT_EQ(moved.text(), "hello");
  EXPECT_EQ(moved.size(), 5u);
}

TEST(MappedFile, EmptyFilesAreFine) {
  const TempDir dir;
  ASSERT_TRUE(write_file(dir.path() + "/a", "").ok());
  const Result<MappedFile> file = MappedFile::open(dir.path() + "/a");
  ASSERT_TRUE(file.ok());
  EXPECT_EQ(file->text(), "");
  file->advise(0, 10, MappedFile::Advice::will_need);
  EXPECT_EQ(file->resident_bytes(), 0u);
}

TEST(MappedFile, RefusesWhatIsNoFile) {
  const TempDir dir;
  EXPECT_NE(MappedFile::open(dir.path()).error().message.find("not a regular file"),
            std::string::npos);
  EXPECT_NE(MappedFile::open("/dev/null").error().message.find("not a regular file"),
            std::string::npos);
  EXPECT_NE(MappedFile::open(dir.path() + "/none").error().message.find("No such file"),
            std::string::npos);
}

TEST(MappedFile, AdviceIsClippedToTheFile) {
  const TempDir dir;
  ASSERT_TRUE(write_file(dir.path() + "/a", std::string(100000, 'x')).ok());
  const Result<MappedFile> file = MappedFile::open(dir.path() + "/a");
  ASSERT_TRUE(file.ok());
  file->advise(5000, UINT64_MAX, MappedFile::Advice::dont_need);
  file->advise(UINT64_MAX, 1, MappedFile::Advice::random);
  EXPECT_EQ(file->text()[99999], 'x');
  EXPECT_GT(file->resident_bytes(), 0u);
  EXPECT_LE(file->resident_bytes(), 100000u);
}

TEST(MappedFile, CountsWhatThisProcessTouched) {
  constexpr size_t kMebi = size_t{1} << 20;
  const TempDir dir;
  ASSERT_TRUE(write_file(dir.path() + "/a", std::string(16 * kMebi, 'x')).ok());
  const Result<MappedFile> file = MappedFile::open(dir.path() + "/a");
  ASSERT_TRUE(file.ok());
  ASSERT_TRUE(file->touched_bytes().has_value());
  EXPECT_EQ(file->touched_bytes(), 0u);  // although it lies in the page cache
  EXPECT_EQ(file->text()[8 * kMebi], 'x');
  EXPECT_GT(file->touched_bytes(), 0u);
  EXPECT_LE(file->touched_bytes(), 4 * kMebi);
  file->advise(kMebi, kMebi, MappedFile::Advice::random);  // splits the area in three
  const auto touched =
      static_cast<size_t>(std::count(file->text().begin(), file->text().end(), 'x'));
  EXPECT_EQ(touched, 16 * kMebi);
  EXPECT_EQ(file->touched_bytes(), 16 * kMebi);
  file->advise(0, 16 * kMebi, MappedFile::Advice::dont_need);
  EXPECT_EQ(file->touched_bytes(), 0u);
}

TEST(MappedFile, MapsAnOpenFile) {
  const TempDir dir;
  const std::string path = dir.path() + "/a";
  ASSERT_TRUE(write_file(path, "hello").ok());
  Result<MappedFile> file = failed("not opened");
  {
    const FileDescriptor open(::open(path.c_str(), O_RDONLY));
    file = MappedFile::map(open, path);
  }
  ASSERT_TRUE(file.ok());
  EXPECT_EQ(file->text(), "hello");
}

TEST(MappedFile, MapsAHeadAndReadsTheRest) {
  const TempDir dir;
  const std::string path = dir.path() + "/a";
  ASSERT_TRUE(write_file(path, "hello, world").ok());
  Result<MappedFile> file = failed("not opened");
  {
    const FileDescriptor open(::open(path.c_str(), O_RDONLY));
    file = MappedFile::map(open, path, FileAccess::read, 5);
  }
  ASSERT_TRUE(file.ok());
  EXPECT_EQ(file->text(), "hello");
  EXPECT_EQ(file->size(), 12u);
  for (const uint64_t begin : {0u, 3u, 5u, 7u}) {
    std::string some(5, '\0');
    ASSERT_TRUE(file->read(begin, std::as_writable_bytes(std::span(some))).ok()) << begin;
    EXPECT_EQ(some, std::string("hello, world").substr(begin, 5));
  }
  std::string beyond(6, '\0');
  EXPECT_FALSE(file->read(7, std::as_writable_bytes(std::span(beyond))).ok());
  file->advise(0, 12, MappedFile::Advice::will_need);
}

}  // namespace
}  // namespace splitd
