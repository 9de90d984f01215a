// splitd dump as the real binary: hidden states and logits of transformers, and every bit the same
// however the layers are split, the rows cut and the threads counted.
#include <algorithm>
#include <cmath>

#include "tests/tools/golden_model.h"

namespace splitd {
namespace {

const std::vector<std::string> kExact = {"--compute", "f32", "--kv", "f32"};

// max|a − b| / max|b|
double relative_error(const std::vector<float>& a, const std::vector<float>& b) {
  double error = 0, largest = 0;
  if (a.size() != b.size() || b.empty()) return INFINITY;
  for (size_t i = 0; i < b.size(); ++i) {
    const double difference = std::fabs(double{a[i]} - b[i]);
    if (!(difference <= error)) error = difference;  // NaN too
    largest = std::max(largest, std::fabs(double{b[i]}));
  }
  return error / largest;
}

std::vector<std::string> joined(std::vector<std::string> a, const std::vector<std::string>& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

// Ids of a prompt as long as the models' contexts allow, all different places.
std::string long_prompt(size_t n, uint32_t n_vocab) {
  std::vector<uint32_t> ids;
  uint32_t state = 12345;
  for (size_t i = 0; i < n; ++i) {
    state = state * 1664525 + 1013904223;
    ids.push_back((state >> 8) % n_vocab);
  }
  return comma_list(ids);
}

class Dump : public testing::TestWithParam<std::string> {
 protected:
  Dump() : path_(golden_model(GetParam())), json_(golden_json(GetParam())) {}

  std::string ids(size_t prompt) const {
    size_t i = 0;
    for (const Json item : json_.root().find("prompts")->elements()) {
      if (i++ == prompt) return comma_list(integers_of(*item.find("tokens")));
    }
    return {};
  }
  std::string session_length() const {
    return std::to_string(*json_.root().find("session_length")->to_u64());
  }
  uint32_t config(const char* field) const {
    const JsonDoc config = std::move(*JsonDoc::parse(*read_file(path_ + "/config.json")));
    return static_cast<uint32_t>(*config.root().find(field)->to_u64());
  }
  double tolerance() const { return GetParam().starts_with("gemma3") ? 5e-4 : 2e-5; }

  std::string path_;
  JsonDoc json_;
};

TEST_P(Dump, IsWhatTransformersComputes) {
  const TempDir directory;
  const std::string out = directory.path() + "/out.safetensors";
  const Result<TensorFiles> expected =
      TensorFiles::open_safetensors(path_ + "/expected.safetensors");
  ASSERT_TRUE(expected.ok());
  const ProcessResult result = run_splitd(
      joined({"dump", path_, "--ids", ids(2), "--out", out, "--ctx", session_length()}, kExact));
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(result.out + result.err, "");
  const Result<TensorFiles> dumped = TensorFiles::open_safetensors(out);
  ASSERT_TRUE(dumped.ok()) << dumped.error().message;
  const uint32_t n_layer = config("num_hidden_layers");
  EXPECT_EQ(dumped->tensors().size(), n_layer + 3);
  std::vector<std::string> names = {"hidden.embed", "hidden.norm"};
  for (uint32_t i = 0; i < n_layer; ++i) names.push_back("hidden.layer." + std::to_string(i));
  for (const std::string& name : names) {
    EXPECT_LE(relative_error(floats_of(*dumped, name), floats_of(*expected, name)), tolerance())
        << name;
  }
  EXPECT_LE(relative_error(floats_of(*dumped, "logits"), floats_of(*expected, "logits.45")),
            tolerance());
}

// The prefix is a chain, the tree hangs from its end; then the same in frames of one and three.
TEST_P(Dump, TreesAreTheirPaths) {
  const Json tree = *json_.root().find("tree");
  const std::vector<int64_t> prefix = integers_of(*tree.find("prefix"));
  const auto n_prefix = static_cast<int64_t>(prefix.size());
  std::vector<int64_t> all = prefix, parents;
  for (int64_t i = 0; i < n_prefix; ++i) parents.push_back(i - 1);
  for (const int64_t token : integers_of(*tree.find("tokens"))) all.push_back(token);
  for (const int64_t parent : integers_of(*tree.find("parents"))) {
    parents.push_back(parent + n_prefix);
  }
  const TempDir directory;
  const std::string out = directory.path() + "/out.safetensors";
  const std::vector<std::string> rows = joined(
      {"--ids", comma_list(all), "--parents=" + comma_list(parents), "--ctx", session_length()},
      kExact);
  const ProcessResult result = run_splitd(joined({"dump", path_, "--out", out}, rows));
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const Result<TensorFiles> expected =
      TensorFiles::open_safetensors(path_ + "/expected.safetensors");
  const Result<TensorFiles> dumped = TensorFiles::open_safetensors(out);
  ASSERT_TRUE(expected.ok() && dumped.ok());
  const std::vector<float> logits = floats_of(*dumped, "logits");
  const auto n_vocab = static_cast<int64_t>(config("vocab_size"));
  EXPECT_LE(relative_error({logits.begin() + n_prefix * n_vocab, logits.end()},
                           floats_of(*expected, "tree.logits")),
            tolerance());
  const std::string whole = read_file(out).value();
  for (const char* chunk : {"1", "3"}) {
    EXPECT_TRUE(dump_bytes(path_, joined(rows, {"--chunk", chunk})) == whole) << chunk;
  }
  // A row is the last row of its own path run as a chain, bit for bit.
  for (size_t row = prefix.size(); row < all.size(); ++row) {
    std::vector<int64_t> path;
    for (auto at = static_cast<int64_t>(row); at >= 0; at = parents[static_cast<size_t>(at)]) {
      path.insert(path.begin(), all[static_cast<size_t>(at)]);
    }
    const std::string alone = directory.path() + "/alone.safetensors";
    ASSERT_EQ(run_splitd(joined({"dump", path_, "--out", alone, "--ids", comma_list(path), "--ctx",
                                 session_length()},
                                kExact))
                  .exit_code,
              0);
    const std::vector<float> path_logits =
        floats_of(TensorFiles::open_safetensors(alone).value(), "logits");
    const auto begin = logits.begin() + static_cast<std::ptrdiff_t>(row) * n_vocab;
    EXPECT_TRUE(std::equal(path_logits.end() - n_vocab, path_logits.end(), begin)) << row;
  }
}

// At every layer, through two and through three stages, and a stage for each layer.
TEST_P(Dump, SplittingChangesNoBit) {
  const uint32_t n_layer = config("num_hidden_layers");
  std::vector<std::string> cuts;
  std::vector<uint32_t> all;
  for (uint32_t a = 1; a < n_layer; ++a) {
    cuts.push_back(std::to_string(a));
    for (uint32_t b = a + 1; b < n_layer; ++b) cuts.push_back(comma_list(std::vector{a, b}));
    all.push_back(a);
  }
  cuts.push_back(comma_list(all));
  for (const char* compute : {"auto", "f32"}) {
    const std::vector<std::string> words = {"--ids", ids(2), "--compute", compute};
    const std::string whole = dump_bytes(path_, words);
    ASSERT_GT(whole.size(), 45 * sizeof(float) * config("vocab_size"));
    for (const std::string& cut : cuts) {
      EXPECT_TRUE(dump_bytes(path_, joined(words, {"--split", cut})) == whole)
          << compute << ", --split " << cut;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Models, Dump, testing::ValuesIn(all_golden_models()),
                         [](const auto& test) { return test.param; });

// Without --ctx the session is as long as the prompt: the short factors of its longrope.
TEST(DumpCommand, ShortSessionsTakeTheShortFactors) {
  const std::string path = golden_model("phi3_longrope_long");
  const Result<TensorFiles> expected =
      TensorFiles::open_safetensors(path + "/expected.safetensors");
  const JsonDoc json = golden_json("phi3_longrope_long");
  size_t n_short = 0;
  for (const Json prompt : json.root().find("prompts")->elements()) {
    const std::vector<int64_t> ids = integers_of(*prompt.find("tokens"));
    const std::vector<float> logits =
        floats_of(*expected, "short_session.logits." + std::to_string(ids.size()));
    if (logits.empty()) continue;
    const TempDir directory;
    const std::string out = directory.path() + "/out";
    EXPECT_EQ(run_splitd(joined({"dump", path, "--ids", comma_list(ids), "--out", out}, kExact))
                  .exit_code,
              0);
    EXPECT_LE(
        relative_error(floats_of(TensorFiles::open_safetensors(out).value(), "logits"), logits),
        2e-5);
    ++n_short;
  }
  EXPECT_EQ(n_short, 2u);
}

class DumpBits : public testing::TestWithParam<std::string> {};

TEST_P(DumpBits, ChunksAndThreadsChangeNone) {
  const std::string path = golden_model(GetParam());
  const std::string ids = long_prompt(400, 200);
  std::string of_compute[2];
  for (const bool exact : {false, true}) {
    std::string& whole = of_compute[exact ? 1 : 0];
    for (const char* threads : {"1", "2"}) {
      for (const char* chunk : {"512", "64", "7", "1"}) {
        const std::string bytes =
            dump_bytes(path, {"--ids", ids, "--compute", exact ? "f32" : "auto", "--threads",
                              threads, "--chunk", chunk});
        if (whole.empty()) whole = bytes;
        ASSERT_GT(bytes.size(), 400u * 1000);
        EXPECT_TRUE(bytes == whole) << exact << ", " << threads << " threads, chunks of " << chunk;
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Models, DumpBits,
                         testing::Values("llama_bf16", "llama_f16_mha", "gemma2", "gemma3_text",
                                         "mistral_window", "qwen3_moe", "phi3_longrope_long"),
                         [](const auto& test) { return test.param; });

TEST(DumpCommand, RefusesWithTheReason) {
  const TempDir directory;
  const auto refused = [&](std::vector<std::string> words) {
    words.insert(words.begin(), {"dump", golden_model("llama_bf16")});
    return refusal(words);
  };
  const std::string out = directory.path() + "/out";
  EXPECT_EQ(refused({"--out", out}), "2 splitd: dump: --ids is missing; say --ids 1,2,3\n");
  EXPECT_EQ(refused({"--ids", "1"}), "2 splitd: dump: --out is missing; say --out F.safetensors\n");
  EXPECT_EQ(refused({"--ids", "1,256", "--out", out}),
            "2 splitd: --ids: 256 is no token; the vocabulary has 256, from 0 on\n");
  EXPECT_EQ(refused({"--ids", "-1", "--out", out}),
            "2 splitd: --ids: -1 is no token; the vocabulary has 256, from 0 on\n");
  EXPECT_EQ(refused({"--ids", "1,,2", "--out", out}),
            "2 splitd: dump: --ids: '1,,2' is not a list such as 1,2,3, each an integer\n");
  EXPECT_EQ(refused({"--ids=", "--out", out}),
            "2 splitd: dump: --ids: '' is not a list such as 1,2,3, each an integer\n");
  EXPECT_EQ(refused({"--ids", "1,2,3", "--parents=-1,0", "--out", out}),
            "2 splitd: --parents: 2 of them for 3 --ids; one for each is accepted\n");
  // A forward reference, a row that is its own parent, a cycle, and below −1.
  EXPECT_EQ(refused({"--ids", "1,2,3", "--parents=-1,2,0", "--out", out}),
            "2 splitd: --parents: 2 of row 1; -1 or an earlier row is accepted\n");
  EXPECT_EQ(refused({"--ids", "1,2,3", "--parents=0,0,0", "--out", out}),
            "2 splitd: --parents: 0 of row 0; -1 or an earlier row is accepted\n");
  EXPECT_EQ(refused({"--ids", "1,2,3", "--parents=-2,0,0", "--out", out}),
            "2 splitd: --parents: -2 of row 0; -1 or an earlier row is accepted\n");
  const std::string layers = "ascending layers between 0 and the model's 3 are accepted\n";
  EXPECT_EQ(refused({"--ids", "1", "--split", "0", "--out", out}),
            "2 splitd: --split: 0 behind 0; " + layers);
  EXPECT_EQ(refused({"--ids", "1", "--split", "3", "--out", out}),
            "2 splitd: --split: 3 behind 0; " + layers);
  EXPECT_EQ(refused({"--ids", "1", "--split", "2,1", "--out", out}),
            "2 splitd: --split: 1 behind 2; " + layers);
  EXPECT_EQ(refused({"--ids", "1", "--split", "1,1", "--out", out}),
            "2 splitd: --split: 1 behind 1; " + layers);
  EXPECT_EQ(refused({"--ids", "1,2,3", "--ctx", "2", "--out", out}),
            "2 splitd: --ids: they take 3 positions; the context has room for 2\n");
  EXPECT_EQ(refused({"--ids", "1", "--ctx", "513", "--out", out}),
            "2 splitd: --ctx: 513; the model was made for 512\n");
  EXPECT_EQ(refused({"--ids", "1", "--chunk", "0", "--out", out}),
            "2 splitd: dump: --chunk: '0' is not an integer from 1 to 1000000000\n");
  EXPECT_EQ(refused({"--ids", "1", "--threads", "0", "--out", out}),
            "2 splitd: dump: --threads: '0' is not an integer from 1 to 1024\n");
  EXPECT_EQ(refused({"--ids", "1", "--out", directory.path() + "/none/out"}),
            "1 splitd: --out: cannot create a file beside " + directory.path() +
                "/none/out: No such file or directory\n");
  EXPECT_EQ(refused({"--ids", "1", "--out", "/dev/full"}),
            "1 splitd: --out: cannot write /dev/full: it is there and no regular file\n");
  EXPECT_EQ(
      refused({"--ids", "1", "--out", directory.path()}),
      "1 splitd: --out: cannot write " + directory.path() + ": it is there and no regular file\n");
  EXPECT_TRUE(std::filesystem::is_empty(directory.path()));
}

}  // namespace
}  // namespace splitd
