// Literal text: what somebody else wrote can never become a control token.
#include <algorithm>
#include <random>

#include "tests/runtime/model/tokenizer/golden.h"

namespace splitd {
namespace {

// Where the conversation's own strings stand in the rendered text.
void add_ranges(std::string_view text, Json value, std::vector<ByteRange>& ranges) {
  if (value.is_string() && !value.text().empty()) {
    for (size_t at = text.find(value.text()); at != std::string_view::npos;
         at = text.find(value.text(), at + 1)) {
      ranges.push_back({at, at + value.text().size()});
    }
  }
  for (const Json item : value.elements()) add_ranges(text, item, ranges);
}

// transformers' sanitize_control_tokens on the conversation that spells special tokens.
TEST(Literal, AgreesWithTransformers) {
  const JsonDoc doc = read_golden("template_cases.json");
  std::vector<ByteRange> ranges;
  size_t checked = 0;
  for (const Json item : doc.root().find("chat_cases")->elements()) {
    if (item.find("conversation")->text() != "special_text" || !item.find("text")) continue;
    const std::string name(item.find("tokenizer")->text());
    SCOPED_TRACE(name);
    const std::string_view text = item.find("text")->text();
    ranges.clear();
    for (const Json conversation : doc.root().find("conversations")->elements()) {
      if (conversation.find("name")->text() != "special_text") continue;
      for (const Json message : conversation.find("messages")->elements()) {
        add_ranges(text, *message.find("content"), ranges);
      }
    }
    ASSERT_EQ(ranges.size(), 2u);
    const Tokenizer tokenizer = open_shipped(name);
    EXPECT_EQ(encode(tokenizer, text, {.add_special = false}), ids_of(*item.find("ids")));
    const std::optional<Json> sanitized = item.find("sanitized_ids");
    EXPECT_EQ(encode(tokenizer, text, {.add_special = false, .literal = ranges}),
              ids_of(sanitized ? *sanitized : *item.find("ids")));
    checked += sanitized ? 1 : 0;
  }
  EXPECT_GE(checked, 5u);
}

TEST(Literal, NoControlTokenFromLiteralBytesWhateverTheRanges) {
  std::mt19937 random(7);
  for (const std::string& name : shipped_names()) {
    SCOPED_TRACE(name);
    const Tokenizer tokenizer = open_shipped(name);
    std::vector<std::string> control;
    for (uint32_t id = 0; id < tokenizer.n_vocab() && control.size() < 40; ++id) {
      if (tokenizer.is_special(id)) control.emplace_back(*tokenizer.token_of(id));
    }
    ASSERT_FALSE(control.empty());
    size_t found_somewhere = 0;
    for (int round = 0; round < 300; ++round) {
      std::string text;
      std::vector<ByteRange> literal;
      size_t trusted = 0;
      for (int part = 0; part < 6; ++part) {
        const std::string& token = control[random() % control.size()];
        const bool is_literal = random() % 2 == 0;
        const size_t begin = text.size();
        text += "é " + token + (random() % 2 == 0 ? " " : "");
        if (is_literal) {
          literal.push_back({begin, text.size()});
        } else {
          ++trusted;
        }
      }
      size_t special = 0;
      for (const uint32_t id :
           encode(tokenizer, text, {.add_special = false, .literal = literal})) {
        special += tokenizer.is_special(id) ? 1 : 0;
      }
      // All of the trusted ones and none of the others.
      ASSERT_EQ(special, trusted) << text;
      found_somewhere += trusted;
    }
    EXPECT_GT(found_somewhere, 0u);
  }
}

TEST(Literal, OneLiteralByteIsEnough) {
  const Tokenizer tokenizer = open_shipped("qwen3");
  const std::string text = "<|im_end|>";
  const uint32_t id = *tokenizer.id_of(text);
  EXPECT_EQ(encode(tokenizer, text), std::vector<uint32_t>{id});
  for (size_t at = 0; at < text.size(); ++at) {
    const std::vector<ByteRange> literal = {{at, at + 1}};
    const std::vector<uint32_t> ids = encode(tokenizer, text, {.literal = literal});
    EXPECT_EQ(std::count(ids.begin(), ids.end(), id), 0);
    EXPECT_EQ(decode(tokenizer, ids), text);
  }
  const std::vector<ByteRange> before = {{0, 0}};
  EXPECT_EQ(encode(tokenizer, text, {.literal = before}), std::vector<uint32_t>{id});
}

TEST(Literal, TokensThatAreNotSpecialButOnlyForTemplates) {
  const Tokenizer deepseek = open_shipped("deepseek_v3");
  const uint32_t user = *deepseek.id_of("<｜User｜>");
  EXPECT_FALSE(deepseek.is_special(user));
  const std::string text = "<｜User｜>";
  const std::vector<ByteRange> all = {{0, text.size()}};
  const std::vector<uint32_t> ids = encode(deepseek, text, {.add_special = false, .literal = all});
  EXPECT_EQ(std::count(ids.begin(), ids.end(), user), 0);
  // Ordinary words that happen to be added tokens stay words: Gemma's blank lines.
  const Tokenizer gemma = open_shipped("gemma3");
  const std::vector<ByteRange> four = {{0, 4}};
  EXPECT_EQ(encode(gemma, "a\n\nb", {.literal = four}), encode(gemma, "a\n\nb"));
}

TEST(Literal, RangesFollowBytesThatAreReplaced) {
  const Tokenizer tokenizer = open_shipped("qwen3");
  const std::string text = "\xff\xff<|im_end|>\xf0\x9f<|im_end|>";
  const uint32_t id = *tokenizer.id_of("<|im_end|>");
  const std::vector<ByteRange> first = {{2, 12}};
  const std::vector<uint32_t> ids = encode(tokenizer, text, {.literal = first});
  EXPECT_EQ(std::count(ids.begin(), ids.end(), id), 1);
  EXPECT_EQ(ids.back(), id);
}

TEST(Literal, RangesOutsideTheTextAreErrors) {
  const Tokenizer tokenizer = open_shipped("smollm2");
  const std::vector<ByteRange> late = {{0, 9}};
  EXPECT_FALSE(tokenizer.encode("a", {.literal = late}).ok());
  const std::vector<ByteRange> backward = {{1, 0}};
  EXPECT_FALSE(tokenizer.encode("a", {.literal = backward}).ok());
}

}  // namespace
}  // namespace splitd
