// Ids and texts of the `tokenizers` library: the shipped tokenizers on golden texts
// (make_tokenizers.py), small ones that differ in one step each (make_tokenizer_variants.py).
#include "tests/runtime/model/tokenizer/golden.h"

namespace splitd {
namespace {

// The views of one text that make_tokenizer_variants.py describes.
void check_views(const Tokenizer& tokenizer, std::string_view text, Json views) {
  SCOPED_TRACE(JsonWriter().string(text).text());
  const std::vector<uint32_t> ids = ids_of(*views.find("ids"));
  EXPECT_EQ(encode(tokenizer, text), ids);
  const std::optional<Json> bare = views.find("bare");
  const std::vector<uint32_t> bare_ids = bare ? ids_of(*bare) : ids;
  EXPECT_EQ(encode(tokenizer, text, {.add_special = false}), bare_ids);
  const std::optional<Json> plain = views.find("plain");
  EXPECT_EQ(encode(tokenizer, text, {.add_special = false, .all_literal = true}),
            plain ? ids_of(*plain) : bare_ids);
  const Json decoded = *views.find("decoded");
  if (decoded.is_null()) return;
  EXPECT_EQ(decode(tokenizer, ids), decoded.text());
  const std::optional<Json> without = views.find("decoded_without_special");
  EXPECT_EQ(decode(tokenizer, ids, false), (without ? *without : decoded).text());
  // A stream cannot know that a byte run will turn out invalid; elsewhere it says the same.
  if (decoded.text().find("\xef\xbf\xbd") == std::string_view::npos) {
    EXPECT_EQ(joined(stream(tokenizer, ids)), decoded.text());
  }
}

TEST(TokenizerGolden, ShippedTokenizers) {
  const JsonDoc doc = read_golden("tokenizer_cases.json");
  const Json cases = *doc.root().find("cases");
  ASSERT_GT(cases.size(), 100u);
  for (const std::string& name : shipped_names()) {
    SCOPED_TRACE(name);
    const Tokenizer tokenizer = open_shipped(name);
    for (const Json item : cases.elements()) {
      const std::string_view text = item.find("text")->text();
      SCOPED_TRACE(item.find("name")->text());
      const Json views = *item.find(name);
      const std::vector<uint32_t> ids = ids_of(*views.find("ids"));
      EXPECT_EQ(encode(tokenizer, text, {.add_special = false}), ids);
      EXPECT_EQ(encode(tokenizer, text), ids_of(*views.find("with_special")));
      const std::optional<Json> plain = views.find("plain");
      EXPECT_EQ(encode(tokenizer, text, {.add_special = false, .all_literal = true}),
                plain ? ids_of(*plain) : ids);
      EXPECT_EQ(decode(tokenizer, ids), views.find("decoded")->text());
    }
  }
}

// A golden piece may come later than ours, never earlier: the library waits while its text ends in
// a replacement character, we only for bytes that more could still make whole.
TEST(TokenizerGolden, DecodesAndStreams) {
  const JsonDoc doc = read_golden("tokenizer_cases.json");
  const Json cases = *doc.root().find("decode_cases");
  ASSERT_GT(cases.size(), 100u);
  for (const std::string& name : shipped_names()) {
    const Tokenizer tokenizer = open_shipped(name);
    for (const Json item : cases.elements()) {
      if (item.find("tokenizer")->text() != name) continue;
      SCOPED_TRACE(name + " " + std::string(item.find("name")->text()));
      const std::vector<uint32_t> ids = ids_of(*item.find("ids"));
      EXPECT_EQ(decode(tokenizer, ids), item.find("text")->text());
      EXPECT_EQ(decode(tokenizer, ids, false), item.find("text_without_special")->text());
      const std::vector<std::string> ours = stream(tokenizer, ids);
      std::string shown;
      std::string expected;
      size_t at = 0;
      for (const Json piece : item.find("stream")->elements()) {
        shown += ours[at++];
        if (!piece.is_null()) expected += piece.text();
        ASSERT_EQ(shown.substr(0, expected.size()), expected);
        ASSERT_TRUE(utf8_is_valid(shown));
      }
      const std::string held = shown.substr(expected.size());
      // What the library never released ends in a character that was cut.
      EXPECT_TRUE(held.empty() || (held + ours.back()).ends_with("\xef\xbf\xbd")) << held;
    }
  }
}

TEST(TokenizerGolden, Variants) {
  const JsonDoc doc = read_golden("tokenizer_variants.json");
  const Json models = *doc.root().find("models");
  const Json texts = *doc.root().find("texts");
  ASSERT_GT(doc.root().find("variants")->size(), 50u);
  for (const Json variant : doc.root().find("variants")->elements()) {
    SCOPED_TRACE(variant.find("name")->text());
    const Json model = *models.find(variant.find("model")->text());
    JsonWriter out;
    out.begin_object();
    for (const Json::Member member : variant.find("tokenizer")->members()) {
      out.key(member.key).copy(member.value);
    }
    out.key("model").begin_object();
    for (const Json::Member member : model.members()) {
      if (variant.find("options")->find(member.key)) continue;
      out.key(member.key);
      if (member.key != "vocab") {
        out.copy(member.value);
        continue;
      }
      out.begin_object();
      for (const Json::Member token : member.value.members()) {
        out.key(token.key).copy(token.value);
      }
      uint64_t end = member.value.size();
      for (const Json token : variant.find("tokens")->elements()) {
        if (!member.value.find(token.text())) out.key(token.text()).number(end++);
      }
      out.end_object();
    }
    for (const Json::Member member : variant.find("options")->members()) {
      out.key(member.key).copy(member.value);
    }
    Result<Tokenizer> tokenizer = Tokenizer::from_json(out.end_object().end_object().take());
    ASSERT_TRUE(tokenizer.ok()) << tokenizer.error().message;
    auto text = texts.elements().begin();
    for (const Json views : variant.find("texts")->elements()) {
      check_views(*tokenizer, (*text).text(), views);
      ++text;
    }
  }
}

TEST(TokenizerGolden, NastyTextsOnShippedTokenizers) {
  const JsonDoc doc = read_golden("tokenizer_variants.json");
  const Json cases = *doc.root().find("real");
  ASSERT_GT(cases.size(), 50u);
  for (const std::string& name : shipped_names()) {
    SCOPED_TRACE(name);
    const Tokenizer tokenizer = open_shipped(name);
    for (const Json item : cases.elements()) {
      check_views(tokenizer, item.find("text")->text(), *item.find(name));
    }
  }
}

}  // namespace
}  // namespace splitd
