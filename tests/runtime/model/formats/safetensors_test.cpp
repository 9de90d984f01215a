// The golden cases, from memory and from disk, their corrupted twins, and what refusals say.
#include "runtime/model/formats/safetensors.h"

#include <gtest/gtest.h>

#include "runtime/base/files.h"
#include "runtime/base/json.h"
#include "runtime/base/sha256.h"
#include "runtime/model/formats/tensor_files.h"
#include "tests/runtime/model/formats/format_files.h"
#include "tests/temp_dir.h"

namespace splitd {
namespace {

std::string from_base64(std::string_view text) {
  constexpr std::string_view kDigits =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  uint32_t bits = 0;
  uint32_t n_bits = 0;
  for (char c : text) {
    if (c == '=') break;
    bits = bits << 6 | static_cast<uint32_t>(kDigits.find(c));
    n_bits += 6;
    if (n_bits < 8) continue;
    n_bits -= 8;
    out.push_back(static_cast<char>(bits >> n_bits & 0xffu));
  }
  return out;
}

std::string to_hex(std::string_view bytes) {
  return hex({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()});
}

Result<SafetensorsHeader> parse(std::string_view file) {
  return parse_safetensors_header(as_bytes(file), file.size());
}

std::string error_of(std::string_view file) {
  const Result<SafetensorsHeader> header = parse(file);
  return header ? "accepted" : header.error().message;
}

// A file with this header text and `n_data` bytes behind it.
std::string with_header(std::string_view text, size_t n_data = 0) {
  return le64(text.size()) + std::string(text) + std::string(n_data, 'x');
}

void expect_tensors(const SafetensorsHeader& header, Json expected, std::string_view file) {
  ASSERT_EQ(header.tensors.size(), expected.size());
  for (const TensorInfo& tensor : header.tensors) {
    const std::optional<Json> want = expected.find(tensor.name);
    ASSERT_TRUE(want.has_value()) << tensor.name;
    EXPECT_EQ(dtype_name(tensor.dtype), want->find("dtype")->text());
    EXPECT_EQ(shape_text(tensor.shape), spaced(JsonWriter().copy(*want->find("shape")).take()));
    EXPECT_EQ(to_hex(file.substr(tensor.begin, tensor.bytes)), want->find("data")->text());
  }
}

class GoldenSafetensors : public testing::Test {
 protected:
  void SetUp() override {
    Result<std::string> text = read_file(SPLITD_TEST_DATA "/golden/safetensors_cases.json");
    ASSERT_TRUE(text.ok());
    Result<JsonDoc> doc = JsonDoc::parse(std::move(*text));
    ASSERT_TRUE(doc.ok());
    doc_ = std::make_unique<JsonDoc>(std::move(*doc));
    ASSERT_GT(cases().size(), 100u);
  }
  Json cases() const { return *doc_->root().find("cases"); }

 private:
  std::unique_ptr<JsonDoc> doc_;
};

// Every verdict, without a disagreement of ours.
TEST_F(GoldenSafetensors, Verdicts) {
  size_t accepted = 0;
  for (const Json item : cases().elements()) {
    SCOPED_TRACE(item.find("name")->text());
    const std::string file = from_base64(item.find("base64")->text());
    const Result<SafetensorsHeader> header = parse(file);
    if (item.find("verdict")->text() == "accept") {
      ++accepted;
      ASSERT_TRUE(header.ok()) << header.error().message;
      expect_tensors(*header, *item.find("tensors"), file);
    } else {
      ASSERT_FALSE(header.ok());
      EXPECT_EQ(header.error().kind, ErrorKind::model);
      EXPECT_FALSE(header.error().message.empty());
      EXPECT_EQ(header.error().message.find('\n'), std::string::npos);
    }
  }
  EXPECT_GT(accepted, 30u);
  EXPECT_GT(cases().size() - accepted, 60u);
}

TEST_F(GoldenSafetensors, FromDiskTheSameWithThePathInTheMessage) {
  const TempDir dir;
  for (const Json item : cases().elements()) {
    SCOPED_TRACE(item.find("name")->text());
    const std::string path = dir.path() + "/model.safetensors";
    ASSERT_TRUE(write_file(path, from_base64(item.find("base64")->text())).ok());
    const Result<TensorFiles> files = TensorFiles::open_safetensors(dir.path());
    ASSERT_EQ(files.ok(), item.find("verdict")->text() == "accept");
    if (!files.ok()) {
      EXPECT_EQ(files.error().kind, ErrorKind::model);
      EXPECT_TRUE(files.error().message.starts_with(path)) << files.error().message;
    }
  }
}

TEST_F(GoldenSafetensors, ACutOrExtendedFileIsRefused) {
  for (const Json item : cases().elements()) {
    if (item.find("verdict")->text() != "accept") continue;
    SCOPED_TRACE(item.find("name")->text());
    const std::string file = from_base64(item.find("base64")->text());
    for (size_t length = 0; length < file.size(); ++length) {
      ASSERT_NE(error_of(file.substr(0, length)), "accepted") << length;
    }
    EXPECT_NE(error_of(file + "\n"), "accepted");
  }
}

TEST(Safetensors, RefusalsNameTheTensorAndTheNumbers) {
  const auto one = [](const std::string& fields, size_t n_data) {
    return error_of(with_header("{\"w\":{" + fields + "}}", n_data));
  };
  EXPECT_EQ(one(R"("dtype":"F32","shape":[2,3],"data_offsets":[0,20])", 20),
            "tensor \"w\": F32 of shape [2, 3] takes 24 bytes, but data_offsets give it 20");
  EXPECT_EQ(one(R"("dtype":"F32","shape":[2],"data_offsets":[0,8])", 5),
            "tensor \"w\": ends at byte 8 of the data, but the file has only 5; is it truncated?");
  EXPECT_EQ(one(R"("dtype":"F32","shape":[2],"data_offsets":[8,0])", 8),
            "tensor \"w\": ends at byte 0, before it begins at 8");
  EXPECT_EQ(one(R"("dtype":"U8","shape":[2],"data_offsets":[1,3])", 3),
            "tensor \"w\": a hole: it begins at byte 1, but the data begins at 0");
  EXPECT_EQ(one(R"("dtype":"F4","shape":[2],"data_offsets":[0,1])", 1).substr(0, 54),
            "tensor \"w\": unknown dtype \"F4\"; known are BOOL, U8, I8");
  EXPECT_EQ(one(R"("dtype":"U8","shape":[1],"data_offsets":[0,1])", 3),
            "2 bytes follow the last tensor: the tensors take 1 bytes, the file has 3");
  EXPECT_EQ(error_of(with_header(R"({"b":{"dtype":"U8","shape":[3],"data_offsets":[2,5]},)"
                                 R"("a":{"dtype":"U8","shape":[3],"data_offsets":[0,3]}})",
                                 5)),
            "tensor \"b\": overlaps: it begins at byte 2, but \"a\" ends at 3");
}

TEST(Safetensors, AnEmptyTensorMayBeListedAfterItsNeighbour) {
  const std::string a = R"("a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]})";
  const std::string e = R"("e":{"dtype":"U8","shape":[0],"data_offsets":[0,0]})";
  EXPECT_EQ(error_of(with_header("{" + a + "," + e + "}", 2)), "accepted");
  EXPECT_EQ(error_of(with_header("{" + e + "," + a + "}", 2)), "accepted");
}

