// Directories: one file, shards and their index, and what is read and what is not.
#include "runtime/model/formats/tensor_files.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "runtime/base/files.h"
#include "runtime/model/formats/safetensors_writer.h"
#include "tests/temp_dir.h"

namespace splitd {
namespace {

class TensorFilesTest : public testing::Test {
 protected:
  std::string path(const std::string& name) const { return dir_.path() + "/" + name; }

  // A file of U8 tensors of n bytes each, filled with the first letter of their name.
  void save(const std::string& file, const std::vector<std::string>& names, size_t n = 3) {
    std::vector<TensorInfo> tensors;
    for (const std::string& name : names) {
      tensors.push_back({.name = name, .dtype = DType::u8, .shape = {n}});
    }
    Result<SafetensorsWriter> writer =
        SafetensorsWriter::create(path(file), tensors, {{"file", file}});
    ASSERT_TRUE(writer.ok());
    for (const std::string& name : names) {
      const std::string bytes(n, name[0]);
      ASSERT_TRUE(writer->write(std::as_bytes(std::span(bytes.data(), n))).ok());
    }
    ASSERT_TRUE(writer->commit().ok());
  }
  void save_text(const std::string& file, const std::string& text) {
    ASSERT_TRUE(write_file(path(file), text).ok());
  }
  void save_index(const std::string& map) {
    save_text("model.safetensors.index.json", "{\"weight_map\":{" + map + "}}");
  }
  Result<TensorFiles> open() const { return TensorFiles::open_safetensors(dir_.path()); }
  std::string error() const {
    const Result<TensorFiles> files = open();
    return files ? "accepted" : files.error().message;
  }
  static std::string content(const TensorFiles& files, std::string_view name) {
    const TensorInfo* tensor = files.find(name);
    if (tensor == nullptr) return "(none)";
    const TensorView view = files.view(*tensor);
    return {reinterpret_cast<const char*>(view.data), view.bytes};
  }

