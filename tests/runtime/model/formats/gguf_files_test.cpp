// Whole files that the gguf Python package wrote (tests/golden/make_gguf.py), and split sets.
#include <gtest/gtest.h>

#include <filesystem>

#include "runtime/base/files.h"
#include "runtime/base/json.h"
#include "runtime/base/sha256.h"
#include "runtime/model/formats/gguf.h"
#include "tests/runtime/model/formats/format_files.h"
#include "tests/temp_dir.h"

namespace splitd {
namespace {

const std::string kGolden = SPLITD_TEST_DATA "/golden/gguf/";

Gguf open_golden(const std::string& name) {
  Result<Gguf> gguf = Gguf::open(kGolden + name);
  EXPECT_TRUE(gguf.ok()) << gguf.error().message;
  return std::move(*gguf);
}

// The value as the JSON that Python writes of it.
std::string json_of(GgufValue value) {
  JsonWriter out;
  if (const auto text = value.to_string()) return out.string(*text).take();
  if (const auto flag = value.to_bool()) return out.boolean(*flag).take();
  if (const auto number = value.to_u64()) return out.number(*number).take();
  if (const auto number = value.to_i64()) return out.number(*number).take();
  if (const auto number = value.to_f64()) return out.number(*number).take();
  out.begin_array();
  for (const GgufValue item : value.elements()) out.raw(json_of(item));
  return out.end_array().take();
}

// As JsonWriter writes it, so that both texts spell numbers alike.
std::string normal(Json json) {
  if (json.is_array()) {
    JsonWriter out;
    out.begin_array();
    for (const Json item : json.elements()) out.raw(normal(item));
    return out.end_array().take();
  }
  if (json.is_number() && !json.is_integer()) return JsonWriter().number(*json.to_f64()).take();
  return JsonWriter().copy(json).take();
}

class TypedGguf : public testing::Test {
 protected:
  void SetUp() override {
    Result<std::string> text = read_file(kGolden + "typed.json");
    ASSERT_TRUE(text.ok());
    Result<JsonDoc> doc = JsonDoc::parse(std::move(*text));
    ASSERT_TRUE(doc.ok());
    doc_ = std::make_unique<JsonDoc>(std::move(*doc));
  }
  Json expected(std::string_view key) const { return *doc_->root().find(key); }

