// GGUF files against the golden directories that they were made of: the same config, the same
// fingerprint, and after conversion the same bytes.
#include <gtest/gtest.h>

#include <cmath>

#include "runtime/model/convert.h"
#include "runtime/model/model_files.h"
#include "tests/runtime/model/gguf_model.h"

namespace splitd {
namespace {

// GGUF has no word for Gemma's query_pre_attn_scalar: readers take the width of a head.
void make_sayable(ModelCopy& copy, const ModelConfig& config) {
  if (!config.norm_plus_one) return;
  copy.config = replaced(copy.config, R"("query_pre_attn_scalar": 8)",
                         "\"query_pre_attn_scalar\": " + std::to_string(config.d_head));
}

const std::vector<std::string> kCases = {
    "smollm2_like", "llama_bias", "mistral_nemo",       "llama_f16_mha", "qwen2",
    "qwen3",        "qwen3_moe",  "phi3_longrope_long", "gemma3_text",   "gemma2"};

std::string error_of(GgufModel& gguf) {
  const Result<ModelFiles> model = ModelFiles::open(gguf.write());
  return model.ok() ? "accepted" : model.error().message;
}

void expect_error(GgufModel& gguf, std::string_view message) {
  const std::string error = error_of(gguf);
  EXPECT_NE(error.find(message), std::string::npos) << error;
}

TEST(GgufModel, HasTheConfigOfItsDirectory) {
  for (const std::string& name : kCases) {
    GgufModel gguf(name);
    make_sayable(gguf.copy, gguf.config);
    const Result<ModelFiles> model = ModelFiles::open(gguf.write());
    ASSERT_TRUE(model.ok()) << name << ": " << model.error().message;
    const ModelConfig hf = config_of(gguf.copy.config).value();
    ModelConfig c = model->config();
    EXPECT_EQ(canonical_config(c), canonical_config(hf)) << name;
    EXPECT_EQ(c.eos, hf.eos) << name;
    EXPECT_EQ(c.bos, hf.bos) << name;
    EXPECT_EQ(c.n_ctx, hf.n_ctx) << name;
    EXPECT_EQ(c.dtype, hf.dtype) << name;
    EXPECT_TRUE(model->is_whole()) << name;
    const Result<ModelFiles> directory = ModelFiles::open(gguf.copy.write());
    ASSERT_TRUE(directory.ok());
    EXPECT_EQ(hex(*model->fingerprint()), hex(*directory->fingerprint())) << name;
  }
}

TEST(GgufModel, BecomesTheDirectoryAgain) {
  for (const std::string& name : kCases) {
    GgufModel gguf(name);
    make_sayable(gguf.copy, gguf.config);
    const TempDir out;
    const Result<ModelFiles> source = ModelFiles::open(gguf.write());
    ASSERT_TRUE(source.ok());
    ConvertOptions options;
    options.dtype = *gguf.config.dtype;
    const Result<ConvertReport> report = convert_model(gguf.write(), out.path() + "/m", options);
    ASSERT_TRUE(report.ok()) << name << ": " << report.error().message;
    const Result<ModelFiles> model = ModelFiles::open(out.path() + "/m");
    ASSERT_TRUE(model.ok()) << name << ": " << model.error().message;
    EXPECT_EQ(canonical_config(model->config()), canonical_config(source->config())) << name;
    EXPECT_EQ(model->config().eos, source->config().eos);
    EXPECT_EQ(model->config().n_ctx, source->config().n_ctx);
    EXPECT_EQ(*model->fingerprint(), report->fingerprint) << name;
    EXPECT_EQ(*model->fingerprint(), *source->fingerprint()) << name;
    ASSERT_EQ(model->files().tensors().size(), gguf.copy.tensors.size()) << name;
    for (const RawTensor& tensor : gguf.copy.tensors) {
      const TensorInfo* found = model->files().find(tensor.info.name);
      ASSERT_NE(found, nullptr) << tensor.info.name;
      EXPECT_EQ(found->shape, tensor.info.shape) << tensor.info.name;
      EXPECT_EQ(found->dtype, tensor.info.dtype) << tensor.info.name;
      const TensorView view = model->files().view(*found);
      const std::string_view bytes(reinterpret_cast<const char*>(view.data), view.bytes);
      if (name == "gemma2" && tensor.info.shape.size() == 1) {
        for (size_t i = 0; i < bytes.size(); i += 4) {
          float a = 0.0f;
          float b = 0.0f;
          std::memcpy(&a, bytes.data() + i, 4);
          std::memcpy(&b, tensor.bytes.data() + i, 4);
          EXPECT_NEAR(a, b, 2.5e-7f);
        }
      } else {
        EXPECT_TRUE(bytes == tensor.bytes) << name << " " << tensor.info.name;
      }
    }
  }
}

TEST(GgufModel, QuantisedGemmaHasTheFingerprintOfItsDirectory) {
  GgufModel gguf("gemma3_text");
  make_sayable(gguf.copy, gguf.config);
  const Result<ModelFiles> directory = ModelFiles::open(gguf.copy.write());
  ASSERT_TRUE(directory.ok());
  ASSERT_EQ(directory->config().dtype, DType::bf16);
  GgufBuilder::Tensor& table = gguf.at("token_embd.weight");
  ASSERT_EQ(table.ne[0] % 32, 0u);
  table.type = 8;
  table.data.assign(table.ne[0] * table.ne[1] / 32 * 34, '\1');
  const Result<ModelFiles> model = ModelFiles::open(gguf.write());
  ASSERT_TRUE(model.ok()) << model.error().message;
  ASSERT_EQ(model->config().dtype, std::nullopt);
  EXPECT_EQ(hex(*model->fingerprint()), hex(*directory->fingerprint()));
  // The corrupted twin: another norm.
  gguf.at("blk.1.attn_norm.weight").data[3] ^= 1;
  EXPECT_NE(hex(*ModelFiles::open(gguf.write())->fingerprint()), hex(*directory->fingerprint()));
}

TEST(GgufModel, RowsOfQuantisedHeadsMoveWhole) {
  GgufModel gguf("llama_bf16");
  // q of layer 0 as Q8_0: scale 1 and, in every value of a row, the number of the row.
  std::string data;
  for (int row = 0; row < 64; ++row) {
    for (int block = 0; block < 2; ++block) {
      data += le(uint16_t{0x3c00}) + std::string(32, static_cast<char>(row));
    }
  }
  GgufBuilder::Tensor& q = gguf.at("blk.0.attn_q.weight");
  q.type = 8;
  q.data = data;
  const TempDir out;
  ConvertOptions options;
  options.dtype = DType::f32;
  ASSERT_TRUE(convert_model(gguf.write(), out.path() + "/m", options).ok());
  const Result<ModelFiles> model = ModelFiles::open(out.path() + "/m");
  ASSERT_TRUE(model.ok());
  const Result<ModelWeights> weights = model->weights({0, 1}, false, false);
  ASSERT_TRUE(weights.ok());
  for (int row = 0; row < 64; ++row) {
    float value = 0.0f;
    std::memcpy(&value, weights->layers[0].q.data + row * 64 * 4, 4);
    const int in_head = row % 16;  // hf row t·8+j comes from gguf row 2j+t
    EXPECT_EQ(value, float(row - in_head + 2 * (in_head % 8) + in_head / 8)) << row;
  }

  const Result<ModelFiles> source = ModelFiles::open(gguf.write());
  ASSERT_TRUE(source.ok());
  const Result<ModelWeights> quantised = source->weights({0, 1}, false, false);
  ASSERT_TRUE(quantised.ok()) << quantised.error().message;
  EXPECT_EQ(quantised->layers[0].q.dtype, DType::q8_0);
  EXPECT_TRUE(source->weights({1, 2}, true, true).ok());
}

TEST(GgufModel, SaysHowItsNumbersDiffer) {
  GgufModel llama("llama_bf16");
  const Result<ModelFiles> a = ModelFiles::open(llama.write());
  ASSERT_TRUE(a.ok()) << a.error().message;
  const Result<ModelWeights> wa = a->weights({0, 3}, true, true);
  ASSERT_TRUE(wa.ok()) << wa.error().message;
  EXPECT_TRUE(wa->qk_interleaved);
  EXPECT_FALSE(wa->norm_one_added);

  GgufModel gemma("gemma3_text");
  const Result<ModelFiles> b = ModelFiles::open(gemma.write());
  ASSERT_TRUE(b.ok()) << b.error().message;
  const Result<ModelWeights> wb = b->weights({0, 7}, true, true);
  ASSERT_TRUE(wb.ok()) << wb.error().message;
  EXPECT_FALSE(wb->qk_interleaved);
  EXPECT_TRUE(wb->norm_one_added);

  GgufModel moe("qwen3_moe");
  const Result<ModelFiles> c = ModelFiles::open(moe.write());
  ASSERT_TRUE(c.ok());
  const Result<ModelWeights> wc = c->weights({0, 1}, false, false);
  ASSERT_TRUE(wc.ok());
  ASSERT_EQ(wc->layers[0].experts.size(), 8u);
  const ExpertWeights& expert = wc->layers[0].experts[5];
  EXPECT_EQ(shape_text(expert.down.shape), "[64, 32]");
  const std::string& bytes = moe.copy.at("model.layers.0.mlp.experts.5.down_proj.weight").bytes;
  EXPECT_TRUE(std::string_view(reinterpret_cast<const char*>(expert.down.data),
                               expert.down.bytes) == bytes);
}

TEST(GgufModel, KnowsLlama3RopeByItsDivisors) {
  GgufModel gguf("llama_tied_llama3rope");
  const auto rope_of = [&] {
    const Result<ModelFiles> model = ModelFiles::open(gguf.write());
    EXPECT_TRUE(model.ok()) << model.error().message;
    return model.ok() ? model->config().ropes[0] : RopeConfig{};
  };
  // The fixture's original context of 32 is nobody's: the divisors stay divisors.
  const std::vector<float> own = GgufModel::llama3_divisors(gguf.config.ropes[0]);
  EXPECT_EQ(rope_of().kind, RopeKind::longrope);
  EXPECT_EQ(rope_of().short_factors, own);
  EXPECT_EQ(rope_of().long_factors, own);
  EXPECT_EQ(rope_of().attention_factor, 1.0f);
  const TempDir out;
  ASSERT_TRUE(convert_model(gguf.write(), out.path() + "/m", {}).ok());
  EXPECT_EQ(ModelFiles::open(out.path() + "/m")->config().ropes[0].long_factors, own);

  // With that of the published models they are recognised.
  RopeConfig published = gguf.config.ropes[0];
  published.original_ctx = 8192;
  published.factor = 32.0;
  std::string data;
  for (const float factor : GgufModel::llama3_divisors(published)) data += le(factor);
  gguf.at("rope_freqs.weight").data = data;
  EXPECT_EQ(rope_of(), published);
  // One divisor off: not them.
  float last = 0.0f;
  std::memcpy(&last, data.data() + data.size() - 8, 4);
  data.replace(data.size() - 8, 4, le(last * 0.99f));
  gguf.at("rope_freqs.weight").data = data;
  EXPECT_EQ(rope_of().kind, RopeKind::longrope);
}

TEST(GgufModel, RefusesByName) {
  {
    GgufModel gguf("llama_bf16");
    gguf.file.kvs = replaced(gguf.file.kvs, "llama", "gpt-2");
    expect_error(gguf,
                 "general.architecture is \"gpt-2\", which is not supported; supported: "
                 "llama, qwen2, qwen3, qwen3moe, phi3, gemma2, gemma3");
  }
  {
    GgufModel gguf("llama_bf16");
    gguf.u32("expert_count", 8);
    expect_error(gguf, "llama.expert_count is 8; experts are supported in qwen3moe alone");
  }
  {
    GgufModel gguf("llama_bf16");
    gguf.file.string("llama.rope.scaling.type", "yarn");
    expect_error(gguf,
                 "llama.rope.scaling.type is \"yarn\", which is not supported; supported: "
                 "none, linear, longrope");
  }
  {
    GgufModel gguf("llama_bf16");
    gguf.file.tensors.push_back({"blk.0.attn_sinks.weight", {4}, 0, std::string(16, '\0')});
    expect_error(gguf, "\"blk.0.attn_sinks.weight\" is none that a llama model");
  }
  {
    GgufModel gguf("llama_bf16");
    std::erase_if(gguf.file.tensors,
                  [](const auto& tensor) { return tensor.name == "blk.2.ffn_up.weight"; });
    expect_error(gguf, "layer 2 is incomplete: tensor \"blk.2.ffn_up.weight\" is missing");
  }
  {
    GgufModel gguf("llama_bf16");
    std::erase_if(gguf.file.tensors,
                  [](const auto& tensor) { return tensor.name == "token_embd.weight"; });
    expect_error(gguf, "\"token_embd.weight\" is missing or is no matrix");
  }
}

RopeConfig rope_of(GgufModel& gguf) {
  const Result<ModelFiles> model = ModelFiles::open(gguf.write());
  EXPECT_TRUE(model.ok()) << model.error().message;
  return model.ok() ? model->config().ropes[0] : RopeConfig{};
}

TEST(GgufModel, AFactorWithoutATypeIsLinear) {
  for (const char* key : {"rope.scaling.factor", "rope.scale_linear"}) {
    GgufModel gguf("llama_bf16");
    gguf.f32(key, 4.0);
    const RopeConfig rope = rope_of(gguf);
    EXPECT_EQ(rope.kind, RopeKind::linear) << key;
    EXPECT_EQ(rope.factor, 4.0) << key;
    gguf.file.string("llama.rope.scaling.type", "none");
    EXPECT_EQ(rope_of(gguf).kind, RopeKind::plain) << key;
  }
  GgufModel both("llama_bf16");  // the newer name counts
  both.f32("rope.scale_linear", 2.0);
  both.f32("rope.scaling.factor", 8.0);
  EXPECT_EQ(rope_of(both).factor, 8.0);
  for (const double bad : {0.0, -1.0, HUGE_VAL, std::nan("")}) {
    GgufModel gguf("llama_bf16");
    gguf.f32("rope.scaling.factor", bad);
    expect_error(gguf, "llama.rope.scaling.factor is ");
  }
}

std::string floats(std::initializer_list<float> values) {
  std::string out;
  for (const float value : values) out += le(value);
  return out;
}

TEST(GgufModel, LinearScalingAndDivisorsMultiply) {
  GgufModel gguf("llama_bf16");
  const uint32_t pairs = gguf.config.ropes[0].n_rotary / 2;
  ASSERT_EQ(pairs, 8u);
  gguf.file.tensors.push_back({"rope_freqs.weight", {pairs}, 0, floats({1, 1, 2, 2, 3, 3, 4, 4})});
  gguf.f32("rope.scaling.factor", 2.0);
  const RopeConfig rope = rope_of(gguf);
  EXPECT_EQ(rope.kind, RopeKind::longrope);
  EXPECT_EQ(rope.long_factors, (std::vector<float>{2, 2, 4, 4, 6, 6, 8, 8}));
  EXPECT_EQ(rope.short_factors, rope.long_factors);
  gguf.at("rope_freqs.weight").data = floats({1, 1, 2, std::nanf(""), 3, 3, 4, 4});
  expect_error(gguf, "tensor \"rope_freqs.weight\" holds nan; accepted: positive numbers");
}

TEST(GgufModel, SaysWhatIsWrongOnceAndByName) {
  {
    GgufModel gguf("llama_bf16");
    gguf.file.string("llama.rope.scaling.type", "longrope");
    expect_error(gguf, "is \"longrope\", but tensor \"rope_factors_long.weight\" is missing");
  }
  {
    GgufModel gguf("llama_bf16");
    const std::string key = GgufBuilder::text("llama.attention.layer_norm_rms_epsilon") + le32(6);
    const size_t at = gguf.file.kvs.find(key);
    ASSERT_NE(at, std::string::npos);
    gguf.file.kvs.replace(at + key.size(), 4, le(std::nanf("")));
    expect_error(gguf, "llama.attention.layer_norm_rms_epsilon is nan; accepted: a positive");
  }
  {
    GgufModel gguf("llama_bf16");
    gguf.file.string("llama.attention.sliding_window", "x");  // of no meaning to llama
    const std::string key = GgufBuilder::text("llama.block_count");
    const size_t at = gguf.file.kvs.find(key);
    ASSERT_NE(at, std::string::npos);
    gguf.file.kvs.replace(at, key.size(), GgufBuilder::text("llama.block_counts"));
    const std::string error = error_of(gguf);
    EXPECT_EQ(error, gguf.write() + ": metadata \"llama.block_count\" is missing");
  }
  {
    GgufModel gguf("llama_bf16");
    GgufBuilder::Tensor& norm = gguf.at("output_norm.weight");
    ASSERT_EQ(norm.ne[0] % 32, 0u);
    norm.type = 8;
    norm.data.assign(norm.ne[0] / 32 * 34, '\1');
    expect_error(gguf,
                 "tensor \"output_norm.weight\" is Q8_0, which is not supported; supported: F32, "
                 "F16, BF16");
  }
  {
    GgufModel gguf("llama_bf16");
    GgufBuilder::Tensor& matrix = gguf.at("blk.0.ffn_up.weight");
    matrix.type = 28;
    matrix.data.assign(matrix.ne[0] * matrix.ne[1] * 8, '\1');
    expect_error(gguf, "is F64, which is not supported; supported: F32, F16, BF16, Q4_0");
  }
}

TEST(GgufModel, ChecksItsMetadata) {
  const auto broken = [](std::string_view key, uint32_t value) {
    GgufModel gguf("llama_bf16");
    const std::string name = GgufBuilder::text("llama." + std::string(key)) + le32(4);
    const size_t at = gguf.file.kvs.find(name);
    EXPECT_NE(at, std::string::npos);
    gguf.file.kvs.replace(at + name.size(), 4, le(value));
    return error_of(gguf);
  };
  EXPECT_NE(broken("block_count", 0).find("llama.block_count is 0; accepted: 1 to 4096"),
            std::string::npos);
  EXPECT_NE(broken("block_count", 4).find("\"blk.3."), std::string::npos);
  EXPECT_NE(broken("block_count", 2).find("is none that a llama"), std::string::npos);
  EXPECT_NE(broken("attention.head_count", 3).find("heads cannot share"), std::string::npos);
  EXPECT_NE(broken("attention.value_length", 8).find("llama.attention.value_length is 8"),
            std::string::npos);
  EXPECT_NE(broken("rope.dimension_count", 7).find("is odd"), std::string::npos);
  EXPECT_NE(broken("rope.dimension_count", 18).find("accepted: 2 to 16"), std::string::npos);
  EXPECT_NE(broken("feed_forward_length", 95).find("the config asks for [95, 64]"),
            std::string::npos);
}

}  // namespace
}  // namespace splitd
