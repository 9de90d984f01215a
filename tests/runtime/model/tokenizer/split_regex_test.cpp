// Patterns as Oniguruma reads them. The expected pieces are what the `tokenizers` library gave
// (pre_tokenizers.Split(Regex(pattern), "isolated"), 0.23.3).
#include "runtime/model/tokenizer/split_regex.h"

#include <gtest/gtest.h>

#include "runtime/model/tokenizer/code_point_set.h"

namespace splitd::tok {
namespace {

std::vector<std::string> split(std::string_view pattern, std::string_view text) {
  const Result<SplitRegex> regex = SplitRegex::compile(pattern);
  if (!regex.ok()) return {"error: " + regex.error().message};
  RegexScratch scratch;
  std::vector<Match> matches;
  const Status found = regex->find_all(text, scratch, matches);
  if (!found.ok()) return {"error: " + found.error().message};
  std::vector<std::string> pieces;
  size_t end = 0;
  for (const Match& match : matches) {
    if (match.begin > end) pieces.emplace_back(text.substr(end, match.begin - end));
    if (match.end > match.begin)
      pieces.emplace_back(text.substr(match.begin, match.end - match.begin));
    end = match.end;
  }
  if (end < text.size()) pieces.emplace_back(text.substr(end));
  return pieces;
}

struct Case {
  std::string_view pattern;
  std::string_view text;
  std::vector<std::string> pieces;
};

TEST(SplitRegex, ReadsPatternsAsOnigurumaDoes) {
  const Case cases[] = {
      {R"(a{2,3}+)", "aaaaaaab", {"aaaaaa", "ab"}},
      {R"(a{2}?)", "a", {"a"}},
      {R"(a{2}?b)", "abaab", {"a", "b", "aab"}},
      {R"(a{,2})", "aaaaab", {"aa", "aa", "a", "b"}},
      {R"(a?+a)", "aab", {"aa", "b"}},
      {R"(a**)", "aa", {"aa"}},
      {R"($)", "a\nb", {"a", "\nb"}},
      {R"(^)", "a\nb\n", {"a\n", "b\n"}},
      {R"(a\Z)", "aa\n", {"a", "a", "\n"}},
      {R"(a\z)", "aa\n", {"aa\n"}},
      {R"(.+)", "a\nb", {"a", "\n", "b"}},
      {R"((?m:.+))", "a\nb", {"a\nb"}},
      {R"((?x: a b ))", "ab c", {"ab", " c"}},
      {R"(\b)", "ab cd", {"ab", " ", "cd"}},
      {R"(x*)", "axxb", {"a", "xx", "b"}},
      {R"()", "ab", {"a", "b"}},
      {R"(\h+)", "fag1", {"fa", "g", "1"}},
      {R"([\h]+)", "fag1", {"fa", "g", "1"}},
      {R"(\x{3042}\u3042)", "aああ", {"a", "ああ"}},
      {R"([[:alpha:]]+)", "ab1", {"ab", "1"}},
      {R"([[:punct:]]+)", "a$€!", {"a", "$€!"}},
      {R"([[:^alpha:]]+)", "a12", {"a", "12"}},
      {R"([a-z&&[^b]]+)", "aabcc", {"aa", "b", "cc"}},
      {R"([^a&&b]+)", "bbabb", {"bbabb"}},
      {R"([[a-c][x-z]]+)", "abxz1", {"abxz", "1"}},
      {R"([^\S\n]+)", "a \n b", {"a", " ", "\n", " ", "b"}},
      {R"([]a]+)", "a]b", {"a]", "b"}},
      {R"([a-]+)", "a-b", {"a-", "b"}},
      {R"([\b]+)", "\bb", {"\b", "b"}},
      {R"(\p{^L}+)", "ab12", {"ab", "12"}},
      {R"(\P{L}+)", "ab12", {"ab", "12"}},
      {R"(\p{Uppercase_Letter}+)", "aBC", {"a", "BC"}},
      {R"(\p{ lu }+)", "aBC", {"a", "BC"}},
      {R"(\p{Han}+)", "a中文b", {"a", "中文", "b"}},
      {R"(\p{Emoji}+)", "a😀", {"a", "😀"}},
      {R"(\R)", "a\r\nb\n", {"a", "\r\n", "b", "\n"}},
      {R"((?<n>a)b)", "ab", {"ab"}},
      {R"((?i:'s))", "'s'S'ſ'z", {"'s", "'S", "'ſ", "'z"}},
      {R"((?i:k)+)", "kKKl", {"kKK", "l"}},
      {R"((?i:[^s])+)", "sSſt", {"sSſ", "t"}},
      {R"((?i:ß)+)", "ßẞs", {"ßẞ", "s"}},
      {R"((?i)a(?-i)b)", "AbAB", {"Ab", "AB"}},
      {R"((?:a(?i)b|c)d)", "xaCdx", {"x", "aCd", "x"}},
      {R"(\s)", "a\u0085b\u180ec", {"a", "\u0085", "b\u180ec"}},
      {R"(\w+)", "a_1²-", {"a_1²", "-"}},
      {R"(\d+)", "12٣²", {"12٣", "²"}},
      {R"(\p{N}{1,3})", "12345", {"123", "45"}},
      {R"(\p{L}+)", "\U00010d50a", {"\U00010d50a"}},  // a letter since Unicode 16
      {R"(\Q.\E)", "Q.E", {"Q.E"}},
      {R"(a{)", "a{", {"a{"}},
      {R"((?<=a)b)", "abb", {"a", "b", "b"}},
      {R"((?#c)a)", "ba", {"b", "a"}},
      {R"(\101)", "A", {"A"}},
  };
  for (const Case& item : cases) {
    EXPECT_EQ(split(item.pattern, item.text), item.pieces) << item.pattern;
  }
}

TEST(SplitRegex, RefusesByName) {
  struct Refusal {
    std::string_view pattern;
    std::string_view reason;
  };
  const Refusal refusals[] = {
      {R"((a)\1)", "back references"},
      {R"(\K)", "\\K"},
      {R"(\X)", "\\X"},
      {R"((?~a))", "kind of group"},
      {R"((?s:.))", "kind of group"},
      {"(", "')'"},
      {"a)", "')'"},
      {"[a", "']'"},
      {"[z-a]", "empty range"},
      {"*a", "nothing to repeat"},
      {R"(\p{Foo})", "Foo"},
      {R"(\p{L)", "'}'"},
      {"a{9,2}", "m below n"},
      {"a{99999}", "65535"},
      {R"((?<=a+)b)", "lookbehind"},
      {R"(\x{110000})", "character"},
      {"a\\", "backslash"},
      {"[[:foo:]]", "foo"},
  };
  for (const Refusal& item : refusals) {
    const Result<SplitRegex> regex = SplitRegex::compile(item.pattern);
    ASSERT_FALSE(regex.ok()) << item.pattern;
    EXPECT_NE(regex.error().message.find(item.reason), std::string::npos) << regex.error().message;
    EXPECT_EQ(regex.error().kind, ErrorKind::model);
  }
  EXPECT_FALSE(SplitRegex::compile(std::string(kMaxPatternBytes + 1, 'a')).ok());
  EXPECT_FALSE(SplitRegex::compile(std::string(5000, '(')).ok());
  EXPECT_FALSE(SplitRegex::compile(std::string(5000, '[')).ok());
}

TEST(SplitRegex, EndlessPatternsAreErrors) {
  const std::string text(5000, 'a');
  for (const std::string_view pattern : {"(a+)+$b", "(a|aa)+c|(?:a*)*[bc]", "a*a*a*a*a*a*[bc]",
                                         "(?:a?){60}a{60}[cd]", "(?:(?:a|a)*)*b"}) {
    const Result<SplitRegex> regex = SplitRegex::compile(pattern);
    ASSERT_TRUE(regex.ok()) << regex.error().message;
    RegexScratch scratch;
    std::vector<Match> matches;
    // Either answers, or says that it takes too many steps; it does not hang.
    const Status found = regex->find_all(text, scratch, matches);
    if (!found.ok()) {
      EXPECT_NE(found.error().message.find("steps"), std::string::npos) << found.error().message;
    }
  }
  EXPECT_TRUE(split("(a*)*$(?<=b)", text)[0].starts_with("error: "));
}

TEST(SplitRegex, LongLegalRunsAreCheap) {
  const std::string spaces(1 << 20, ' ');
  EXPECT_EQ(split(R"(\s*[\r\n]+|\s+(?!\S)|\s+)", spaces).size(), 1u);
  EXPECT_EQ(split(R"(\s*[\r\n]+|\s+(?!\S)|\s+)", spaces + "x").size(), 3u);
}

TEST(CodePointSet, IsASet) {
  const CodePointSet set({{5, 9}, {1, 3}, {4, 4}, {20, 30}});
  EXPECT_EQ(set.ranges(), (std::vector<CodePointRange>{{1, 9}, {20, 30}}));
  EXPECT_EQ(set.inverted().inverted(), set);
  EXPECT_TRUE(set.intersected(set.inverted()).empty());
  EXPECT_EQ(set.united(set.inverted()), CodePointSet::all());
  EXPECT_TRUE(set.contains(20) && set.contains(9) && !set.contains(10) && !set.contains(0));
}

TEST(ClassTable, TellsSetsApart) {
  const CodePointSet sets[] = {*unicode_property("L"), *unicode_property("Lu"), white_space()};
  std::vector<std::vector<uint8_t>> members;
  const std::optional<ClassTable> table = ClassTable::build(sets, members);
  ASSERT_TRUE(table.has_value());
  for (char32_t c = 0; c <= kLastCodePoint; c += 3) {
    for (size_t k = 0; k < 3; ++k) {
      const bool listed =
          std::find(members[k].begin(), members[k].end(), (*table)[c]) != members[k].end();
      ASSERT_EQ(listed, sets[k].contains(c)) << uint32_t{c};
    }
  }
}

}  // namespace
}  // namespace splitd::tok
