// What `splitd run` has in memory at most: the weights it maps, the KV of its session, one row of
// logits, the tokenizer, and 64 MiB for everything else. Measured by ru_maxrss of the real binary,
// in which pages of mapped files count like any other: weights that were copied would show twice.
#include <gtest/gtest.h>
#include <cstdlib>

#include <filesystem>

#include "runtime/base/files.h"
#include "runtime/engine/cpu_kv.h"
#include "runtime/model/model_files.h"
#include "tests/tools/run_splitd.h"

namespace splitd {
namespace {

constexpr uint64_t kRest = uint64_t{64} << 20;
constexpr uint32_t kPrompt = 400, kTokens = 20;

uint64_t tokenizer_bytes(const std::string& model) {
  if (!path_exists(model + "/tokenizer.json")) return 0;
  const ProcessResult without = run_splitd({"--version"});
  const ProcessResult with = run_splitd({"tokenize", model}, {.input = "text"});
  EXPECT_EQ(with.exit_code, 0) << with.err;
  return with.max_resident - std::min(with.max_resident, without.max_resident);
}

// The bytes allowed beside kRest, then a run that may not take more.
void check(const std::string& model) {
  const Result<ModelFiles> files = ModelFiles::open(model);
  ASSERT_TRUE(files.ok()) << files.error().message;
  uint64_t weights = 0;
  for (const auto& entry : std::filesystem::directory_iterator(model)) {
    const bool holds = entry.path().string().ends_with("model.safetensors") ||
                       entry.path().filename().string().starts_with("model-");
    weights += holds ? entry.file_size() : 0;
  }
  const ModelConfig& config = files->config();
  const KvShape shape{kPrompt + kTokens, 64, KvType::f16};
  const uint64_t kv = CpuKv::bytes_for(config, {0, config.n_layer}, shape);
  const uint64_t logits = config.n_vocab * sizeof(float);
  const uint64_t tokenizer = tokenizer_bytes(model);
  std::string ids;
  for (uint32_t i = 0; i < kPrompt; ++i) ids += (i == 0 ? "" : ",") + std::to_string(i % 199 + 20);
  for (const char* compute : {"auto", "f32"}) {
    const ProcessResult run =
        run_splitd({"run", model, "--ids", ids, "-n", std::to_string(kTokens), "--ignore-eos",
                    "--threads", "2", "--compute", compute, "--temperature", "1", "--top-k", "50"});
    ASSERT_EQ(run.exit_code, 0) << run.err;
    EXPECT_GT(run.max_resident, weights);  // it was read, and it does count
    EXPECT_LE(run.max_resident, weights + kv + logits + tokenizer + kRest);
    std::printf("%s --compute %s: %.1f MiB resident; weights %.1f, kv %.1f, tokenizer %.1f\n",
                std::filesystem::path(model).filename().c_str(), compute,
                static_cast<double>(run.max_resident) / 0x1p20,
                static_cast<double>(weights) / 0x1p20, static_cast<double>(kv) / 0x1p20,
                static_cast<double>(tokenizer) / 0x1p20);
  }
}

TEST(Memory, AGoldenModel) {
  check(std::string(SPLITD_TEST_DATA) + "/golden/models/llama_bf16");
  check(std::string(SPLITD_TEST_DATA) + "/golden/models/qwen3_moe");
}

// Where `make demo` has been: a model whose weights are most of what there is.
TEST(Memory, TheDemosModel) {
  const std::string model = SPLITD_DEMO_MODEL;
  if (!is_directory(model)) {
    if (std::getenv("SPLITD_REQUIRE_DEMO") != nullptr)
      FAIL() << model << " is missing and required";
    GTEST_SKIP() << model << " is not there: make demo";
  }
  check(model);
}

}  // namespace
}  // namespace splitd
