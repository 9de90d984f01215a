#include "runtime/model/formats/safetensors_writer.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "runtime/base/files.h"
#include "runtime/model/formats/safetensors.h"
#include "tests/runtime/model/formats/format_files.h"
#include "tests/temp_dir.h"

namespace splitd {
namespace {

using Metadata = std::map<std::string, std::string>;

TensorInfo declared(const std::string& name, DType dtype, Shape shape) {
  return {.name = name, .dtype = dtype, .shape = std::move(shape)};
}

std::string header_error(const std::vector<TensorInfo>& tensors, const Metadata& metadata = {}) {
  const Result<std::string> header = make_safetensors_header(tensors, metadata);
  return header ? "accepted" : header.error().message;
}

TEST(SafetensorsWriter, HeaderIsByteForByteThis) {
  const Result<std::string> header = make_safetensors_header(
      {declared("b\n", DType::f32, {2, 3}), declared("a", DType::bf16, {})}, {{"format", "pt"}});
  ASSERT_TRUE(header.ok());
  const std::string json =
      R"({"__metadata__":{"format":"pt"},"b\n":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},)"
      R"("a":{"dtype":"BF16","shape":[],"data_offsets":[24,26]}})";
  EXPECT_EQ(header->size() % 64, 0u);
  EXPECT_EQ(header->substr(0, 8), le64(header->size() - 8));
  EXPECT_EQ(header->substr(8, json.size()), json);
  EXPECT_EQ(header->find_first_not_of(' ', 8 + json.size()), std::string::npos);
}

TEST(SafetensorsWriter, TheReaderReadsItBack) {
  std::vector<TensorInfo> tensors;
  for (uint64_t i = 0; i <= static_cast<uint64_t>(DType::f64); ++i) {
    tensors.push_back(declared("t" + std::to_string(i), static_cast<DType>(i), {i, 2}));
  }
  const Metadata metadata = {{"a", "\"quoted\" \u00e9"}, {"", ""}};
  Result<std::string> header = make_safetensors_header(tensors, metadata);
  ASSERT_TRUE(header.ok());
  uint64_t data_bytes = 0;
  for (const TensorInfo& tensor : tensors) data_bytes += *tensor_bytes(tensor.dtype, tensor.shape);
  const Result<SafetensorsHeader> read =
      parse_safetensors_header(as_bytes(*header), header->size() + data_bytes);
  ASSERT_TRUE(read.ok()) << read.error().message;
  EXPECT_EQ(read->metadata, metadata);
  ASSERT_EQ(read->tensors.size(), tensors.size());
  for (size_t i = 0; i < tensors.size(); ++i) {
    EXPECT_EQ(read->tensors[i].name, tensors[i].name);
    EXPECT_EQ(read->tensors[i].dtype, tensors[i].dtype);
    EXPECT_EQ(read->tensors[i].shape, tensors[i].shape);
  }
}

TEST(SafetensorsWriter, EmptyModels) {
  const Result<std::string> header = make_safetensors_header({}, {});
  ASSERT_TRUE(header.ok());
  EXPECT_TRUE(parse_safetensors_header(as_bytes(*header), header->size()).ok());
}

TEST(SafetensorsWriter, RefusesWhatTheFormatCannotHold) {
  const TensorInfo a = declared("a", DType::u8, {1});
  EXPECT_EQ(header_error({a}), "accepted");
  EXPECT_NE(header_error({a, a}).find("two tensors are named \"a\""), std::string::npos);
  EXPECT_NE(header_error({declared("__metadata__", DType::u8, {1})}), "accepted");
  EXPECT_NE(header_error({declared("\xff", DType::u8, {1})}).find("not UTF-8"), std::string::npos);
  EXPECT_NE(header_error({a}, {{"k", "\xc0\xaf"}}).find("not UTF-8"), std::string::npos);
  EXPECT_NE(header_error({declared("q", DType::q4_0, {32})}).find("safetensors has no Q4_0"),
            std::string::npos);
  const uint64_t huge = uint64_t{1} << 62;
  EXPECT_NE(header_error({declared("h", DType::f32, {huge})}).find("64 bits"), std::string::npos);
  EXPECT_NE(header_error({declared("g", DType::u8, {huge}), declared("h", DType::u8, {huge, 3})})
                .find("64 bits"),
            std::string::npos);
}

class SafetensorsWriterFile : public testing::Test {
 protected:
  Result<SafetensorsWriter> create() {
    return SafetensorsWriter::create(path_, {declared("a", DType::u8, {5})}, {});
  }
  static Status write(SafetensorsWriter& writer, std::string_view text) {
    return writer.write(as_bytes(text));
  }
  size_t n_files() const {
    size_t count = 0;
    for (const auto& entry : std::filesystem::directory_iterator(dir_.path())) {
      count += entry.exists() ? 1 : 0;
    }
    return count;
  }
  TempDir dir_;
  std::string path_ = dir_.path() + "/m.safetensors";
};

TEST_F(SafetensorsWriterFile, AppearsWholeAndTheSameEachTime) {
  std::string first;
  for (const size_t cut : {0u, 1u, 4u, 5u}) {
    Result<SafetensorsWriter> writer = create();
    ASSERT_TRUE(writer.ok());
    ASSERT_TRUE(write(*writer, std::string_view("hello").substr(0, cut)).ok());
    EXPECT_TRUE(cut != 0 || !path_exists(path_));
    ASSERT_TRUE(write(*writer, std::string_view("hello").substr(cut)).ok());
    ASSERT_TRUE(writer->commit().ok());
    const Result<std::string> file = read_file(path_);
    ASSERT_TRUE(file.ok());
    if (first.empty()) first = *file;
    EXPECT_EQ(*file, first);
    EXPECT_TRUE(file->ends_with("hello"));
    EXPECT_TRUE(parse_safetensors_header(as_bytes(*file), file->size()).ok());
  }
}

TEST_F(SafetensorsWriterFile, TooMuchAndTooLittleAreRefused) {
  Result<SafetensorsWriter> writer = create();
  ASSERT_TRUE(writer.ok());
  EXPECT_FALSE(write(*writer, "123456").ok());
  ASSERT_TRUE(write(*writer, "1234").ok());
  EXPECT_FALSE(writer->commit().ok());
  EXPECT_FALSE(path_exists(path_));
  EXPECT_FALSE(write(*writer, "56").ok());
  ASSERT_TRUE(write(*writer, "5").ok());
  EXPECT_TRUE(writer->commit().ok());
  EXPECT_TRUE(path_exists(path_));
}

TEST_F(SafetensorsWriterFile, DroppedItLeavesNothing) {
  {
    Result<SafetensorsWriter> writer = create();
    ASSERT_TRUE(writer.ok());
    ASSERT_TRUE(write(*writer, "123").ok());
    EXPECT_EQ(n_files(), 1u);  // the temporary name
  }
  EXPECT_EQ(n_files(), 0u);
}

}  // namespace
}  // namespace splitd
