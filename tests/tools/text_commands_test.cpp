// tokenize, detokenize and template as the real binary runs them, against the golden cases of
// tests/golden (tokenizers, transformers). The library's own tests cover every tokenizer; here it
// is the way from stdin to stdout.
#include <gtest/gtest.h>

#include <filesystem>

#include "runtime/base/files.h"
#include "runtime/base/json.h"
#include "tests/temp_dir.h"
#include "tests/tools/run_splitd.h"

namespace splitd {
namespace {

using Words = std::vector<std::string>;

std::string model(const std::string& name) {
  return std::string(SPLITD_TEST_BUILD) + "/tokenizers/" + name;
}

const JsonDoc& golden(const char* file) {
  static std::map<std::string, JsonDoc> docs;
  const auto found = docs.find(file);
  if (found != docs.end()) return found->second;
  const Result<std::string> text = read_file(std::string(SPLITD_TEST_DATA) + "/golden/" + file);
  Result<JsonDoc> doc = JsonDoc::parse(text.ok() ? *text : "{}");
  return docs.emplace(file, std::move(*doc)).first->second;
}

std::string compact(Json json) {
  return JsonWriter().copy(json).take();
}

// One answer of each golden text: `field` of its entry for `name`, or of `instead` where it is not
// given because it is the same.
void expect_batch(const std::string& name, const Words& flags, const char* field,
                  const char* instead) {
  SCOPED_TRACE(name + " " + field);
  JsonWriter input;
  input.begin_array();
  std::vector<Json> expected;
  for (const Json item : golden("tokenizer_cases.json").root().find("cases")->elements()) {
    const std::optional<Json> view = item.find(name);
    ASSERT_TRUE(view);
    const bool decoding = std::string_view(field) == "decoded";
    input.copy(decoding ? *view->find("ids") : *item.find("text"));
    const std::optional<Json> own = view->find(field);
    expected.push_back(own ? *own : *view->find(instead));
  }
  input.end_array();
  ASSERT_GT(expected.size(), 100u);
  Words words = {flags[0], model(name), "--batch"};
  words.insert(words.end(), flags.begin() + 1, flags.end());
  const ProcessResult result = run_splitd(words, {.input = input.take()});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const Result<JsonDoc> answers = JsonDoc::parse(result.out);
  ASSERT_TRUE(answers.ok()) << answers.error().message;
  ASSERT_EQ(answers->root().size(), expected.size());
  size_t i = 0;
  for (const Json answer : answers->root().elements()) {
    EXPECT_EQ(compact(answer), compact(expected[i])) << "case " << i;
    ++i;
  }
}

TEST(Tokenize, GoldenBatches) {
  for (const char* name : {"smollm2", "llama2"}) {
    expect_batch(name, {"tokenize"}, "with_special", "ids");
    expect_batch(name, {"tokenize", "--no-special"}, "ids", "ids");
    expect_batch(name, {"tokenize", "--no-special", "--literal"}, "plain", "ids");
    expect_batch(name, {"detokenize", "--keep-special"}, "decoded", "decoded");
  }
}

TEST(Tokenize, BytesInIdsOut) {
  for (const char* name : {"smollm2", "llama2"}) {
    size_t n = 0;
    for (const Json item : golden("tokenizer_cases.json").root().find("cases")->elements()) {
      if (++n > 12) break;
      const Json view = *item.find(name);
      const ProcessResult ids = run_splitd({"tokenize", model(name)},
                                           {.input = std::string(*item.find("text")->to_string())});
      EXPECT_EQ(ids.out, compact(*view.find("with_special")) + "\n");
      const ProcessResult text = run_splitd({"detokenize", model(name), "--keep-special"},
                                            {.input = compact(*view.find("ids"))});
      EXPECT_EQ(text.out, *view.find("decoded")->to_string());  // no newline of its own
      EXPECT_EQ(text.exit_code, 0);
    }
  }
}

TEST(Tokenize, AnyBytesAndMany) {
  const std::string path = model("smollm2");
  EXPECT_EQ(run_splitd({"tokenize", path}).out, "[]\n");
  const std::string odd("a\0b\xff\xed\xa0\x80\r\n", 9);
  const ProcessResult ids = run_splitd({"tokenize", path}, {.input = odd});
  ASSERT_EQ(ids.exit_code, 0) << ids.err;
  const std::string back = run_splitd({"detokenize", path}, {.input = ids.out}).out;
  EXPECT_EQ(back, std::string("a\0b\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\r\n", 17));
  // More than pipes and buffers hold, both ways.
  std::string large;
  for (int i = 0; large.size() < (1u << 21); ++i) large += "line " + std::to_string(i) + "\n";
  const ProcessResult many = run_splitd({"tokenize", path}, {.input = large});
  ASSERT_EQ(many.exit_code, 0) << many.err;
  EXPECT_EQ(run_splitd({"detokenize", path}, {.input = many.out}).out, large);
}

TEST(Tokenize, BadItemsDoNotDisturbOthers) {
  const std::string path = model("smollm2");
  const ProcessResult ids =
      run_splitd({"tokenize", path, "--batch"}, {.input = R"(["a", 3, null, "a"])"});
  EXPECT_EQ(ids.exit_code, 0);
  const std::string a = run_splitd({"tokenize", path}, {.input = "a"}).out;
  const std::string id = a.substr(0, a.size() - 1);
  EXPECT_EQ(ids.out, "[" + id + ",\n{\"error\":\"a string is expected, this is 3\"},\n" +
                         "{\"error\":\"a string is expected, this is null\"},\n" + id + "]\n");
  const ProcessResult texts =
      run_splitd({"detokenize", path, "--batch"},
                 {.input = "[" + id + ",[-1],[4294967296],[4294967295],{},[]]"});
  EXPECT_EQ(texts.exit_code, 0);
  const Result<JsonDoc> doc = JsonDoc::parse(texts.out);
  ASSERT_TRUE(doc.ok());
  std::string kinds;
  for (const Json item : doc->root().elements())
    kinds += item.is_string() ? 's' : item.find("error") ? 'e' : '?';
  EXPECT_EQ(kinds, "seeees");
  EXPECT_EQ(run_splitd({"tokenize", path, "--batch"}, {.input = "[]"}).out, "[]\n");
}

TEST(Tokenize, RefusesWhatItCannotRead) {
  const std::string path = model("smollm2");
  const auto code_and_error = [](const ProcessResult& result) {
    EXPECT_EQ(result.out, "");
    return std::to_string(result.exit_code) + " " + result.err;
  };
  EXPECT_EQ(code_and_error(run_splitd({"detokenize", path}, {.input = "[1,"})).substr(0, 25),
            "2 splitd: stdin: not JSON");
  EXPECT_EQ(code_and_error(run_splitd({"detokenize", path}, {.input = "[1.5]"})),
            "2 splitd: stdin: item 0 is 1.5, a token id is an integer from 0 to 4294967295\n");
  EXPECT_EQ(
      code_and_error(run_splitd({"detokenize", path}, {.input = "[4294967295]"})).substr(0, 16),
      "2 splitd: stdin:");
  EXPECT_EQ(
      code_and_error(run_splitd({"tokenize", path, "--batch"}, {.input = "{}"})).substr(0, 54),
      "2 splitd: stdin: with --batch an array is expected, th");
  EXPECT_EQ(code_and_error(run_splitd({"tokenize", "./none"})),
            "1 splitd: no such file or directory: './none'\n");
  EXPECT_EQ(code_and_error(run_splitd({"tokenize"})).substr(0, 35),
            "2 splitd: tokenize: missing MODEL: ");
  EXPECT_EQ(code_and_error(run_splitd({"tokenize", path}, {.close_fd = 0})),
            "1 splitd: stdin: cannot read: Bad file descriptor\n");
  const TempDir dir;
  ASSERT_TRUE(write_file(dir.path() + "/tokenizer.json", "{\"version\": 1").ok());
  EXPECT_EQ(code_and_error(run_splitd({"tokenize", dir.path()})).substr(0, 10), "4 splitd: ");
}

TEST(Tokenize, ModelsThatWerePulled) {
  const TempDir home;
  const std::string repo = home.path() + "/models/org--name";
  const std::string commit(40, 'a');
  std::filesystem::create_directories(repo + "/refs");
  std::filesystem::create_directories(repo + "/snapshots/" + commit);
  std::filesystem::copy_file(model("smollm2") + "/tokenizer.json",
                             repo + "/snapshots/" + commit + "/tokenizer.json");
  ASSERT_TRUE(write_file(repo + "/refs/main", commit + "\n").ok());
  const ProcessOptions options = {.input = "hello", .environment = {"SPLITD_HOME=" + home.path()}};
  const ProcessResult pulled = run_splitd({"tokenize", "org/name"}, options);
  EXPECT_EQ(pulled.exit_code, 0) << pulled.err;
  EXPECT_EQ(pulled.out, run_splitd({"tokenize", model("smollm2")}, options).out);
  const ProcessResult other = run_splitd({"tokenize", "org/other"}, options);
  EXPECT_EQ(other.exit_code, 1);
  EXPECT_NE(other.err.find("splitd pull org/other"), std::string::npos) << other.err;
}

}  // namespace
}  // namespace splitd
