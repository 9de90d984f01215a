// splitd run with text: what is streamed, where it stops, prompts a line, a conversation on a
// terminal.
#include <algorithm>
#include <cmath>

#include "runtime/base/utf8.h"
#include "tests/tools/golden_model.h"
#include "tests/tools/pty.h"
#include "tests/tools/text_model_copy.h"

namespace splitd {
namespace {

class RunText : public testing::Test {
 protected:
  ProcessResult run(std::vector<std::string> words, const ProcessOptions& options = {}) const {
    words.insert(words.begin(), {"run", model_.path()});
    return run_splitd(words, options);
  }
  JsonDoc json(std::vector<std::string> words) const {
    words.insert(words.end(), "--json");
    const ProcessResult result = run(words);
    EXPECT_EQ(result.exit_code, 0) << result.err;
    Result<JsonDoc> doc = JsonDoc::parse(result.out);
    EXPECT_TRUE(doc.ok()) << result.out;
    return std::move(*doc);
  }
  std::string text(const JsonDoc& answer) const {
    return std::string(answer.root().find("text")->text());
  }

  // Without what the tokenizer adds.
  std::vector<int64_t> token_ids(const std::string& said) const {
    const ProcessResult result =
        run_splitd({"tokenize", model_.path(), "--no-special"}, {.input = said});
    const JsonDoc json = std::move(*JsonDoc::parse(result.out));
    return integers_of(json.root());
  }
  double perplexity(const std::string& said, std::vector<std::string> words = {}) const {
    words.insert(words.begin(), {"perplexity", model_.path(), "-", "--json"});
    const ProcessResult result = run_splitd(words, {.input = said});
    EXPECT_EQ(result.exit_code, 0) << result.err;
    const JsonDoc json = std::move(*JsonDoc::parse(result.out));
    EXPECT_EQ(json.root().find("tokens")->to_u64(), token_ids(said).size());
    return *json.root().find("perplexity")->to_f64();
  }
  // Windows of `size` tokens behind `first`, each half a window further, scoring what was not
  // scored before; the text's first token only where something stands before it.
  double expected_perplexity(const std::vector<int64_t>& first, const std::vector<int64_t>& ids,
                             size_t size) const {
    const size_t n_unscored = first.empty() ? 1 : 0;
    double total = 0;
    size_t n_scored = n_unscored;
    for (size_t begin = 0; n_scored < ids.size(); begin += std::max<size_t>(size / 2, 1)) {
      std::vector<int64_t> part = first;
      const size_t end = std::min(begin + size, ids.size());
      for (size_t i = begin; i < end; ++i) part.push_back(ids[i]);
      const TempDir directory;
      const std::string out = directory.path() + "/out";
      const std::vector<std::string> dump = {"dump",           model_.path(), "--ids",
                                             comma_list(part), "--out",       out};
      EXPECT_EQ(run_splitd(dump).exit_code, 0);
      const std::vector<float> logits =
          floats_of(TensorFiles::open_safetensors(out).value(), "logits");
      for (size_t i = 1; i < part.size(); ++i) {
        if (begin + i != n_scored + first.size()) continue;
        const float* row = logits.data() + (i - 1) * 256;
        double sum = 0;
        for (size_t v = 0; v < 256; ++v) sum += std::exp(double{row[v]} - row[part[i]]);
        total += std::log(sum);
        ++n_scored;
      }
    }
    return std::exp(total / static_cast<double>(ids.size() - n_unscored));
  }

