// Models that are broken, and wishes that no machine fulfils, through the real binary: one line
// each, that names the thing.
#include <algorithm>

#include "tests/runtime/model/model_copy.h"
#include "tests/tools/golden_model.h"

namespace splitd {
namespace {

// Element `at` of a BF16 tensor becomes a NaN.
void poison(ModelCopy& copy, std::string_view tensor, size_t at) {
  RawTensor& raw = copy.at(tensor);
  ASSERT_EQ(raw.info.dtype, DType::bf16);
  raw.bytes[2 * at] = '\xc0';
  raw.bytes[2 * at + 1] = '\x7f';
}

std::string first_words(const std::string& text, size_t n_byte) {
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 1) << text;
  return text.substr(0, n_byte);
}

TEST(BadModel, NanInALayerIsNamedByLayer) {
  ModelCopy copy("llama_bf16");
  poison(copy, "model.layers.1.mlp.down_proj.weight", 5 * 96 + 3);  // row 5: column 5 of hidden
  const std::string& path = copy.write();
  const std::string reason =
      ": NaN or infinity in the weights, or values beyond the type of the KV\n";
  EXPECT_EQ(refusal({"run", path, "--ids", "7,8,9", "-n", "4"}),
            "4 splitd: layer 1: row 0 of the request (id 0, position 0) is not finite at column 5" +
                reason);
  const TempDir directory;
  const std::string out = directory.path() + "/out";
  for (const char* split : {"1", "2", "1,2"}) {
    EXPECT_EQ(refusal({"dump", path, "--ids", "7,8,9", "--out", out, "--split", split}),
              "4 splitd: layer 1: row 0 (position 0) is not finite at column 5" + reason);
  }
  EXPECT_FALSE(path_exists(out));
  const ProcessResult verified = run_splitd({"inspect", path, "--verify"});
  EXPECT_EQ(verified.exit_code, 4);
  EXPECT_NE(verified.out.find("model.layers.1.mlp.down_proj.weight: row 5, column 3"),
            std::string::npos)
      << verified.out;
}

TEST(BadModel, NanInTheTablesIsNamed) {
  ModelCopy embedding("llama_bf16");
  poison(embedding, "model.embed_tokens.weight", 8 * 64 + 2);
  const std::string& path = embedding.write();
  const std::string reason = "4 splitd: the embedding of token 8 is not finite at column 2\n";
  EXPECT_EQ(refusal({"run", path, "--ids", "7,8,9"}), reason);
  const TempDir directory;
  const std::string out = directory.path() + "/out";
  EXPECT_EQ(refusal({"dump", path, "--ids", "7,8,9", "--out", out}), reason);
  EXPECT_EQ(run_splitd({"run", path, "--ids", "7,9", "-n", "1"}).exit_code, 0);

  ModelCopy norm("llama_bf16");
  poison(norm, "model.norm.weight", 3);
  EXPECT_EQ(refusal({"dump", norm.write(), "--ids", "7", "--out", out}),
            "4 splitd: the final norm: row 0 is not finite at column 3\n");
  EXPECT_EQ(refusal({"run", norm.write(), "--ids", "7", "-n", "1"}).substr(0, 33),
            "4 splitd: the logits of position ");

  ModelCopy head("llama_bf16");
  poison(head, "lm_head.weight", 200 * 64);
  EXPECT_EQ(refusal({"dump", head.write(), "--ids", "7", "--out", out}),
            "4 splitd: the head: row 0 is not finite at token 200\n");
  EXPECT_EQ(refusal({"run", head.write(), "--ids", "7", "-n", "1"}),
            "4 splitd: the logits of position 1 are not finite: token 200 has nan\n");
  EXPECT_FALSE(path_exists(out));
}

TEST(BadModel, TruncatedShards) {
  const TempDir directory;
  for (const auto& entry : std::filesystem::directory_iterator(golden_model("llama_sharded"))) {
    std::filesystem::copy(entry.path(), directory.path());
  }
  const std::string shard = directory.path() + "/model-00002-of-00002.safetensors";
  const auto size = std::filesystem::file_size(shard);
  for (const uint64_t left : {size - 1, size / 2, uint64_t{100}, uint64_t{7}, uint64_t{0}}) {
    std::filesystem::permissions(shard, std::filesystem::perms::owner_all);
    std::filesystem::resize_file(shard, left);
    const std::string said = refusal({"run", directory.path(), "--ids", "1"});
    EXPECT_EQ(first_words(said, 10 + shard.size()), "4 splitd: " + shard) << said;
    EXPECT_EQ(refusal({"dump", directory.path(), "--ids", "1", "--out", "x"}), said);
  }
  std::filesystem::remove(shard);
  const std::string gone = refusal({"run", directory.path(), "--ids", "1"});
  EXPECT_NE(gone.find("model-00002-of-00002.safetensors"), std::string::npos) << gone;
}

TEST(BadModel, KeysAndValuesBeyondTheMemory) {
  ModelCopy copy("llama_bf16");
  copy.config = replaced(copy.config, "\"max_position_embeddings\": 512",
                         "\"max_position_embeddings\": 4294967296");
  const std::string& path = copy.write();
  for (const std::string& said :
       {refusal({"run", path, "--ids", "1", "--kv", "f32", "--ctx", "2000000000"}),
        refusal(
            {"dump", path, "--ids", "1", "--kv", "f32", "--ctx", "2000000000", "--out", "x"})}) {
    EXPECT_EQ(first_words(said, 61),
              "1 splitd: the KV cache of 2000000000 rows takes 1464843 MiB, ");
    // It says what would fit, and that does.
    const std::string fits = " MiB are available: --ctx ";
    const size_t at = said.find(fits);
    ASSERT_NE(at, std::string::npos) << said;
    EXPECT_GT(std::stoull(said.substr(at + fits.size())), 100000u);
    EXPECT_NE(said.find(" fits, or --kv q8 with --ctx "), std::string::npos) << said;
  }
  EXPECT_EQ(refusal({"run", path, "--ids", "1", "--ctx", "3000000000"}),
            "2 splitd: --ctx: 3000000000; the model was made for 2000000000\n");
  EXPECT_EQ(run_splitd({"run", path, "--ids", "1", "-n", "2"}).exit_code, 0);
}

}  // namespace
}  // namespace splitd
