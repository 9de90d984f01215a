#include "runtime/model/model_files.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "tests/runtime/model/model_copy.h"

namespace splitd {
namespace {

std::string open_error(ModelCopy& copy) {
  const Result<ModelFiles> model = ModelFiles::open(copy.write());
  return model.ok() ? "accepted" : model.error().message;
}

void expect_error(ModelCopy& copy, std::string_view message) {
  const std::string error = open_error(copy);
  EXPECT_NE(error.find(message), std::string::npos) << error;
}

std::string hex_fingerprint(const std::string& directory) {
  const Result<ModelFiles> model = ModelFiles::open(directory);
  if (!model.ok()) return model.error().message;
  const Result<Sha256Digest> digest = model->fingerprint();
  return digest.ok() ? hex(*digest) : digest.error().message;
}

bool is_norm_name(const std::string& name) {
  return name.ends_with("norm.weight");
}

// Every tensor of every golden model is in the schema, and the schema has no other.
TEST(Schema, IsExactlyTheFilesOfEveryGoldenModel) {
  for (const std::string& name : golden_names()) {
    const Result<ModelFiles> model = ModelFiles::open(golden_model(name));
    ASSERT_TRUE(model.ok()) << model.error().message;
    std::map<std::string, Shape> expected;
    for (const TensorSpec& spec : model_schema(model->config())) {
      expected[hf_name(spec, model->config())] = spec.shape;
      EXPECT_EQ(is_norm(spec.slot), is_norm_name(hf_name(spec, model->config())));
    }
    std::map<std::string, Shape> stored;
    uint64_t parameters = 0;
    for (const TensorInfo& tensor : model->files().tensors()) {
      stored[tensor.name] = tensor.shape;
      uint64_t count = 1;
      for (const uint64_t extent : tensor.shape) count *= extent;
      parameters += count;
    }
    EXPECT_EQ(expected, stored) << name;
    EXPECT_EQ(parameter_count(model->config()), parameters) << name;
    EXPECT_TRUE(model->is_whole());
    EXPECT_TRUE(model->tokenizer_path().empty());
  }
}

TEST(ModelFiles, RefusesWhatIsNoModel) {
  const TempDir empty;
  EXPECT_NE(ModelFiles::open(empty.path()).error().message.find("has no config.json"),
            std::string::npos);
  EXPECT_NE(ModelFiles::open(empty.path() + "/x").error().message.find("does not exist"),
            std::string::npos);
  const std::string file = golden_model("llama") + "/model.safetensors";
  EXPECT_NE(ModelFiles::open(file).error().message.find("is no model"), std::string::npos);
  EXPECT_EQ(ModelFiles::open(file).error().kind, ErrorKind::model);
}

TEST(ModelFiles, NamesFileTensorAndBothShapes) {
  ModelCopy copy("llama_bf16");
  copy.config = replaced(copy.config, R"("intermediate_size": 96)", R"("intermediate_size": 97)");
  const std::string error = open_error(copy);
  EXPECT_NE(error.find("/model.safetensors: tensor \"model.layers.0.mlp.gate_proj.weight\" is "
                       "[96, 64]; the config asks for [97, 64]"),
            std::string::npos)
      << error;
}

TEST(ModelFiles, RefusesTensorsThatTheConfigLacksOrThatLack) {
  ModelCopy lacking("llama_bf16");
  lacking.keep([](const std::string& name) { return name != "model.layers.1.mlp.up_proj.weight"; });
  expect_error(lacking, "layer 1 is incomplete: tensor \"model.layers.1.mlp.up_proj.weight\"");

  ModelCopy no_norm("llama_bf16");
  no_norm.keep(
      [](const std::string& name) { return name != "model.layers.1.input_layernorm.weight"; });
  expect_error(no_norm, "\"model.layers.1.input_layernorm.weight\" is missing; every directory");

  ModelCopy no_final_norm("llama_bf16");
  no_final_norm.keep([](const std::string& name) { return name != "model.norm.weight"; });
  expect_error(no_final_norm, "\"model.norm.weight\" is missing");

  ModelCopy biased("llama_bias");  // the config forgets the biases that the file has
  biased.config = replaced(biased.config, R"("mlp_bias": true)", R"("mlp_bias": false)");
  expect_error(biased, "bias\" is none that a llama model of this config has");

  ModelCopy deep("llama_bf16");
  deep.rename("model.layers.2.self_attn.q_proj.weight", "model.layers.3.self_attn.q_proj.weight");
  expect_error(deep, "layer 2 is incomplete");

  ModelCopy old("llama_bf16");  // early checkpoints stored this buffer
  old.tensors.push_back(
      {{.name = "model.layers.0.self_attn.rotary_emb.inv_freq", .dtype = DType::f32, .shape = {2}},
       std::string(8, '\0')});
  EXPECT_EQ(open_error(old), "accepted");
}

TEST(ModelFiles, RefusesTypesThatCannotBeComputedWith) {
  ModelCopy copy("llama_bf16");
  RawTensor& tensor = copy.at("model.layers.1.self_attn.q_proj.weight");
  tensor.info.dtype = DType::f8_e4m3;
  tensor.bytes.resize(tensor.bytes.size() / 2);
  expect_error(copy,
               "\"model.layers.1.self_attn.q_proj.weight\" is F8_E4M3, which is not "
               "supported; supported: F32, F16, BF16");
}

TEST(ModelFiles, ReadsTheNamesOfMultimodalFiles) {
  const Result<ModelFiles> plain = ModelFiles::open(golden_model("gemma3_text"));
  ASSERT_TRUE(plain.ok());
  for (const std::string_view prefix :
       {"language_model.model.", "model.language_model.", "language_model.", ""}) {
    ModelCopy copy("gemma3_text");
    copy.rename("model.", prefix);
    copy.tensors.push_back(
        {{.name = "vision_tower.patch.weight", .dtype = DType::i64, .shape = {1}},
         std::string(8, 'v')});
    const Result<ModelFiles> model = ModelFiles::open(copy.write());
    ASSERT_TRUE(model.ok()) << model.error().message;
    EXPECT_TRUE(model->is_whole());
    EXPECT_EQ(*model->fingerprint(), *plain->fingerprint()) << prefix;
    EXPECT_TRUE(model->weights({0, 7}, true, true).ok());
  }
  ModelCopy stranger("gemma3_text");
  stranger.rename("model.", "language_model.model.");
  stranger.tensors.push_back(
      {{.name = "language_model.model.layers.0.mlp.extra", .dtype = DType::f32, .shape = {1}},
       std::string(4, 'v')});
  expect_error(stranger, "is none that a gemma3_text model");
}

TEST(ModelFiles, TiedHeadMayBeStoredWhenItIsTheSame) {
  ModelCopy copy("qwen3");
  RawTensor head = copy.at("model.embed_tokens.weight");
  head.info.name = "lm_head.weight";
  copy.tensors.push_back(head);
  Result<ModelFiles> model = ModelFiles::open(copy.write());
  ASSERT_TRUE(model.ok()) << model.error().message;
  EXPECT_EQ(hex(*model->fingerprint()), hex_fingerprint(golden_model("qwen3")));
  const Result<ModelWeights> weights = model->weights({0, 0}, true, true);
  ASSERT_TRUE(weights.ok()) << weights.error().message;
  EXPECT_EQ(weights->head.data, weights->embed.data);

  copy.tensors.back().bytes[1] ^= 1;
  model = ModelFiles::open(copy.write());
  ASSERT_TRUE(model.ok());
  EXPECT_TRUE(model->weights({0, 0}, true, false).ok());
  EXPECT_NE(model->weights({0, 0}, true, true)
                .error()
                .message.find("\"lm_head.weight\" differs from \"model.embed_tokens.weight\""),
            std::string::npos);

  copy.keep([](const std::string& name) { return name != "model.embed_tokens.weight"; });
  model = ModelFiles::open(copy.write());  // one of the two is enough
  ASSERT_TRUE(model.ok()) << model.error().message;
  EXPECT_TRUE(model->weights({0, 0}, true, true).ok());
}

TEST(ModelFiles, ExpertsMayBeStacked) {
  const Result<ModelFiles> plain = ModelFiles::open(golden_model("qwen3_moe"));
  ASSERT_TRUE(plain.ok());
  ModelCopy copy("qwen3_moe");
  for (const int layer : {0, 2}) {
    const std::string experts = "model.layers." + std::to_string(layer) + ".mlp.experts.";
    RawTensor gate_up{
        {.name = experts + "gate_up_proj", .dtype = DType::bf16, .shape = {8, 64, 64}}, ""};
    RawTensor down{{.name = experts + "down_proj", .dtype = DType::bf16, .shape = {8, 64, 32}}, ""};
    for (int expert = 0; expert < 8; ++expert) {
      const std::string one = experts + std::to_string(expert) + ".";
      gate_up.bytes += copy.at(one + "gate_proj.weight").bytes;
      gate_up.bytes += copy.at(one + "up_proj.weight").bytes;
      down.bytes += copy.at(one + "down_proj.weight").bytes;
    }
    copy.keep([&](const std::string& name) { return !name.starts_with(experts); });
    copy.tensors.push_back(gate_up);
    copy.tensors.push_back(down);
  }
  const Result<ModelFiles> stacked = ModelFiles::open(copy.write());
  ASSERT_TRUE(stacked.ok()) << stacked.error().message;
  EXPECT_TRUE(stacked->is_whole());
  EXPECT_EQ(*stacked->fingerprint(), *plain->fingerprint());
  const Result<ModelWeights> a = plain->weights({0, 3}, false, false);
  const Result<ModelWeights> b = stacked->weights({0, 3}, false, false);
  ASSERT_TRUE(a.ok() && b.ok());
  const auto same = [](const TensorView& x, const TensorView& y) {
    return std::ranges::equal(x.shape, y.shape) && x.bytes == y.bytes &&
           std::equal(x.data, x.data + x.bytes, y.data);
  };
  for (const size_t layer : {0, 2}) {
    ASSERT_EQ(b->layers[layer].experts.size(), 8u);
    for (size_t expert = 0; expert < 8; ++expert) {
      const ExpertWeights& x = a->layers[layer].experts[expert];
      const ExpertWeights& y = b->layers[layer].experts[expert];
      EXPECT_TRUE(same(x.gate, y.gate) && same(x.up, y.up) && same(x.down, y.down));
    }
  }
  EXPECT_FALSE(same(b->layers[0].experts[0].gate, b->layers[0].experts[1].gate));
  EXPECT_TRUE(b->layers[1].experts.empty());
  EXPECT_NE(b->layers[1].gate.data, nullptr);

  copy.tensors.back().info.shape = {8, 32, 64};
  expect_error(copy, "experts.down_proj\" is [8, 32, 64]; the config asks for [8, 64, 32]");
}

TEST(ModelWeights, FusedTensorsAreSlicedByRows) {
  const Result<ModelFiles> model = ModelFiles::open(golden_model("phi3_longrope_long"));
  ASSERT_TRUE(model.ok());
  const Result<ModelWeights> weights = model->weights({1, 2}, false, true);
  ASSERT_TRUE(weights.ok()) << weights.error().message;
  ASSERT_EQ(weights->layers.size(), 1u);
  const LayerWeights& layer = weights->layers[0];
  EXPECT_EQ(shape_text(layer.qkv.shape), "[128, 64]");
  EXPECT_EQ(shape_text(layer.q.shape), "[64, 64]");
  EXPECT_EQ(shape_text(layer.k.shape), "[32, 64]");
  EXPECT_EQ(shape_text(layer.v.shape), "[32, 64]");
  EXPECT_EQ(layer.q.data, layer.qkv.data);
  EXPECT_EQ(layer.k.data, layer.q.data + layer.q.bytes);
  EXPECT_EQ(layer.v.data, layer.k.data + layer.k.bytes);
  EXPECT_EQ(layer.v.data + layer.v.bytes, layer.qkv.data + layer.qkv.bytes);
  EXPECT_EQ(layer.gate.data, layer.gate_up.data);
  EXPECT_EQ(layer.up.data, layer.gate.data + layer.gate.bytes);
  EXPECT_EQ(shape_text(layer.up.shape), "[96, 64]");
  EXPECT_EQ(weights->embed.data, nullptr);
  EXPECT_EQ(shape_text(weights->head.shape), "[256, 64]");
  EXPECT_EQ(layer.q_norm.data, nullptr);
}

TEST(ModelWeights, EveryGoldenModelGivesAllItHas) {
  for (const std::string& name : golden_names()) {
    const Result<ModelFiles> model = ModelFiles::open(golden_model(name));
    ASSERT_TRUE(model.ok());
    const ModelConfig& c = model->config();
    const Result<ModelWeights> weights = model->weights({0, c.n_layer}, true, true);
    ASSERT_TRUE(weights.ok()) << name << ": " << weights.error().message;
    EXPECT_EQ(weights->embed.data == weights->head.data, c.tied);
    EXPECT_FALSE(weights->qk_interleaved || weights->norm_one_added);
    for (uint32_t i = 0; i < c.n_layer; ++i) {
      const LayerWeights& layer = weights->layers[i];
      for (const TensorView* view :
           {&layer.attn_norm, &layer.q, &layer.k, &layer.v, &layer.o, &layer.mlp_norm}) {
        EXPECT_NE(view->data, nullptr) << name;
      }
      EXPECT_EQ(layer.q_norm.data != nullptr, c.qk_norm);
      EXPECT_EQ(layer.k_bias.data != nullptr, c.qkv_bias);
      EXPECT_EQ(layer.o_bias.data != nullptr, c.o_bias);
      EXPECT_EQ(layer.down_bias.data != nullptr, c.mlp_bias);
      EXPECT_EQ(layer.mlp_post_norm.data != nullptr, c.norm_after);
      EXPECT_EQ(layer.router.data != nullptr, c.layers[i].moe);
      EXPECT_EQ(layer.gate.data == nullptr, c.layers[i].moe);
      EXPECT_EQ(layer.q.shape[0], uint64_t{c.n_head} * c.d_head);
      EXPECT_EQ(layer.v.shape[0], uint64_t{c.n_kv_head} * c.d_head);
    }
    EXPECT_EQ(model->weights({0, c.n_layer + 1}, false, false).error().kind, ErrorKind::usage);
    EXPECT_EQ(model->weights({2, 1}, false, false).error().kind, ErrorKind::usage);
  }
}

// A directory as `pull --layers` leaves it: some layers, every norm.
TEST(PartialModel, HasTheFingerprintOfTheWhole) {
  for (const std::string& name : golden_names()) {
    ModelCopy copy(name);
    copy.keep([](const std::string& tensor) {
      return tensor.starts_with("model.layers.1.") || is_norm_name(tensor);
    });
    const std::string& directory = copy.write();
    EXPECT_EQ(hex_fingerprint(directory), hex_fingerprint(golden_model(name))) << name;
    EXPECT_EQ(hex_fingerprint(directory).size(), 64u);
    const Result<ModelFiles> model = ModelFiles::open(directory);
    ASSERT_TRUE(model.ok());
    EXPECT_FALSE(model->is_whole());
    EXPECT_TRUE(model->has_layer(1));
    EXPECT_FALSE(model->has_layer(0));
    EXPECT_TRUE(model->weights({1, 2}, false, false).ok());
    EXPECT_NE(model->weights({0, 2}, false, false)
                  .error()
                  .message.find("layer 0 is not in this directory, which holds layers 1 of"),
              std::string::npos);
    EXPECT_NE(model->weights({1, 2}, true, false).error().message.find("the embedding is not in"),
              std::string::npos);
    EXPECT_NE(model->weights({1, 2}, false, true).error().message.find("the head is not in"),
              std::string::npos);
  }
}

TEST(Fingerprint, TellsModelsApart) {
  std::set<std::string> seen;
  for (const std::string& name : golden_names()) seen.insert(hex_fingerprint(golden_model(name)));
  // llama_bf16 and llama_sharded are one config with different weights; so are the v4 twins.
  EXPECT_EQ(seen.size(), golden_names().size());
}

TEST(Fingerprint, FollowsNormsAndConfigAndNothingElse) {
  ModelCopy copy("llama_bf16");
  const std::string original = hex_fingerprint(golden_model("llama_bf16"));
  EXPECT_EQ(hex_fingerprint(copy.write()), original);

  copy.at("model.layers.2.mlp.down_proj.weight").bytes[7] ^= 1;  // hashes of files find this
  EXPECT_EQ(hex_fingerprint(copy.write()), original);

  RawTensor& norm = copy.at("model.layers.1.post_attention_layernorm.weight");
  norm.bytes[6] ^= 1;
  EXPECT_NE(hex_fingerprint(copy.write()), original);
  norm.bytes[6] ^= 1;

  const std::string config = copy.config;
  copy.config = replaced(config, R"("rope_theta": 10000.0)", R"("rope_theta": 10001.0)");
  EXPECT_NE(hex_fingerprint(copy.write()), original);
  copy.config = replaced(config, R"("eos_token_id": 2)", R"("eos_token_id": 3)");
  EXPECT_EQ(hex_fingerprint(copy.write()), original);
}

TEST(Fingerprint, IsThatOfTheTwinInTheOtherSpelling) {
  for (const std::string name : {"llama_tied_llama3rope", "gemma3_text"}) {
    ModelCopy v5(name);
    v5.config = ModelCopy(name + "_v4").config;
    EXPECT_EQ(hex_fingerprint(v5.write()), hex_fingerprint(golden_model(name))) << name;
  }
}

TEST(Fingerprint, DoesNotDependOnTheTypeOfTheNorms) {
  ModelCopy copy("llama_bf16");
  for (RawTensor& tensor : copy.tensors) {
    if (!is_norm_name(tensor.info.name)) continue;
    std::string wide;  // little-endian bf16 → f32: two zero bytes in front
    for (size_t i = 0; i < tensor.bytes.size(); i += 2) {
      wide += std::string(2, '\0') + tensor.bytes.substr(i, 2);
    }
    tensor.info.dtype = DType::f32;
    tensor.bytes = wide;
  }
  EXPECT_EQ(hex_fingerprint(copy.write()), hex_fingerprint(golden_model("llama_bf16")));
}

TEST(Fingerprint, OfTheSourceIsKept) {
  ModelCopy copy("llama_bf16");
  copy.metadata[std::string(kFingerprintKey)] = std::string(64, 'a');
  EXPECT_EQ(hex_fingerprint(copy.write()), std::string(64, 'a'));
  copy.metadata[std::string(kFingerprintKey)] = "xyz";
  EXPECT_NE(hex_fingerprint(copy.write()).find("\"xyz\"; accepted: 64 lower-case hex digits"),
            std::string::npos);
}

TEST(LayerRanges, AreExactlyTheLayersBytes) {
  for (const std::string& name : golden_names()) {
    const Result<ModelFiles> model = ModelFiles::open(golden_model(name));
    ASSERT_TRUE(model.ok());
    for (uint32_t layer = 0; layer < model->config().n_layer; ++layer) {
      const std::string prefix = "model.layers." + std::to_string(layer) + ".";
      uint64_t expected = 0;
      for (const TensorInfo& tensor : model->files().tensors()) {
        if (tensor.name.starts_with(prefix)) expected += tensor.bytes;
      }
      uint64_t total = 0;
      const std::vector<FileRange> ranges = model->layer_ranges(layer);
      for (size_t i = 0; i < ranges.size(); ++i) {
        total += ranges[i].end - ranges[i].begin;
        EXPECT_LE(ranges[i].end, model->files().files()[ranges[i].file].size());
        if (i > 0 && ranges[i].file == ranges[i - 1].file) {
          EXPECT_GT(ranges[i].begin, ranges[i - 1].end) << "not merged";
        }
      }
      EXPECT_EQ(total, expected) << name;
    }
    model->advise_layer(0, MappedFile::Advice::will_need);
    model->advise_layer(0, MappedFile::Advice::dont_need);
    EXPECT_TRUE(model->weights({0, 1}, false, false).ok());
  }
}

TEST(ModelFiles, TakesTheDtypeFromTheFilesWhereTheConfigIsSilent) {
  ModelCopy copy("gemma3_text");
  EXPECT_EQ(ModelFiles::open(copy.write())->config().dtype, DType::bf16);
  copy.config = replaced(copy.config, R"("dtype": "bfloat16",)", "");
  const Result<ModelFiles> model = ModelFiles::open(copy.write());
  ASSERT_TRUE(model.ok());
  EXPECT_EQ(model->config().dtype, DType::bf16);
}

TEST(ModelFiles, GenerationConfigCounts) {
  ModelCopy copy("llama_bf16");
  const std::string& directory = copy.write();
  ASSERT_TRUE(
      write_file(directory + "/generation_config.json", R"({"eos_token_id": [9, 2]})").ok());
  EXPECT_EQ(ModelFiles::open(directory)->config().eos, (std::vector<uint32_t>{2, 9}));
  ASSERT_TRUE(write_file(directory + "/generation_config.json", R"({"eos_token_id": "x"})").ok());
  EXPECT_NE(ModelFiles::open(directory).error().message.find(
                "generation_config.json: eos_token_id is \"x\""),
            std::string::npos);
}

}  // namespace
}  // namespace splitd
