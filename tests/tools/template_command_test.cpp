// `splitd template` as the real binary runs it, against what transformers renders.
#include <gtest/gtest.h>

#include <map>

#include "runtime/base/files.h"
#include "runtime/base/json.h"
#include "tests/temp_dir.h"
#include "tests/tools/run_splitd.h"

namespace splitd {
namespace {

using Words = std::vector<std::string>;

const std::string kModel = std::string(SPLITD_TEST_BUILD) + "/tokenizers/smollm2";
const std::string kGoldenNow = "SOURCE_DATE_EPOCH=1772874303";  // 2026-03-07T09:05:03 UTC

class TemplateCommand : public testing::Test {
 protected:
  void SetUp() override {
    Result<std::string> text =
        read_file(std::string(SPLITD_TEST_DATA) + "/golden/template_cases.json");
    ASSERT_TRUE(text.ok()) << text.error().message;
    Result<JsonDoc> doc = JsonDoc::parse(std::move(*text));
    ASSERT_TRUE(doc.ok()) << doc.error().message;
    golden_.emplace(std::move(*doc));
    for (const Json item : golden_->root().find("conversations")->elements()) {
      conversations_.emplace(*item.find("name")->to_string(), item);
    }
  }

  // A conversation as the command's input: without its name, its variables beside the rest.
  std::string input_of(std::string_view name) {
    JsonWriter json;
    json.begin_object();
    for (const Json::Member member : conversations_.at(std::string(name)).members()) {
      if (member.key == "variables") {
        for (const Json::Member variable : member.value.members()) {
          json.key(variable.key).copy(variable.value);
        }
      } else if (member.key != "name") {
        json.key(member.key).copy(member.value);
      }
    }
    return json.end_object().take();
  }

  std::optional<JsonDoc> golden_;
  std::map<std::string, Json> conversations_;
};

TEST_F(TemplateCommand, GoldenConversations) {
  std::string batch;
  std::vector<Json> cases;
  for (const Json item : golden_->root().find("chat_cases")->elements()) {
    if (item.find("tokenizer")->to_string() != "smollm2") continue;
    cases.push_back(item);
    batch += (batch.empty() ? "[" : ",") + input_of(*item.find("conversation")->to_string());
  }
  ASSERT_GT(cases.size(), 10u);
  const ProcessResult result = run_splitd({"template", kModel, "--batch"},
                                          {.input = batch + "]", .environment = {kGoldenNow}});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const Result<JsonDoc> answers = JsonDoc::parse(result.out);
  ASSERT_TRUE(answers.ok()) << answers.error().message;
  ASSERT_EQ(answers->root().size(), cases.size());
  size_t i = 0;
  for (const Json answer : answers->root().elements()) {
    const Json expected = cases[i++];
    const std::string_view name = *expected.find("conversation")->to_string();
    if (expected.find("error")) {
      EXPECT_TRUE(answer.find("error")) << name;
      continue;
    }
    EXPECT_EQ(answer.to_string(), expected.find("text")->to_string()) << name;
    // Alone it is the bytes themselves.
    const ProcessResult alone =
        run_splitd({"template", kModel}, {.input = input_of(name), .environment = {kGoldenNow}});
    EXPECT_EQ(alone.exit_code, 0) << alone.err;
    EXPECT_EQ(alone.out, expected.find("text")->to_string()) << name;
  }
}

TEST_F(TemplateCommand, TheObjectIsTheContextWithoutMessages) {
  const TempDir dir;
  ASSERT_TRUE(write_file(dir.path() + "/chat_template.jinja",
                         "{{ x }}|{{ strftime_now('%Y-%m-%d %H:%M:%S') }}")
                  .ok());
  const ProcessResult result = run_splitd(
      {"template", dir.path()}, {.input = R"({"x": "\u00fc\n"})", .environment = {kGoldenNow}});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(result.out, "ü\n|2026-03-07 09:05:03");
  const ProcessResult bad = run_splitd({"template", dir.path()},
                                       {.input = "{}", .environment = {"SOURCE_DATE_EPOCH=noon"}});
  EXPECT_EQ(bad.exit_code, 2);
  EXPECT_NE(bad.err.find("SOURCE_DATE_EPOCH: 'noon'"), std::string::npos) << bad.err;
}

TEST_F(TemplateCommand, FailuresKeepTheirPlace) {
  const TempDir dir;
  ASSERT_TRUE(write_file(dir.path() + "/chat_template.jinja",
                         "{% if bad %}{{ raise_exception('no ' + bad) }}{% endif %}ok")
                  .ok());
  const ProcessResult batch =
      run_splitd({"template", dir.path(), "--batch"}, {.input = R"([{}, {"bad": "x"}, 3, {}])"});
  EXPECT_EQ(batch.exit_code, 0) << batch.err;
  const Result<JsonDoc> doc = JsonDoc::parse(batch.out);
  ASSERT_TRUE(doc.ok()) << batch.out;
  ASSERT_EQ(doc->root().size(), 4u);
  std::string kinds;
  for (const Json item : doc->root().elements()) {
    kinds += item.is_string() ? 's' : item.find("error") ? 'e' : '?';
  }
  EXPECT_EQ(kinds, "sees");
  EXPECT_NE(batch.out.find("no x"), std::string::npos) << batch.out;
  const ProcessResult alone = run_splitd({"template", dir.path()}, {.input = R"({"bad": "x"})"});
  EXPECT_NE(alone.exit_code, 0);
  EXPECT_EQ(alone.out, "");
  EXPECT_NE(alone.err.find("no x"), std::string::npos) << alone.err;
  EXPECT_EQ(run_splitd({"template", dir.path()}, {.input = "[]"}).exit_code, 2);
  EXPECT_EQ(run_splitd({"template", dir.path()}, {.input = "{"}).exit_code, 2);
}

}  // namespace
}  // namespace splitd