  const TextModelCopy model_;
};

TEST_F(RunText, StreamsWhatTheTokensSpell) {
  const std::vector<std::string> words = {"--raw", "héllo", "-n", "60", "--ignore-eos"};
  const JsonDoc answer = json(words);
  const std::vector<int64_t> ids = integers_of(*answer.root().find("ids"));
  ASSERT_EQ(ids.size(), 60u);
  const ProcessResult spelt =
      run_splitd({"detokenize", model_.path()}, {.input = "[" + comma_list(ids) + "]"});
  ASSERT_EQ(spelt.exit_code, 0) << spelt.err;
  EXPECT_EQ(text(answer), spelt.out);
  EXPECT_NE(text(answer).find("\xef\xbf\xbd"), std::string::npos);  // characters were cut
  const ProcessResult streamed = run(words);
  EXPECT_EQ(streamed.out, spelt.out + "\n");
  EXPECT_EQ(streamed.err, "");  // nothing but the answer in a pipe
}

// Every token is a byte, so every stop string lies across tokens.
TEST_F(RunText, StopStringsCutWhereverTheyStand) {
  const std::vector<std::string> words = {"--raw", "once", "-n", "60", "--ignore-eos"};
  const std::string whole = text(json(words));
  size_t n_stopped = 0;
  for (size_t at = 0; at + 12 < whole.size(); at += 3) {
    const std::string stop = whole.substr(at, 5 + at % 7);
    if (!utf8_is_valid(stop)) continue;
    std::vector<std::string> with_stop = words;
    with_stop.insert(with_stop.end(), {"--stop", stop, "--stop", "never said"});
    const JsonDoc cut = json(with_stop);
    EXPECT_EQ(text(cut), whole.substr(0, whole.find(stop)));
    EXPECT_EQ(cut.root().find("finish_reason")->text(), "stop");
    EXPECT_LT(cut.root().find("ids")->size(), 60u);
    ++n_stopped;
  }
  EXPECT_GT(n_stopped, 3u);
  // The end could begin a stop string, and does not: it is shown. And one that the end completes.
  std::vector<std::string> open_end = words;
  size_t tail = whole.size() - 3;
  while ((whole[tail] & '\xc0') == '\x80') --tail;
  const std::string last = whole.substr(tail);
  if (utf8_is_valid(last)) {
    open_end.insert(open_end.end(), {"--stop", last + "!"});
    const JsonDoc open = json(open_end);
    EXPECT_EQ(text(open), whole);
    EXPECT_EQ(open.root().find("finish_reason")->text(), "length");
    open_end.back() = last;
    EXPECT_EQ(text(json(open_end)), whole.substr(0, whole.find(last)));
  }
}

TEST_F(RunText, BiasForbidsAndForces) {
  const std::vector<std::string> words = {"--raw", "x", "-n", "12", "--ignore-eos"};
  const std::vector<int64_t> plain = integers_of(*json(words).root().find("ids"));
  std::vector<std::string> forbid = words;
  forbid.insert(forbid.end(), {"--logit-bias", std::to_string(plain[0]) + "=-10000"});
  for (const int64_t id : integers_of(*json(forbid).root().find("ids"))) EXPECT_NE(id, plain[0]);
  std::vector<std::string> force = words;
  force.insert(force.end(), {"--logit-bias", "70=9e3", "--temperature", "1.5"});
  EXPECT_EQ(text(json(force)), "CCCCCCCCCCCC");
}

TEST_F(RunText, ALineThatFailsDisturbsNoOther) {
  const ProcessOptions input = {.input = "one\n\nthree\r\nfour"};
  const std::vector<std::string> words = {"--lines", "-n", "9", "--ignore-eos"};
  const ProcessResult plain = run(words, input);
  EXPECT_EQ(plain.exit_code, 2);
  EXPECT_EQ(plain.err,
            "splitd: warning: line 2: the prompt is empty\n"
            "splitd: 1 of 4 lines could not be answered\n");
  std::vector<std::string> with_json = words;
  with_json.push_back("--json");
  const ProcessResult objects = run(with_json, input);
  EXPECT_EQ(objects.exit_code, 2);
  std::vector<std::string> alone;
  for (const char* prompt : {"one", "three", "four"}) {
    alone.push_back(text(json({prompt, "-n", "9", "--ignore-eos"})));
  }
  std::string_view rest = objects.out;
  std::vector<std::string> texts;
  for (int line = 0; line < 4; ++line) {
    const size_t end = rest.find('\n');
    ASSERT_NE(end, std::string_view::npos) << objects.out;
    const Result<JsonDoc> object = JsonDoc::parse(std::string(rest.substr(0, end)));
    ASSERT_TRUE(object.ok());
    if (line == 1) {
      EXPECT_EQ(object->root().find("error")->text(), "the prompt is empty");
    } else {
      texts.push_back(text(*object));
    }
    rest.remove_prefix(end + 1);
  }
  EXPECT_EQ(rest, "");
  EXPECT_EQ(texts, alone);
  EXPECT_EQ(std::count(plain.out.begin(), plain.out.end(), '\n'), 4);
}

// A text must not depend on the room that one before it needed: longrope picks its factors by it.
TEST(RunLines, EachIsAnsweredAsIfItWereAlone) {
  const TextModelCopy model(0, "phi3_longrope_long");  // long from 33 rows on
  const std::vector<std::string> words = {"run", model.path(), "--raw", "--lines", "-n", "9"};
  const auto answers = [&](const std::string& input) {
    const ProcessResult result = run_splitd(words, {.input = input});
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return result.out;
  };
  const std::string few = "once upon\n", many = std::string(40, 'y') + "\n";
  EXPECT_EQ(answers(few + many + few + many),
            answers(few) + answers(many) + answers(few) + answers(many));
  EXPECT_NE(answers(few), answers(many));
}

// A program that asks, waits for the answer and asks again.
TEST_F(RunText, LinesAreAnsweredAsTheyCome) {
  PtyProcess process({SPLITD_BINARY, "run", model_.path(), "--lines", "-n", "3", "--json"});
  for (int turn = 0; turn < 3; ++turn) {
    process.type("hello\n");
    ASSERT_TRUE(process.shows("\"finish_reason\"")) << process.screen();
  }
  process.type("\x04");
  EXPECT_EQ(process.exit_code(), 0);
}

TEST_F(RunText, AReaderThatLeavesIsAnError) {
  const std::vector<std::string> words = {"--raw", "x", "-n", "400", "--ignore-eos"};
  for (const size_t leave_after : {size_t{1}, size_t{30}}) {
    const ProcessResult result = run(words, {.leave_after = leave_after});
    EXPECT_EQ(result.exit_code, 1);
    EXPECT_EQ(result.err, "splitd: cannot write to stdout: Broken pipe\n");
  }
  const ProcessResult full = run(words, {.out_path = "/dev/full"});
  EXPECT_EQ(full.exit_code, 1);
  EXPECT_EQ(full.err, "splitd: cannot write to stdout: No space left on device\n");
}

TEST_F(RunText, ContradictionsAndEmptyPromptsAreRefused) {
  const auto refused = [&](std::vector<std::string> words, std::string input = {}) {
    const ProcessResult result = run(words, {.input = std::move(input)});
    return std::to_string(result.exit_code) + " " + result.err;
  };
  EXPECT_EQ(refused({""}), "2 splitd: the prompt is empty\n");
  EXPECT_EQ(refused({"--raw", ""}), "2 splitd: the prompt is empty\n");
  EXPECT_EQ(refused({}), "2 splitd: the prompt is empty\n");
  EXPECT_EQ(refused({"--ids", "5", "hello"}),
            "2 splitd: --ids is the prompt: PROMPT and --lines do not go with it\n");
  EXPECT_EQ(refused({"--raw", "--system", "x", "hello"}),
            "2 splitd: --system needs the chat template, which --raw and --ids leave out\n");
  EXPECT_EQ(refused({"--raw", std::string(600, 'x')}),
            "2 splitd: the prompt has 600 tokens; the context has room for 512\n");
  EXPECT_EQ(refused({"--raw", std::string(20, 'x'), "--ctx", "9"}),
            "2 splitd: the prompt has 20 tokens; the context has room for 9\n");
  EXPECT_EQ(refused({"hi", "-n", "0"}),
            "2 splitd: run: -n: '0' is not an integer from 1 to 1000000000\n");
  for (const char* bad : {"nan", "-1", "inf", "101", "x", ""}) {
    EXPECT_EQ(
        refused({"hi", "--temperature", bad}),
        "2 splitd: run: --temperature: '" + std::string(bad) + "' is not a number from 0 to 100\n");
  }
  EXPECT_EQ(refused({"hi", "--top-p", "0"}), "2 splitd: --top-p: 0; above 0 to 1 is accepted\n");
  for (const char* bad : {"5", "5=", "=5", "256=1", "5=nan", "5=1e5", "-5=1", "5=1x"}) {
    EXPECT_EQ(refused({"hi", "--logit-bias", bad}),
              "2 splitd: --logit-bias: '" + std::string(bad) +
                  "' is not ID=X with ID below 256, the vocabulary, and X from -10000 to 10000\n");
  }
  EXPECT_TRUE(write_file(model_.path() + "/generation_config.json",
                         R"({"do_sample": true, "top_k": 1e300})")
                  .ok());
  EXPECT_EQ(refused({"hi"}), "4 splitd: " + model_.path() +
                                 "/generation_config.json: top_k is 1e300; 0 (all) to 1000000000 "
                                 "is accepted\n");
  EXPECT_TRUE(write_file(model_.path() + "/generation_config.json",
                         R"({"do_sample": true, "top_p": null, "temperature": "hot"})")
                  .ok());
  EXPECT_EQ(refused({"hi"}),
            "4 splitd: " + model_.path() +
                "/generation_config.json: temperature is \"hot\"; accepted: a number\n");
}

TEST_F(RunText, PerplexityIsThatOfTheDumpedLogits) {
  const std::string said = "The quick brown fox jumps over the lazy dog.";
  const std::vector<int64_t> ids = token_ids(said);
  EXPECT_NEAR(perplexity(said) / expected_perplexity({}, ids, ids.size()), 1, 1e-9);
  for (const size_t size : {2u, 7u, 16u}) {
    EXPECT_NEAR(
        perplexity(said, {"--ctx", std::to_string(size)}) / expected_perplexity({}, ids, size), 1,
        1e-9)
        << size;
  }
  EXPECT_NE(perplexity(said, {"--ctx", "2"}), perplexity(said, {"--ctx", "16"}));
}

// With BOS before every window, and so every token of the text scored; or as the file has it.
TEST_F(RunText, PerplexityBeginsAsTheModelsTextsDo) {
  const std::string said = "fourteen chars";
  const double plain = perplexity(said);
  const std::vector<int64_t> ids = token_ids(said);
  const std::string file = model_.path() + "/tokenizer.json";
  EXPECT_TRUE(write_file(file, replaced(*read_file(file), R"("post_processor":null)",
                                        R"("post_processor":{"type":"TemplateProcessing",)"
                                        R"("single":[{"SpecialToken":{"id":"<s>"}},)"
                                        R"({"Sequence":{"id":"A"}}],"special_tokens":{"<s>":)"
                                        R"({"id":"<s>","ids":[1],"tokens":["<s>"]}}})"))
                  .ok());
  EXPECT_EQ(perplexity(said, {"--no-special"}), plain);
  EXPECT_NEAR(perplexity(said) / expected_perplexity({1}, ids, 14), 1, 1e-9);
  for (const size_t size : {2u, 9u}) {
    EXPECT_NEAR(
        perplexity(said, {"--ctx", std::to_string(size)}) / expected_perplexity({1}, ids, size - 1),
        1, 1e-9)
        << size;
  }
}

TEST_F(RunText, PerplexityRefusesWithTheReason) {
  const auto refused = [&](std::vector<std::string> words, const std::string& input = {}) {
    words.insert(words.begin(), {"perplexity", model_.path()});
    return refusal(words, {.input = input});
  };
  const std::string few = " tokens; at least 2 are needed\n";
  EXPECT_EQ(refused({"-"}), "2 splitd: stdin: a text of 0" + few);
  EXPECT_EQ(refused({"-"}, "x"), "2 splitd: stdin: a text of 1" + few);
  EXPECT_EQ(refused({"/dev/null"}), "2 splitd: /dev/null: a text of 0" + few);
  EXPECT_EQ(refused({"-", "--ctx", "1"}, "hello"),
            "2 splitd: --ctx: 1; a window of at least 2 is accepted\n");
  EXPECT_EQ(refused({"-", "--ctx", "513"}, "hello"),
            "2 splitd: --ctx: 513; the model was made for 512\n");
  EXPECT_EQ(refused({model_.path() + "/none"}),
            "1 splitd: cannot open " + model_.path() + "/none: No such file or directory\n");
}

TEST_F(RunText, AConversation) {
  PtyProcess chat({SPLITD_BINARY, "run", model_.path(), "-n", "8", "--ignore-eos", "--verbose"});
  EXPECT_TRUE(chat.shows("weights")) << chat.screen();  // the bar
  EXPECT_TRUE(chat.shows("> ")) << chat.screen();
  chat.type("hello\n");
  EXPECT_TRUE(chat.shows(" tokens, 0 computed before")) << chat.screen();
  EXPECT_TRUE(chat.shows("\n> ")) << chat.screen();
  // The second turn begins with the first, whose prompt has 14 tokens; what the model said are no
  // characters, so it is not repeated as it was.
  chat.type("and more\n");
  EXPECT_TRUE(chat.shows("prompt of ")) << chat.screen();
  EXPECT_FALSE(chat.screen().ends_with(", 0 computed before"));
  EXPECT_TRUE(chat.shows("\n> ")) << chat.screen();
  const size_t at = chat.screen().rfind(" tokens, ");
  EXPECT_GE(std::stoi(chat.screen().substr(at + 9)), 14) << chat.screen();
  // A message that cannot fit is refused, and the conversation goes on.
  chat.type(std::string(1000, 'x') + "\n");
  EXPECT_TRUE(chat.shows("the context has room for 512")) << chat.screen();
  EXPECT_TRUE(chat.shows("\n> ")) << chat.screen();
  chat.type("/clear\n");
  EXPECT_TRUE(chat.shows("> ")) << chat.screen();
  chat.type("hello\n");
  EXPECT_TRUE(chat.shows("computed before")) << chat.screen();
  EXPECT_TRUE(chat.shows("\n> ")) << chat.screen();
  chat.type("\x04");
  EXPECT_EQ(chat.exit_code(), 0);
}

TEST(RunChat, AnInterruptStopsTheAnswerAndNotTheProgram) {
  const TextModelCopy model(400'000);
  PtyProcess chat({SPLITD_BINARY, "run", model.path(), "-n", "300000", "--ignore-eos"});
  EXPECT_TRUE(chat.shows("> ")) << chat.screen();
  for (int turn = 0; turn < 2; ++turn) {
    chat.type("talk\n");
    // Once all of the prompt is computed it talks, for minutes.
    EXPECT_TRUE(chat.shows("prompt ") && chat.shows("100%")) << chat.screen();
    chat.type("\x03");
    EXPECT_TRUE(chat.shows("\n> ")) << chat.screen().substr(0, 2000);
  }
  // One at the prompt, after another that stopped an answer, leaves.
  chat.type("\x03");
  EXPECT_EQ(chat.exit_code(), 130);
}

TEST(RunChat, AnInterruptEndsASingleAnswer) {
  const TextModelCopy model(400'000);
  for (const bool json : {false, true}) {
    std::vector<std::string> words = {SPLITD_BINARY, "run",    model.path(),  "talk",
                                      "-n",          "300000", "--ignore-eos"};
    if (json) words.push_back("--json");
    PtyProcess run(words);
    EXPECT_TRUE(run.shows("prompt ") && run.shows("100%")) << run.screen();
    run.type("\x03");
    EXPECT_TRUE(run.shows("splitd: interrupted")) << run.screen().substr(0, 2000);
    EXPECT_EQ(run.exit_code(), 130);
  }
}

TEST(RunChat, TwoInterruptsAtThePromptLeave) {
  const TextModelCopy model;
  PtyProcess chat({SPLITD_BINARY, "run", model.path(), "-n", "4"});
  EXPECT_TRUE(chat.shows("> ")) << chat.screen();
  chat.type("half a line\x03");
  EXPECT_TRUE(chat.shows("(Ctrl-C again or Ctrl-D leaves)")) << chat.screen();
  EXPECT_TRUE(chat.shows("> ")) << chat.screen();
  chat.type("hi\n");
  EXPECT_TRUE(chat.shows("\n> ")) << chat.screen();
  chat.type("\x03");
  EXPECT_TRUE(chat.shows("(Ctrl-C again or Ctrl-D leaves)")) << chat.screen();
  EXPECT_TRUE(chat.shows("> ")) << chat.screen();
  chat.type("\x03");
  EXPECT_EQ(chat.exit_code(), 130);
}

}  // namespace
}  // namespace splitd
