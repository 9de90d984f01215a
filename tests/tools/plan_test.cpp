// The plan's arithmetic against what the engine itself says of the same split: weights, KV, what a
// token reads; that the ends chosen are the largest that fit; and the command around it.
#include <gtest/gtest.h>

#include <set>

#include "kernels/select.h"
#include "runtime/engine/cpu_backend.h"
#include "runtime/engine/cpu_kv.h"
#include "runtime/engine/cpu_weights.h"
#include "runtime/model/convert.h"
#include "runtime/model/convert_plan.h"
#include "tests/runtime/model/random_gguf.h"
#include "tests/tools/golden_model.h"
#include "tools/generate/local_model.h"
#include "tools/generate/text_model.h"
#include "tools/measure/model_bench.h"
#include "tools/plan/plan_report.h"

namespace splitd::cli {
namespace {

constexpr uint64_t kPlenty = uint64_t{1} << 40;

Inspection opened(const std::string& name) {
  return std::move(*Inspection::open(golden_model(name)));
}

TEST(Plan, BytesAreThoseOfTheFiles) {
  for (const std::string& name : all_golden_models()) {
    const Inspection inspection = opened(name);
    const ModelConfig& config = *inspection.config();
    const ModelBytes bytes = model_bytes(inspection);
    EXPECT_EQ(bytes.total(), inspection.weight_bytes()) << name;
    const std::vector<uint64_t> layers = inspection.layer_bytes();
    ASSERT_EQ(bytes.layers.size(), layers.size());
    for (size_t i = 0; i < layers.size(); ++i) EXPECT_EQ(bytes.layers[i].all, layers[i]) << name;

    // With every layer here a token reads what `bench` says that it reads, and its own row.
    const ModelWeights weights = *inspection.model()->weights({0, config.n_layer}, true, true);
    const DeviceCost cost = device_cost(config, bytes, {.n_ctx = 64}, config.n_layer, 0);
    EXPECT_EQ(cost.token_weights, token_bytes(config, weights) +
                                      (config.tied ? 0 : weights.embed.bytes / config.n_vocab))
        << name;
    EXPECT_EQ(cost.weights + (config.tied ? 0 : bytes.table), bytes.total()) << name;
  }
}

// A GGUF's blocks take what the engine lays them out in, which for some types is more.
TEST(Plan, GgufBlocksAreThoseOfThePanels) {
  std::vector<std::vector<GgufBlocks>> files = {all_gguf_blocks()};
  for (const GgufBlocks& blocks : all_gguf_blocks()) files.push_back({blocks});
  std::set<int64_t> differences;
  for (const char* architecture : {"llama", "qwen3moe"}) {
    for (const std::vector<GgufBlocks>& blocks : files) {
      RandomGguf gguf(architecture, blocks);
      const Inspection inspection = std::move(*Inspection::open(gguf.write()));
      const ModelFiles& model = *inspection.model();
      const ModelWeights weights = *model.weights({0, model.config().n_layer}, true, true);
      CpuWeights own = std::move(*CpuWeights::make(model.config(), weights));
      ThreadPool pool(1);
      CpuPanels panels(model.files().files(), pool);
      uint64_t stored = 0;  // of what is laid out
      ASSERT_TRUE(own.lay_out(panels,
                              [&](const Progress& progress) {
                                stored = progress.total;
                                return true;
                              })
                      .ok());
      const uint64_t resident = inspection.weight_bytes() - stored + panels.bytes();
      const uint64_t planned = model_bytes(inspection).total();
      EXPECT_LE(planned, resident) << architecture << " " << dtype_name(blocks.front().dtype);
      EXPECT_LT(resident - planned, 64 * own.matrices().size());  // each begins a line of its own
      differences.insert(static_cast<int64_t>(planned - inspection.weight_bytes()));
    }
  }
  EXPECT_GT(differences.size(), 2u) << "K types must differ from the rest";
}

// What a body's budget leaves for weights that are still to be read: those that lie in the file,
// all of them before anything is laid out and where nothing is.
TEST(Plan, WhatIsLaidOutIsNoLongerToBeRead) {
  RandomGguf gguf("llama", {all_gguf_blocks()[7]});
  ASSERT_EQ(all_gguf_blocks()[7].dtype, DType::q8_0);
  const std::string path = gguf.write();
  const ModelPart layers{{0, RandomGguf::kLayers}, false, false};
  for (const bool exact : {false, true}) {
    EngineOptions options;
    options.exact = exact;
    const std::unique_ptr<LocalModel> model = std::move(*LocalModel::open(path, options));
    const uint64_t stored = model->in_file_bytes(layers.layers);
    EXPECT_EQ(stored, model_bytes(std::move(*Inspection::open(path))).range(layers.layers).all);
    ASSERT_TRUE(model->read_ahead(layers, [](const Progress&) { return true; }).ok());
    const uint64_t norms = RandomGguf::kLayers * 2 * RandomGguf::kModel * sizeof(float);
    EXPECT_EQ(model->in_file_bytes(layers.layers), exact ? stored : norms);
  }
}

// As `convert` will write it.
TEST(Plan, SmallerTypesAreWhatAConversionWrites) {
  for (const std::string& name : all_golden_models()) {
    const Inspection inspection = opened(name);
    for (const DType to : {DType::q8, DType::q4}) {
      ConvertOptions options;
      options.dtype = to;
      EXPECT_EQ(model_bytes(inspection, to).total(),
                plan_conversion(*inspection.model(), options).bytes)
          << name << " " << dtype_name(to);
    }
  }
  const SplitPlan plan = *plan_split(opened("llama_bf16"), {.memory = kPlenty, .n_ctx = 64});
  ASSERT_EQ(plan.choices.size(), 3u);
  EXPECT_EQ(plan.choices[1].dtype, "q8");
  EXPECT_EQ(plan.choices[2].dtype, "q4");
  EXPECT_LT(plan.choices[2].device.weights, plan.choices[1].device.weights);
  EXPECT_LT(plan.choices[1].device.weights, plan.choices[0].device.weights);
  EXPECT_EQ(plan.best, 0u);
}

TEST(Plan, KvIsWhatTheBackendsReserve) {
  ThreadPool pool(1);
  const kernels::KernelTable& table = *kernels::runnable_tables().front();
  for (const char* name : {"llama_bf16", "gemma3_text", "qwen3_moe"}) {
    const Inspection inspection = opened(name);
    const ModelConfig& config = *inspection.config();
    const auto reserved = [&](LayerRange range, const KvShape& shape) {
      const ModelWeights weights = *inspection.model()->weights(range, true, true);
      const auto backend = std::move(*make_cpu_backend(config, weights, {&table, &pool, true}));
      const uint64_t bytes = (*backend->make_kv(shape))->bytes();
      EXPECT_EQ(bytes, backend->kv_bytes(shape));
      return bytes;
    };
    for (const KvType type : {KvType::f32, KvType::f16, KvType::bf16, KvType::q8}) {
      const KvShape shape{200, TextModel::kMaxPending, type};
      PlanOptions options{.memory = kPlenty, .n_ctx = 200, .kv = type, .head = 1, .tail = 1};
      const SplitPlan plan = *plan_split(inspection, options);
      const SplitChoice& choice = plan.choices.front();
      EXPECT_EQ(choice.body.layers, (LayerRange{1, config.n_layer - 1}));
      EXPECT_EQ(choice.body.kv, reserved({1, config.n_layer - 1}, shape)) << name;
      EXPECT_EQ(choice.device.kv,
                reserved({0, 1}, shape) + reserved({config.n_layer - 1, config.n_layer}, shape))
          << name;
      EXPECT_GT(choice.device.token_kv, 0u);
      EXPECT_LE(choice.device.token_kv, choice.device.kv);
    }
  }
}

TEST(Plan, ReadsNoMoreOfTheCacheThanTheWindow) {
  const Inspection inspection = opened("gemma3_text");
  const ModelConfig& config = *inspection.config();
  ASSERT_EQ(config.layers[0].window, 16u);
  const auto read = [&](uint32_t position) {
    return CpuKv::read_bytes(config, {0, 1}, KvType::f16, position);
  };
  EXPECT_LT(read(0), read(15));
  EXPECT_EQ(read(15), read(500));
  const auto all = [&](uint32_t position) {
    return CpuKv::read_bytes(config, {5, 6}, KvType::f16, position);
  };
  ASSERT_EQ(config.layers[5].window, 0u);
  EXPECT_LT(all(15), all(500));
}

TEST(Plan, TakesTheMostLayersThatFit) {
  const Inspection inspection = opened("gemma3_text");
  const ModelConfig& config = *inspection.config();
  const ModelBytes bytes = model_bytes(inspection);
  std::set<uint32_t> seen;
  for (uint32_t n = 0; n <= config.n_layer; ++n) {
    PlanOptions options{.memory = 0, .n_ctx = 100};
    const uint64_t exact = device_cost(config, bytes, options, n - n / 2, n / 2).total();
    options.memory = exact;
    const SplitChoice fits = plan_split(inspection, options)->choices.front();
    EXPECT_TRUE(fits.fits);
    EXPECT_EQ(fits.head + fits.tail, n);
    EXPECT_EQ(fits.device.total(), exact);
    EXPECT_EQ(fits.whole, n == config.n_layer);
    options.memory = exact - 1;
    const SplitPlan less = *plan_split(inspection, options);
    EXPECT_EQ(less.choices.front().fits, n > 0);
    EXPECT_EQ(less.choices.front().head + less.choices.front().tail, std::max(n, 1u) - 1);
    if (n == 0) {
      EXPECT_FALSE(less.best && *less.best == 0);
    }
    seen.insert(fits.head);
  }
  EXPECT_GT(seen.size(), 3u);
}

TEST(Plan, AnUntiedEmbeddingCountsByTheRowsThatAContextTouches) {
  const Inspection inspection = opened("llama_bf16");
  const ModelConfig& config = *inspection.config();
  ASSERT_FALSE(config.tied);
  const ModelBytes bytes = model_bytes(inspection);
  EXPECT_EQ(device_cost(config, bytes, {.n_ctx = 1}, 1, 1).embedding, 8192u);  // may straddle
  EXPECT_EQ(device_cost(config, bytes, {.n_ctx = 100}, 1, 1).embedding, bytes.table);
  const Inspection tied = opened("gemma3_text");
  EXPECT_EQ(device_cost(*tied.config(), model_bytes(tied), {.n_ctx = 1}, 1, 1).embedding, 0u);
}

JsonDoc planned(const std::string& path, std::vector<std::string> words) {
  words.insert(words.begin(), {"inspect", path, "--plan", "--json"});
  const ProcessResult result = run_splitd(words);
  EXPECT_EQ(result.exit_code, 0) << result.err;
  return std::move(*JsonDoc::parse(result.out));
}

TEST(PlanCommand, SaysItAsJson) {
  const JsonDoc doc =
      planned(golden_model("llama_bf16"), {"--memory", "1G", "--ctx", "64", "--kv", "q8", "--head",
                                           "1", "--tail", "1", "--read-speed", "1G"});
  const Json plan = *doc.root().find("plan");
  EXPECT_EQ(plan.find("memory")->to_u64(), uint64_t{1} << 30);
  EXPECT_EQ(plan.find("ctx")->to_u64(), 64u);
  EXPECT_EQ(plan.find("kv")->text(), "q8");
  EXPECT_EQ(plan.find("read_speed")->text(), "given");
  EXPECT_EQ(plan.find("best")->text(), "stored");
  const Json choice = *plan.find("choices")->elements().begin();
  EXPECT_EQ(choice.find("dtype")->text(), "stored");
  EXPECT_TRUE(*choice.find("fits")->to_bool());
  const Json device = *choice.find("device");
  uint64_t sum = 0;
  for (const char* part : {"weight_bytes", "embedding_bytes", "kv_bytes", "work_bytes"}) {
    sum += *device.find(part)->to_u64();
  }
  EXPECT_EQ(device.find("bytes")->to_u64(), sum);
  const Json token = *choice.find("token");
  const double bytes = *token.find("weight_bytes")->to_f64() + *token.find("kv_bytes")->to_f64();
  EXPECT_NEAR(*token.find("ms")->to_f64(), bytes / (1 << 30) * 1e3, 1e-9);
  EXPECT_EQ(token.find("wire_bytes")->find("f16")->to_u64(), 2u * 64 + 1);
  EXPECT_EQ(token.find("wire_bytes")->find("f32")->to_u64(), 4u * 64);
  EXPECT_EQ(integers_of(*choice.find("body")->find("layers")), (std::vector<int64_t>{1, 2}));
}

TEST(PlanCommand, SaysItToPeople) {
  const std::string path = golden_model("llama_bf16");
  const auto text = [&](std::vector<std::string> words) {
    words.insert(words.begin(), {"inspect", path, "--plan", "--read-speed", "10G"});
    const ProcessResult result = run_splitd(words);
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return result.out;
  };
  const std::string split = text({"--memory", "1G", "--head", "1", "--tail", "1"});
  EXPECT_NE(split.find("splitd cloud " + path + " --layers 1:2\n"), std::string::npos) << split;
  EXPECT_NE(split.find("--head 1 --tail 1"), std::string::npos) << split;
  EXPECT_NE(text({"--memory", "1G"}).find("splitd run " + path), std::string::npos);
  EXPECT_NE(text({"--memory", "1M"}).find("nothing fits"), std::string::npos);
}

TEST(PlanCommand, RefusesByName) {
  const auto refusal = [&](std::vector<std::string> words) {
    words.insert(words.begin(), {"inspect", golden_model("llama_bf16")});
    const ProcessResult result = run_splitd(words);
    EXPECT_EQ(result.exit_code, 2) << result.out;
    return result.err;
  };
  EXPECT_NE(refusal({"--plan"}).find("asks for --memory"), std::string::npos);
  EXPECT_NE(refusal({"--memory", "1G"}).find("--memory is for --plan"), std::string::npos);
  EXPECT_NE(refusal({"--plan", "--memory", "1G", "--ctx", "999999"}).find("was made for"),
            std::string::npos);
  EXPECT_NE(refusal({"--plan", "--memory", "1G", "--head", "2", "--tail", "9"}).find("11 layers"),
            std::string::npos);
}

}  // namespace
}  // namespace splitd::cli
