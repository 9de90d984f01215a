// A GGUF computed with where it lies gives, bit for bit, what the directory it was made of gives:
// the order of q's and k's rows, the 1 in Gemma's norms, stacked experts, tied heads, rope factors.
#include <set>

#include "kernels/quantised.h"
#include "runtime/engine/cpu_panels.h"
#include "runtime/engine/cpu_weights.h"

#include "tests/runtime/engine/golden_model.h"
#include "tests/runtime/model/gguf_model.h"
#include "tests/runtime/model/random_gguf.h"

namespace splitd {
namespace {

class GgufEngine : public testing::TestWithParam<std::tuple<std::string, bool>> {};

class Opened {
 public:
  explicit Opened(const std::string& path)
      : files_(ModelFiles::open(path)),
        weights_(files_->weights({0, files_->config().n_layer}, true, true)) {}

  const ModelWeights& weights() const { return *weights_; }
  const ModelFiles& files() const { return *files_; }

  // On every instruction set of this machine, one behind the other; `chunk` tokens at a time.
  std::vector<float> logits(const std::vector<uint32_t>& tokens, bool exact, size_t chunk = 64,
                            bool in_panels = false) {
    ThreadPool pool(2);
    CpuPanels panels(files_->files().files(), pool);
    std::vector<float> out;
    for (const kernels::KernelTable* table : kernels::runnable_tables()) {
      CpuOptions options{table, &pool, exact};
      if (in_panels) options.panels = &panels;
      const std::unique_ptr<Backend> backend =
          std::move(*make_cpu_backend(files_->config(), *weights_, options));
      HandSession hand(*backend, {64, 4, KvType::f16});
      for (size_t at = 0; at < tokens.size(); at += chunk) {
        const auto begin = tokens.begin() + static_cast<std::ptrdiff_t>(at);
        const size_t n = std::min(chunk, tokens.size() - at);
        for (const float logit :
             hand.logits(hand.append({begin, begin + static_cast<std::ptrdiff_t>(n)}))) {
          out.push_back(logit);
        }
      }
    }
    return out;
  }

