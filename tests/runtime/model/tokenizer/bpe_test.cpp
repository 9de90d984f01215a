// The merge loop against the definition, written out.
#include "runtime/model/tokenizer/bpe.h"

#include <gtest/gtest.h>

#include <map>
#include <random>

#include "runtime/base/utf8.h"

namespace splitd::tok {
namespace {

struct Model {
  std::vector<std::string> tokens;                          // by id
  std::vector<std::pair<std::string, std::string>> merges;  // by rank
};

// Repeats the merge of lowest rank, leftmost first.
std::vector<uint32_t> merge_by_definition(const Model& model, std::string_view text) {
  std::map<std::string, uint32_t> ids;
  for (uint32_t id = 0; id < model.tokens.size(); ++id) ids[model.tokens[id]] = id;
  std::map<std::pair<std::string, std::string>, size_t> ranks;
  for (size_t rank = 0; rank < model.merges.size(); ++rank) ranks[model.merges[rank]] = rank;
  std::vector<std::string> symbols;
  while (!text.empty()) {
    const size_t length = utf8_decode(text).length;
    if (ids.contains(std::string(text.substr(0, length))))
      symbols.emplace_back(text.substr(0, length));
    text.remove_prefix(length);
  }
  while (true) {
    size_t best = SIZE_MAX;
    size_t at = 0;
    for (size_t i = 0; i + 1 < symbols.size(); ++i) {
      const auto found = ranks.find({symbols[i], symbols[i + 1]});
      if (found == ranks.end() || found->second >= best) continue;
      best = found->second;
      at = i;
    }
    if (best == SIZE_MAX) break;
    symbols[at] += symbols[at + 1];
    symbols.erase(symbols.begin() + static_cast<std::ptrdiff_t>(at) + 1);
  }
  std::vector<uint32_t> result;
  for (const std::string& symbol : symbols) result.push_back(ids.at(symbol));
  return result;
}

Model random_model(std::mt19937& random) {
  Model model;
  model.tokens = {"a", "b", "c", " ", "é", "中"};
  while (model.merges.size() < 40) {
    const std::string left = model.tokens[random() % model.tokens.size()];
    const std::string right = model.tokens[random() % model.tokens.size()];
    const std::pair pair(left, right);
    if (std::find(model.merges.begin(), model.merges.end(), pair) != model.merges.end()) continue;
    model.merges.push_back(pair);
    if (std::find(model.tokens.begin(), model.tokens.end(), left + right) == model.tokens.end()) {
      model.tokens.push_back(left + right);
    }
  }
  return model;
}

Result<Bpe> build(const Model& model, BpeOptions options = {}) {
  Vocabulary vocabulary;
  vocabulary.reserve(model.tokens.size(), 0);
  for (uint32_t id = 0; id < model.tokens.size(); ++id) {
    SPLITD_TRY(vocabulary.add(model.tokens[id], id));
  }
  SPLITD_TRY(vocabulary.finish());
  std::vector<Bpe::Pair> merges;
  for (const auto& [left, right] : model.merges) merges.push_back({left, right});
  return Bpe::create(std::move(vocabulary), merges, std::move(options));
}

TEST(Bpe, MergesAsDefined) {
  std::mt19937 random(3);
  size_t merged = 0;
  for (int round = 0; round < 60; ++round) {
    const Model model = random_model(random);
    const Result<Bpe> bpe = build(model);
    ASSERT_TRUE(bpe.ok()) << bpe.error().message;
    for (const size_t length : {1u, 2u, 5u, 23u, 39u, 40u, 41u, 42u, 200u}) {
      std::string text;
      // "x" is not in the vocabulary: it vanishes, and its neighbours meet.
      constexpr std::string_view kLetters[] = {"a", "b", "c", " ", "é", "中", "a", "b", "x"};
      for (size_t i = 0; i < length; ++i) text += kLetters[random() % std::size(kLetters)];
      std::vector<uint32_t> ids;
      // Twice, and with room for remembered words: the second time they are copied.
      BpeEncoder encoder(*bpe, 4096, ids);
      ASSERT_TRUE(encoder.encode(text).ok());
      const size_t once = ids.size();
      ASSERT_TRUE(encoder.encode(text).ok());
      const std::vector<uint32_t> expected = merge_by_definition(model, text);
      ASSERT_EQ(std::vector<uint32_t>(ids.begin(), ids.begin() + static_cast<std::ptrdiff_t>(once)),
                expected)
          << text;
      ASSERT_EQ(std::vector<uint32_t>(ids.begin() + static_cast<std::ptrdiff_t>(once), ids.end()),
                expected);
      merged += length - expected.size();
    }
  }
  EXPECT_GT(merged, 1000u);
}

TEST(Bpe, RefusesMergesOfUnknownTokens) {
  Model model{{"a", "b", "ab"}, {{"a", "b"}}};
  EXPECT_TRUE(build(model).ok());
  model.merges = {{"a", "c"}};
  EXPECT_NE(build(model).error().message.find("merges[0]"), std::string::npos);
  model.merges = {{"a", "b"}, {"b", "a"}};
  EXPECT_NE(build(model).error().message.find("\"ba\""), std::string::npos);
  model = {{"a", "b"}, {{"a", "b"}}};
  EXPECT_FALSE(build(model).ok());
}

TEST(Bpe, UnknownTokenMustExistWhenNeeded) {
  const Result<Bpe> bpe = build({{"a"}, {}}, {.unk_token = "<unk>"});
  ASSERT_TRUE(bpe.ok());
  std::vector<uint32_t> ids;
  EXPECT_TRUE(BpeEncoder(*bpe, 1, ids).encode("a").ok());
  EXPECT_FALSE(BpeEncoder(*bpe, 1, ids).encode("b").ok());
}

TEST(Vocabulary, RefusesWhatIsNotOneToOne) {
  Vocabulary vocabulary;
  vocabulary.reserve(4, 16);
  EXPECT_TRUE(vocabulary.add("a", 3).ok());
  EXPECT_FALSE(vocabulary.add("b", 3).ok());
  EXPECT_FALSE(vocabulary.add("c", kMaxTokenId + 1).ok());
  EXPECT_FALSE(vocabulary.add(std::string(kMaxTokenBytes + 1, 'x'), 1).ok());
  EXPECT_TRUE(vocabulary.add("a", 2).ok());  // found out once all are there
  EXPECT_FALSE(vocabulary.finish().ok());
}

TEST(Vocabulary, FindsByTextAndCharacter) {
  Vocabulary vocabulary;
  vocabulary.reserve(4, 16);
  for (const auto& [text, id] : {std::pair("é", 7u), {"🙂", 1u}, {"ab", 4u}, {"", 9u}}) {
    ASSERT_TRUE(vocabulary.add(text, id).ok());
  }
  ASSERT_TRUE(vocabulary.finish().ok());
  EXPECT_EQ(vocabulary.find("ab"), 4u);
  EXPECT_EQ(vocabulary.find(""), 9u);
  EXPECT_EQ(vocabulary.find("a"), kNoId);
  EXPECT_EQ(vocabulary.find_character(U'é'), 7u);
  EXPECT_EQ(vocabulary.find_character(U'🙂'), 1u);
  EXPECT_EQ(vocabulary.find_character(U'a'), kNoId);
  EXPECT_FALSE(vocabulary.has(0));
  EXPECT_EQ(vocabulary.end_id(), 10u);
}

}  // namespace
}  // namespace splitd::tok
