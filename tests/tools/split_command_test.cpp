// splitd local and splitd cloud as two processes, on golden models: the tokens of `run`, every
// transport, what one end refuses of the other. Every model and every cut: golden_split_test.cpp.
#include <gtest/gtest.h>
#include <signal.h>

#include <thread>

#include "tests/tools/background.h"
#include "tests/tools/golden_model.h"

namespace splitd {
namespace {

using Words = std::vector<std::string>;

const Words kExact = {"--compute", "f32", "--kv", "f32"};

Words operator+(Words a, const Words& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

// A prompt of the golden model as flags, with a fixed room so that longrope chooses alike.
Words prompt_words(const std::string& name, size_t which, int n) {
  const JsonDoc expected = golden_json(name);
  size_t i = 0;
  for (const Json prompt : expected.root().find("prompts")->elements()) {
    if (i++ != which) continue;
    return {"--ids",        comma_list(integers_of(*prompt.find("tokens"))),
            "-n",           std::to_string(n),
            "--ctx",        "93",
            "--ignore-eos", "--json"};
  }
  return {};
}

std::string ids_of_answer(const ProcessResult& result) {
  const Result<JsonDoc> answer = JsonDoc::parse(result.out);
  if (!answer || !answer->root().find("ids")) {
    return std::to_string(result.exit_code) + " " + result.err + result.out;
  }
  return comma_list(integers_of(*answer->root().find("ids")));
}

uint32_t layers_of(const std::string& name) {
  const ProcessResult result = run_splitd({"inspect", golden_model(name), "--json"});
  const Result<JsonDoc> facts = JsonDoc::parse(result.out);
  return static_cast<uint32_t>(*facts->root().find("config")->find("n_layer")->to_u64());
}

class SplitCommand : public testing::TestWithParam<std::string> {};

TEST_P(SplitCommand, GivesTheTokensOfRunWhereverItIsCut) {
  const std::string model = golden_model(GetParam());
  const uint32_t n_layer = layers_of(GetParam());
  Cloud cloud(model);
  ASSERT_NE(cloud.address(), "");
  for (const auto& [head, tail] : {std::pair{1u, 1u}, {n_layer - 2, 1u}, {1u, n_layer - 2}}) {
    const Words ends = {"--body", cloud.address(),     "--head", std::to_string(head),
                        "--tail", std::to_string(tail)};
    for (const bool hot : {false, true}) {
      Words prompt = prompt_words(GetParam(), 2, 30);
      if (hot) prompt = prompt + Words{"--temperature", "0.8", "--seed", "5"};
      const std::string whole = ids_of_answer(run_splitd(Words{"run", model} + prompt + kExact));
      EXPECT_EQ(ids_of_answer(
                    run_splitd(Words{"local", model, "--wire", "f32"} + ends + prompt + kExact)),
                whole)
          << head << "/" << tail;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Models, SplitCommand, testing::Values("llama_bf16", "phi3_longrope_long"),
                         [](const auto& test) { return test.param; });

TEST(SplitCommand, EveryTransport) {
  const TempDir directory;
  const std::string keys = directory.path();
  for (const Words& words : {Words{"keygen", "psk", "device", "--out", keys + "/pair.psk"},
                             {"keygen", "ca", keys},
                             {"keygen", "cert", keys, "body"},
                             {"keygen", "cert", keys, "device"}}) {
    const ProcessResult made = run_splitd(words);
    ASSERT_EQ(made.exit_code, 0) << made.err;
  }
  const std::string model = golden_model("llama_bf16");
  const Words prompt = prompt_words("llama_bf16", 1, 12);
  const std::string whole = ids_of_answer(run_splitd(Words{"run", model} + prompt));
  const auto certificates = [&](const std::string& name) {
    return Words{"--cert", keys + "/" + name + ".pem",
                 "--key",  keys + "/" + name + "-key.pem",
                 "--ca",   keys + "/ca.pem"};
  };
  const Words psk = {"--psk-file", keys + "/pair.psk"};
  struct Case {
    Words server, client;
  };
  for (const Case& one :
       {Case{{}, {}}, Case{psk, psk}, Case{certificates("body"), certificates("device")}}) {
    Cloud cloud(model, one.server);
    ASSERT_NE(cloud.address(), "");
    for (const char* transport : {"tcp", "ws"}) {
      const ProcessResult result =
          run_splitd(Words{"local", model, "--body", cloud.address(), "--transport", transport} +
                     one.client + prompt);
      EXPECT_EQ(ids_of_answer(result), whole) << transport;
    }
  }
}

TEST(SplitCommand, RefusesInOneLineWithExitCodeThree) {
  const std::string model = golden_model("llama_bf16");
  const Words prompt = prompt_words("llama_bf16", 1, 4);
  const uint32_t n_layer = layers_of("llama_bf16");
  Cloud cloud(model, {"--layers", "1:" + std::to_string(n_layer - 1)});
  ASSERT_NE(cloud.address(), "");
  const auto error = [&](const std::string& path, const Words& words) {
    const ProcessResult result =
        run_splitd(Words{"local", path, "--body", cloud.address()} + words + prompt);
    EXPECT_EQ(std::count(result.err.begin(), result.err.end(), '\n'), 1) << result.err;
    return std::to_string(result.exit_code) + " " + result.err;
  };
  const auto has = [](const std::string& text, std::string_view part) {
    return text.find(part) != std::string::npos;
  };
  std::string text = error(golden_model("llama_bias"), {});
  EXPECT_TRUE(text.starts_with("3 ") && has(text, "fingerprint")) << text;
  text = error(model, {"--head", "1", "--tail", "0"});
  EXPECT_TRUE(has(text, "layers")) << text;
  for (const char* end : {"--head", "--tail"}) {
    text = error(model, {end, std::to_string(n_layer - 1)});
    EXPECT_TRUE(text.starts_with("3 ") && has(text, end) && has(text, "1:")) << text;
  }
  // The ends agree with what the body has, without a word from the user.
  EXPECT_EQ(run_splitd(Words{"local", model, "--body", cloud.address()} + prompt).exit_code, 0);
  // Nobody is there.
  const ProcessResult nobody = run_splitd(
      Words{"local", model, "--body", "127.0.0.1:1", "--head", "1", "--tail", "1"} + prompt);
  EXPECT_EQ(nobody.exit_code, 3) << nobody.err;
  EXPECT_TRUE(has(nobody.err, "127.0.0.1:1")) << nobody.err;
  // Another machine without TLS is a matter for the user to decide.
  const ProcessResult plain =
      run_splitd(Words{"local", model, "--body", "192.0.2.1:7777"} + prompt);
  EXPECT_EQ(plain.exit_code, 2) << plain.err;
  EXPECT_TRUE(has(plain.err, "--insecure")) << plain.err;
}

// Less than a draft or a chunk of the prompt: the text is the same, also for who names all layers.
TEST(SplitCommand, KeepsToTheBodysLimits) {
  const std::string model = golden_model("llama_bf16");
  const Words prompt = prompt_words("llama_bf16", 2, 24);
  const std::string whole = ids_of_answer(run_splitd(Words{"run", model} + prompt + kExact));
  const std::vector<Words> limits = {{"--max-pending", "1"},
                                     {"--max-pending", "5"},
                                     {"--step-rows", "1"},
                                     {"--step-rows", "7", "--max-pending", "16"}};
  for (const Words& limit : limits) {
    Cloud cloud(model, limit);
    ASSERT_NE(cloud.address(), "");
    const Words local = Words{"local", model, "--body", cloud.address(), "--wire", "f32"} + prompt;
    for (const Words& ends : {Words{"--head", "1", "--tail", "1"}, Words{"--tail", "1"}, Words{}}) {
      EXPECT_EQ(ids_of_answer(run_splitd(local + kExact + ends)), whole)
          << limit.front() << " " << limit[1] << ", " << ends.size() / 2 << " ends named";
    }
  }
}

// An end with keys and one without: each is told in one line.
TEST(SplitCommand, PlainAndEncryptedEndsSayWhatTheOtherLacks) {
  const TempDir directory;
  const Words psk = {"--psk-file", directory.path() + "/psk"};
  ASSERT_EQ(run_splitd({"keygen", "psk", "device", "--out", psk[1]}).exit_code, 0);
  const std::string model = golden_model("llama_bf16");
  for (const bool body_has_keys : {false, true}) {
    Cloud cloud(model, body_has_keys ? psk : Words());
    ASSERT_NE(cloud.address(), "");
    for (const char* transport : {"tcp", "ws"}) {
      const ProcessResult result =
          run_splitd(Words{"local", model, "--body", cloud.address(), "--transport", transport} +
                     (body_has_keys ? Words() : psk) + prompt_words("llama_bf16", 1, 4));
      EXPECT_EQ(result.exit_code, 3) << transport;
      EXPECT_EQ(std::count(result.err.begin(), result.err.end(), '\n'), 1) << result.err;
      const char* words = body_has_keys ? "speaks TLS only: a key or certificate is needed"
                                        : "speaks no TLS: it was started without key";
      EXPECT_NE(result.err.find(words), std::string::npos) << result.err;
    }
  }
}

// They share the body's batches, and none of them notices.
TEST(SplitCommand, EightAtOnceAreEachAsIfAlone) {
  const std::string model = golden_model("llama_bf16");
  Cloud cloud(model);
  ASSERT_NE(cloud.address(), "");
  const auto text = [&](int seed) {
    return ids_of_answer(run_splitd(Words{"local", model, "--body", cloud.address(),
                                          "--temperature", "0.8", "--seed", std::to_string(seed)} +
                                    prompt_words("llama_bf16", 1, 40)));
  };
  constexpr int kSessions = 8;
  std::vector<std::string> alone, together(kSessions);
  for (int i = 0; i < kSessions; ++i) alone.push_back(text(i));
  std::vector<std::thread> threads;
  for (int i = 0; i < kSessions; ++i) {
    threads.emplace_back([&, i] { together[static_cast<size_t>(i)] = text(i); });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(together, alone);
  EXPECT_NE(alone[0], alone[1]);
}

TEST(SplitCommand, CloudLeavesInOrder) {
  Cloud cloud(golden_model("llama_bf16"));
  ASSERT_NE(cloud.address(), "");
  cloud.process().signal(SIGTERM);
  EXPECT_EQ(cloud.process().wait(10), 0) << cloud.process().err();
}

TEST(SplitCommand, SaysWhatTheNetworkDid) {
  const std::string model = golden_model("llama_bf16");
  Cloud cloud(model);
  const ProcessResult result = run_splitd(Words{"local", model, "--body", cloud.address()} +
                                          prompt_words("llama_bf16", 1, 9));
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const Result<JsonDoc> answer = JsonDoc::parse(result.out);
  ASSERT_TRUE(answer.ok());
  const std::optional<Json> network = answer->root().find("network");
  ASSERT_TRUE(network);
  EXPECT_GT(network->find("bytes_up")->to_u64().value_or(0), 0u);
  EXPECT_GT(network->find("bytes_down")->to_u64().value_or(0), 0u);
  EXPECT_TRUE(network->find("rtt_ms") && network->find("overhead_ms_per_step"));
}

TEST(SplitCommand, BenchSaysWhereAStepsTimeGoes) {
  Cloud cloud(golden_model("llama_bf16"));
  const ProcessResult result =
      run_splitd({"bench", golden_model("llama_bf16"), "--body", cloud.address(), "-n", "8", "-p",
                  "20", "-r", "2", "--json"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const Result<JsonDoc> json = JsonDoc::parse(result.out);
  ASSERT_TRUE(json.ok()) << result.out;
  const Json step = *json->root().find("step");
  const auto number = [&](const char* name) { return step.find(name)->to_f64().value_or(-1); };
  EXPECT_GT(number("body_ms"), 0);
  EXPECT_NEAR(number("token_ms"), number("local_ms") + number("step_ms"), 1e-6);
  EXPECT_NEAR(number("step_ms"),
              number("body_ms") + number("overhead_ms") + *json->root().find("rtt_ms")->to_f64(),
              1e-6);
  EXPECT_EQ(json->root().find("prefill")->find("tokens")->to_u64(), 20u);
}

}  // namespace
}  // namespace splitd
