// splitd bench run as the real binary runs it: the JSON's shape, that its figures belong together,
// and what is refused. Never how fast anything is.
#include <gtest/gtest.h>

#include "runtime/base/json.h"
#include "tests/tools/run_splitd.h"
#include "tests/tools/text_model_copy.h"

namespace splitd {
namespace {

std::string model(const std::string& name) {
  return std::string(SPLITD_TEST_DATA) + "/golden/models/" + name;
}

ProcessResult bench(const std::string& name, std::vector<std::string> words) {
  words.insert(words.begin(), {"bench", model(name)});
  return run_splitd(words);
}

double number(Json object, std::string_view name) {
  const std::optional<Json> field = object.find(name);
  return field ? field->to_f64().value_or(-1) : -1;
}

// Both there, above 0, and the best no worse than the median.
void expect_samples(Json object, std::string_view name, bool more_is_better = true) {
  const std::optional<Json> samples = object.find(name);
  ASSERT_TRUE(samples) << name;
  const double best = number(*samples, "best"), median = number(*samples, "median");
  EXPECT_GT(best, 0) << name;
  EXPECT_GT(median, 0) << name;
  EXPECT_TRUE(more_is_better ? best >= median : best <= median) << name;
}

TEST(BenchCommand, MeasuresEverything) {
  const ProcessResult result = bench("llama_bf16", {"-p", "64", "-n", "20", "-r", "2", "--rows",
                                                    "4,2,32", "--threads", "2", "--json"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const Result<JsonDoc> doc = JsonDoc::parse(result.out);
  ASSERT_TRUE(doc.ok()) << result.out;
  const Json root = doc->root();
  EXPECT_EQ(number(root, "threads"), 2);
  EXPECT_EQ(number(root, "repetitions"), 2);
  EXPECT_EQ(root.find("kv")->text(), "f16");
  EXPECT_EQ(root.find("arith")->text().substr(0, 4), "cpu/");
  expect_samples(root, "read_gb_per_second");

  const Json decode = *root.find("decode");
  EXPECT_EQ(number(decode, "tokens"), 20);
  expect_samples(decode, "tokens_per_second");
  expect_samples(decode, "of_read");
  EXPECT_NEAR(
      number(*decode.find("gb_per_second"), "best"),
      number(*decode.find("tokens_per_second"), "best") * number(root, "token_bytes") * 1e-9, 1e-6);
  EXPECT_EQ(number(*root.find("prefill"), "tokens"), 64);
  expect_samples(*root.find("prefill"), "tokens_per_second");

  std::vector<double> rows;
  for (const Json step : root.find("steps")->elements()) {
    rows.push_back(number(step, "rows"));
    expect_samples(step, "ms", false);
    EXPECT_GT(number(*step.find("cost"), "median"), 0);
  }
  EXPECT_EQ(rows, (std::vector<double>{1, 2, 4, 32}));
  EXPECT_EQ(number(*(*root.find("steps")->elements().begin()).find("cost"), "median"), 1);
}

// llama_bf16 has 2-byte weights; a token needs every matrix but the embedding.
TEST(BenchCommand, CountsTheBytesOfAToken) {
  const auto bytes = [](const std::string& name) {
    const ProcessResult result =
        bench(name, {"-p", "0", "-n", "1", "-r", "1", "--rows", "0", "--no-read", "--json"});
    const Result<JsonDoc> doc = JsonDoc::parse(result.out);
    return doc.ok() ? number(doc->root(), "token_bytes") : -1;
  };
  EXPECT_EQ(bytes("llama_bf16"), 2 * (3 * (12288 + 18432 + 128) + 16384 + 64));
  EXPECT_EQ(bytes("qwen3_moe"),
            2 * (3 * (18432 + 176) + 2 * (512 + 2 * 6144) + 18432 + 16384 + 64));
}

// The session is no longer than it must be: the last step and the read after it are there too.
TEST(BenchCommand, MeasuresDecodeAlone) {
  const ProcessResult result =
      bench("llama_bf16", {"-p", "0", "-n", "3", "-r", "2", "--rows", "0", "--json"});
  const Result<JsonDoc> doc = JsonDoc::parse(result.out);
  ASSERT_TRUE(doc.ok()) << result.out << result.err;
  expect_samples(*doc->root().find("decode"), "tokens_per_second");
  expect_samples(*doc->root().find("decode"), "of_read");
}

TEST(BenchCommand, LeavesOutWhatIsNotAskedFor) {
  const ProcessResult result =
      bench("qwen3_moe", {"-p", "0", "-n", "2", "-r", "1", "--rows", "0", "--no-read", "--json"});
  const Result<JsonDoc> doc = JsonDoc::parse(result.out);
  ASSERT_TRUE(doc.ok()) << result.out << result.err;
  EXPECT_TRUE(doc->root().find("decode"));
  for (const char* name : {"prefill", "steps", "read_gb_per_second"}) {
    EXPECT_FALSE(doc->root().find(name)) << name;
  }
  EXPECT_FALSE(doc->root().find("decode")->find("of_read"));
}

TEST(BenchCommand, PrintsATable) {
  const ProcessResult result = bench("gemma2", {"-p", "16", "-n", "4", "-r", "1", "--rows", "2"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  for (const char* part : {"decode 4", "prefill 16", "step of 1 row ", "step of 2 rows", "tok/s"}) {
    EXPECT_NE(result.out.find(part), std::string::npos) << part << "\n" << result.out;
  }
}

TEST(BenchCommand, RefusesWithTheReason) {
  const auto refused = [](std::vector<std::string> words) {
    const ProcessResult result = bench("llama_bf16", std::move(words));
    return std::to_string(result.exit_code) + " " + result.err;
  };
  EXPECT_EQ(refused({"--rows", "33"}),
            "2 splitd: bench: --rows: 33; a step has from 1 to 32 rows, and 0 measures none\n");
  EXPECT_EQ(refused({"-p", "513", "-n", "0", "--rows", "0"}),
            "2 splitd: bench: --n-prompt, or --depth with --n-gen and --rows, take 513 tokens; the "
            "model has room for 512\n");
  EXPECT_EQ(refused({"-r", "0"}).substr(0, 10), "2 splitd: ");
  EXPECT_EQ(refused({"--threads", "0"}).substr(0, 10), "2 splitd: ");
}

std::string two_kinds() {
  const std::string path = ::testing::TempDir() + "splitd_prompts.txt";
  EXPECT_TRUE(write_file(path, "=== again raw\nabcabcabcabc\n=== said\nhello there\n").ok());
  return path;
}

ProcessResult bench_decode(std::vector<std::string> words) {
  static const TextModelCopy model;
  words.insert(words.begin(), {"bench", "decode", model.path(), "--prompts", two_kinds()});
  return run_splitd(words);
}

// Every decoder writes the same text; what they say of it belongs together.
TEST(BenchDecode, ComparesDecoders) {
  const ProcessResult result =
      bench_decode({"--decoders", "sequential,prompt-lookup:2,auto", "--temperatures", "0,0.8",
                    "--rtt", "0,1", "--head", "1", "--tail", "1", "-n", "20", "--json"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const Result<JsonDoc> doc = JsonDoc::parse(result.out);
  ASSERT_TRUE(doc.ok()) << result.out;
  const Json root = doc->root();
  size_t n_result = 0;
  for (const Json one : root.find("results")->elements()) {
    ++n_result;
    EXPECT_EQ(number(one, "differ"), 0);
    EXPECT_EQ(number(one, "texts"), 2);
    const double tokens = number(one, "tokens"), steps = number(one, "steps");
    EXPECT_NEAR(number(one, "tokens_per_step"), tokens / steps, 1e-9);
    EXPECT_GE(number(one, "rows_per_token"), 0.99);
    EXPECT_GT(number(one, "bytes_up_per_token"), 0);
    EXPECT_GT(number(one, "over_first"), 0);
    if (one.find("decoder")->text() != "sequential") continue;
    EXPECT_EQ(tokens, steps);
    EXPECT_EQ(number(one, "over_first"), 1);
    EXPECT_EQ(number(*one.find("alone"), "rtt_ms"), number(one, "rtt_ms"));
  }
  EXPECT_EQ(n_result, 3u * 2 * 2);
  size_t n_overall = 0, n_projection = 0;
  for (const Json one : root.find("overall")->elements()) {
    ++n_overall;
    EXPECT_GT(number(one, "mean_tokens_per_second"), 0);
  }
  for (const Json one : root.find("projections")->elements()) {
    ++n_projection;
    EXPECT_NE(number(one, "rtt_ms"), number(one, "to_rtt_ms"));
    EXPECT_GT(number(one, "measured_ms"), 0);
    EXPECT_NEAR(number(one, "error"), number(one, "step_ms") / number(one, "measured_ms") - 1,
                1e-9);
  }
  EXPECT_EQ(n_overall, 3u * 2 * 2);
  EXPECT_EQ(n_projection, 3u * 2 * 2);
}

TEST(BenchDecode, DrawsBars) {
  const ProcessResult result = bench_decode({"--decoders", "sequential,recycle", "-n", "12"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  for (const char* part : {"sequential", "recycle", "tok/s", "a step", "1.00x", "█", "loops"}) {
    EXPECT_NE(result.out.find(part), std::string::npos) << part << "\n" << result.out;
  }
}

TEST(BenchDecode, RefusesWithTheReason) {
  const auto refused = [](std::vector<std::string> words) {
    const ProcessResult result = bench_decode(std::move(words));
    return std::to_string(result.exit_code) + " " + result.err;
  };
  EXPECT_EQ(refused({"--decoders", "nobody"}).substr(0, 25), "2 splitd: drafter 'nobody");
  EXPECT_NE(refused({"--decoders", "prompt-lookup:0"}).find("n-gram, 1 to 64"), std::string::npos);
  EXPECT_NE(refused({"--types", "poetry"}).find("there are splitd_prompts"), std::string::npos);
  EXPECT_NE(refused({"--temperatures", "warm"}).find("numbers from 0 to 100"), std::string::npos);
  EXPECT_NE(refused({"--rtt", "1", "--head", "2", "--tail", "1"}).find("leave the body none"),
            std::string::npos);
  EXPECT_NE(run_splitd({"bench", "decode"}).err.find("--prompts"), std::string::npos);
  EXPECT_NE(run_splitd({"bench", "a", "b"}).err.find("one argument too many"), std::string::npos);
}

}  // namespace
}  // namespace splitd
