#include "net/http_client.h"

#include <gtest/gtest.h>

#include "tests/net/test_server.h"
#include "tests/temp_dir.h"

namespace splitd::net {
namespace {

constexpr uint64_t kMost = 1 << 20;
const std::string kToken = "hf_secret_token_value";

TestReply text_reply(std::string body, int status = 200) {
  TestReply reply;
  reply.status = status;
  reply.body = std::move(body);
  return reply;
}

TestReply redirect_to(const std::string& location, int status = 302) {
  TestReply reply = text_reply("moved", status);
  reply.fields.emplace_back("Location", location);
  return reply;
}

class HttpClientTest : public ::testing::Test {
 protected:
  HttpClientOptions options() {
    HttpClientOptions out;
    Result<std::shared_ptr<TlsClient>> tls = TlsClient::create({ca_file});
    EXPECT_TRUE(tls.ok());
    out.connect.tls = *tls;
    out.retry.first = milliseconds(1);
    out.retry.most = milliseconds(2);
    out.retry.retry_after_most = milliseconds(2000);
    return out;
  }

  static HttpRequest get(const std::string& url, const Secret* bearer = nullptr) {
    HttpRequest request;
    request.url = *parse_url(url);
    request.bearer = bearer;
    return request;
  }

  // The body, or "error: …".
  static std::string fetch(HttpClient& client, const HttpRequest& request) {
    Result<HttpResponse> response = client.send(request);
    if (!response) return "error: " + response.error().message;
    if (response->status() != 200) return "status " + std::to_string(response->status());
    Result<std::string> body = response->read_all(kMost);
    return body ? *body : "error: " + body.error().message;
  }

