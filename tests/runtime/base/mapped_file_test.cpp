#include "runtime/base/mapped_file.h"

#include <gtest/gtest.h>

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

}  // namespace
}  // namespace splitd
