// The shipped tokenizers written as GGUF metadata and read back: the ids are the same.
#include "runtime/model/tokenizer/gguf_tokenizer.h"

#include <cmath>
#include <sstream>

#include "tests/runtime/model/formats/format_files.h"
#include "tests/runtime/model/tokenizer/golden.h"
#include "tests/temp_dir.h"

namespace splitd {
namespace {

struct Source {
  std::string name;
  std::string model;
  std::string pre;  // of byte-level ones
  bool prefix = true;
  bool adds_bos = false;
};

std::string strings(const std::vector<std::string>& items) {
  std::string out;
  for (const std::string& item : items) out += GgufBuilder::text(item);
  return GgufBuilder::array(GgufType::string, items.size(), out);
}

// What a converter writes of a tokenizer.json. Scores are as SentencePiece's training leaves them:
// falling with the id, and runs of blanks below (Llama) or, as words of their own, above all
// (Gemma).
std::string to_gguf(const Source& source) {
  Result<std::string> text =
      read_file(SPLITD_TEST_BUILD "/tokenizers/" + source.name + "/tokenizer.json");
  EXPECT_TRUE(text.ok());
  const Result<JsonDoc> doc = JsonDoc::parse(std::move(*text));
  const Json model = *doc->root().find("model");
  std::vector<std::string> tokens(model.find("vocab")->size());
  std::vector<int32_t> types(tokens.size(), 1);
  for (const Json::Member member : model.find("vocab")->members()) {
    tokens[*member.value.to_u64()] = member.key;
  }
  for (const Json token : doc->root().find("added_tokens")->elements()) {
    const uint64_t id = *token.find("id")->to_u64();
    if (id >= tokens.size()) {
      tokens.resize(id + 1);
      types.resize(id + 1, 1);
    }
    tokens[id] = token.find("content")->text();
    types[id] = *token.find("special")->to_bool() ? 3 : 4;
  }
  GgufBuilder builder;
  builder.string("tokenizer.ggml.model", source.model);
  if (!source.pre.empty()) builder.string("tokenizer.ggml.pre", source.pre);
  std::string scores;
  for (size_t id = 0; id < tokens.size() && source.model == "llama"; ++id) {
    if (tokens[id].size() == 6 && tokens[id].starts_with("<0x")) types[id] = 6;
    const bool blank =
        tokens[id].size() > 3 && tokens[id].find_first_not_of("▁") == std::string::npos;
    const float low = source.prefix && blank ? -1e9f : -static_cast<float>(id);
    scores += le(types[id] == 4 ? -1000.0f : low);
    // User-defined pieces are written as what they match in a text.
    if (types[id] == 4 && blank) tokens[id] = std::string(tokens[id].size() / 3, ' ');
  }
  // Filled up to the size of an embedding, as Qwen's are.
  for (int i = 0; i < 3; ++i) {
    tokens.push_back("[PAD" + std::to_string(tokens.size()) + "]");
    types.push_back(5);
    scores += le(-1000.0f);
  }
  std::string type_bytes;
  for (const int32_t type : types) type_bytes += le(type);
  builder.kv("tokenizer.ggml.tokens", GgufType::array, strings(tokens));
  builder.kv("tokenizer.ggml.token_type", GgufType::array,
             GgufBuilder::array(GgufType::i32, types.size(), type_bytes));
  if (source.model == "llama") {
    builder.kv("tokenizer.ggml.scores", GgufType::array,
               GgufBuilder::array(GgufType::f32, tokens.size(), scores));
    builder.u32("tokenizer.ggml.unknown_token_id", source.prefix ? 0 : 3);
    builder.kv("tokenizer.ggml.add_space_prefix", GgufType::boolean, le(source.prefix));
  } else {
    std::vector<std::string> merges;
    for (const Json merge : model.find("merges")->elements()) {
      if (merge.is_string()) {
        merges.emplace_back(merge.text());
        continue;
      }
      auto part = merge.elements().begin();
      std::string line((*part).text());
      merges.push_back(line + " " + std::string((*++part).text()));
    }
    builder.kv("tokenizer.ggml.merges", GgufType::array, strings(merges));
  }
  builder.u32("tokenizer.ggml.bos_token_id", source.name == "gemma3" ? 2 : 1);
  builder.kv("tokenizer.ggml.add_bos_token", GgufType::boolean, le(source.adds_bos));
  return builder.build();
}

class GgufTokenizer : public testing::TestWithParam<Source> {};

TEST_P(GgufTokenizer, HasTheIdsOfTokenizerJson) {
  const Source& source = GetParam();
  const TempDir directory;
  const std::string path = directory.path() + "/model.gguf";
  ASSERT_TRUE(write_file(path, to_gguf(source)).ok());
  const Result<Tokenizer> ours = Tokenizer::open(path);
  ASSERT_TRUE(ours.ok()) << ours.error().message;
  const Tokenizer original = open_shipped(source.name);
  EXPECT_EQ(ours->n_vocab(), original.n_vocab());
  const JsonDoc doc = read_golden("tokenizer_cases.json");
  for (const Json item : doc.root().find("cases")->elements()) {
    const std::string_view text = item.find("text")->text();
    const std::vector<uint32_t> ids = encode(*ours, text, {.add_special = false});
    ASSERT_EQ(ids, ids_of(*item.find(source.name)->find("ids"))) << item.find("name")->text();
    ASSERT_EQ(decode(*ours, ids), item.find(source.name)->find("decoded")->text());
    if (source.adds_bos) {
      ASSERT_EQ(encode(*ours, text), encode(original, text));
    }
  }
  // Literal text too: what is control there is control here.
  for (const std::string_view token : {"<think>", "<｜User｜>", "<|im_end|>"}) {
    const std::vector<ByteRange> all = {{0, token.size()}};
    EXPECT_EQ(encode(*ours, token, {.add_special = false, .literal = all}),
              encode(original, token, {.add_special = false, .literal = all}));
  }
}

INSTANTIATE_TEST_SUITE_P(Shipped, GgufTokenizer,
                         testing::Values(Source{"smollm2", "gpt2", "smollm"},
                                         Source{"qwen3", "gpt2", "qwen2"},
                                         Source{"llama3", "gpt2", "llama-bpe"},
                                         Source{"mistral_nemo", "gpt2", "tekken", true, true},
                                         Source{"deepseek_v3", "gpt2", "deepseek-v3"},
                                         Source{"llama2", "llama", "", true, true},
                                         Source{"gemma3", "llama", "", false, true}),
                         [](const auto& each) { return each.param.name; });

std::string refusal(const GgufBuilder& builder) {
  const TempDir directory;
  const std::string path = directory.path() + "/model.gguf";
  EXPECT_TRUE(write_file(path, builder.build()).ok());
  const Result<Tokenizer> tokenizer = Tokenizer::open(path);
  return tokenizer.ok() ? "accepted" : tokenizer.error().message;
}

TEST(GgufTokenizerRefuses, WhatItCannotSayExactly) {
  const std::string tokens = strings({"a", "b"});
  const std::string merges = strings({});
  const auto base = [&](std::string_view model) {
    GgufBuilder builder;
    builder.string("tokenizer.ggml.model", model);
    builder.kv("tokenizer.ggml.tokens", GgufType::array, tokens);
    builder.kv("tokenizer.ggml.merges", GgufType::array, merges);
    return builder;
  };
  EXPECT_NE(refusal(GgufBuilder()).find("tokenizer.ggml.model"), std::string::npos);
  EXPECT_NE(refusal(base("t5")).find("t5"), std::string::npos);
  EXPECT_NE(refusal(base("gpt2")).find("missing"), std::string::npos);
  EXPECT_NE(refusal(base("gpt2").string("tokenizer.ggml.pre", "unheard-of")).find("unheard-of"),
            std::string::npos);
  EXPECT_NE(refusal(base("llama")).find("scores"), std::string::npos);
  // Every name that a refusal lists is accepted: its pattern compiles.
  const std::string listed = refusal(base("gpt2").string("tokenizer.ggml.pre", "default"));
  ASSERT_NE(listed.find("\"default\"; supported are"), std::string::npos) << listed;
  std::istringstream names(listed.substr(listed.find("supported are") + 13));
  size_t n_name = 0;
  for (std::string name; names >> name; ++n_name) {
    EXPECT_EQ(refusal(base("gpt2").string("tokenizer.ggml.pre", name)), "accepted") << name;
  }
  EXPECT_GE(n_name, 20u);
  EXPECT_NE(refusal(base("gpt2")
                        .string("tokenizer.ggml.pre", "gpt-2")
                        .kv("tokenizer.ggml.token_type", GgufType::array,
                            GgufBuilder::array(GgufType::i32, 1, le(int32_t{1}))))
                .find("token_type"),
            std::string::npos);
}

}  // namespace
}  // namespace splitd