  TempDir dir_;
};

TEST_F(TensorFilesTest, OneFile) {
  save("model.safetensors", {"b", "a"});
  for (const std::string& name : {dir_.path(), path("model.safetensors")}) {
    const Result<TensorFiles> files = TensorFiles::open_safetensors(name);
    ASSERT_TRUE(files.ok()) << files.error().message;
    ASSERT_EQ(files->tensors().size(), 2u);
    EXPECT_EQ(files->tensors()[0].name, "a");  // by name, not by place
    EXPECT_EQ(content(*files, "a"), "aaa");
    EXPECT_EQ(content(*files, "b"), "bbb");
    EXPECT_EQ(files->find("c"), nullptr);
    EXPECT_EQ(files->metadata().at("file"), "model.safetensors");
  }
}

TEST_F(TensorFilesTest, Shards) {
  save("m1", {"a", "c"});
  save("m2", {"b"});
  save_index(R"("a":"m1","b":"m2","c":"m1")");
  const Result<TensorFiles> files = open();
  ASSERT_TRUE(files.ok()) << files.error().message;
  EXPECT_EQ(content(*files, "a") + content(*files, "b") + content(*files, "c"), "aaabbbccc");
  EXPECT_EQ(files->files().size(), 2u);
  EXPECT_EQ(files->metadata().at("file"), "m1");
}

TEST_F(TensorFilesTest, ASingleFileWinsOverAnIndex) {
  save("model.safetensors", {"a"});
  save_index(R"("b":"not-there")");
  const Result<TensorFiles> files = open();
  ASSERT_TRUE(files.ok()) << files.error().message;
  EXPECT_NE(files->find("a"), nullptr);
}

// transformers loads all that is in the shards it is sent to, so the index need not list it all.
TEST_F(TensorFilesTest, ATensorTheIndexForgotIsTheModelsToo) {
  save("m1", {"a", "z"});
  save_index(R"("a":"m1")");
  const Result<TensorFiles> files = open();
  ASSERT_TRUE(files.ok()) << files.error().message;
  EXPECT_EQ(content(*files, "z"), "zzz");
}

TEST_F(TensorFilesTest, ATensorThatItsShardLacksIsRefused) {
  save("m1", {"a"});
  save_index(R"("a":"m1","b":"m1")");
  EXPECT_NE(error().find("tensor \"b\" is not in m1, where the index puts it"), std::string::npos)
      << error();
}

TEST_F(TensorFilesTest, ATensorInAnotherShardIsRefused) {
  save("m1", {"a"});
  save("m2", {"b"});
  save_index(R"("a":"m1","b":"m1","c":"m2")");
  EXPECT_NE(error().find("the index puts it in m1"), std::string::npos) << error();
}

TEST_F(TensorFilesTest, ATensorInTwoShardsIsRefused) {
  save("m1", {"a"});
  save("m2", {"a", "b"});
  save_index(R"("a":"m1","b":"m2")");
  EXPECT_NE(error().find("tensor \"a\" is in "), std::string::npos) << error();
  EXPECT_NE(error().find("/m2"), std::string::npos) << error();
}

TEST_F(TensorFilesTest, MissingAndCutShardsAreNamed) {
  save("m1", {"a"});
  save_index(R"("a":"m1","b":"m2")");
  EXPECT_NE(error().find("/m2 is not there, but model.safetensors.index.json names it (2 of 2)"),
            std::string::npos)
      << error();
  EXPECT_EQ(open().error().kind, ErrorKind::model);
  save("m2", {"b"});
  EXPECT_EQ(error(), "accepted");
  const Result<std::string> whole = read_file(path("m2"));
  save_text("m2", whole->substr(0, whole->size() - 1));
  EXPECT_NE(error().find("/m2: tensor \"b\": ends at byte 3 of the data, but the file has only 2"),
            std::string::npos)
      << error();
  save_text("m2", whole->substr(0, 20));
  EXPECT_NE(error().find("in a file of 20; is it truncated?"), std::string::npos) << error();
}

TEST_F(TensorFilesTest, SaysWhatIsThereInstead) {
  EXPECT_NE(error().find("neither model.safetensors nor"), std::string::npos);
  EXPECT_EQ(open().error().kind, ErrorKind::model);
  save_text("pytorch_model.bin", "x");
  EXPECT_NE(error().find("pytorch_model.bin is not supported"), std::string::npos);
  EXPECT_NE(TensorFiles::open_safetensors(path("none")).error().message.find("No such file"),
            std::string::npos);
}

TEST_F(TensorFilesTest, PartsAreChecked) {
  save_text("f", "12345");
  const auto check = [this](const std::vector<TensorInfo>& tensors) {
    std::vector<MappedFile> files;
    files.push_back(std::move(*MappedFile::open(path("f"))));
    const Result<TensorFiles> out = TensorFiles::from_parts(std::move(files), tensors);
    return out ? "accepted" : out.error().message;
  };
  const TensorInfo good{.name = "a", .dtype = DType::u8, .shape = {3}, .begin = 2, .bytes = 3};
  EXPECT_EQ(check({good}), "accepted");
  TensorInfo bad = good;
  bad.begin = 3;
  EXPECT_NE(check({bad}).find("takes 3 bytes from byte 3 of a file of 5"), std::string::npos);
  bad.begin = UINT64_MAX;
  EXPECT_NE(check({bad}), "accepted");
  bad = good;
  bad.file = 1;
  EXPECT_NE(check({bad}).find("lies in file 1 of 1"), std::string::npos);
  EXPECT_NE(check({good, good}).find("and again in"), std::string::npos);
}

// Opening reads the header and not the data: nothing through the maps, and of a file that is not
// in memory only the header's pages.
TEST_F(TensorFilesTest, OpeningTouchesNoWeights) {
  constexpr size_t kBytes = size_t{8} << 20;
  save("model.safetensors", {"a", "b"}, kBytes);
  const std::string file = path("model.safetensors");
  const FileDescriptor fd(::open(file.c_str(), O_RDONLY));
  ASSERT_TRUE(fd.valid());
  const bool droppable = ::posix_fadvise(fd.get(), 0, 0, POSIX_FADV_DONTNEED) == 0 &&
                         MappedFile::open(file)->resident_bytes() == 0;  // not on tmpfs
  const Result<TensorFiles> files = open();
  ASSERT_TRUE(files.ok());
  EXPECT_EQ(files->touched_bytes(), 0u);
  if (droppable) {
    EXPECT_LE(files->resident_bytes(), 2 * static_cast<uint64_t>(::sysconf(_SC_PAGESIZE)));
  }
  EXPECT_EQ(content(*files, "b"), std::string(kBytes, 'b'));
  EXPECT_GE(files->touched_bytes(), kBytes);
  EXPECT_GE(files->resident_bytes(), kBytes);
  files->advise(*files->find("b"), MappedFile::Advice::dont_need);
  EXPECT_LT(files->touched_bytes(), kBytes);
}

}  // namespace
}  // namespace splitd