 private:
  Result<ModelFiles> files_;
  Result<ModelWeights> weights_;
};

// What GGUF can say of a Gemma: no query_pre_attn_scalar but the width of a head, and no norm finer
// than 1 + w is in fp32.
void make_sayable(ModelCopy& copy, const ModelConfig& config) {
  if (!config.norm_plus_one) return;
  copy.config = replaced(copy.config, R"("query_pre_attn_scalar": 8)",
                         "\"query_pre_attn_scalar\": " + std::to_string(config.d_head));
  for (RawTensor& tensor : copy.tensors) {
    if (tensor.info.dtype != DType::f32 || !tensor.info.name.ends_with("norm.weight")) continue;
    for (size_t i = 0; i < tensor.bytes.size(); i += 4) {
      float value;
      std::memcpy(&value, tensor.bytes.data() + i, 4);
      value = (value + 1.0f) - 1.0f;
      std::memcpy(tensor.bytes.data() + i, &value, 4);
    }
  }
}

TEST_P(GgufEngine, ComputesWhatItsDirectoryDoes) {
  const auto& [name, exact] = GetParam();
  GgufModel gguf(name);
  make_sayable(gguf.copy, gguf.config);
  std::vector<uint32_t> tokens;
  for (uint32_t i = 0; i < 45; ++i) tokens.push_back((i * 37 + 11) % gguf.config.n_vocab);
  Opened directory(gguf.copy.write());
  const std::vector<float> expected = directory.logits(tokens, exact);
  Opened file(gguf.write());
  EXPECT_EQ(file.weights().qk_interleaved, gguf.architecture == "llama");
  ASSERT_TRUE(file.logits(tokens, exact) == expected);

  // The corrupted twin: two neighbouring rows of q exchanged.
  if (gguf.architecture != "llama") return;
  std::string& q = gguf.at("blk.0.attn_q.weight").data;
  const size_t row = q.size() / (size_t{gguf.config.n_head} * gguf.config.d_head);
  std::rotate(q.begin(), q.begin() + static_cast<std::ptrdiff_t>(row),
              q.begin() + static_cast<std::ptrdiff_t>(2 * row));
  EXPECT_FALSE(Opened(gguf.write()).logits(tokens, exact) == expected);
}

std::vector<uint32_t> some_tokens(uint32_t n_vocab) {
  std::vector<uint32_t> tokens;
  for (uint32_t i = 0; i < 20; ++i) tokens.push_back((i * 37 + 11) % n_vocab);
  return tokens;
}

// --compute f32 multiplies by the dequantised numbers themselves, whatever the blocks.
TEST(GgufEngineBlocks, ExactProductsAreThoseOfTheDequantisedWeights) {
  const std::vector<uint32_t> tokens = some_tokens(RandomGguf::kVocab);
  std::set<std::vector<float>> seen;
  for (const char* architecture : {"llama", "qwen3moe"}) {
    for (const GgufBlocks& blocks : all_gguf_blocks()) {
      RandomGguf gguf(architecture, {blocks});
      const std::vector<float> exact = Opened(gguf.write()).logits(tokens, true);
      const std::vector<float> twin = Opened(gguf.write_twin()).logits(tokens, true);
      if (blocks.dtype == DType::bf16) {  // read as it is, and summed in another order
        EXPECT_LT(relative_error(exact, twin), 1e-3) << architecture;
      } else {
        EXPECT_TRUE(exact == twin) << architecture << " " << dtype_name(blocks.dtype);
      }
      EXPECT_LT(*std::max_element(exact.begin(), exact.end()), 1e4f);
      EXPECT_TRUE(
          std::all_of(exact.begin(), exact.end(), [](float x) { return std::isfinite(x); }));
      seen.insert(exact);
    }
  }
  EXPECT_EQ(seen.size(), 22u);
}

// A file of mixed types, as "Q4_K_M" ones are: chunks change no bit, with rounded activations too,
// which stay near the exact ones.
TEST(GgufEngineBlocks, MixedTypesAreBatchInvariant) {
  const std::vector<uint32_t> tokens = some_tokens(RandomGguf::kVocab);
  for (const char* architecture : {"llama", "qwen3moe"}) {
    RandomGguf gguf(architecture, all_gguf_blocks());
    Opened opened(gguf.write());
    const std::vector<float> exact = opened.logits(tokens, true);
    const std::vector<float> whole = opened.logits(tokens, false);
    EXPECT_FALSE(whole == exact);
    // Routing to another expert is no rounding: MoE is compared by chunks alone.
    const double most = architecture == std::string("llama") ? 0.1 : 10.0;
    EXPECT_LT(relative_error(whole, exact), most);
    for (const bool is_exact : {true, false}) {
      const std::vector<float>& all = is_exact ? exact : whole;
      for (const size_t chunk : {1u, 3u, 16u}) {
        EXPECT_TRUE(opened.logits(tokens, is_exact, chunk) == all) << chunk;
      }
    }
  }
}

// Laid out in panels or where the file has them: the same bits, rows of a tied embedding too.
TEST(GgufEngineBlocks, PanelsGiveTheBitsOfTheFile) {
  const std::vector<uint32_t> tokens = some_tokens(RandomGguf::kVocab);
  for (const char* architecture : {"llama", "qwen3moe"}) {
    std::vector<std::vector<GgufBlocks>> files = {all_gguf_blocks()};
    for (const GgufBlocks& blocks : all_gguf_blocks()) files.push_back({blocks});
    for (const std::vector<GgufBlocks>& blocks : files) {
      RandomGguf gguf(architecture, blocks);
      Opened opened(gguf.write());
      const std::vector<float> expected = opened.logits(tokens, false);
      const bool is_mixed = blocks.size() > 1;
      for (const size_t chunk : {1u, 9u, 64u}) {
        if (chunk == 9 && !is_mixed) continue;
        EXPECT_TRUE(opened.logits(tokens, false, chunk, true) == expected)
            << architecture << " " << dtype_name(blocks.front().dtype) << " by " << chunk;
      }
      if (!is_mixed) continue;
      EXPECT_TRUE(opened.logits(tokens, true, 64, true) == opened.logits(tokens, true));
    }
  }
}

// Matrices are laid out once, whoever asks, the file's pages are given back, and what was cancelled
// holds nothing and can be asked for again.
TEST(GgufEngineBlocks, PanelsAreThereOnce) {
  RandomGguf gguf("llama", {all_gguf_blocks()[8]});
  ASSERT_EQ(all_gguf_blocks()[8].dtype, DType::q4_k);
  const Opened opened(gguf.write());
  ThreadPool pool(2);
  CpuPanels panels(opened.files().files().files(), pool);
  CpuWeights one = std::move(*CpuWeights::make(opened.files().config(), opened.weights()));
  CpuWeights other = std::move(*CpuWeights::make(opened.files().config(), opened.weights()));
  const CpuMatrix in_file = one.head();

  const Status cancelled = one.lay_out(panels, [](const Progress&) { return false; });
  ASSERT_FALSE(cancelled.ok());
  EXPECT_EQ(cancelled.error().kind, ErrorKind::interrupted);
  EXPECT_EQ(panels.bytes(), 0u);
  EXPECT_EQ(one.head().data, in_file.data);

  uint64_t done = 0, total = 0;
  ASSERT_TRUE(one.lay_out(panels,
                          [&](const Progress& progress) {
                            EXPECT_GT(progress.done, done);
                            done = progress.done;
                            total = progress.total;
                            return true;
                          })
                  .ok());
  EXPECT_EQ(done, total);
  uint64_t stored = 0, bytes = 0;
  for (CpuMatrix* matrix : other.matrices()) {
    stored += matrix->n * kernels::row_bytes(matrix->type, matrix->k);
    bytes += kernels::panel_bytes(matrix->type, matrix->n, matrix->k);
  }
  EXPECT_EQ(total, stored);
  EXPECT_GE(panels.bytes(), bytes);
  EXPECT_LT(panels.bytes(), bytes + 64 * other.matrices().size());
  EXPECT_EQ(one.head().type, kernels::WeightType::p4_k);
  EXPECT_EQ(one.embed().data, one.head().data);  // tied

  const size_t once = panels.bytes();
  ASSERT_TRUE(other.lay_out(panels, [](const Progress&) { return false; }).ok()) << "nothing to do";
  EXPECT_EQ(panels.bytes(), once);
  const std::vector<CpuMatrix*> a = one.matrices(), b = other.matrices();
  for (size_t i = 0; i < a.size(); ++i) EXPECT_EQ(a[i]->data, b[i]->data);
}

// What does not fit in 7/8 of what is available is computed with where it lies in the file, all of
// it.
TEST(GgufEngineBlocks, PanelsThatDoNotFitStayInTheFile) {
  RandomGguf gguf("llama", all_gguf_blocks());
  const Opened opened(gguf.write());
  const std::vector<MappedFile>& files = opened.files().files().files();
  const auto made = [&] {
    return std::move(*CpuWeights::make(opened.files().config(), opened.weights()));
  };
  ThreadPool pool(2);
  static uint64_t available;
  available = 0;  // the system does not say: tried
  CpuPanels plenty(files, pool, [] { return available; });
  CpuWeights laid_out = made();
  ASSERT_TRUE(laid_out.lay_out(plenty, {}).ok());
  ASSERT_GT(plenty.bytes(), 0u);

  available = plenty.bytes();
  while (available - available / 8 < plenty.bytes()) ++available;
  CpuPanels enough(files, pool, [] { return available; });
  CpuWeights just = made();
  ASSERT_TRUE(just.lay_out(enough, {}).ok());
  EXPECT_EQ(enough.bytes(), plenty.bytes());

  --available;
  CpuPanels short_of(files, pool, [] { return available; });
  CpuWeights left = made();
  CpuWeights untouched = made();
  ASSERT_TRUE(left.lay_out(short_of, [](const Progress&) { return false; }).ok());
  EXPECT_EQ(short_of.bytes(), 0u);
  const std::vector<CpuMatrix*> in_file = untouched.matrices(), matrices = left.matrices();
  for (size_t i = 0; i < matrices.size(); ++i) {
    EXPECT_EQ(matrices[i]->data, in_file[i]->data);
    EXPECT_EQ(matrices[i]->type, in_file[i]->type);
  }
}

// Without the one whose windows GGUF cannot say, and the one whose rope it says in other words.
INSTANTIATE_TEST_SUITE_P(
    Models, GgufEngine,
    testing::Combine(testing::Values("llama_bf16", "llama_bias", "llama_f16_mha", "smollm2_like",
                                     "mistral_nemo", "qwen2", "qwen3", "qwen3_moe",
                                     "phi3_longrope_long", "phi3_longrope_short", "gemma2",
                                     "gemma3_text"),
                     testing::Bool()),
    [](const auto& test) {
      return std::get<0>(test.param) + (std::get<1>(test.param) ? "_f32" : "_auto");
    });

}  // namespace
}  // namespace splitd
