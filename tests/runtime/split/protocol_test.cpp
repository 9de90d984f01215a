#include "runtime/split/protocol.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace splitd {
namespace {

// Headers that are read stay here.
JsonDoc& document() {
  static JsonDoc doc;
  return doc;
}

Status read_text(MessageReader& reader, std::string_view header) {
  SPLITD_TRY(document().read_view(header));
  return reader.read(document().root());
}

Status read(MessageReader& reader, const JsonWriter& json) {
  return read_text(reader, json.text());
}

std::string error_of_step(std::string_view header) {
  MessageReader reader;
  if (const Status good = read_text(reader, header); !good.ok()) return good.error().message;
  const Result<StageRequest> step = reader.step();
  return step ? "" : step.error().message;
}

TEST(Protocol, HelloComesBack) {
  HelloMessage hello;
  hello.fingerprint = std::string(64, 'a');
  hello.layers = LayerRange{2, 28};
  hello.d_model = 576;
  hello.wire = WireType::q8;
  hello.kv = KvType::bf16;
  hello.exact = true;
  hello.n_ctx = 2048;
  hello.max_pending = 64;
  hello.resume = std::string(32, '0');
  JsonWriter json;
  write_hello(json, hello);
  MessageReader reader;
  ASSERT_TRUE(read(reader, json).ok());
  ASSERT_EQ(reader.type(), MessageType::hello);
  const Result<HelloMessage> back = reader.hello();
  ASSERT_TRUE(back) << back.error().message;
  EXPECT_EQ(back->fingerprint, hello.fingerprint);
  EXPECT_EQ(back->layers, hello.layers);
  EXPECT_EQ(back->wire, WireType::q8);
  EXPECT_EQ(back->kv, KvType::bf16);
  EXPECT_EQ(back->exact, true);
  EXPECT_EQ(back->n_ctx, 2048u);
  EXPECT_EQ(back->resume, hello.resume);
}

TEST(Protocol, WhatIsLeftOutOfHelloStaysOpen) {
  JsonWriter json;
  write_hello(json, {});
  MessageReader reader;
  ASSERT_TRUE(read(reader, json).ok());
  const Result<HelloMessage> back = reader.hello();
  ASSERT_TRUE(back);
  EXPECT_FALSE(back->layers || back->kv || back->exact);
  EXPECT_EQ(back->n_ctx, 0u);
}

TEST(Protocol, AnotherVersionIsReadAsFarAsItsNumber) {
  MessageReader reader;
  ASSERT_TRUE(read_text(reader, R"({"type":"hello","version":9,"wire":["new"]})").ok());
  const Result<HelloMessage> hello = reader.hello();
  ASSERT_TRUE(hello);
  EXPECT_EQ(hello->version, 9u);
}

TEST(Protocol, StepsComeBack) {
  const std::vector<int32_t> parents = {-1, 0, -7, 2};
  StageRequest request;
  request.seq = 7;
  request.ack = 6;
  request.timeline.edit = TimelineRequest::Edit::keep;
  request.timeline.keep = 41;
  request.timeline.alone = true;
  request.timeline.append = Frame{.first = 42, .base = 41, .n_row = 4, .parents = parents};
  JsonWriter json;
  MessageReader reader;
  write_step(json, request);
  ASSERT_TRUE(read(reader, json).ok());
  Result<StageRequest> back = reader.step();
  ASSERT_TRUE(back) << back.error().message;
  EXPECT_EQ(back->seq, 7u);
  EXPECT_EQ(back->ack, 6u);
  EXPECT_EQ(back->timeline.keep, 41u);
  EXPECT_TRUE(back->timeline.alone);
  ASSERT_TRUE(back->timeline.append);
  EXPECT_EQ(back->timeline.append->base, 41u);
  EXPECT_FALSE(back->timeline.append->commit);
  EXPECT_EQ(
      std::vector(back->timeline.append->parents.begin(), back->timeline.append->parents.end()),
      parents);

  request = StageRequest();
  request.seq = 1;
  request.timeline.append = Frame{.first = 0, .n_row = 512, .commit = true};
  write_step(json, request);
  ASSERT_TRUE(read(reader, json).ok());
  back = reader.step();
  ASSERT_TRUE(back);
  EXPECT_EQ(back->timeline.append->base, kNoRow);
  EXPECT_TRUE(back->timeline.append->parents.empty());
  EXPECT_TRUE(back->timeline.append->commit);
  EXPECT_FALSE(back->timeline.append->bulk);
  EXPECT_EQ(json.text().find("bulk"), std::string::npos);
  request.timeline.append->bulk = true;
  write_step(json, request);
  ASSERT_TRUE(read(reader, json).ok());
  back = reader.step();
  ASSERT_TRUE(back);
  EXPECT_TRUE(back->timeline.append->bulk);

  request = StageRequest();
  request.seq = 3;
  request.ack = 2;
  request.timeline.edit = TimelineRequest::Edit::rewind;
  request.timeline.rewind = 0;
  write_step(json, request);
  ASSERT_TRUE(read(reader, json).ok());
  back = reader.step();
  ASSERT_TRUE(back);
  EXPECT_EQ(back->timeline.edit, TimelineRequest::Edit::rewind);
  EXPECT_FALSE(back->timeline.append);
}

// The traffic that DESIGN §6 allows beside the payload: 160 bytes and 4 a row, there and back.
TEST(Protocol, HeadersAreSmall) {
  constexpr size_t kBytesField = sizeof(R"("bytes":8388608,)") - 1;  // put in by the frame
  JsonWriter json;
  for (const uint32_t n : {1u, 8u, 64u, 512u}) {
    std::vector<int32_t> parents(n);
    for (uint32_t i = 0; i < n; ++i) parents[i] = static_cast<int32_t>(i) - 1;
    StageRequest request;
    request.seq = 4000000;
    request.ack = 3999999;
    request.timeline.edit = TimelineRequest::Edit::keep;
    request.timeline.keep = 4'000'000'000;
    request.timeline.alone = true;
    request.timeline.append =
        Frame{.first = 4'000'000'001, .base = 4'000'000'000, .n_row = n, .parents = parents};
    write_step(json, request);
    EXPECT_LE(4 + kBytesField + json.text().size(), 160 + 4 * n) << json.text();
  }
  write_rows(json, {4'000'000, 512, {}, 12345.678});
  EXPECT_LE(4 + kBytesField + json.text().size(), 160u) << json.text();
}

TEST(Protocol, RefusesAStepThatMakesNoSense) {
  const auto has = [](const std::string& error, std::string_view part) {
    return error.find(part) != std::string::npos;
  };
  EXPECT_TRUE(has(error_of_step(R"({"type":"step","ack":0})"), R"("seq" is missing)"));
  EXPECT_TRUE(has(error_of_step(R"({"type":"step","seq":0,"ack":0})"), "\"seq\" is 0"));
  EXPECT_TRUE(has(error_of_step(R"({"type":"step","seq":-1,"ack":0})"), "\"seq\" is -1"));
  EXPECT_TRUE(has(error_of_step(R"({"type":"step","seq":1.5,"ack":0})"), "1.5"));
  EXPECT_TRUE(has(error_of_step(R"({"type":"step","seq":4294967296,"ack":0})"), "4294967296"));
  EXPECT_TRUE(has(error_of_step(R"({"type":"step","seq":"1","ack":0})"), "\"seq\""));
  EXPECT_TRUE(
      has(error_of_step(R"({"type":"step","seq":1,"ack":0,"keep":1,"rewind":2})"), "rewind"));
  EXPECT_TRUE(has(error_of_step(R"({"type":"step","seq":1,"ack":0,"first":1})"), R"("n")"));
  EXPECT_TRUE(
      has(error_of_step(R"({"type":"step","seq":1,"ack":0,"first":1,"n":0})"), R"("n" is 0)"));
  EXPECT_TRUE(
      has(error_of_step(R"({"type":"step","seq":1,"ack":0,"first":1,"n":1000000})"), R"("n")"));
  EXPECT_TRUE(
      has(error_of_step(R"({"type":"step","seq":1,"ack":0,"n":2,"first":1,"parents":[-1]})"),
          "1 items"));
  EXPECT_TRUE(has(
      error_of_step(R"({"type":"step","seq":1,"ack":0,"n":1,"first":1,"parents":[-3000000000]})"),
      "-3000000000"));
  EXPECT_TRUE(has(error_of_step(R"({"type":"step","seq":1,"ack":0,"n":1,"first":1,"parents":{}})"),
                  "parents"));
  EXPECT_TRUE(has(error_of_step(R"({"type":"step","seq":1,"ack":0,"n":1,"first":1,"commit":1})"),
                  "commit"));
  // A peer's own text is not sent back to it.
  EXPECT_EQ(error_of_step(R"({"type":"jump"})"), "this type of message is unknown");
  EXPECT_TRUE(has(error_of_step(R"({"seq":1})"), "type"));
  EXPECT_EQ(error_of_step(R"({"type":"step","seq":1,"ack":0,"unknown":{"a":[1]}})"), "");
}

TEST(Protocol, ErrorsKeepTheirMeaning) {
  JsonWriter json;
  MessageReader reader;
  write_error(json, message_of(failed("lost: row 3 has left the window")));
  ASSERT_TRUE(read(reader, json).ok());
  Result<ErrorMessage> back = reader.error();
  ASSERT_TRUE(back);
  EXPECT_FALSE(back->seq);
  EXPECT_TRUE(is_lost(error_of(*back)));

  ErrorMessage numbers = message_of(model_error("layer 3: row 0 is not finite"));
  numbers.seq = 9;
  write_error(json, numbers);
  ASSERT_TRUE(read(reader, json).ok());
  back = reader.error();
  ASSERT_TRUE(back);
  EXPECT_EQ(back->seq, 9u);
  EXPECT_EQ(back->code, Refusal::numbers);
  EXPECT_EQ(error_of(*back).kind, ErrorKind::model);

  ASSERT_TRUE(read_text(reader, R"({"type":"error","code":"from the future","message":"m"})").ok());
  back = reader.error();
  ASSERT_TRUE(back);
  EXPECT_EQ(back->code, Refusal::internal);
}

TEST(Protocol, RowsComeBack) {
  const std::vector<RowId> dead = {5, 9};
  JsonWriter json;
  MessageReader reader;
  write_rows(json, {3, 2, dead, 1.25});
  ASSERT_TRUE(read(reader, json).ok());
  const Result<RowsMessage> back = reader.rows();
  ASSERT_TRUE(back);
  EXPECT_EQ(back->seq, 3u);
  EXPECT_EQ(std::vector(back->dead.begin(), back->dead.end()), dead);
  EXPECT_EQ(back->ms, 1.25);
}

}  // namespace
}  // namespace splitd
