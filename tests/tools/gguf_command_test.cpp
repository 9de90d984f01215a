// GGUF files through the real binary: the same bytes and tokens as the directory that they were
// made of, from one file or a set, whole or split between two processes in any mixture of the two.
#include <gtest/gtest.h>

#include "tests/runtime/model/gguf_model.h"
#include "tests/tools/background.h"
#include "tests/tools/golden_model.h"

namespace splitd {
namespace {

using Words = std::vector<std::string>;

const Words kPrompt = {"--ids", "7,91,33,5,120,64,18", "-n",    "24", "--ctx",
                       "64",    "--ignore-eos",        "--json"};

// The same tensors as a set of two files, as llama.cpp's gguf-split writes one.
std::string write_set(const GgufBuilder& whole, const std::string& directory) {
  const size_t half = whole.tensors.size() / 2;
  for (uint16_t part = 0; part < 2; ++part) {
    GgufBuilder file;
    if (part == 0) {
      file.kvs = whole.kvs;
      file.n_kv = whole.n_kv;
    }
    file.kv("split.no", GgufType::u16, le(part));
    file.kv("split.count", GgufType::u16, le(uint16_t{2}));
    file.kv("split.tensors.count", GgufType::i32, le(static_cast<int32_t>(whole.tensors.size())));
    for (size_t i = 0; i < whole.tensors.size(); ++i) {
      if ((i < half) == (part == 0)) file.tensors.push_back(whole.tensors[i]);
    }
    const std::string name = directory + "/m-0000" + std::to_string(part + 1) + "-of-00002.gguf";
    EXPECT_TRUE(write_file(name, file.build()).ok());
  }
  return directory + "/m-00001-of-00002.gguf";
}

std::string ids_of_answer(const Words& words) {
  const ProcessResult result = run_splitd(words);
  const Result<JsonDoc> answer = JsonDoc::parse(result.out);
  if (!answer || !answer->root().find("ids")) {
    return std::to_string(result.exit_code) + " " + result.err + result.out;
  }
  return comma_list(integers_of(*answer->root().find("ids")));
}

Words with(Words words, const Words& more) {
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

TEST(GgufCommand, DumpsWhatItsDirectoryDoes) {
  for (const char* name : {"smollm2_like", "qwen3_moe"}) {
    GgufModel gguf(name);
    const std::string directory = gguf.copy.write(), file = gguf.write();
    const TempDir temp;
    const std::string set = write_set(gguf.file, temp.path());
    for (const Words& more : {Words{},
                              {"--split", "1,2", "--chunk", "3"},
                              {"--compute", "f32"},
                              {"--parents", "-1,0,1,1,3", "--kv", "q8"}}) {
      const Words words = with({"--ids", "7,91,33,5,120"}, more);
      const std::string expected = dump_bytes(directory, words);
      ASSERT_GT(expected.size(), 5u * gguf.config.n_vocab * 4);
      EXPECT_TRUE(dump_bytes(file, words) == expected) << name;
      EXPECT_TRUE(dump_bytes(set, words) == expected) << name;
    }
  }
}

TEST(GgufCommand, SplitsWithItselfAndWithItsDirectory) {
  GgufModel gguf("smollm2_like");
  const std::string directory = gguf.copy.write(), file = gguf.write();
  const std::string whole = ids_of_answer(with({"run", directory}, kPrompt));
  EXPECT_EQ(ids_of_answer(with({"run", file}, kPrompt)), whole);
  for (const std::string& body : {directory, file}) {
    Cloud cloud(body);
    ASSERT_NE(cloud.address(), "");
    for (const std::string& ends : {directory, file}) {
      EXPECT_EQ(
          ids_of_answer(with({"local", ends, "--body", cloud.address(), "--wire", "f32"}, kPrompt)),
          whole)
          << body << " " << ends;
    }
  }

  // Another model of the same shape is refused by its fingerprint.
  GgufModel other("smollm2_like");
  other.at("blk.0.attn_norm.weight").data[2] ^= 0x10;
  Cloud cloud(other.write());
  const std::string refusal =
      ids_of_answer(with({"local", file, "--body", cloud.address()}, kPrompt));
  EXPECT_EQ(refusal.substr(0, 2), "3 ") << refusal;
  EXPECT_NE(refusal.find("fingerprint"), std::string::npos) << refusal;
}

TEST(GgufCommand, MeasuresAndScores) {
  GgufModel gguf("smollm2_like");
  const std::string file = gguf.write();
  const ProcessResult bench = run_splitd(
      {"bench", file, "-p", "16", "-n", "8", "-r", "1", "--rows", "0", "--no-read", "--json"});
  EXPECT_EQ(bench.exit_code, 0) << bench.err;
  const ProcessResult inspect = run_splitd({"inspect", file, "--json", "--verify", "--plan",
                                            "--memory", "1G", "--ctx", "64", "--read-speed", "1G"});
  ASSERT_EQ(inspect.exit_code, 0) << inspect.err;
  const JsonDoc facts = std::move(*JsonDoc::parse(inspect.out));
  EXPECT_EQ(facts.root().find("format")->text(), "gguf");
  for (const Json found : facts.root().find("verify")->find("non_finite")->elements()) {
    ADD_FAILURE() << found.find("tensor")->text();
  }
  EXPECT_EQ(facts.root().find("plan")->find("best")->text(), "stored");
}

TEST(GgufCommand, OtherTypesAreRefusedByName) {
  GgufModel gguf("smollm2_like");
  gguf.at("blk.1.ffn_up.weight").type = 10;
  const ProcessResult result = run_splitd({"run", gguf.write(), "--ids", "1"});
  EXPECT_EQ(result.exit_code, 4);
  EXPECT_NE(result.err.find("\"blk.1.ffn_up.weight\": its type Q2_K is not supported; supported "
                            "are F32, F16, BF16"),
            std::string::npos)
      << result.err;
}

}  // namespace
}  // namespace splitd
