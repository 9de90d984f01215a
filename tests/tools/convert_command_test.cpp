// splitd convert as the real binary: to splitd's own types, within little memory, and what a model
// computes then.
#include <sys/stat.h>

#include <cmath>
#include <filesystem>

#include "tests/runtime/model/formats/format_files.h"
#include "tests/temp_dir.h"
#include "tests/tools/golden_model.h"
#include "tests/tools/text_model_copy.h"

namespace splitd {
namespace {

// The logits of a model for a few ids, as dump gives them.
std::vector<float> logits(const std::string& model, const std::string& directory) {
  const std::string file = directory + "/dump.safetensors";
  const ProcessResult result = run_splitd({"dump", model, "--ids", "1,7,42,3,99,200,17", "--out",
                                           file, "--compute", "f32", "--kv", "f32", "--quiet"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  const Result<TensorFiles> files = TensorFiles::open_safetensors(file);
  EXPECT_TRUE(files.ok());
  if (!files.ok()) return {};
  const TensorView view = files->view(*files->find("logits"));
  std::vector<float> out(view.bytes / 4);
  std::memcpy(out.data(), view.data, view.bytes);
  return out;
}

double relative_rms(const std::vector<float>& a, const std::vector<float>& b) {
  double lost = 0, total = 0;
  if (a.size() != b.size() || a.empty()) return INFINITY;
  for (size_t i = 0; i < a.size(); ++i) {
    lost += std::pow(double{a[i]} - double{b[i]}, 2);
    total += std::pow(double{a[i]}, 2);
  }
  return std::sqrt(lost / total);
}

TEST(ConvertCommand, Q8ComputesAlmostTheSame) {
  for (const std::string name : {"llama_bf16", "gemma3_text", "qwen3_moe", "phi3_longrope_short"}) {
    const TempDir out;
    const ProcessResult result =
        run_splitd({"convert", golden_model(name), out.path() + "/q8", "--dtype", "q8", "--json"});
    ASSERT_EQ(result.exit_code, 0) << result.err;
    EXPECT_NE(result.err.find("without calibration, which is less exact"), std::string::npos);
    EXPECT_NE(result.err.find("layer 1: relative RMS error 0."), std::string::npos) << result.err;
    const Result<JsonDoc> json = JsonDoc::parse(result.out);
    ASSERT_TRUE(json.ok()) << result.out;
    EXPECT_EQ(json->root().find("bits_per_weight")->to_f64(), 8.5);
    const double error = *json->root().find("relative_rms_error")->find("layer 0")->to_f64();
    EXPECT_GT(error, 0.001);
    EXPECT_LT(error, 0.01);
    const std::vector<float> before = logits(golden_model(name), out.path());
    const double change = relative_rms(before, logits(out.path() + "/q8", out.path()));
    // Random gains: the Gemma 3 model carries any rounding 25 times as far as the others do.
    EXPECT_LT(change, name == "gemma3_text" ? 0.15 : 0.05) << name;
    EXPECT_GT(change, 0.0) << name;
  }
}

// Windows of 512 tokens; where the tokenizer opens a text with BOS each has one of its own.
TEST(ConvertCommand, CalibrationWindowsBeginAsTextsDo) {
  const TextModelCopy model;
  const TempDir out;
  std::string text;
  while (text.size() < 600)
    text += "The quick brown fox, line " + std::to_string(text.size()) + ". ";
  text.resize(600);
  ASSERT_TRUE(write_file(out.path() + "/text", text).ok());
  const auto convert = [&](const std::string& name) {
    return run_splitd({"convert", model.path(), out.path() + "/" + name, "--dtype", "q4",
                       "--calibrate", out.path() + "/text"});
  };
  ProcessResult result = convert("without");
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_NE(result.err.find("a text of 600 tokens"), std::string::npos) << result.err;
  const std::string opening =
      R"("post_processor":{"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"<s>",)"
      R"("type_id":0}},{"Sequence":{"id":"A","type_id":0}}],"pair":[{"Sequence":{"id":"A",)"
      R"("type_id":0}},{"Sequence":{"id":"B","type_id":1}}],"special_tokens":{"<s>":{"id":"<s>",)"
      R"("ids":[1],"tokens":["<s>"]}}})";
  ASSERT_TRUE(write_file(model.path() + "/tokenizer.json",
                         replaced(byte_tokenizer(), R"("post_processor":null)", opening))
                  .ok());
  result = convert("with");
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_NE(result.err.find("a text of 602 tokens"), std::string::npos) << result.err;
  const Result<std::string> a = read_file(out.path() + "/without/model.safetensors");
  const Result<std::string> b = read_file(out.path() + "/with/model.safetensors");
  ASSERT_TRUE(a.ok() && b.ok());
  EXPECT_NE(*a, *b);
}

TEST(ConvertCommand, SaysWhatItWillNotDo) {
  const TempDir out;
  const std::string source = golden_model("llama_bf16"), target = out.path() + "/m";
  ProcessResult result = run_splitd({"convert", source, target, "--dtype", "q5"});
  EXPECT_EQ(result.exit_code, 2);
  EXPECT_NE(result.err.find("q8"), std::string::npos) << result.err;
  // Asked for by name, what cannot be done is an error.
  ASSERT_TRUE(write_file(out.path() + "/text", "Too short.").ok());
  result =
      run_splitd({"convert", source, target, "--dtype", "q4", "--calibrate", out.path() + "/text"});
  EXPECT_EQ(result.exit_code, 2);
  EXPECT_NE(result.err.find("has no tokenizer"), std::string::npos) << result.err;
  EXPECT_FALSE(std::filesystem::exists(target));
  result = run_splitd({"convert", source, target, "--dtype", "q4", "--calibrate", "none"});
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_EQ(result.err.find("calibration"), std::string::npos) << result.err;
  result = run_splitd({"inspect", target, "--verify"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_NE(result.out.find("Q4"), std::string::npos) << result.out;
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) && defined(__x86_64__)
#if !defined(__has_feature)
#define SPLITD_LIMITS 1
#elif !__has_feature(address_sanitizer) && !__has_feature(thread_sanitizer)
#define SPLITD_LIMITS 1
#endif
#endif

#ifdef SPLITD_LIMITS
// A model of zeros, which takes no disk: 8 times what the process may have of address space.
TEST(ConvertCommand, EightTimesTheMemoryAllowed) {
  const TempDir out;
  const std::string source = out.path() + "/m";
  std::filesystem::create_directory(source);
  constexpr uint64_t kLimit = uint64_t{112} << 20;
  constexpr uint64_t kWidth = 2048, kDeep = 6144, kVocab = 256;
  std::string header = "{";
  uint64_t at = 0;
  const auto add = [&](const std::string& name, const std::string& shape, uint64_t count) {
    if (header.size() > 1) header += ",";
    header += "\"" + name + "\":{\"dtype\":\"F32\",\"shape\":[" + shape + "],\"data_offsets\":[" +
              std::to_string(at) + "," + std::to_string(at + 4 * count) + "]}";
    at += 4 * count;
  };
  const auto matrix = [&](const std::string& name, uint64_t n, uint64_t k) {
    add(name, std::to_string(n) + "," + std::to_string(k), n * k);
  };
  uint32_t n_layer = 0;
  matrix("model.embed_tokens.weight", kVocab, kWidth);
  add("model.norm.weight", std::to_string(kWidth), kWidth);
  for (; at < 8 * kLimit; ++n_layer) {
    const std::string layer = "model.layers." + std::to_string(n_layer) + ".";
    for (const char* name : {"q", "k", "v", "o"}) {
      matrix(layer + "self_attn." + name + "_proj.weight", kWidth, kWidth);
    }
    matrix(layer + "mlp.gate_proj.weight", kDeep, kWidth);
    matrix(layer + "mlp.up_proj.weight", kDeep, kWidth);
    matrix(layer + "mlp.down_proj.weight", kWidth, kDeep);
    add(layer + "input_layernorm.weight", std::to_string(kWidth), kWidth);
    add(layer + "post_attention_layernorm.weight", std::to_string(kWidth), kWidth);
  }
  header += "}";
  std::string file(8, '\0');
  for (size_t i = 0; i < 8; ++i) file[i] = static_cast<char>(header.size() >> (8 * i) & 0xff);
  ASSERT_TRUE(write_file(source + "/model.safetensors", file + header).ok());
  std::filesystem::resize_file(source + "/model.safetensors", 8 + header.size() + at);
  ASSERT_TRUE(write_file(source + "/config.json",
                         R"({"model_type": "llama", "architectures": ["LlamaForCausalLM"],
      "hidden_size": 2048, "intermediate_size": 6144, "num_attention_heads": 16,
      "num_key_value_heads": 16, "vocab_size": 256, "tie_word_embeddings": true,
      "rms_norm_eps": 1e-5, "max_position_embeddings": 512, "num_hidden_layers": )" +
                             std::to_string(n_layer) + "}")
                  .ok());
  const std::string limited = "ulimit -v " + std::to_string(kLimit / 1024) + "; exec \"$@\"";
  const auto convert = [&](const std::string& target) {
    return run_process({"/bin/sh", "-c", limited, "sh", SPLITD_BINARY, "convert", source, target,
                        "--dtype", "q4", "--threads", "2"});
  };
  const ProcessResult result = convert(out.path() + "/q4");
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_LT(result.max_resident, kLimit);
  const ProcessResult check = run_splitd({"inspect", out.path() + "/q4", "--json"});
  EXPECT_EQ(check.exit_code, 0) << check.err;
}

// One GGUF file is read in pieces as well, though its header is as long as it is.
TEST(ConvertCommand, AGgufFileBeyondTheAddressSpace) {
  constexpr uint64_t kLimit = uint64_t{80} << 20;
  constexpr uint64_t kWidth = 2048, kDeep = 6144, kVocab = 256;
  const TempDir out;
  GgufBuilder source;
  source.string("general.architecture", "llama").string("padding", std::string(5 << 20, 'x'));
  source.u32("llama.block_count", 1).u32("llama.context_length", 512);
  source.u32("llama.embedding_length", kWidth).u32("llama.feed_forward_length", kDeep);
  source.u32("llama.attention.head_count", 16);
  source.kv("llama.attention.layer_norm_rms_epsilon", GgufType::f32, le(1e-5F));
  uint64_t at = 0;
  std::vector<uint64_t> offsets;  // of tensors whose zeros take no disk
  const auto add = [&](const std::string& name, const std::vector<uint64_t>& ne) {
    source.tensors.push_back({name, ne, 0, ""});
    offsets.push_back(at);
    at += 4 * ne[0] * (ne.size() == 2 ? ne[1] : 1);
  };
  add("token_embd.weight", {kWidth, kVocab});
  add("output_norm.weight", {kWidth});
  for (const char* name : {"q", "k", "v", "output"}) {
    add("blk.0.attn_" + std::string(name) + ".weight", {kWidth, kWidth});
  }
  add("blk.0.ffn_gate.weight", {kWidth, kDeep});
  add("blk.0.ffn_up.weight", {kWidth, kDeep});
  add("blk.0.ffn_down.weight", {kDeep, kWidth});
  add("blk.0.attn_norm.weight", {kWidth});
  add("blk.0.ffn_norm.weight", {kWidth});
  source.offset = [&](size_t i, uint64_t) { return offsets[i]; };
  const std::string header = source.build();
  const std::string file = out.path() + "/m.gguf";
  ASSERT_TRUE(write_file(file, header).ok());
  std::filesystem::resize_file(file, header.size() + at);
  ASSERT_GT(at, 2 * kLimit);

  const std::string limited = "ulimit -v " + std::to_string(kLimit / 1024) + "; exec \"$@\"";
  const ProcessResult result =
      run_process({"/bin/sh", "-c", limited, "sh", SPLITD_BINARY, "convert", file,
                   out.path() + "/q4", "--dtype", "q4", "--threads", "2"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const ProcessResult check = run_splitd({"inspect", out.path() + "/q4", "--json"});
  EXPECT_EQ(check.exit_code, 0) << check.err;
}
#endif

}  // namespace
}  // namespace splitd
