// The public interface: lookups, bytes that are not UTF-8, streams, errors.
#include "runtime/model/tokenizer/tokenizer.h"

#include "tests/runtime/model/tokenizer/golden.h"

namespace splitd {
namespace {

class TokenizerTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    smollm2_ = new Tokenizer(open_shipped("smollm2"));
    llama2_ = new Tokenizer(open_shipped("llama2"));
  }
  static void TearDownTestSuite() {
    delete smollm2_;
    delete llama2_;
  }
  static Tokenizer* smollm2_;
  static Tokenizer* llama2_;
};
Tokenizer* TokenizerTest::smollm2_ = nullptr;
Tokenizer* TokenizerTest::llama2_ = nullptr;

TEST_F(TokenizerTest, LooksUpTokens) {
  EXPECT_EQ(smollm2_->n_vocab(), 49152u);
  EXPECT_EQ(smollm2_->id_of("<|im_end|>"), 2u);
  EXPECT_EQ(smollm2_->token_of(2), "<|im_end|>");
  EXPECT_TRUE(smollm2_->is_special(2));
  EXPECT_FALSE(smollm2_->is_special(5000));
  EXPECT_FALSE(smollm2_->is_special(4000000000u));
  EXPECT_EQ(smollm2_->token_of(49152), std::nullopt);
  EXPECT_EQ(smollm2_->id_of("no such token"), std::nullopt);
  for (uint32_t id = 0; id < smollm2_->n_vocab(); ++id) {
    const std::optional<std::string_view> token = smollm2_->token_of(id);
    ASSERT_TRUE(token.has_value()) << id;
    ASSERT_EQ(smollm2_->id_of(*token), id);
  }
}

TEST_F(TokenizerTest, InvalidBytesBecomeReplacementCharacters) {
  for (const std::string_view bad :
       {"a\xffz", "\xe4\xbd", "\xf0\x9f\x98x", "\xed\xa0\x80", "\xc0\xaf"}) {
    std::string expected;
    for (const Tokenizer* tokenizer : {smollm2_, llama2_}) {
      EXPECT_EQ(encode(*tokenizer, bad), encode(*tokenizer, utf8_replace_invalid(bad)));
    }
  }
}

TEST_F(TokenizerTest, AnyByteComesBackFromAByteLevelVocabulary) {
  std::string text;
  for (char32_t c = 0; c < 0x3000; c += 7) utf8_append(text, c);
  EXPECT_EQ(decode(*smollm2_, encode(*smollm2_, text, {.add_special = false})), text);
  EXPECT_EQ(joined(stream(*smollm2_, encode(*smollm2_, text))), text);
}

TEST_F(TokenizerTest, StreamHoldsBackIncompleteCharacters) {
  const std::vector<uint32_t> ids = encode(*smollm2_, "a🙂b");
  std::string shown;
  size_t held = 0;
  for (const std::string& piece : stream(*smollm2_, ids)) {
    EXPECT_TRUE(utf8_is_valid(piece));
    held += piece.empty() ? 1 : 0;
    shown += piece;
  }
  EXPECT_EQ(shown, "a🙂b");
  EXPECT_GT(held, 1u);  // the emoji takes several tokens, and finish() has nothing left
}

TEST_F(TokenizerTest, StreamEndsWithWhatWasHeldBack) {
  std::vector<uint32_t> ids = encode(*smollm2_, "a🙂", {.add_special = false});
  ids.pop_back();
  EXPECT_EQ(joined(stream(*smollm2_, ids)), decode(*smollm2_, ids));
  EXPECT_TRUE(joined(stream(*smollm2_, ids)).ends_with("\xef\xbf\xbd"));
  // Byte tokens: 你 cut short is three replacement characters less one.
  std::vector<uint32_t> bytes = {*llama2_->id_of("<0xE4>"), *llama2_->id_of("<0xBD>")};
  EXPECT_EQ(joined(stream(*llama2_, bytes)), decode(*llama2_, bytes));
  bytes.push_back(*llama2_->id_of("<0xA0>"));
  EXPECT_EQ(stream(*llama2_, bytes), (std::vector<std::string>{"", "", "你", ""}));
}

TEST_F(TokenizerTest, StreamCutsTheFirstSpaceOnly) {
  const std::vector<uint32_t> ids = encode(*llama2_, "one two", {.add_special = false});
  EXPECT_EQ(joined(stream(*llama2_, ids)), "one two");
  const std::vector<uint32_t> with_bos = encode(*llama2_, "one two");
  EXPECT_EQ(joined(stream(*llama2_, with_bos, false)), "one two");
}

TEST_F(TokenizerTest, UnknownIdsAreErrors) {
  EXPECT_FALSE(smollm2_->decode(std::vector<uint32_t>{49152}).ok());
  EXPECT_FALSE(StreamDecoder(*smollm2_).push(UINT32_MAX).ok());
  EXPECT_EQ(smollm2_->decode(std::vector<uint32_t>{}).value(), "");
}

TEST_F(TokenizerTest, AnEmptyTextHasOnlyWhatIsAdded) {
  EXPECT_TRUE(encode(*llama2_, "", {.add_special = false}).empty());
  EXPECT_EQ(encode(*llama2_, ""), std::vector<uint32_t>{1});
}

TEST_F(TokenizerTest, MissingFileIsNamed) {
  const Result<Tokenizer> tokenizer = Tokenizer::open("/no/such/place/tokenizer.json");
  ASSERT_FALSE(tokenizer.ok());
  EXPECT_NE(tokenizer.error().message.find("/no/such/place/tokenizer.json"), std::string::npos);
}

// Long runs of every kind: linear, whatever the vocabulary splits. (A quadratic path would take
// minutes here; the time itself is the benchmark's.)
TEST(TokenizerLongRuns, ComeBackWhole) {
  for (const std::string& name : shipped_names()) {
    const Tokenizer tokenizer = open_shipped(name);
    for (const std::string_view unit : {"a", "_", " ", "\n", "中", "a\xcc\x81\xcc\xa8", "\xff"}) {
      std::string text = "x";
      while (text.size() < 40000) text += unit;
      const std::vector<uint32_t> ids = encode(tokenizer, text, {.add_special = false});
      // NFC composes the accents; the rest is what it was.
      if (unit.size() < 4 || name != "qwen3") {
        EXPECT_EQ(decode(tokenizer, ids), utf8_replace_invalid(text)) << name << " " << unit;
      }
    }
  }
}

}  // namespace
}  // namespace splitd
