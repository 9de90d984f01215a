// Directories into other dtypes: rounding, atomicity, refusals. GGUF is in gguf_model_test.cpp.
#include "runtime/model/convert.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstring>
#include <filesystem>
#include <limits>

#include "runtime/base/float16.h"
#include "runtime/model/atomic_directory.h"
#include "runtime/model/config_write.h"
#include "runtime/model/model_files.h"
#include "tests/runtime/model/gguf_model.h"

namespace splitd {
namespace {

size_t entries(const std::string& directory) {
  size_t count = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(directory)) ++count;
  return count;
}

ConvertOptions to(DType dtype) {
  ConvertOptions options;
  options.dtype = dtype;
  return options;
}

std::string error_of(const std::string& source, const std::string& target,
                     const ConvertOptions& options = {}) {
  const Result<ConvertReport> report = convert_model(source, target, options);
  return report.ok() ? "accepted" : report.error().message;
}

TEST(Convert, WideningAndBackIsTheSame) {
  for (const std::string& name : golden_names()) {
    const TempDir out;
    ASSERT_EQ(error_of(golden_model(name), out.path() + "/f32", to(DType::f32)), "accepted");
    const DType own = *ModelFiles::open(golden_model(name))->config().dtype;
    ASSERT_EQ(error_of(out.path() + "/f32", out.path() + "/back", to(own)), "accepted");
    const Result<ModelFiles> before = ModelFiles::open(golden_model(name));
    const Result<ModelFiles> wide = ModelFiles::open(out.path() + "/f32");
    const Result<ModelFiles> after = ModelFiles::open(out.path() + "/back");
    ASSERT_TRUE(before.ok() && wide.ok() && after.ok()) << name;
    EXPECT_EQ(wide->config().dtype, DType::f32);
    EXPECT_EQ(after->config(), before->config()) << name;
    EXPECT_EQ(*wide->fingerprint(), *before->fingerprint());
    EXPECT_EQ(*after->fingerprint(), *before->fingerprint());
    ASSERT_EQ(after->files().tensors().size(), before->files().tensors().size());
    for (const TensorInfo& tensor : before->files().tensors()) {
      const TensorInfo* found = after->files().find(tensor.name);
      ASSERT_NE(found, nullptr);
      const TensorView a = before->files().view(tensor);
      const TensorView b = after->files().view(*found);
      ASSERT_EQ(a.bytes, b.bytes);
      EXPECT_EQ(std::memcmp(a.data, b.data, a.bytes), 0) << name << " " << tensor.name;
    }
  }
}

TEST(Convert, RoundsToNearestEven) {
  ModelCopy copy("llama");
  RawTensor& tensor = copy.at("model.layers.0.mlp.up_proj.weight");
  const float values[] = {1.00390625f, 1.01171875f, -0.0f, 1e-8f, 65504.0f, 3.0e-5f};
  std::memcpy(tensor.bytes.data(), values, sizeof values);
  const TempDir out;
  ASSERT_EQ(error_of(copy.write(), out.path() + "/bf16"), "accepted");
  ASSERT_EQ(error_of(copy.write(), out.path() + "/f16", to(DType::f16)), "accepted");
  uint16_t bits[6];
  const auto read = [&](const std::string& directory) {
    const Result<ModelFiles> model = ModelFiles::open(directory);
    ASSERT_TRUE(model.ok());
    const TensorInfo* found = model->files().find("model.layers.0.mlp.up_proj.weight");
    ASSERT_NE(found, nullptr);
    std::memcpy(bits, model->files().view(*found).data, sizeof bits);
  };
  read(out.path() + "/bf16");
  EXPECT_EQ(bits[0], 0x3f80);  // halfway down to even
  EXPECT_EQ(bits[1], 0x3f82);  // halfway up to even
  EXPECT_EQ(bits[2], 0x8000);
  EXPECT_EQ(bits[3], 0x322c);
  read(out.path() + "/f16");
  EXPECT_EQ(bits[2], 0x8000);
  EXPECT_EQ(bits[3], 0x0000);
  EXPECT_EQ(bits[4], 0x7bff);
  EXPECT_EQ(bits[5], 0x01f7);  // subnormal
}

TEST(Convert, RefusesNumbersThatDoNotFit) {
  ModelCopy copy("llama");
  RawTensor& tensor = copy.at("model.layers.2.mlp.down_proj.weight");  // 48 rows of 64
  const auto put = [&](float value) {
    std::memcpy(tensor.bytes.data() + (5 * 64 + 7) * 4, &value, 4);
  };
  const TempDir out;
  put(70000.0f);
  EXPECT_NE(error_of(copy.write(), out.path() + "/m", to(DType::f16))
                .find("tensor \"model.layers.2.mlp.down_proj.weight\": row 5, column 7: "
                      "70000.000000 does not fit F16; accepted: BF16 or F32"),
            std::string::npos);
  EXPECT_EQ(error_of(copy.write(), out.path() + "/bf16", to(DType::bf16)), "accepted");
  put(std::numeric_limits<float>::quiet_NaN());
  EXPECT_NE(error_of(copy.write(), out.path() + "/m", to(DType::f32))
                .find("row 5, column 7: not a number"),
            std::string::npos);
  put(3.4e38f);  // rounds up to infinity
  EXPECT_NE(error_of(copy.write(), out.path() + "/m").find("does not fit BF16"), std::string::npos);
  EXPECT_EQ(entries(out.path()), 1u) << "something was left behind";
}

TEST(Convert, RefusesATargetThatIsThere) {
  const TempDir out;
  const std::string source = golden_model("llama");
  EXPECT_NE(error_of(source, out.path() + "/no/such/place").find("cannot create"),
            std::string::npos);
  ASSERT_TRUE(write_file(out.path() + "/file", "x").ok());
  EXPECT_NE(error_of(source, out.path() + "/file").find("exists and is no directory"),
            std::string::npos);
  EXPECT_NE(error_of(source, out.path()).find("exists and is not empty"), std::string::npos);
  EXPECT_EQ(convert_model(source, out.path(), {}).error().kind, ErrorKind::usage);
  EXPECT_EQ(entries(out.path()), 1u);
  std::filesystem::create_directory(out.path() + "/empty");
  EXPECT_EQ(error_of(source, out.path() + "/empty/"), "accepted");
  EXPECT_EQ(entries(out.path()), 2u);
  struct stat info {};
  ASSERT_EQ(::stat((out.path() + "/empty").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777u, 0755u);
}

TEST(Convert, LeavesNothingWhenCancelled) {
  const TempDir out;
  ConvertOptions options;
  uint64_t last = 0;
  options.progress = [&](const Progress& progress) {
    EXPECT_GT(progress.done, last);
    EXPECT_LE(progress.done, progress.total);
    last = progress.done;
    return progress.done < progress.total / 2;
  };
  const Result<ConvertReport> report =
      convert_model(golden_model("llama"), out.path() + "/m", options);
  ASSERT_FALSE(report.ok());
  EXPECT_EQ(report.error().kind, ErrorKind::interrupted);
  EXPECT_GT(last, 0u);
  EXPECT_EQ(entries(out.path()), 0u);
}

TEST(Convert, ShardsWhatIsLarge) {
  const TempDir out;
  ConvertOptions options;
  options.max_shard_bytes = 60000;
  const Result<ConvertReport> report =
      convert_model(golden_model("llama_sharded"), out.path() + "/m", options);
  ASSERT_TRUE(report.ok()) << report.error().message;
  EXPECT_GT(report->files, 2u);
  const Result<ModelFiles> model = ModelFiles::open(out.path() + "/m");
  ASSERT_TRUE(model.ok()) << model.error().message;
  EXPECT_EQ(model->files().files().size(), report->files);
  EXPECT_TRUE(model->is_whole());
  EXPECT_EQ(hex(*model->fingerprint()),
            hex(*ModelFiles::open(golden_model("llama_sharded"))->fingerprint()));
}

TEST(Convert, LayersMakeAPartialDirectory) {
  const TempDir out;
  ConvertOptions options;
  options.layers = LayerRange{1, 3};
  ASSERT_EQ(error_of(golden_model("qwen3_moe"), out.path() + "/m", options), "accepted");
  const Result<ModelFiles> model = ModelFiles::open(out.path() + "/m");
  ASSERT_TRUE(model.ok()) << model.error().message;
  EXPECT_EQ(model->parts_text(), "layers 1-2 of 3, no embedding, no head");
  EXPECT_EQ(*model->fingerprint(), *ModelFiles::open(golden_model("qwen3_moe"))->fingerprint());
  options.layers = LayerRange{2, 4};
  EXPECT_NE(error_of(golden_model("qwen3_moe"), out.path() + "/n", options)
                .find("layers 2:4 do not exist; the model has 3"),
            std::string::npos);
}

TEST(Convert, BringsTheOtherFilesAlong) {
  ModelCopy copy("llama");
  const std::string& source = copy.write();
  const std::string tokenizer = R"({"model": {"type": "BPE"}})";
  for (const std::string_view name : {"tokenizer.json", "chat_template.jinja", "LICENSE"}) {
    ASSERT_TRUE(write_file(source + "/" + std::string(name), tokenizer).ok());
  }
  for (const std::string_view name : {"pytorch_model.bin", ".hidden.json"}) {
    ASSERT_TRUE(write_file(source + "/" + std::string(name), tokenizer).ok());
  }
  const TempDir out;
  const Result<ConvertReport> report = convert_model(source, out.path() + "/m", {});
  ASSERT_TRUE(report.ok()) << report.error().message;
  EXPECT_TRUE(report->tokenizer);
  EXPECT_EQ(read_file(out.path() + "/m/tokenizer.json").value(), tokenizer);
  EXPECT_EQ(entries(out.path() + "/m"), 5u);  // with config.json and the weights
}

TEST(AtomicDirectory, SaysWhenThereIsNoRoom) {
  const TempDir out;
  {
    const Result<AtomicDirectory> directory = AtomicDirectory::create(out.path() + "/m");
    ASSERT_TRUE(directory.ok());
    EXPECT_TRUE(directory->check_space(1).ok());
    const Status full = directory->check_space(uint64_t{1} << 60);
    ASSERT_FALSE(full.ok());
    EXPECT_NE(full.error().message.find("/m: 1152921504.61 GB are needed, "), std::string::npos);
    EXPECT_EQ(entries(out.path()), 1u);
  }
  EXPECT_EQ(entries(out.path()), 0u);
}

TEST(AtomicDirectory, GivesWayToWhoWasFaster) {
  const TempDir out;
  Result<AtomicDirectory> directory = AtomicDirectory::create(out.path() + "/m");
  ASSERT_TRUE(directory.ok());
  std::filesystem::create_directory(out.path() + "/m");
  ASSERT_TRUE(write_file(out.path() + "/m/x", "theirs").ok());
  EXPECT_FALSE(directory->commit().ok());
  EXPECT_EQ(read_file(out.path() + "/m/x").value(), "theirs");
}

TEST(ConfigWrite, ReadsBackTheSame) {
  for (const std::string& name : golden_names()) {
    const ModelConfig before =
        config_of(read_file(golden_model(name) + "/config.json").value()).value();
    const Result<ModelConfig> after =
        config_of(write_config_json(before, *before.dtype, std::nullopt));
    ASSERT_TRUE(after.ok()) << name << ": " << after.error().message;
    EXPECT_EQ(*after, before) << name;
    EXPECT_EQ(canonical_config(*after), canonical_config(before)) << name;
  }
}

TEST(ConfigWrite, ReplacesTheDtypeAndNothingElse) {
  const Result<JsonDoc> doc = JsonDoc::parse(
      R"({"a":1e400,"torch_dtype":"float32","text_config":{"dtype":"float32","b":[2]}})");
  ASSERT_TRUE(doc.ok());
  const std::string text = replace_config_dtype(doc->root(), DType::bf16);
  const Result<JsonDoc> again = JsonDoc::parse(text);
  ASSERT_TRUE(again.ok()) << text;
  EXPECT_EQ(JsonWriter().copy(again->root()).take(),
            R"({"a":1e400,"torch_dtype":"bfloat16","text_config":{"dtype":"bfloat16","b":[2]}})");
}

}  // namespace
}  // namespace splitd