  TempDir dir;
  std::string ca_file = write_authority(dir.path());
};

TEST_F(HttpClientTest, KeepsItsConnection) {
  TestServer server(
      [](const TestRequest& request) {
        TestReply reply = text_reply(request.target);
        reply.chunked = request.target == "/chunked";
        return reply;
      },
      local_identity());
  HttpClient client(options());
  for (const char* path : {"/a", "/chunked", "/b?c=d", "/a"}) {
    EXPECT_EQ(fetch(client, get(server.url() + path)), path);
  }
  EXPECT_EQ(server.connections(), 1u);
  EXPECT_EQ(*server.requests()[0].fields.find("Host"),
            "localhost:" + std::to_string(server.port()));
  EXPECT_EQ(*server.requests()[0].fields.find("Accept-Encoding"), "identity");
}

TEST_F(HttpClientTest, AConnectionThatWentStaleIsNoFailure) {
  std::atomic<int> count{0};
  TestServer server(
      [&](const TestRequest&) {
        TestReply reply = text_reply("x");
        // The first answer looks reusable, and then the server hangs up without a word.
        if (count++ == 0) reply.raw = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx";
        return reply;
      },
      local_identity());
  HttpClientOptions opts = options();
  opts.retry.attempts = 1;
  HttpClient client(opts);
  EXPECT_EQ(fetch(client, get(server.url())), "x");
  EXPECT_EQ(fetch(client, get(server.url())), "x");
  EXPECT_EQ(server.connections(), 2u);
}

TEST_F(HttpClientTest, RepeatsWhatMayPass) {
  std::atomic<int> count{0};
  TestServer server(
      [&](const TestRequest&) {
        const int n = count++;
        TestReply reply = text_reply("busy", n == 0 ? 500 : 503);
        if (n == 2) reply = TestReply{.raw = std::string()};              // reset
        if (n == 3) reply = TestReply{.raw = std::string("HTTP/1.1 2")};  // cut in the head
        if (n == 4) reply = text_reply("at last");
        return reply;
      },
      local_identity());
  HttpClient client(options());
  EXPECT_EQ(fetch(client, get(server.url())), "at last");
  EXPECT_EQ(count, 5);
}

TEST_F(HttpClientTest, GivesUpInTheEnd) {
  TestServer server([](const TestRequest&) { return text_reply("no", 503); }, local_identity());
  HttpClient client(options());
  EXPECT_EQ(fetch(client, get(server.url())), "status 503");
  EXPECT_EQ(server.requests().size(), static_cast<size_t>(limits::kHttpAttempts));
  TestServer cut([](const TestRequest&) { return TestReply{.raw = std::string()}; },
                 local_identity());
  EXPECT_NE(fetch(client, get(cut.url())).find("error: GET " + cut.url()), std::string::npos);
  EXPECT_EQ(cut.requests().size(), static_cast<size_t>(limits::kHttpAttempts));
}

TEST_F(HttpClientTest, DoesNotRepeatWhatWillNotPass) {
  TestServer server([](const TestRequest&) { return text_reply("no", 404); }, local_identity());
  HttpClient client(options());
  EXPECT_EQ(fetch(client, get(server.url())), "status 404");
  EXPECT_EQ(server.requests().size(), 1u);
  TestServer stranger([](const TestRequest&) { return text_reply("x"); },
                      TestAuthority().issue({.dns = {"localhost"}}));
  EXPECT_NE(fetch(client, get(stranger.url())).find("not trusted"), std::string::npos);
  EXPECT_EQ(stranger.connections(), 1u);
  EXPECT_EQ(stranger.requests().size(), 0u);
}

TEST_F(HttpClientTest, ObeysRetryAfterWithinBounds) {
  std::atomic<int> count{0};
  std::string wanted = "1";
  TestServer server(
      [&](const TestRequest&) {
        if (count++ > 0) return text_reply("fine");
        TestReply reply = text_reply("slow down", 429);
        reply.fields.emplace_back("Retry-After", wanted);
        return reply;
      },
      local_identity());
  HttpClient client(options());
  const Clock::time_point begin = Clock::now();
  EXPECT_EQ(fetch(client, get(server.url())), "fine");
  EXPECT_GE(Clock::now() - begin, milliseconds(1000));  // it asked for a second: never earlier
  EXPECT_EQ(server.requests().size(), 2u);
  count = 0;
  wanted = "3600";
  server.forget_requests();
  Result<HttpResponse> response = client.send(get(server.url()));
  ASSERT_TRUE(response.ok());
  EXPECT_EQ(response->status(), 429);
  EXPECT_NE(status_error(*response).message.find("3600 s"), std::string::npos);
  EXPECT_EQ(server.requests().size(), 1u);
}

TEST_F(HttpClientTest, FollowsRedirects) {
  TestServer server(
      [](const TestRequest& request) {
        if (request.target == "/") return redirect_to("/a/b", 307);
        if (request.target == "/a/b") return redirect_to("../c?d#e", 301);
        return text_reply(request.target);
      },
      local_identity());
  HttpClient client(options());
  Result<HttpResponse> response = client.send(get(server.url()));
  ASSERT_TRUE(response.ok());
  EXPECT_EQ(*response->read_all(kMost), "/c?d");
  EXPECT_EQ(response->url().target(), "/c?d");
  ASSERT_EQ(response->history().size(), 2u);
  EXPECT_EQ(response->history()[0].status, 307);
  EXPECT_EQ(server.connections(), 1u);
}

TEST_F(HttpClientTest, RedirectsEnd) {
  TestServer server([](const TestRequest&) { return redirect_to("/again"); }, local_identity());
  HttpClient client(options());
  EXPECT_NE(fetch(client, get(server.url())).find("more than 8 redirects"), std::string::npos);
  EXPECT_EQ(server.requests().size(), 9u);
}

TEST_F(HttpClientTest, BadRedirectsAreRefused) {
  std::vector<std::string> locations = {"ftp://localhost/", "http://localhost/", "https://a b/",
                                        "https://u:p@localhost/"};
  std::atomic<size_t> next{0};
  TestServer server(
      [&](const TestRequest&) {
        const size_t i = next++;
        return i < locations.size() ? redirect_to(locations[i]) : text_reply("", 302);
      },
      local_identity());
  HttpClient client(options());
  for (size_t i = 0; i <= locations.size(); ++i) {
    const std::string answer = fetch(client, get(server.url()));
    EXPECT_TRUE(answer.starts_with("error: ")) << answer;
    EXPECT_EQ(server.requests().size(), i + 1);
  }
}

TEST_F(HttpClientTest, TheTokenStaysWithItsOrigin) {
  TestServer other([](const TestRequest&) { return text_reply("cdn"); }, local_identity());
  std::string back;
  TestServer middle([&](const TestRequest&) { return redirect_to(back); }, local_identity());
  TestServer hub(
      [&](const TestRequest& request) {
        if (request.target == "/host") return redirect_to(other.url("127.0.0.1") + "/x");
        if (request.target == "/port") return redirect_to(other.url() + "/x");
        if (request.target == "/name") {
          const std::string_view host = *request.fields.find("Host");
          return redirect_to("https://127.0.0.1" + std::string(host.substr(host.find(':'))) +
                             "/here");
        }
        if (request.target == "/around") return redirect_to(middle.url() + "/");
        if (request.target == "/own") return redirect_to("/here");
        return text_reply("hub");
      },
      local_identity());
  back = hub.url() + "/here";
  const Secret token(std::string{kToken});
  HttpClient client(options());
  const auto authorised = [](const TestRequest& request) {
    return request.fields.find("Authorization") == "Bearer " + kToken;
  };
  EXPECT_EQ(fetch(client, get(hub.url() + "/own", &token)), "hub");
  for (const TestRequest& request : hub.requests()) EXPECT_TRUE(authorised(request));
  for (const char* path : {"/host", "/port"}) {
    EXPECT_EQ(fetch(client, get(hub.url() + path, &token)), "cdn");
  }
  ASSERT_EQ(other.requests().size(), 2u);
  for (const TestRequest& request : other.requests()) {
    EXPECT_EQ(request.fields.count("Authorization"), 0u);
  }
  hub.forget_requests();
  EXPECT_EQ(fetch(client, get(hub.url() + "/name", &token)), "hub");
  EXPECT_EQ(fetch(client, get(hub.url() + "/around", &token)), "hub");
  ASSERT_EQ(hub.requests().size(), 4u);
  for (const TestRequest& request : hub.requests()) {
    // Whoever came back from elsewhere, or under another name, comes without it.
    EXPECT_EQ(authorised(request), request.target != "/here") << request.target;
  }
}

TEST_F(HttpClientTest, TheTokenNeedsEncryption) {
  TestServer plain([](const TestRequest&) { return text_reply("x"); }, std::nullopt);
  const Secret token(std::string{kToken});
  HttpClient client(options());
  EXPECT_NE(fetch(client, get("http://hub.example/", &token)).find("plain http"),
            std::string::npos);
  EXPECT_EQ(fetch(client, get(plain.url() + "/", &token)), "x");  // loopback
  const Secret broken(std::string("a\r\nX: y"));
  const std::string answer = fetch(client, get(plain.url() + "/", &broken));
  EXPECT_TRUE(answer.starts_with("error: ")) << answer;
  EXPECT_EQ(answer.find("X: y"), std::string::npos);
}

TEST_F(HttpClientTest, ErrorsDoNotHoldTheToken) {
  TestServer server([](const TestRequest&) { return TestReply{.raw = "junk\r\n"}; },
                    local_identity());
  std::string logged;
  HttpClientOptions opts = options();
  opts.log = Log([&](LogLevel, std::string_view line) { logged += line; });
  HttpClient client(opts);
  const Secret token(std::string{kToken});
  const std::string answer = fetch(client, get(server.url() + "/?sig=abc", &token));
  EXPECT_NE(answer.find("not an HTTP/1.1 answer"), std::string::npos) << answer;
  EXPECT_FALSE(logged.empty());
  EXPECT_EQ((answer + logged).find(kToken), std::string::npos);
  EXPECT_EQ((answer + logged).find("sig=abc"), std::string::npos);
}

TEST_F(HttpClientTest, ACutBodyIsAnError) {
  TestServer server(
      [](const TestRequest& request) {
        TestReply reply = text_reply(std::string(100'000, 'x'));
        reply.cut_at = 50'000;
        reply.chunked = request.target == "/chunked";
        if (request.target == "/until-close") reply.length_field = false;
        return reply;
      },
      local_identity());
  HttpClient client(options());
  for (const char* path : {"/", "/chunked", "/until-close"}) {
    EXPECT_TRUE(fetch(client, get(server.url() + path)).starts_with("error: GET ")) << path;
  }
}

TEST_F(HttpClientTest, AGoodbyeEndsABodyThoughTheSocketStaysOpen) {
  TestServer server(
      [](const TestRequest& request) {
        TestReply reply = text_reply(request.target == "/short" ? "x" : std::string(100'000, 'x'));
        reply.length_field = false;
        reply.close = true;
        reply.linger = true;
        return reply;
      },
      local_identity());
  HttpClient client(options());
  for (int i = 0; i < 20; ++i) {  // whether all arrives at once is chance
    EXPECT_EQ(fetch(client, get(server.url() + "/short")), "x");
  }
  EXPECT_EQ(fetch(client, get(server.url() + "/long")).size(), 100'000u);
}

TEST_F(HttpClientTest, BodiesAreCapped) {
  TestServer server(
      [](const TestRequest& request) {
        TestReply reply = text_reply(std::string(kMost + 1, 'x'));
        reply.chunked = request.target == "/chunked";
        if (request.target == "/until-close") {
          reply.length_field = false;
          reply.close = true;
        }
        return reply;
      },
      local_identity());
  HttpClient client(options());
  for (const char* path : {"/", "/chunked", "/until-close"}) {
    EXPECT_NE(fetch(client, get(server.url() + path)).find("longer than"), std::string::npos);
  }
}

TEST_F(HttpClientTest, SilenceAndDripsEnd) {
  TestServer server(
      [](const TestRequest& request) {
        TestReply reply = text_reply(std::string(100'000, 'x'));
        if (request.target == "/silent") reply.stall = true;
        if (request.target == "/body") reply.stall_at = 20;
        return reply;
      },
      local_identity());
  HttpClientOptions opts = options();
  opts.retry.attempts = 1;
  opts.connect.timeouts.head = milliseconds(300);
  opts.connect.timeouts.body_window = milliseconds(100);
  HttpClient client(opts);
  EXPECT_NE(fetch(client, get(server.url() + "/silent")).find("timed out"), std::string::npos);
  const std::string slow = fetch(client, get(server.url() + "/body"));
  EXPECT_NE(slow.find("too slow: "), std::string::npos) << slow;
}

TEST_F(HttpClientTest, RefusesCodingsThatItDidNotAskFor) {
  TestServer server(
      [](const TestRequest&) {
        TestReply reply = text_reply("x");
        reply.fields.emplace_back("Content-Encoding", "gzip");
        return reply;
      },
      local_identity());
  HttpClientOptions opts = options();
  opts.retry.attempts = 1;
  HttpClient client(opts);
  EXPECT_NE(fetch(client, get(server.url())).find("gzip"), std::string::npos);
}

TEST_F(HttpClientTest, CancellationIsObeyedEverywhere) {
  TestServer server(
      [](const TestRequest& request) {
        TestReply reply = text_reply("x", request.target == "/busy" ? 429 : 200);
        reply.fields.emplace_back("Retry-After", "1");
        reply.stall = request.target == "/silent";
        return reply;
      },
      local_identity());
  HttpClient client(options());
  for (const char* path : {"/silent", "/busy"}) {
    Cancellation cancel;
    std::thread canceller([&] {
      while (server.requests().empty()) std::this_thread::yield();
      cancel.cancel();
    });
    HttpRequest request = get(server.url() + path);
    request.cancel = &cancel;
    const Result<HttpResponse> response = client.send(request);
    canceller.join();
    server.forget_requests();
    ASSERT_FALSE(response.ok());
    EXPECT_EQ(response.error().kind, ErrorKind::interrupted);
  }
}

TEST_F(HttpClientTest, GoesThroughAProxy) {
  TestServer hub([](const TestRequest&) { return text_reply("hub"); }, local_identity());
  std::atomic<int> status{403};
  TestServer proxy(
      [&](const TestRequest& request) {
        EXPECT_EQ(request.method, "CONNECT");
        EXPECT_EQ(request.target, "hub.example:443");
        EXPECT_EQ(request.fields.count("Authorization"), 0u);
        return text_reply("", status);
      },
      std::nullopt);
  HttpClientOptions opts = options();
  opts.retry.attempts = 1;
  opts.connect.proxy = *parse_url(proxy.url());
  HttpClient client(opts);
  EXPECT_EQ(fetch(client, get(hub.url())), "hub");  // loopback goes around it
  EXPECT_EQ(proxy.connections(), 0u);
  const Secret token(std::string{kToken});
  EXPECT_NE(fetch(client, get("https://hub.example/", &token)).find("answers 403 to CONNECT"),
            std::string::npos);
  EXPECT_TRUE(bypasses_proxy("a, .hub.example", "hub.example"));
  EXPECT_TRUE(bypasses_proxy("hub.example", "x.hub.example"));
  EXPECT_FALSE(bypasses_proxy("hub.example", "xhub.example"));
  EXPECT_TRUE(bypasses_proxy("*", "anything"));
  EXPECT_FALSE(bypasses_proxy("", "hub.example"));
  EXPECT_FALSE(bypasses_proxy(",", "hub.example"));
}

}  // namespace
}  // namespace splitd::net