 private:
  std::unique_ptr<JsonDoc> doc_;
};

TEST_F(TypedGguf, MetadataIsWhatPythonReads) {
  const Gguf gguf = open_golden("typed.gguf");
  ASSERT_EQ(gguf.metadata().size(), expected("metadata").size());
  for (const Json::Member entry : expected("metadata").members()) {
    SCOPED_TRACE(entry.key);
    const std::optional<GgufValue> value = gguf.find(entry.key);
    ASSERT_TRUE(value.has_value());
    EXPECT_EQ(json_of(*value), normal(*entry.value.find("value")));
  }
  EXPECT_EQ(gguf.find("t.f32")->type(), GgufType::f32);
  EXPECT_FALSE(gguf.find("t.f33").has_value());
}

TEST_F(TypedGguf, TensorsAreWhatPythonReads) {
  const Gguf gguf = open_golden("typed.gguf");
  const TensorFiles& files = gguf.files();
  ASSERT_EQ(files.tensors().size(), expected("tensors").size());
  ASSERT_GE(files.tensors().size(), 16u);
  for (const Json::Member entry : expected("tensors").members()) {
    SCOPED_TRACE(entry.key);
    const TensorInfo* tensor = files.find(entry.key);
    ASSERT_NE(tensor, nullptr);
    EXPECT_EQ(dtype_name(tensor->dtype), entry.value.find("type")->text());
    EXPECT_EQ(shape_text(tensor->shape),
              spaced(JsonWriter().copy(*entry.value.find("shape")).take()));
    EXPECT_EQ(tensor->begin, entry.value.find("begin")->to_u64());
    const TensorView view = files.view(*tensor);
    EXPECT_EQ(std::string(reinterpret_cast<const char*>(view.data), view.bytes),
              from_hex(entry.value.find("data")->text()));
  }
}

TEST_F(TypedGguf, RequiredKeysSayWhatIsWrong) {
  const Gguf gguf = open_golden("typed.gguf");
  EXPECT_EQ(*gguf.u64("t.u64"), UINT64_MAX);
  EXPECT_EQ(*gguf.i64("t.i64"), INT64_MIN);
  EXPECT_EQ(*gguf.f64("t.u8"), 255.0);
  EXPECT_TRUE(*gguf.boolean("t.bool"));
  EXPECT_EQ(*gguf.string("general.architecture"), "llama");
  EXPECT_EQ(gguf.strings("a.strings")->size(), 4u);
  EXPECT_EQ(*gguf.i64s("a.ints"), (std::vector<int64_t>{1, -2, 3}));
  EXPECT_EQ(*gguf.f32s("a.floats"), (std::vector<float>{0.5f, -1e30f}));
  EXPECT_EQ(gguf.u64("none").error().message, "metadata \"none\" is missing");
  EXPECT_EQ(gguf.u64("t.i8").error().message,
            "metadata \"t.i8\" is the i8 -128, not an unsigned integer");
  EXPECT_EQ(gguf.strings("a.ints").error().message,
            "metadata \"a.ints\" is an array of 3 i32, not an array of strings");
  EXPECT_EQ(gguf.boolean("t.u8").error().kind, ErrorKind::model);
}

TEST(GgufFile, OpeningTouchesNoWeights) {
  const TempDir dir;
  const std::string path = dir.path() + "/m.gguf";
  GgufBuilder builder;
  builder.u32("k", 5);
  builder.tensors.push_back({"a", {uint64_t{1} << 22}, 0, std::string(size_t{1} << 24, 'a')});
  ASSERT_TRUE(write_file(path, builder.build()).ok());
  const Result<Gguf> gguf = Gguf::open(path);
  ASSERT_TRUE(gguf.ok()) << gguf.error().message;
  EXPECT_EQ(gguf->files().touched_bytes(), 0u);
  EXPECT_EQ(*gguf->u64("k"), 5u);  // and the views still hold
  EXPECT_GT(gguf->files().touched_bytes(), 0u);
}

TEST(GgufFile, ErrorsNameTheFile) {
  const TempDir dir;
  const std::string path = dir.path() + "/m.gguf";
  ASSERT_TRUE(write_file(path, "GGUF" + le32(1)).ok());
  const Result<Gguf> gguf = Gguf::open(path);
  ASSERT_FALSE(gguf.ok());
  EXPECT_EQ(gguf.error().message, path + ": GGUF version 1; versions 2 and 3 are supported");
  EXPECT_FALSE(Gguf::open(dir.path() + "/none.gguf").ok());
}

TEST(GgufFile, HeadersOverTheCapAreRefused) {
  const TempDir dir;
  const std::string path = dir.path() + "/m.gguf";
  GgufBuilder builder;
  builder.kv("k", GgufType::string, le64(kMaxGgufMetadataBytes));
  ASSERT_TRUE(write_file(path, builder.build()).ok());
  std::filesystem::resize_file(path, 2 * kMaxGgufMetadataBytes);  // a hole: no disk, no memory
  const Result<Gguf> gguf = Gguf::open(path);
  ASSERT_FALSE(gguf.ok());
  EXPECT_NE(gguf.error().message.find("goes on past 268435456 bytes"), std::string::npos)
      << gguf.error().message;
}

class SplitGguf : public testing::Test {
 protected:
  void SetUp() override {
    for (int i = 1; i <= 3; ++i) std::filesystem::copy_file(kGolden + name(i), path(i));
  }
  static std::string name(int i) { return "split-0000" + std::to_string(i) + "-of-00003.gguf"; }
  std::string path(int i) const { return dir_.path() + "/" + name(i); }
  std::string error(int i = 1) const {
    const Result<Gguf> gguf = Gguf::open(path(i));
    return gguf ? "accepted" : gguf.error().message;
  }
  TempDir dir_;
};

TEST_F(SplitGguf, OpensAsOneModel) {
  const Gguf gguf = open_golden(name(1));
  EXPECT_EQ(*gguf.string("general.name"), "split");
  EXPECT_EQ(gguf.files().files().size(), 3u);
  ASSERT_EQ(gguf.files().tensors().size(), 5u);
  for (uint32_t i = 0; i < 5; ++i) {
    const TensorInfo* tensor = gguf.files().find("t" + std::to_string(i));
    ASSERT_NE(tensor, nullptr);
    EXPECT_EQ(shape_text(tensor->shape), "[2, 3]");
    const TensorView view = gguf.files().view(*tensor);
    EXPECT_EQ(std::string(reinterpret_cast<const char*>(view.data), 4), le(static_cast<float>(i)));
  }
}

TEST_F(SplitGguf, OnlyTheFirstIsNamed) {
  EXPECT_EQ(error(1), "accepted");
  EXPECT_NE(error(2).find("name the first file of the set: " + path(1)), std::string::npos);
  EXPECT_EQ(Gguf::open(path(3)).error().kind, ErrorKind::usage);
}

TEST_F(SplitGguf, MissingCutAndForeignParts) {
  std::filesystem::rename(path(2), dir_.path() + "/kept");
  EXPECT_NE(error().find(path(2) + " is not there, but " + path(1) + " is the first of 3 files"),
            std::string::npos);
  std::filesystem::copy_file(path(3), path(2));
  EXPECT_NE(error().find("no part 2 of 3"), std::string::npos) << error();
  const std::string whole = *read_file(dir_.path() + "/kept");
  ASSERT_TRUE(write_file(path(2), whole.substr(0, whole.size() - 32)).ok());
  EXPECT_NE(error().find(path(2) + ": tensor \"t3\""), std::string::npos) << error();
  ASSERT_TRUE(write_file(path(2), whole).ok());
  EXPECT_EQ(error(), "accepted");
}

TEST_F(SplitGguf, NamesFollowThePattern) {
  std::filesystem::rename(path(1), dir_.path() + "/other.gguf");
  const Result<Gguf> gguf = Gguf::open(dir_.path() + "/other.gguf");
  ASSERT_FALSE(gguf.ok());
  EXPECT_NE(gguf.error().message.find("must end with -00001-of-00003.gguf"), std::string::npos);
}

TEST_F(SplitGguf, CountsAreChecked) {
  const auto error_with = [this](uint64_t count, uint64_t number, uint64_t n_tensors) {
    GgufBuilder builder;
    builder.kv("split.count", GgufType::u64, le(count));
    builder.kv("split.no", GgufType::u64, le(number));
    builder.kv("split.tensors.count", GgufType::u64, le(n_tensors));
    EXPECT_TRUE(write_file(path(1), builder.build()).ok());
    return error();
  };
  EXPECT_EQ(error_with(3, 0, 3), "accepted");
  EXPECT_NE(error_with(3, 0, 4).find("is 4, but the 3 files hold 3"), std::string::npos);
  EXPECT_NE(error_with(1025, 0, 3).find("at most 1024"), std::string::npos);
  EXPECT_NE(error_with(UINT64_MAX, 0, 3), "accepted");
  EXPECT_NE(error_with(3, 3, 3).find("split.no is 3"), std::string::npos);
  EXPECT_NE(error_with(2, 0, 3).find("-00001-of-00002.gguf"), std::string::npos);
}

}  // namespace
}  // namespace splitd
