// inspect and verify on what people point them at.
#include "runtime/model/inspect.h"

#include <gtest/gtest.h>

#include "runtime/model/verify.h"
#include "tests/runtime/model/gguf_model.h"

namespace splitd {
namespace {

std::string error_of(const std::string& path) {
  const Result<Inspection> inspection = Inspection::open(path);
  return inspection.ok() ? "accepted" : inspection.error().message;
}

TEST(Inspect, CountsWhatAModelHolds) {
  for (const std::string& name : golden_names()) {
    const Result<Inspection> inspection = Inspection::open(golden_model(name));
    ASSERT_TRUE(inspection.ok()) << inspection.error().message;
    ASSERT_NE(inspection->model(), nullptr);
    const ModelConfig& c = *inspection->config();
    EXPECT_EQ(inspection->numbers(), parameter_count(c)) << name;
    uint64_t sum = inspection->slot_bytes(Slot::embedding) +
                   inspection->slot_bytes(Slot::final_norm) + inspection->slot_bytes(Slot::head);
    for (const uint64_t bytes : inspection->layer_bytes()) {
      EXPECT_GT(bytes, 0u);
      sum += bytes;
    }
    EXPECT_EQ(sum, inspection->weight_bytes()) << name;
    ASSERT_EQ(inspection->dtypes().size(), 1u);
    EXPECT_EQ(inspection->dtypes()[0].dtype, *c.dtype);
    EXPECT_EQ(inspection->kv_bytes_per_token(2), 4u * c.n_layer * c.n_kv_head * c.d_head);
    EXPECT_EQ(*inspection->fingerprint(), *inspection->model()->fingerprint());
    EXPECT_LT(inspection->open_ms(), 5000.0);
  }
}

TEST(Inspect, ConfigAloneIsNoModel) {
  const TempDir dir;
  const std::string config = read_file(golden_model("qwen3") + "/config.json").value();
  ASSERT_TRUE(write_file(dir.path() + "/config.json", config).ok());
  for (const std::string& path : {dir.path(), dir.path() + "/config.json"}) {
    const Result<Inspection> inspection = Inspection::open(path);
    ASSERT_TRUE(inspection.ok()) << inspection.error().message;
    EXPECT_TRUE(inspection->is_bare_config());
    EXPECT_EQ(inspection->config()->family, "qwen3");
    EXPECT_EQ(inspection->files(), nullptr);
    EXPECT_FALSE(inspection->fingerprint());
  }
  ASSERT_TRUE(write_file(dir.path() + "/config.json", replaced(config, "qwen3", "qwen9")).ok());
  EXPECT_NE(error_of(dir.path()).find("model_type \"qwen9\" is not supported"), std::string::npos);
}

TEST(Inspect, ALoneSafetensorsFileIsTensors) {
  const std::string path = golden_model("llama") + "/expected.safetensors";
  const Result<Inspection> inspection = Inspection::open(path);
  ASSERT_TRUE(inspection.ok()) << inspection.error().message;
  EXPECT_TRUE(inspection->is_bare_tensors());
  EXPECT_EQ(inspection->config(), nullptr);
  EXPECT_GT(inspection->numbers(), 0u);
  EXPECT_TRUE(inspection->layer_bytes().empty());
}

TEST(Inspect, RefusesTheRestWithOneLine) {
  const TempDir dir;
  ASSERT_TRUE(write_file(dir.path() + "/x.safetensors", "nonsense").ok());
  ASSERT_TRUE(write_file(dir.path() + "/y", "GGUF").ok());
  ASSERT_TRUE(write_file(dir.path() + "/empty", "").ok());
  for (const std::string& path : {dir.path(), dir.path() + "/x.safetensors", dir.path() + "/y",
                                  dir.path() + "/empty", dir.path() + "/absent"}) {
    const Result<Inspection> inspection = Inspection::open(path);
    ASSERT_FALSE(inspection.ok()) << path;
    EXPECT_EQ(inspection.error().kind, ErrorKind::model) << inspection.error().message;
    EXPECT_EQ(inspection.error().message.find('\n'), std::string::npos);
    EXPECT_NE(inspection.error().message.find(dir.path()), std::string::npos);
  }
}

// The corpus of safetensors files: each is accepted or refused as its verdict says, as a lone file.
TEST(Inspect, SafetensorsCorpus) {
  const Result<std::string> text =
      read_file(std::string(SPLITD_TEST_DATA) + "/golden/safetensors_cases.json");
  ASSERT_TRUE(text.ok());
  const Result<JsonDoc> doc = JsonDoc::parse(*text);
  ASSERT_TRUE(doc.ok());
  const TempDir dir;
  size_t files = 0;
  size_t accepted = 0;
  const auto decode = [](std::string_view base64) {
    constexpr std::string_view kDigits =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    std::string out;
    uint32_t bits = 0;
    int count = 0;
    for (const char c : base64) {
      const size_t digit = kDigits.find(c);
      if (digit == std::string_view::npos) break;
      bits = bits << 6 | static_cast<uint32_t>(digit);
      if (++count % 4 != 1) out += static_cast<char>(bits >> (6 - 2 * ((count - 1) % 4)));
    }
    return out;
  };
  ASSERT_EQ(decode("aGVsbG8="), "hello");
  for (const Json item : doc->root().find("cases")->elements()) {
    const std::string path = dir.path() + "/" + std::to_string(files++) + ".safetensors";
    ASSERT_TRUE(write_file(path, decode(item.find("base64")->text())).ok());
    const std::string error = error_of(path);
    accepted += error == "accepted";
    EXPECT_EQ(error.find('\n'), std::string::npos) << error;
    EXPECT_EQ(error == "accepted", item.find("verdict")->text() == "accept")
        << item.find("name")->text() << ": " << error;
  }
  EXPECT_GT(files, 20u);
  EXPECT_GT(accepted, 3u);
  EXPECT_LT(accepted, files);
}

TEST(Verify, FindsNothingInGoldenModels) {
  for (const std::string& name : golden_names()) {
    const Result<ModelFiles> model = ModelFiles::open(golden_model(name));
    ASSERT_TRUE(model.ok());
    const Result<VerifyReport> report = verify_weights(model->files());
    ASSERT_TRUE(report.ok());
    EXPECT_TRUE(report->non_finite.empty()) << name;
    EXPECT_GT(report->bytes, 100000u);
  }
}

// One bad number at every place of a tensor's row structure, in each type.
TEST(Verify, NamesTensorRowAndColumn) {
  struct Case {
    std::string_view golden;
    uint32_t bytes;
    std::string_view bad;
  };
  using namespace std::literals;
  for (const Case& c :
       {Case{"llama_bf16", 2, "\x80\x7f"sv}, Case{"llama_bf16", 2, "\xc1\xff"sv},
        Case{"llama_f16_mha", 2, "\x00\xfc"sv}, Case{"llama", 4, "\x00\x00\x80\xff"sv}}) {
    ModelCopy copy(c.golden);
    RawTensor& tensor = copy.at("model.layers.1.mlp.up_proj.weight");
    const uint64_t columns = tensor.info.shape[1];
    const uint64_t rows = tensor.info.shape[0];
    const std::string clean = tensor.bytes;
    for (const auto& [row, column] :
         {std::pair<uint64_t, uint64_t>{0, 0}, {0, columns - 1}, {3, 5}, {rows - 1, columns - 1}}) {
      tensor.bytes = clean;
      tensor.bytes.replace((row * columns + column) * c.bytes, c.bytes, c.bad);
      const Result<ModelFiles> model = ModelFiles::open(copy.write());
      ASSERT_TRUE(model.ok());
      const Result<VerifyReport> report = verify_weights(model->files(), 2);
      ASSERT_TRUE(report.ok());
      ASSERT_EQ(report->non_finite.size(), 1u) << c.golden << " " << row << " " << column;
      EXPECT_EQ(report->non_finite[0].tensor, "model.layers.1.mlp.up_proj.weight");
      EXPECT_EQ(report->non_finite[0].row, row);
      EXPECT_EQ(report->non_finite[0].column, column);
      EXPECT_EQ(report->non_finite[0].count, 1u);
    }
  }
}

TEST(Verify, CountsAndSortsByName) {
  ModelCopy copy("llama_bf16");
  copy.at("model.norm.weight").bytes.replace(10, 4, "\x80\x7f\x80\x7f");
  copy.at("lm_head.weight").bytes.replace(64 * 2 * 7, 2, "\x80\xff");
  const Result<ModelFiles> model = ModelFiles::open(copy.write());
  ASSERT_TRUE(model.ok());
  const Result<VerifyReport> report = verify_weights(model->files(), 1);
  ASSERT_TRUE(report.ok());
  ASSERT_EQ(report->non_finite.size(), 2u);
  EXPECT_EQ(report->non_finite[0].tensor, "lm_head.weight");
  EXPECT_EQ(report->non_finite[0].row, 7u);
  EXPECT_EQ(report->non_finite[1].count, 2u);
  EXPECT_EQ(report->non_finite[1].row, 0u);
  EXPECT_EQ(report->non_finite[1].column, 5u);
}

TEST(Verify, LooksAtTheScalesOfBlocks) {
  GgufModel gguf("llama_bf16");
  GgufBuilder::Tensor& q = gguf.at("blk.0.attn_q.weight");
  q.type = 8;  // Q8_0
  q.data.clear();
  for (int block = 0; block < 128; ++block) {
    // Values of 0x7f are no exponents here.
    q.data +=
        le(uint16_t{block == 37 ? uint16_t{0x7c00} : uint16_t{0x3c00}}) + std::string(32, '\x7f');
  }
  const Result<ModelFiles> model = ModelFiles::open(gguf.write());
  ASSERT_TRUE(model.ok()) << model.error().message;
  const Result<VerifyReport> report = verify_weights(model->files());
  ASSERT_TRUE(report.ok());
  ASSERT_EQ(report->non_finite.size(), 1u);
  EXPECT_EQ(report->non_finite[0].row, 18u);  // two blocks a row
  EXPECT_EQ(report->non_finite[0].column, 32u);
}

TEST(Verify, StopsWhenTold) {
  const Result<ModelFiles> model = ModelFiles::open(golden_model("llama"));
  ASSERT_TRUE(model.ok());
  const Result<VerifyReport> report =
      verify_weights(model->files(), 2, [](const Progress&) { return false; });
  ASSERT_FALSE(report.ok());
  EXPECT_EQ(report.error().kind, ErrorKind::interrupted);
}

}  // namespace
}  // namespace splitd
