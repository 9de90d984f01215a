// Whole pulls from a hub that misbehaves.
#include "runtime/model/hub/hub.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <random>

#include "runtime/model/hub/pulled.h"
#include "tests/runtime/model/hub/fake_hub.h"
#include "tests/runtime/model/hub/small_model.h"

namespace splitd {
namespace {

using net::TestReply;
using net::TestRequest;

std::string random_bytes(size_t count, unsigned seed) {
  std::mt19937 random(seed);
  std::string out(count, '\0');
  for (char& c : out) c = static_cast<char>(random());
  return out;
}

class Hub : public ::testing::Test {
 protected:
  Hub() {
    fake.files = {{"config.json", "{}"},
                  {"tokenizer.json", "{\"a\": 1}"},
                  {"model.safetensors", random_bytes(400'000, 1)},
                  {"README.md", "no"},
                  {"pytorch_model.bin", "no"}};
  }

  Result<PullResult> pull_with(const PullOptions& options, const ProgressFn& progress = {}) {
    Result<PullResult> result = pull(options, progress);
    if (!result) {
      EXPECT_EQ(result.error().message.find("hf_secret"), std::string::npos);
      EXPECT_EQ(result.error().message.find("s3cret"), std::string::npos);
    }
    return result;
  }
  Result<PullResult> pull_now() { return pull_with(fake.options()); }

  std::string message() {
    const Result<PullResult> result = pull_now();
    return result ? "ok" : result.error().message;
  }

  // Everything that was pulled is, byte for byte, what the hub has.
  void expect_whole(const Result<PullResult>& result) {
    ASSERT_TRUE(result.ok()) << result.error().message;
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(result->path)) {
      const std::string name = entry.path().filename();
      names.push_back(name);
      if (name == "splitd_pull.json") continue;
      EXPECT_EQ(*read_file(entry.path()), fake.files.at(name)) << name;
    }
    std::sort(names.begin(), names.end());
    EXPECT_EQ(names, (std::vector<std::string>{"config.json", "model.safetensors",
                                               "splitd_pull.json", "tokenizer.json"}));
  }

  static bool asks_for(const TestRequest& request, std::string_view name) {
    return request.target.find(name) != std::string::npos;
  }

  void set_index(const std::string& json) {
    fake.change([&] { fake.files["model.safetensors.index.json"] = json; });
  }

  // What handlers use outlives the servers.
  std::atomic<int> asked{0};
  std::atomic<int> hub_asked{0};
  std::atomic<int> cdn_asked{0};
  std::string wrong;
  FakeHub fake;
};

TEST_F(Hub, PullsIntoTheCache) {
  const Result<PullResult> result = pull_now();
  expect_whole(result);
  EXPECT_EQ(result->path, fake.snapshot());
  EXPECT_EQ(result->commit, fake.commit);
  EXPECT_TRUE(result->unhashed.empty());
  const std::string cache = fake.dir.path() + "/cache";
  EXPECT_EQ(*find_pulled_in(cache, *parse_repo_spec("org/name")), fake.snapshot());
  EXPECT_FALSE(find_pulled_in(cache, *parse_repo_spec("org/name@v1")).ok());
  // The large file was shared by several requests, and none of its bytes came twice.
  EXPECT_EQ(fake.cdn.body_bytes_sent(), 400'000u);
  EXPECT_EQ(fake.cdn.requests().size(), 8u);
}

TEST_F(Hub, TheTokenStaysAtTheHub) {
  expect_whole(pull_now());
  ASSERT_FALSE(fake.cdn.requests().empty());
  for (const TestRequest& request : fake.cdn.requests()) {
    EXPECT_EQ(request.fields.count("Authorization"), 0u);
  }
  for (const TestRequest& request : fake.hub.requests()) {
    EXPECT_EQ(*request.fields.find("Authorization"), "Bearer hf_secret_token_value");
  }
}

TEST_F(Hub, ASecondPullFetchesNothing) {
  expect_whole(pull_now());
  fake.forget();
  const Result<PullResult> again = pull_now();
  expect_whole(again);
  EXPECT_TRUE(again->was_there);
  EXPECT_EQ(fake.hub.requests().size(), 1u);  // what the revision is now
  EXPECT_EQ(fake.cdn.requests().size(), 0u);
}

TEST_F(Hub, ADamagedPullIsRepaired) {
  expect_whole(pull_now());
  fake.forget();
  std::filesystem::resize_file(fake.snapshot() + "/model.safetensors", 1000);
  expect_whole(pull_now());
  EXPECT_EQ(fake.cdn.body_bytes_sent(), 400'000u);
}

TEST_F(Hub, PullsIntoADirectory) {
  PullOptions options = fake.options();
  options.directory = fake.dir.path() + "/here/model/";
  const Result<PullResult> result = pull_with(options);
  expect_whole(result);
  EXPECT_EQ(result->path, fake.dir.path() + "/here/model");
  EXPECT_FALSE(path_exists(fake.dir.path() + "/cache"));
  EXPECT_FALSE(path_exists(fake.dir.path() + "/here/model.pulling"));
  EXPECT_TRUE(pull_with(options)->was_there);
  // Somebody else's files are not touched.
  options.directory = fake.dir.path() + "/mine";
  std::filesystem::create_directories(options.directory);
  ASSERT_TRUE(write_file(options.directory + "/notes", "x").ok());
  EXPECT_EQ(pull_with(options).error().kind, ErrorKind::usage);
  fake.change([&] { fake.commit = std::string(40, 'b'); });
  options.directory = fake.dir.path() + "/here/model";
  EXPECT_NE(pull_with(options).error().message.find("another pull"), std::string::npos);
}

TEST_F(Hub, RevisionsAreAskedForAndRemembered) {
  PullOptions options = fake.options();
  options.model = "org/name@refs/pr/1";
  ASSERT_TRUE(pull_with(options).ok());
  EXPECT_EQ(fake.hub.requests()[0].target,
            "/api/models/org/name/revision/refs%2Fpr%2F1?blobs=true");
  const std::string cache = fake.dir.path() + "/cache";
  EXPECT_TRUE(find_pulled_in(cache, *parse_repo_spec("org/name@refs/pr/1")).ok());
  EXPECT_FALSE(find_pulled_in(cache, *parse_repo_spec("org/name")).ok());
  options.model = "org/name@" + std::string(40, 'c');
  EXPECT_NE(pull_with(options).error().message.find("when asked for"), std::string::npos);
}

TEST_F(Hub, ACancelledPullIsTakenUpWhereItEnded) {
  PullOptions options = fake.options();
  options.download.connections = 2;
  // Lets some of the file through, then holds everything until the pull is cancelled.
  fake.fault_cdn([&](const TestRequest& request) -> std::optional<TestReply> {
    TestReply reply = fake.serve_large(request, "model.safetensors");
    if (++asked > 3) reply.stall_at = 20'000;
    return reply;
  });
  const Result<PullResult> stopped =
      pull_with(options, [&](const Progress& progress) { return progress.done < 170'000; });
  ASSERT_FALSE(stopped.ok());
  EXPECT_EQ(stopped.error().kind, ErrorKind::interrupted);
  EXPECT_FALSE(path_exists(fake.snapshot()));
  const uint64_t sent = fake.cdn.body_bytes_sent();
  EXPECT_GE(sent, 150'000u);
  EXPECT_LT(sent, 400'000u);
  fake.fault_cdn({});
  fake.forget();
  const Result<PullResult> rest = pull_now();
  expect_whole(rest);
  EXPECT_EQ(rest->fetched, 400'000u - sent);
  EXPECT_EQ(fake.cdn.body_bytes_sent(), 400'000u - sent);
}

TEST_F(Hub, AKilledPullIsTakenUpFromItsRecord) {
  // What a kill leaves behind: a part file and a record of less than was written.
  PullOptions options = fake.options();
  const std::string incoming = fake.dir.path() + "/cache/org--name/incoming/" + fake.commit;
  fake.fault_cdn([](const TestRequest&) { return TestReply{.status = 403}; });
  EXPECT_FALSE(pull_with(options).ok());
  fake.fault_cdn({});
  const std::string& content = fake.files.at("model.safetensors");
  const std::string part = incoming + "/model.safetensors.part";
  ASSERT_TRUE(path_exists(part));
  ASSERT_TRUE(write_file(part, content.substr(0, 250'000) + std::string(150'000, '\0')).ok());
  ASSERT_TRUE(write_file(part + ".json", "{\"source\":\"sha256 " + sha256_of(content) +
                                             "\",\"bytes\":\"400000\",\"have\":[0,200000]}")
                  .ok());
  fake.forget();
  const Result<PullResult> rest = pull_now();
  expect_whole(rest);
  EXPECT_EQ(fake.cdn.body_bytes_sent(), 200'000u);
}

TEST_F(Hub, CutConnectionsGoOnWhereTheyBroke) {
  fake.fault_cdn([&](const TestRequest& request) -> std::optional<TestReply> {
    TestReply reply = fake.serve_large(request, "model.safetensors");
    if (reply.body.size() > 20'000) reply.cut_at = reply.body.size() / 2;
    return reply;
  });
  const Result<PullResult> result = pull_now();
  expect_whole(result);
  EXPECT_GT(fake.cdn.requests().size(), 16u);
  EXPECT_EQ(fake.cdn.body_bytes_sent(), 400'000u);  // none of them twice
}

TEST_F(Hub, AServerThatAlwaysCutsIsGivenUp) {
  fake.fault_cdn([&](const TestRequest& request) -> std::optional<TestReply> {
    TestReply reply = fake.serve_large(request, "model.safetensors");
    reply.cut_at = 1;
    return reply;
  });
  EXPECT_NE(message(), "ok");
  EXPECT_LT(fake.cdn.requests().size(), 40u);
}

TEST_F(Hub, BusyServersAreWaitedFor) {
  const auto busy = [](int n) -> std::optional<TestReply> {
    if (n > 2) return std::nullopt;
    TestReply reply{.status = n == 1 ? 429 : 503};
    reply.fields.emplace_back("Retry-After", "0");
    return reply;
  };
  fake.fault_hub([&](const TestRequest&) { return busy(++hub_asked); });
  fake.fault_cdn([&](const TestRequest&) { return busy(++cdn_asked); });
  expect_whole(pull_now());
}

TEST_F(Hub, WrongBytesAreRefused) {
  // Right length, wrong content, every time.
  wrong = fake.files.at("model.safetensors");
  wrong[12345] = static_cast<char>(wrong[12345] ^ 1);
  fake.fault_cdn([&](const TestRequest& request) -> std::optional<TestReply> {
    return net::serve_content(request, wrong, "\"x\"");
  });
  const Result<PullResult> result = pull_now();
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.error().kind, ErrorKind::peer);
  EXPECT_NE(result.error().message.find("sha256"), std::string::npos);
  EXPECT_FALSE(path_exists(fake.snapshot()));
  EXPECT_EQ(fake.cdn.body_bytes_sent(), 800'000u);  // one second chance
  EXPECT_FALSE(path_exists(fake.dir.path() + "/cache/org--name/incoming/" + fake.commit +
                           "/model.safetensors"));
}

TEST_F(Hub, BytesThatWereWrongOnceAreFetchedAgain) {
  wrong = fake.files.at("model.safetensors");
  wrong[12345] = static_cast<char>(wrong[12345] ^ 1);
  fake.fault_cdn([&](const TestRequest& request) -> std::optional<TestReply> {
    if (++asked > 8) return std::nullopt;
    return net::serve_content(request, wrong, "\"x\"");
  });
  expect_whole(pull_now());
}

TEST_F(Hub, SmallFilesAreHashedToo) {
  fake.fault_hub([&](const TestRequest& request) -> std::optional<TestReply> {
    if (!asks_for(request, "/resolve/") || !asks_for(request, "config.json")) return std::nullopt;
    return TestReply{.body = "[]"};
  });
  EXPECT_NE(message().find("git blob hash"), std::string::npos);
}

TEST_F(Hub, WithoutAHashTheSizeIsAllAndIsSaid) {
  fake.list_hashes = false;
  const Result<PullResult> result = pull_now();
  expect_whole(result);
  EXPECT_EQ(result->unhashed.size(), 3u);
}

TEST_F(Hub, WithoutSizesEachFileIsAskedFor) {
  fake.list_hashes = false;
  fake.list_sizes = false;
  const Result<PullResult> result = pull_now();
  expect_whole(result);
  // X-Linked-Etag of a HEAD is the hash of large files.
  EXPECT_EQ(result->unhashed, (std::vector<std::string>{"config.json", "tokenizer.json"}));
}

TEST_F(Hub, WrongLengthsAreRefused) {
  fake.change([&] { fake.stated_size["model.safetensors"] = 400'001; });
  EXPECT_NE(message(), "ok");
  fake.change([&] { fake.stated_size["model.safetensors"] = 399'999; });
  EXPECT_NE(message(), "ok");
  // A page where a file should be.
  fake.change([&] { fake.stated_size.clear(); });
  fake.change([&] { fake.commit = std::string(40, 'b'); });
  fake.fault_hub([&](const TestRequest& request) -> std::optional<TestReply> {
    if (!asks_for(request, "tokenizer.json")) return std::nullopt;
    TestReply reply{.body = "<html>please log in</html>"};
    reply.fields.emplace_back("Content-Type", "text/html");
    return reply;
  });
  EXPECT_NE(message().find("text/html"), std::string::npos);
}

TEST_F(Hub, AnEndlessBodyEnds) {
  fake.redirect_large = false;
  fake.fault_hub([&](const TestRequest& request) -> std::optional<TestReply> {
    if (!asks_for(request, "tokenizer.json")) return std::nullopt;
    return TestReply{.body = std::string(1 << 20, 'x'), .chunked = true};
  });
  EXPECT_NE(message().find("longer than the file"), std::string::npos);
}

TEST_F(Hub, SizesThatNoDiskHasAreRefused) {
  fake.change([&] { fake.stated_size["model.safetensors"] = uint64_t{1} << 49; });
  EXPECT_NE(message().find("the disk has only"), std::string::npos);
  EXPECT_EQ(fake.cdn.requests().size(), 0u);
  fake.change([&] { fake.stated_size["model.safetensors"] = ~uint64_t{0}; });
  EXPECT_NE(message().find("not believable"), std::string::npos);
}

TEST_F(Hub, AListThatIsNoListIsRefused) {
  fake.fault_hub([](const TestRequest&) { return TestReply{.body = "<html>hello</html>"}; });
  EXPECT_NE(message().find("not JSON"), std::string::npos);
  EXPECT_FALSE(path_exists(fake.dir.path() + "/cache/org--name"));
}

TEST_F(Hub, HashesThatContradictEachOtherAreRefused) {
  fake.stated_sha256["model.safetensors"] = std::string(64, 'e');
  EXPECT_NE(message().find("two contents"), std::string::npos);
}

TEST_F(Hub, NamesNeverLeaveTheDirectory) {
  fake.files["../../evil.json"] = "x";
  fake.files["sub/tokenizer.json"] = "x";
  expect_whole(pull_now());
  fake.change([&] { fake.files.erase("model.safetensors"); });
  fake.change([&] { fake.commit = std::string(40, 'b'); });
  set_index("{\"weight_map\": {\"a\": \"../../evil.safetensors\"}}");
  EXPECT_NE(message().find("plain file name"), std::string::npos);
  fake.change([&] { fake.commit = std::string(40, 'c'); });
  set_index("{\"weight_map\": {\"a\": \"splitd_pull.json\"}}");
  fake.change([&] { fake.files["splitd_pull.json"] = "{}"; });
  EXPECT_NE(message().find("no .safetensors file"), std::string::npos);
  fake.change([&] { fake.commit = std::string(40, 'd'); });
  set_index("{\"weight_map\": {\"a\": \"no.safetensors\"}}");
  EXPECT_NE(message().find("has no file"), std::string::npos);
}

TEST_F(Hub, AFileThatChangedBetweenTwoRunsStartsOver) {
  // A mirror without hashes and redirects: the entity tag is all there is.
  fake.redirect_large = false;
  fake.list_hashes = false;
  fake.fault_hub([&](const TestRequest& request) -> std::optional<TestReply> {
    if (!asks_for(request, "model.safetensors") || ++asked < 3) return std::nullopt;
    return TestReply{.status = 404};
  });
  PullOptions options = fake.options();
  options.download.connections = 1;
  EXPECT_FALSE(pull_with(options).ok());
  fake.fault_hub({});
  fake.change([&] { fake.files["model.safetensors"] = random_bytes(400'000, 2); });
  fake.forget();
  expect_whole(pull_with(options));
  EXPECT_GE(fake.hub.body_bytes_sent(), 400'000u);
}

TEST_F(Hub, AFileThatChangesUnderUsStartsOver) {
  fake.redirect_large = false;
  fake.list_hashes = false;
  wrong = random_bytes(400'000, 2);
  fake.fault_hub([&](const TestRequest& request) -> std::optional<TestReply> {
    if (!asks_for(request, "model.safetensors") || ++asked > 5) return std::nullopt;
    return net::serve_content(request, wrong, "\"before\"");
  });
  expect_whole(pull_now());
}

TEST_F(Hub, AServerWithoutRangesGivesTheWholeFile) {
  fake.fault_cdn([&](const TestRequest&) -> std::optional<TestReply> {
    return TestReply{.body = fake.files.at("model.safetensors")};
  });
  expect_whole(pull_now());
}

TEST_F(Hub, RangesThatWereNotAskedForAreRefused) {
  fake.fault_cdn([&](const TestRequest& request) -> std::optional<TestReply> {
    TestReply reply = fake.serve_large(request, "model.safetensors");
    for (auto& [name, value] : reply.fields) {
      if (name == "Content-Range") value = "bytes 1-50000/400000";
    }
    return reply;
  });
  EXPECT_NE(message().find("not asked for"), std::string::npos);
}

TEST_F(Hub, RangeNotSatisfiableEnds) {
  fake.fault_cdn([](const TestRequest&) { return TestReply{.status = 416}; });
  EXPECT_NE(message().find("model.safetensors"), std::string::npos);
  fake.fault_cdn([&](const TestRequest&) -> std::optional<TestReply> {
    if (++asked > 1) return std::nullopt;
    return TestReply{.status = 416};
  });
  expect_whole(pull_now());
}

TEST_F(Hub, ExpiredPlacesAreAskedForAgain) {
  fake.fault_cdn([&](const TestRequest&) -> std::optional<TestReply> {
    if (++asked % 3 != 2) return std::nullopt;
    return TestReply{.status = 403};
  });
  PullOptions options = fake.options();
  options.download.connections = 1;
  expect_whole(pull_with(options));
}

TEST_F(Hub, RefusalsSayWhatToDo) {
  const auto answer = [&](int status, const std::string& code) {
    fake.fault_hub([=](const TestRequest&) {
      TestReply reply{.status = status};
      reply.fields.emplace_back("X-Error-Code", code);
      return reply;
    });
    return message();
  };
  EXPECT_NE(answer(401, "RepoNotFound").find("does not exist, or is private"), std::string::npos);
  EXPECT_NE(answer(403, "GatedRepo").find("accept its terms at " + fake.hub.url() + "/org/name"),
            std::string::npos);
  EXPECT_NE(answer(404, "RevisionNotFound").find("no revision main"), std::string::npos);
  EXPECT_NE(answer(451, "").find("answers 451"), std::string::npos);
}

TEST_F(Hub, StrangersAreRefused) {
  net::TestServer stranger([](const TestRequest&) { return TestReply{.body = "{}"}; },
                           net::TestAuthority().issue({.dns = {"localhost"}}));
  PullOptions options = fake.options();
  options.endpoint = stranger.url();
  EXPECT_NE(pull_with(options).error().message.find("certificate"), std::string::npos);
}

TEST_F(Hub, SilenceEnds) {
  fake.fault_cdn([](const TestRequest&) { return TestReply{.stall = true}; });
  PullOptions options = fake.options();
  options.download.http.retry.attempts = 2;
  options.download.http.connect.timeouts.head = net::milliseconds(150);
  EXPECT_NE(pull_with(options).error().message.find("timed out"), std::string::npos);
}

TEST_F(Hub, TwoPullsOfOneModelDoNotMeet) {
  // The second begins while the first waits for the hub.
  std::optional<Result<PullResult>> second;
  std::once_flag once;
  fake.fault_hub([&](const TestRequest&) -> std::optional<TestReply> {
    std::call_once(once, [&] { second = pull(fake.options(), {}); });
    return std::nullopt;
  });
  expect_whole(pull_now());
  ASSERT_TRUE(second.has_value());
  ASSERT_FALSE(second->ok());
  EXPECT_NE(second->error().message.find("another pull"), std::string::npos);
}

TEST_F(Hub, PullsOneNamedFile) {
  fake.files = {{"a.gguf", random_bytes(1000, 3)}, {"b.gguf", random_bytes(1000, 4)}};
  EXPECT_NE(message().find("--file"), std::string::npos);
  PullOptions options = fake.options();
  options.file = "b.gguf";
  const Result<PullResult> result = pull_with(options);
  ASSERT_TRUE(result.ok()) << result.error().message;
  EXPECT_EQ(*read_file(result->path), fake.files.at("b.gguf"));
  EXPECT_EQ(*find_pulled_in(options.cache, *parse_repo_spec("org/name")), result->path);
  for (const char* name : {"../b.gguf", "sub/b.gguf", "config.json", "none.gguf"}) {
    options.file = name;
    EXPECT_FALSE(pull_with(options).ok()) << name;
  }
}

TEST_F(Hub, TheEnvironmentIsRead) {
  ::setenv("HF_ENDPOINT", "https://mirror.example/hub", 1);
  ::setenv("HF_TOKEN", " hf_abc\n", 1);
  ::setenv("SPLITD_HOME", "/somewhere", 1);
  const Result<PullOptions> options = pull_options_from_environment(fake.ca_file);
  ASSERT_TRUE(options.ok());
  EXPECT_EQ(options->endpoint, "https://mirror.example/hub");
  EXPECT_EQ(options->token.reveal(), "hf_abc");
  EXPECT_EQ(*cache_directory(), "/somewhere/models");
  ::unsetenv("HF_TOKEN");
  ::setenv("HF_HOME", fake.dir.path().c_str(), 1);
  ASSERT_TRUE(write_file(fake.dir.path() + "/token", "hf_file\n").ok());
  EXPECT_EQ(pull_options_from_environment(fake.ca_file)->token.reveal(), "hf_file");
  for (const char* name : {"HF_ENDPOINT", "HF_HOME", "SPLITD_HOME"}) ::unsetenv(name);
}

}  // namespace
}  // namespace splitd
