// Files that are broken, hostile or not supported: refused with the reason, never worse.
#include <gtest/gtest.h>

#include "runtime/model/tokenizer/tokenizer.h"

namespace splitd {
namespace {

// A small whole tokenizer, with parts of its text replaced.
std::string with(
    std::initializer_list<std::pair<std::string_view, std::string_view>> changes = {}) {
  std::string text =
      R"({"version":"1.0","added_tokens":[{"id":3,"content":"<s>","single_word":false,)"
      R"("lstrip":false,"rstrip":false,"normalized":false,"special":true}],)"
      R"("normalizer":null,"pre_tokenizer":null,"post_processor":null,"decoder":null,)"
      R"("model":{"type":"BPE","unk_token":null,"vocab":{"a":0,"b":1,"ab":2},)"
      R"("merges":["a b"]}})";
  for (const auto& [from, to] : changes) {
    const size_t at = text.find(from);
    EXPECT_NE(at, std::string::npos) << from;
    text.replace(at, from.size(), to);
  }
  return text;
}

TEST(TokenizerJson, TheBaseOfTheseTestsIsAccepted) {
  const Result<Tokenizer> tokenizer = Tokenizer::from_json(with());
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.error().message;
  EXPECT_EQ(tokenizer->encode("ab<s>a").value(), (std::vector<uint32_t>{2, 3, 0}));
}

TEST(TokenizerJson, MergesComeInTwoShapes) {
  const Result<Tokenizer> tokenizer = Tokenizer::from_json(with({{R"("a b")", R"(["a","b"])"}}));
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.error().message;
  EXPECT_EQ(tokenizer->encode("ab").value(), std::vector<uint32_t>{2});
}

TEST(TokenizerJson, AddedTokensGetTheIdsOfTheLibrary) {
  // What the file says does not count: the token is not in the model, so it is the next one.
  const Result<Tokenizer> tokenizer = Tokenizer::from_json(with({{R"("id":3)", R"("id":77)"}}));
  ASSERT_TRUE(tokenizer.ok());
  EXPECT_EQ(tokenizer->id_of("<s>"), 3u);
}

TEST(TokenizerJson, RefusesWithAReason) {
  struct Refusal {
    std::string_view from;
    std::string_view to;
    std::string_view reason;
  };
  const Refusal refusals[] = {
      {R"("1.0")", R"("2.0")", "version"},
      {R"("type":"BPE")", R"("type":"Unigram")", "Unigram"},
      {R"("type":"BPE")", R"("type":"WordPiece")", "BPE is supported"},
      {R"("type":"BPE")", R"("type":"BPE","dropout":0.1)", "dropout"},
      {R"("a b")", R"("a c")", "merges[0]"},
      {R"("a b")", R"("b a")", "\"ba\""},
      {R"("a b")", R"("a b c")", "merges[0]"},
      {R"("a b")", R"(["a"])", "merges[0]"},
      {R"("a b")", "7", "merges[0]"},
      {R"("ab":2)", R"("ab":1)", "same id 1"},
      {R"("ab":2)", R"("a":2)", "twice"},
      {R"("ab":2)", R"("ab":-1)", "\"ab\""},
      {R"("ab":2)", R"("ab":4000000000)", "4000000000"},
      {R"("vocab":{"a":0,"b":1,"ab":2})", R"("vocab":[])", "vocab"},
      {R"("merges":["a b"])", R"("merges":{})", "merges"},
      {R"("normalizer":null)", R"("normalizer":{"type":"Precompiled"})", "Precompiled"},
      {R"("normalizer":null)", R"("normalizer":{"type":"Replace","content":""})", "pattern"},
      {R"("normalizer":null)", R"("normalizer":7)", "type"},
      {R"("pre_tokenizer":null)", R"("pre_tokenizer":{"type":"BertPreTokenizer"})",
       "BertPreTokenizer"},
      {R"("pre_tokenizer":null)",
       R"("pre_tokenizer":{"type":"Split","pattern":{"Regex":"(a"},"behavior":"Isolated","invert":false})",
       "(a"},
      {R"("pre_tokenizer":null)",
       R"("pre_tokenizer":{"type":"Split","pattern":{"Regex":"(?<=a+)b"},"behavior":"Isolated","invert":false})",
       "lookbehind"},
      {R"("pre_tokenizer":null)",
       R"("pre_tokenizer":{"type":"Split","pattern":{"String":"a"},"behavior":"Sideways","invert":false})",
       "Sideways"},
      {R"("decoder":null)", R"("decoder":{"type":"CTC"})", "CTC"},
      {R"("decoder":null)", R"("decoder":{"type":"Strip","content":"ab","start":1,"stop":0})",
       "content"},
      {R"("post_processor":null)",
       R"("post_processor":{"type":"BertProcessing","sep":["x",9],"cls":["y",0]})", "id 9"},
      {R"("post_processor":null)", R"("post_processor":{"type":"TemplateProcessing"})", "single"},
      {R"("special":true)", R"("special":1)", "special"},
      {R"("content":"<s>",)", "", "content"},
      {R"("id":3)", R"("id":-3)", "added_tokens[0]"},
  };
  for (const Refusal& item : refusals) {
    const Result<Tokenizer> tokenizer = Tokenizer::from_json(with({{item.from, item.to}}));
    ASSERT_FALSE(tokenizer.ok()) << item.to;
    EXPECT_EQ(tokenizer.error().kind, ErrorKind::model);
    EXPECT_NE(tokenizer.error().message.find(item.reason), std::string::npos)
        << tokenizer.error().message;
  }
  for (const std::string_view text : {"", "null", "[]", "{}", "\"x\"", "{\"model\":null}"}) {
    EXPECT_FALSE(Tokenizer::from_json(std::string(text)).ok()) << text;
  }
}

std::string repeated(std::string_view unit, size_t count) {
  std::string text;
  for (size_t i = 0; i < count; ++i) text += unit;
  return text;
}

TEST(TokenizerJson, RefusesWhatIsTooMuch) {
  const std::string deep = repeated(R"({"type":"Sequence","normalizers":[)", 100) +
                           R"({"type":"NFC"})" + repeated("]}", 100);
  EXPECT_FALSE(
      Tokenizer::from_json(with({{R"("normalizer":null)", "\"normalizer\":" + deep}})).ok());
  const std::string many = R"({"type":"Sequence","normalizers":[)" +
                           repeated(R"({"type":"NFC"},)", 1000) + R"({"type":"NFC"}]})";
  EXPECT_FALSE(
      Tokenizer::from_json(with({{R"("normalizer":null)", "\"normalizer\":" + many}})).ok());
  const std::string long_token(2000, 'x');
  EXPECT_FALSE(Tokenizer::from_json(with({{"<s>", long_token}})).ok());
}

TEST(TokenizerJson, ATextCannotGrowWithoutBound) {
  const std::string doubling = R"({"type":"Replace","pattern":{"Regex":""},"content":"aaaaaaaa"})";
  const std::string steps = R"("normalizer":{"type":"Sequence","normalizers":[)" + doubling + "," +
                            doubling + "," + doubling + "," + doubling + "]}";
  const Result<Tokenizer> tokenizer = Tokenizer::from_json(with({{R"("normalizer":null)", steps}}));
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.error().message;
  EXPECT_FALSE(tokenizer->encode(std::string(10000, 'a')).ok());
}

}  // namespace
}  // namespace splitd
