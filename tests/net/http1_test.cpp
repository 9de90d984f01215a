#include "net/http1.h"

#include <gtest/gtest.h>

#include <random>

#include "net/limits.h"

namespace splitd::net {
namespace {

std::span<const std::byte> bytes(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

struct Outcome {
  bool ok = false;
  bool done = false;
  bool reusable = false;
  int status = 0;
  std::string body;
  std::string rest;  // behind the message
  std::string error;
};

// Feeds the text in pieces of the sizes that `next` gives, then the end of the stream.
template <class Next>
Outcome run(std::string_view text, Next next, AnswerTo kind = AnswerTo::get) {
  HttpResponseParser parser(kind);
  Outcome out;
  while (!text.empty() && !parser.done()) {
    std::string_view piece = text.substr(0, std::max<size_t>(1, next()));
    text.remove_prefix(piece.size());
    while (!piece.empty() && !parser.done()) {
      size_t used = 0;
      if (!parser.head_done()) {
        const Result<size_t> step = parser.parse_head(bytes(piece));
        if (!step) return out.error = step.error().message, out;
        used = *step;
      } else {
        const Result<BodyDecoder::Step> step = parser.parse_body(bytes(piece));
        if (!step) return out.error = step.error().message, out;
        used = step->consumed;
        out.body.append(reinterpret_cast<const char*>(step->data.data()), step->data.size());
        EXPECT_GT(used, 0u);
      }
      piece.remove_prefix(used);
    }
    out.rest = std::string(piece) + std::string(parser.done() ? text : "");
  }
  if (!parser.done()) {
    const Status end = parser.end_of_stream();
    if (!end.ok()) return out.error = end.error().message, out;
  }
  out.ok = true;
  out.done = parser.done();
  out.reusable = parser.reusable();
  out.status = parser.head().status;
  return out;
}

Outcome run(std::string_view text, AnswerTo kind = AnswerTo::get) {
  const Outcome whole = run(
      text, [&] { return text.size(); }, kind);
  const Outcome single = run(
      text, [] { return size_t{1}; }, kind);
  EXPECT_EQ(whole.ok, single.ok) << text;
  EXPECT_EQ(whole.error, single.error) << text;
  EXPECT_EQ(whole.body, single.body) << text;
  EXPECT_EQ(whole.rest, single.rest) << text;
  return whole;
}

TEST(Http1, ReadsALength) {
  const Outcome out = run("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhelloNEXT");
  EXPECT_TRUE(out.ok);
  EXPECT_EQ(out.status, 200);
  EXPECT_EQ(out.body, "hello");
  EXPECT_EQ(out.rest, "NEXT");
  EXPECT_TRUE(out.reusable);
}

TEST(Http1, ReadsChunks) {
  const Outcome out =
      run("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
          "5;x=y\r\nhello\r\n00A\r\n, chunked!\r\n0\r\nTrailer: x\r\n\r\nNEXT");
  EXPECT_EQ(out.error, "");
  EXPECT_EQ(out.body, "hello, chunked!");
  EXPECT_EQ(out.rest, "NEXT");
  EXPECT_TRUE(out.reusable);
}

TEST(Http1, ReadsUntilTheConnectionEnds) {
  const Outcome out = run("HTTP/1.0 200 OK\r\n\r\nall of it");
  EXPECT_TRUE(out.ok);
  EXPECT_EQ(out.body, "all of it");
  EXPECT_FALSE(out.reusable);
}

TEST(Http1, KnowsWhichAnswersHaveNoBody) {
  EXPECT_EQ(run("HTTP/1.1 204 No\r\nContent-Length: 5\r\n\r\nhello").rest, "hello");
  EXPECT_EQ(run("HTTP/1.1 304 No\r\nContent-Length: 5\r\n\r\nhello").rest, "hello");
  EXPECT_EQ(run("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", AnswerTo::head).rest, "hello");
  EXPECT_EQ(run("HTTP/1.1 200 OK\r\n\r\ntunnel", AnswerTo::connect).rest, "tunnel");
  EXPECT_EQ(run("HTTP/1.1 407 No\r\nContent-Length: 1\r\n\r\nxy", AnswerTo::connect).rest, "y");
}

TEST(Http1, SkipsInterimAnswers) {
  const Outcome out =
      run("HTTP/1.1 100 Go\r\n\r\nHTTP/1.1 103 Hint\r\nLink: x\r\n\r\n"
          "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx");
  EXPECT_EQ(out.status, 200);
  EXPECT_EQ(out.body, "x");
  std::string endless;
  for (int i = 0; i < 20; ++i) endless += "HTTP/1.1 100 Go\r\n\r\n";
  EXPECT_NE(run(endless).error.find("1xx"), std::string::npos);
}

TEST(Http1, HonoursConnectionClose) {
  EXPECT_FALSE(
      run("HTTP/1.1 200 OK\r\nConnection: x, Close\r\nContent-Length: 0\r\n\r\n").reusable);
  EXPECT_TRUE(run("HTTP/1.1 200 OK\r\nConnection: closed\r\nContent-Length: 0\r\n\r\n").reusable);
}

TEST(Http1, RefusesWhatIsAmbiguousOrUnclean) {
  const std::string ok = "HTTP/1.1 200 OK\r\n";
  const std::string cases[] = {
      "",
      "\r\n" + ok + "\r\n",
      "ICY 200 OK\r\n\r\n",
      "HTTP/2.0 200 OK\r\n\r\n",
      "HTTP/1.2 200 OK\r\n\r\n",
      "HTTP/1.1  200 OK\r\n\r\n",
      "HTTP/1.1 2000 OK\r\n\r\n",
      "HTTP/1.1 20 OK\r\n\r\n",
      "HTTP/1.1 099 OK\r\n\r\n",
      "HTTP/1.1 600 OK\r\n\r\n",
      "HTTP/1.1 200 O\x01K\r\n\r\n",
      "<html>hello</html>\r\n\r\n",
      ok,
      ok + "Content-Length: 5\r\n\r\nhell",
      ok + "Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
      ok + "Content-Length: 5, 5\r\n\r\nhello",
      ok + "Content-Length: +5\r\n\r\nhello",
      ok + "Content-Length: -5\r\n\r\nhello",
      ok + "Content-Length: 0x5\r\n\r\nhello",
      ok + "Content-Length: \r\n\r\n",
      ok + "Content-Length: 5 5\r\n\r\nhello",
      ok + "Content-Length: 18446744073709551616\r\n\r\n",
      ok + "Content-Length: 18446744073709551615\r\n\r\n",
      ok + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
      ok + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
      ok + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
      ok + "Transfer-Encoding: identity\r\n\r\nx",
      "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
      ok + "A: b\r\n folded\r\n\r\n",
      ok + "A : b\r\n\r\n",
      ok + ": b\r\n\r\n",
      ok + "A\r\n\r\n",
      ok + "A: b\nB: c\r\n\r\n",
      ok + "A: b\rB: c\r\n\r\n",
      ok + std::string("A: b\0c\r\n\r\n", 10),
      ok + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello!\r\n0\r\n\r\n",
      ok + "Transfer-Encoding: chunked\r\n\r\n 5\r\nhello\r\n0\r\n\r\n",
      ok + "Transfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\r\n\r\n",
      ok + "Transfer-Encoding: chunked\r\n\r\n-5\r\nhello\r\n0\r\n\r\n",
      ok + "Transfer-Encoding: chunked\r\n\r\n\r\nhello\r\n0\r\n\r\n",
      ok + "Transfer-Encoding: chunked\r\n\r\n11111111111111111\r\nhello\r\n0\r\n\r\n",
      ok + "Transfer-Encoding: chunked\r\n\r\n5\nhello\r\n0\r\n\r\n",
      ok + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
      ok + "Transfer-Encoding: chunked\r\n\r\n0\r\n",
      ok + "Transfer-Encoding: chunked\r\n\r\n0\r\nbad trailer\r\n\r\n",
  };
  for (const std::string& text : cases) {
    const Outcome out = run(text);
    EXPECT_FALSE(out.ok) << text;
    EXPECT_FALSE(out.error.empty()) << text;
  }
}

TEST(Http1, CapsWhatThePeerMayMakeUsHold) {
  const std::string ok = "HTTP/1.1 200 OK\r\n";
  std::string many = ok;
  for (size_t i = 0; i <= limits::kMaxHttpFields; ++i) many += "A: b\r\n";
  EXPECT_FALSE(run(many + "\r\n").ok);
  EXPECT_FALSE(run(ok + "A: " + std::string(limits::kMaxHttpHeadBytes, 'x') + "\r\n\r\n").ok);
  EXPECT_FALSE(run(std::string(limits::kMaxHttpHeadBytes + 1, 'x')).ok);
  const std::string chunked = ok + "Transfer-Encoding: chunked\r\n\r\n";
  EXPECT_FALSE(run(chunked + "1;" + std::string(limits::kMaxChunkLineBytes, 'x') + "\r\n").ok);
  std::string trailers = chunked + "0\r\n";
  for (int i = 0; i < 100; ++i) trailers += "A: " + std::string(1000, 'x') + "\r\n";
  EXPECT_FALSE(run(trailers + "\r\n").ok);
}

TEST(Http1, NeverShowsBytesOfThePeerAsTheyAre) {
  const Outcome out = run("\x1b[31mred\x07\r\n\r\n");
  EXPECT_EQ(out.error.find('\x1b'), std::string::npos);
  EXPECT_NE(out.error.find("\\x1b"), std::string::npos);
}

TEST(Http1, PiecesOfAnySizeGiveTheSame) {
  const std::string text =
      "HTTP/1.1 100 Go\r\n\r\nHTTP/1.1 200 OK\r\nA: b\r\nTransfer-Encoding: chunked\r\n\r\n"
      "10\r\n0123456789abcdef\r\n3\r\nxyz\r\n0\r\nT: u\r\n\r\nNEXT";
  std::mt19937 random(1);
  size_t differing = 0;
  for (int i = 0; i < 500; ++i) {
    const Outcome out = run(text, [&] { return random() % 9; });
    EXPECT_EQ(out.body, "0123456789abcdefxyz");
    EXPECT_EQ(out.rest, "NEXT");
    differing += random() % 9 != 0 ? 1 : 0;
  }
  EXPECT_GT(differing, 0u);
}

TEST(Http1, ReadsContentRanges) {
  const auto range = parse_content_range("bytes 5-9/20");
  ASSERT_TRUE(range.has_value());
  EXPECT_EQ(range->begin, 5u);
  EXPECT_EQ(range->end, 10u);
  EXPECT_EQ(range->total, 20u);
  EXPECT_FALSE(parse_content_range("bytes 0-0/*")->total.has_value());
  for (const char* text : {"", "bytes */20", "bytes 5-4/20", "bytes 5-20/20", "bytes -5/20",
                           "bytes 5-/20", "bytes 5-9", "bytes=5-9/20", "items 5-9/20",
                           "bytes 5-9/20 ", "bytes 0-18446744073709551615/*", "bytes /5-9"}) {
    EXPECT_FALSE(parse_content_range(text).has_value()) << text;
  }
}

TEST(Http1, WritesARequest) {
  HttpFields fields;
  fields.add("Host", "a.b");
  EXPECT_EQ(*make_request_head("GET", "/x?y", fields), "GET /x?y HTTP/1.1\r\nHost: a.b\r\n\r\n");
  EXPECT_EQ(*make_request_head("POST", "/", {}, 3), "POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\n");
  EXPECT_FALSE(make_request_head("GET /", "/", {}).ok());
  EXPECT_FALSE(make_request_head("GET", "/ HTTP/1.1\r\nX: y", {}).ok());
  EXPECT_FALSE(make_request_head("GET", "", {}).ok());
  HttpFields broken;
  broken.add("A", "b\r\nInjected: c");
  EXPECT_FALSE(make_request_head("GET", "/", broken).ok());
}

}  // namespace
}  // namespace splitd::net
