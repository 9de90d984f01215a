#include "runtime/decode/drafters/corpus.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include "runtime/base/files.h"
#include "runtime/decode/drafters/suffix.h"
#include "tests/temp_dir.h"

namespace splitd {
namespace {

class Corpus : public testing::Test {
 protected:
  TokenCorpus open(const Sha256Digest& vocabulary = {1}, uint32_t n_vocab = 100) {
    warnings_.clear();
    return TokenCorpus::open(
        path_, vocabulary, n_vocab,
        Log([this](LogLevel, std::string_view text) { warnings_.emplace_back(text); }));
  }

  static std::vector<uint32_t> entries_of(const TokenCorpus& corpus) {
    return {corpus.entries().begin(), corpus.entries().end()};
  }

  TempDir directory_;
  std::string path_ = directory_.path() + "/corpus";
  std::vector<std::string> warnings_;
};

TEST_F(Corpus, ComesBackAsItWasSaved) {
  TokenCorpus corpus = open();
  EXPECT_TRUE(corpus.entries().empty());
  EXPECT_TRUE(warnings_.empty());  // there is none yet
  corpus.add(std::vector<uint32_t>{1, 2, 99});
  corpus.add({});
  corpus.add(std::vector<uint32_t>{4});
  ASSERT_TRUE(corpus.save().ok());
  struct stat info {};
  ASSERT_EQ(stat(path_.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
  const TokenCorpus again = open();
  EXPECT_TRUE(warnings_.empty());
  const uint32_t b = TokenCorpus::kBoundary;
  EXPECT_EQ(std::vector<uint32_t>(again.entries().begin(), again.entries().end()),
            (std::vector<uint32_t>{b, 1, 2, 99, b, 4}));
}

TEST_F(Corpus, IsEmptyWhereTheFileIsBroken) {
  TokenCorpus corpus = open();
  corpus.add(std::vector<uint32_t>{1, 2, 3, 4});
  ASSERT_TRUE(corpus.save().ok());
  const std::string good = *read_file(path_);
  for (size_t at = 0; at < good.size(); ++at) {
    std::string bad = good;
    bad[at] = static_cast<char>(bad[at] ^ 4);
    ASSERT_TRUE(write_file(path_, bad).ok());
    EXPECT_TRUE(open().entries().empty()) << at;
    ASSERT_EQ(warnings_.size(), 1u) << at;
    EXPECT_NE(warnings_[0].find(path_), std::string::npos);
    ASSERT_TRUE(write_file(path_, good.substr(0, at)).ok());
    EXPECT_TRUE(open().entries().empty()) << at;
  }
  ASSERT_TRUE(write_file(path_, good).ok());
  EXPECT_TRUE(open({2}).entries().empty());  // another vocabulary
  EXPECT_EQ(warnings_.size(), 1u);
  EXPECT_TRUE(open({1}, 101).entries().empty());
  EXPECT_EQ(warnings_.size(), 1u);
  EXPECT_FALSE(open().entries().empty());
}

// A file that somebody else wrote is left as it is; one of ours that broke is begun anew.
TEST_F(Corpus, WritesOverNobodysFile) {
  ASSERT_TRUE(write_file(path_, "my notes").ok());
  TokenCorpus notes = open();
  EXPECT_EQ(warnings_.size(), 1u);
  ASSERT_TRUE(notes.record(std::vector<uint32_t>{1, 2}).ok());
  EXPECT_EQ(*read_file(path_), "my notes");

  ASSERT_TRUE(write_file(path_, "").ok());
  ASSERT_TRUE(open().record(std::vector<uint32_t>{1, 2}).ok());
  const std::string good = *read_file(path_);
  TokenCorpus other = open({2});
  EXPECT_EQ(warnings_.size(), 1u);
  ASSERT_TRUE(other.record(std::vector<uint32_t>{3}).ok());
  EXPECT_EQ(*read_file(path_), good);

  TokenCorpus mine = open();
  ASSERT_TRUE(write_file(path_, "my notes").ok());  // while it was used
  EXPECT_FALSE(mine.record(std::vector<uint32_t>{3}).ok());
  EXPECT_EQ(*read_file(path_), "my notes");

  ASSERT_TRUE(write_file(path_, good.substr(0, good.size() - 1)).ok());
  TokenCorpus broken = open();
  EXPECT_EQ(warnings_.size(), 1u);
  ASSERT_TRUE(broken.record(std::vector<uint32_t>{7}).ok());
  EXPECT_EQ(entries_of(open()), (std::vector<uint32_t>{TokenCorpus::kBoundary, 7}));
}

TEST_F(Corpus, IsSharedByProcesses) {
  const uint32_t b = TokenCorpus::kBoundary;
  TokenCorpus one = open(), two = open();
  ASSERT_TRUE(one.record(std::vector<uint32_t>{1, 2}).ok());
  ASSERT_TRUE(two.record(std::vector<uint32_t>{5}).ok());
  // A conversation that goes on is one text.
  ASSERT_TRUE(one.record(std::vector<uint32_t>{1, 2, 3, 4}).ok());
  EXPECT_EQ(entries_of(open()), (std::vector<uint32_t>{b, 5, b, 1, 2, 3, 4}));
  ASSERT_TRUE(two.record(std::vector<uint32_t>{6, 7}).ok());
  ASSERT_TRUE(two.record(std::vector<uint32_t>{1, 2, 3, 4}).ok());  // the same once more
  ASSERT_TRUE(two.record(std::vector<uint32_t>{2, 3}).ok());        // part of another
  ASSERT_TRUE(one.record(std::vector<uint32_t>{9}).ok());
  EXPECT_EQ(entries_of(open()),
            (std::vector<uint32_t>{b, 5, b, 6, 7, b, 1, 2, 3, 4, b, 2, 3, b, 9}));
}

TEST_F(Corpus, RefusesAPathThatCannotBeWritten) {
  EXPECT_TRUE(TokenCorpus::check_path(path_).ok());
  EXPECT_FALSE(path_exists(path_));  // nothing is left there
  EXPECT_FALSE(TokenCorpus::check_path(directory_.path()).ok());
  EXPECT_FALSE(TokenCorpus::check_path(directory_.path() + "/none/corpus").ok());
}

TEST_F(Corpus, HasABound) {
  TokenCorpus corpus = open();
  for (uint32_t i = 0; i < 100; ++i) corpus.add(std::vector<uint32_t>(1000 + i, i));
  EXPECT_LE(corpus.entries().size(), TokenCorpus::kMostEntries);
  EXPECT_GT(corpus.entries().size(), TokenCorpus::kMostEntries - 1100);
  EXPECT_EQ(corpus.entries().front(), TokenCorpus::kBoundary);
  EXPECT_EQ(corpus.entries().back(), 99u);
  corpus.add(std::vector<uint32_t>(TokenCorpus::kMostEntries * 2, 7));
  EXPECT_EQ(corpus.entries().size(), TokenCorpus::kMostEntries);
  ASSERT_TRUE(corpus.save().ok());
  EXPECT_EQ(open().entries().size(), TokenCorpus::kMostEntries);
}

TEST_F(Corpus, TeachesTheSuffixDrafter) {
  TokenCorpus corpus = open();
  corpus.add(std::vector<uint32_t>{10, 11, 12, 13, 14, 15, 16, 17});
  SuffixDrafter taught(&corpus), untaught;
  const std::vector<uint32_t> text = {50, 10, 11, 12, 13};
  Draft draft;
  taught.begin(text);
  ASSERT_TRUE(taught.propose({text, text.size(), 3, text.size()}, draft).ok());
  EXPECT_EQ(draft.tokens, (std::vector<uint32_t>{14, 15, 16}));
  draft.clear();
  untaught.begin(text);
  ASSERT_TRUE(untaught.propose({text, text.size(), 3, text.size()}, draft).ok());
  EXPECT_EQ(draft.size(), 0u);
}

}  // namespace
}  // namespace splitd
