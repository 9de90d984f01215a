// `splitd pull` as the real binary, against the fake hub: what it prints, how it ends, and that the
// token is nowhere to be seen.
#include <gtest/gtest.h>

#include "tests/runtime/model/hub/fake_hub.h"
#include "tests/runtime/model/hub/small_model.h"
#include "tests/tools/run_splitd.h"

namespace splitd {
namespace {

using net::TestReply;
using net::TestRequest;

const std::string kToken = "hf_secret_token_value";

class PullCommand : public ::testing::Test {
 protected:
  PullCommand() {
    fake.change([this] { fake.files = small_model(4, 2).files; });
  }

  ProcessResult run(std::vector<std::string> words) {
    words.insert(words.begin(), "pull");
    words.insert(words.end(), {"--ca", fake.ca_file});
    ProcessOptions options;
    options.environment = {"HF_ENDPOINT=" + fake.hub.url(),
                           "HF_TOKEN=" + kToken,
                           "SPLITD_HOME=" + fake.dir.path(),
                           "HTTPS_PROXY=",
                           "https_proxy=",
                           "ALL_PROXY=",
                           "all_proxy="};
    const ProcessResult result = run_splitd(std::move(words), options);
    EXPECT_EQ((result.out + result.err).find(kToken), std::string::npos);
    return result;
  }

  std::string snapshot(const std::string& part = "") const {
    return fake.dir.path() + "/models/org--name/snapshots/" + fake.commit + part;
  }

  FakeHub fake;
};

TEST_F(PullCommand, PrintsThePath) {
  const ProcessResult result = run({"org/name"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(result.out, snapshot() + "\n");
  EXPECT_EQ(*read_file(snapshot() + "/tokenizer.json"), fake.files.at("tokenizer.json"));
  ASSERT_FALSE(fake.hub.requests().empty());
  EXPECT_EQ(fake.hub.requests()[0].fields.find("Authorization"), "Bearer " + kToken);
  const ProcessResult again = run({"org/name", "--json"});
  const Result<JsonDoc> json = JsonDoc::parse(again.out);
  ASSERT_TRUE(json.ok()) << again.out;
  EXPECT_EQ(json->root().find("path")->text(), snapshot());
  EXPECT_EQ(json->root().find("commit")->text(), fake.commit);
  EXPECT_EQ(json->root().find("fetched")->to_u64(), 0u);
}

TEST_F(PullCommand, PullsParts) {
  EXPECT_EQ(run({"org/name", "--layers", "1:3"}).out, snapshot(".layers-1-3") + "\n");
  EXPECT_EQ(run({"org/name", "--head", "1", "--tail", "1"}).out, snapshot(".head-1-tail-1") + "\n");
  EXPECT_EQ(run({"org/name", "--body"}).out, snapshot(".body") + "\n");
  EXPECT_EQ(run({"org/name", "--body", "--head", "1", "--tail", "1"}).out,
            snapshot(".body-1-1") + "\n");
  const std::string directory = fake.dir.path() + "/here";
  EXPECT_EQ(run({"org/name", "--layers", "0:1", "--dir", directory}).out, directory + "\n");
}

TEST_F(PullCommand, EndsAsTheContractSays) {
  EXPECT_EQ(run({"org/name", "--head", "1"}).exit_code, 2);
  EXPECT_EQ(run({"org/name", "--layers", "0:1", "--head", "1", "--tail", "1"}).exit_code, 2);
  EXPECT_EQ(run({"org/name", "--layers", "3:9"}).exit_code, 2);
  EXPECT_EQ(run({"not-a-repository"}).exit_code, 2);
  EXPECT_EQ(run({"org/other"}).exit_code, 3);
  fake.change([&] { fake.files.erase("config.json"); });
  fake.change([&] { fake.commit = std::string(40, 'b'); });
  EXPECT_EQ(run({"org/name"}).exit_code, 4);
}

}  // namespace
}  // namespace splitd
