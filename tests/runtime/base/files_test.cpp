#include "runtime/base/files.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>

#include "tests/temp_dir.h"

namespace splitd {
namespace {

size_t entries(const std::string& directory) {
  return static_cast<size_t>(std::distance(std::filesystem::directory_iterator(directory), {}));
}

TEST(Files, WritesWholeOrNotAtAll) {
  const TempDir dir;
  const std::string path = dir.path() + "/a";
  ASSERT_TRUE(write_file(path, "old").ok());
  {
    Result<AtomicFile> file = AtomicFile::create(path);
    ASSERT_TRUE(file.ok());
    ASSERT_TRUE(file->write(std::string_view("half")).ok());
    EXPECT_EQ(*read_file(path), "old");
  }  // dropped without commit
  EXPECT_EQ(*read_file(path), "old");
  EXPECT_EQ(entries(dir.path()), 1u);
  ASSERT_TRUE(write_file(path, "new").ok());
  EXPECT_EQ(*read_file(path), "new");
  EXPECT_EQ(entries(dir.path()), 1u);
}

TEST(Files, SetsTheMode) {
  const TempDir dir;
  ASSERT_TRUE(write_file(dir.path() + "/key", "k", 0600).ok());
  struct stat info {};
  ASSERT_EQ(::stat((dir.path() + "/key").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777u, 0600u);
}

TEST(Files, SaysWhatIsWrong) {
  const TempDir dir;
  EXPECT_NE(read_file(dir.path() + "/none").error().message.find("none: No such file"),
            std::string::npos);
  ASSERT_TRUE(write_file(dir.path() + "/big", std::string(11, 'x')).ok());
  EXPECT_NE(read_file(dir.path() + "/big", 10).error().message.find("longer than 10 bytes"),
            std::string::npos);
  EXPECT_TRUE(read_file(dir.path() + "/big", 11).ok());
  EXPECT_FALSE(write_file(dir.path() + "/no/such/dir", "x").ok());
}

}  // namespace
}  // namespace splitd