TEST(Safetensors, NamesInMessagesAreOneShortLine) {
  const std::string name = std::string(150, 'x') + "\\n";
  const std::string message = error_of(with_header("{\"a\\n" + name + "\":1}"));
  EXPECT_TRUE(message.starts_with("tensor \"a\\nxxx")) << message;
  EXPECT_EQ(message.find('\n'), std::string::npos);
  EXPECT_LT(message.size(), 160u);
}

TEST(Safetensors, HeadersOver32MiBAreRefusedWithBothNumbers) {
  const std::string at_cap = le64(kMaxSafetensorsHeaderBytes);
  EXPECT_TRUE(safetensors_header_bytes(as_bytes(at_cap)).ok());
  const std::string over = le64(kMaxSafetensorsHeaderBytes + 1);
  const std::string message = safetensors_header_bytes(as_bytes(over)).error().message;
  EXPECT_NE(message.find("33554433"), std::string::npos) << message;
  EXPECT_NE(message.find("33554432"), std::string::npos) << message;
}

TEST(Safetensors, APrefixShorterThanTheHeaderIsTheCallersFault) {
  const std::string file = with_header("{}");
  const Result<SafetensorsHeader> header = parse_safetensors_header(as_bytes(file).first(9), 10);
  ASSERT_FALSE(header.ok());
  EXPECT_EQ(header.error().kind, ErrorKind::failed);
}

TEST(SafetensorsIndex, ReadsTheMap) {
  const Result<SafetensorsIndex> index = parse_safetensors_index(
      R"({"metadata":{"total_size":9},"weight_map":{"b":"m-2.safetensors","a":"m-1.safetensors",)"
      R"("c":"m-1.safetensors"}})");
  ASSERT_TRUE(index.ok());
  EXPECT_EQ(index->shards, (std::vector<std::string>{"m-1.safetensors", "m-2.safetensors"}));
  EXPECT_EQ(index->shard_of.find("c")->second, "m-1.safetensors");
}

TEST(SafetensorsIndex, ShardsStayInTheDirectory) {
  const auto error = [](std::string_view shard) {
    const std::string json = "{\"weight_map\":{\"a\":\"" + std::string(shard) + "\"}}";
    const Result<SafetensorsIndex> index = parse_safetensors_index(json);
    return index ? "accepted" : index.error().message;
  };
  EXPECT_EQ(error("model-00001-of-00002.safetensors"), "accepted");
  EXPECT_EQ(error("..a"), "accepted");  // a plain name
  for (const char* shard : {"", ".", "..", "../x", "/etc/passwd", "sub/x", "sub\\\\x", "a\\u0000b",
                            "a\\u002f..", "a\\nb", "a/"}) {
    EXPECT_NE(error(shard).find("not a plain file name"), std::string::npos) << shard;
  }
  EXPECT_NE(error(std::string(300, 'x')), "accepted");
}

TEST(SafetensorsIndex, RefusesOtherShapesOfJson) {
  for (const char* json : {"", "[]", "{}", "null", R"({"weight_map":[]})", R"({"weight_map":{}})",
                           R"({"weight_map":{"a":1}})", R"({"weight_map":{"a":"x","a":"y"}})",
                           R"({"weight_map":{"a":"x"}}})", R"({"weight_map":{"a":["x"]}})"}) {
    const Result<SafetensorsIndex> index = parse_safetensors_index(json);
    ASSERT_FALSE(index.ok()) << json;
    EXPECT_EQ(index.error().kind, ErrorKind::model);
  }
}

}  // namespace
}  // namespace splitd
