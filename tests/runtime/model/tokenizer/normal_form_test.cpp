// Our normal forms against utf8proc's own, on text whose characters both know.
#include <gtest/gtest.h>
#include <utf8proc.h>

#include <cstdlib>
#include <random>

#include "runtime/base/utf8.h"
#include "runtime/model/tokenizer/code_point_set.h"
#include "runtime/model/tokenizer/normalizer.h"

namespace splitd::tok {
namespace {

struct Form {
  NormalForm form;
  int options;
};
constexpr Form kForms[] = {
    {NormalForm::nfc, UTF8PROC_STABLE | UTF8PROC_COMPOSE},
    {NormalForm::nfd, UTF8PROC_STABLE | UTF8PROC_DECOMPOSE},
    {NormalForm::nfkc, UTF8PROC_STABLE | UTF8PROC_COMPOSE | UTF8PROC_COMPAT},
    {NormalForm::nfkd, UTF8PROC_STABLE | UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT},
};

std::string by_utf8proc(const std::string& text, int options) {
  utf8proc_uint8_t* out = nullptr;
  const utf8proc_ssize_t length = utf8proc_map(
      reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
      static_cast<utf8proc_ssize_t>(text.size()), &out, static_cast<utf8proc_option_t>(options));
  std::string result(reinterpret_cast<char*>(out), static_cast<size_t>(length));
  std::free(out);
  return result;
}

std::string ours(NormalForm form, const std::string& text) {
  NormalText piece{text, {}, true, false};
  RegexScratch scratch;
  EXPECT_TRUE(make_normal_form(form)->apply(piece, scratch).ok());
  return piece.text;
}

TEST(NormalForm, EveryCharacterBesideMarks) {
  const CodePointSet newer = newer_than_normalizer();
  for (const Form& form : kForms) {
    const auto step = make_normal_form(form.form);
    RegexScratch scratch;
    std::string text;
    for (char32_t c = 1; c <= kLastCodePoint; ++c) {
      if ((c >= 0xd800 && c <= 0xdfff) || newer.contains(c)) continue;
      // e + c + acute + cedilla + c: c may join, be joined, reorder or separate.
      text += 'e';
      utf8_append(text, c);
      text += "\xcc\x81\xcc\xa7";
      utf8_append(text, c);
      if (c % 4096 != 0 && c != kLastCodePoint) continue;
      NormalText piece{text, {}, true, false};
      ASSERT_TRUE(step->apply(piece, scratch).ok());
      ASSERT_EQ(piece.text, by_utf8proc(text, form.options)) << uint32_t{c};
      text.clear();
    }
  }
}

TEST(NormalForm, RandomMixes) {
  std::mt19937 random(11);
  const CodePointSet newer = newer_than_normalizer();
  constexpr CodePointRange kBlocks[] = {{0x41, 0x7a},     {0xc0, 0x17f},    {0x300, 0x36f},
                                        {0x1100, 0x11ff}, {0xac00, 0xac80}, {0x900, 0x9ff},
                                        {0x1f00, 0x1fff}, {0xfb00, 0xfb4f}, {0x1d150, 0x1d170}};
  std::vector<std::unique_ptr<const NormalizerStep>> steps;
  for (const Form& form : kForms) steps.push_back(make_normal_form(form.form));
  RegexScratch scratch;
  size_t changed = 0;
  for (int round = 0; round < 3000; ++round) {
    std::string text;
    for (int i = 0; i < 20; ++i) {
      const CodePointRange& block = kBlocks[random() % std::size(kBlocks)];
      const char32_t c = block.first + static_cast<char32_t>(random() % (block.last - block.first));
      if (!newer.contains(c)) utf8_append(text, c);
    }
    for (size_t i = 0; i < steps.size(); ++i) {
      NormalText piece{text, {}, true, false};
      ASSERT_TRUE(steps[i]->apply(piece, scratch).ok());
      ASSERT_EQ(piece.text, by_utf8proc(text, kForms[i].options)) << text;
      changed += piece.text != text ? 1 : 0;
    }
  }
  EXPECT_GT(changed, 1000u);
}

TEST(NormalForm, LeavesAloneWhatTheLibraryDoesNotKnow) {
  EXPECT_EQ(ours(NormalForm::nfc, "\U00011935\U00011930"), "\U00011935\U00011930");
  EXPECT_EQ(ours(NormalForm::nfkc, "\u32ff"), "\u32ff");
  EXPECT_EQ(ours(NormalForm::nfc, "e\u0301"), "\u00e9");
}

TEST(NormalForm, MarksFollowTheText) {
  NormalText piece{"xe\xcc\x81y", {}, true, false};
  piece.literal.assign({0, 0, 1, 1, 0});
  RegexScratch scratch;
  ASSERT_TRUE(make_normal_form(NormalForm::nfc)->apply(piece, scratch).ok());
  EXPECT_EQ(piece.text, "xéy");
  EXPECT_EQ(piece.literal, (std::string{0, 1, 1, 0}));  // literal if anything in it was
}

}  // namespace
}  // namespace splitd::tok
