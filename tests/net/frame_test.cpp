#include "net/frame.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <string>

#include "tests/net/bytes.h"

namespace splitd::net {
namespace {

std::string raw_frame(std::string_view header, std::string_view payload) {
  std::string out;
  for (int shift = 24; shift >= 0; shift -= 8) {
    out.push_back(static_cast<char>(header.size() >> shift & 0xff));
  }
  return out.append(header).append(payload);
}

TEST(Frame, WhatIsWrittenIsRead) {
  ByteBuffer out;
  const std::string payload = "\x01\x02\x03";
  const auto room = append_frame(out, R"({"type":"step","seq":7})", payload.size());
  ASSERT_EQ(room.size(), 3u);
  std::memcpy(room.data(), payload.data(), 3);
  EXPECT_EQ(out.size(), frame_bytes(R"({"type":"step","seq":7})", 3));
  (void)append_frame(out, "{}", 0);
  EXPECT_EQ(out.text(), raw_frame(R"({"bytes":3,"type":"step","seq":7})", payload) +
                            raw_frame(R"({"bytes":0})", ""));

  FrameReader reader({1024, 16});
  reader.feed(out.bytes());
  auto frame = reader.next();
  ASSERT_TRUE(frame.ok() && *frame);
  EXPECT_EQ((*frame)->header.find("seq")->to_u64(), 7u);
  EXPECT_EQ(text_of((*frame)->payload), payload);
  frame = reader.next();
  ASSERT_TRUE(frame.ok() && *frame);
  EXPECT_TRUE((*frame)->payload.empty());
  frame = reader.next();
  ASSERT_TRUE(frame.ok() && !*frame);
  EXPECT_EQ(reader.held_bytes(), 0u);
}

TEST(Frame, ArrivesInAnyPieces) {
  const std::string payload(70'000, 'p');
  const std::string stream = raw_frame(R"({"bytes":70000,"n":1})", payload) +
                             raw_frame(R"({"n":2,"bytes":0})", "") +
                             raw_frame(R"({"n":3,"bytes":2})", "ab");
  for (const size_t piece : {size_t{1}, size_t{3}, size_t{1000}, size_t{65'536}, stream.size()}) {
    FrameReader reader({1024, 1 << 20});
    uint64_t seen = 0;
    for (size_t at = 0; at < stream.size();) {
      const auto room = reader.prepare();
      ASSERT_FALSE(room.empty());
      const size_t count = std::min({piece, room.size(), stream.size() - at});
      std::memcpy(room.data(), stream.data() + at, count);
      reader.commit(count);
      at += count;
      while (true) {
        const auto frame = reader.next();
        ASSERT_TRUE(frame.ok()) << frame.error().message;
        if (!*frame) break;
        ++seen;
        EXPECT_EQ((*frame)->header.find("n")->to_u64(), seen);
        EXPECT_EQ((*frame)->payload.size(), (*frame)->header.find("bytes")->to_u64());
        EXPECT_TRUE(seen != 1 || text_of((*frame)->payload) == payload);
      }
    }
    EXPECT_EQ(seen, 3u) << piece;
  }
}

TEST(Frame, RefusesWithAReason) {
  const auto fault_of = [](const std::string& bytes) {
    FrameReader reader({64, 100});
    reader.feed(bytes_of(bytes));
    const auto frame = reader.next();
    EXPECT_EQ(frame.ok(), reader.fault() == FrameFault::none);
    if (!frame.ok()) {
      EXPECT_EQ(frame.error().kind, ErrorKind::peer);
      EXPECT_FALSE(reader.next().ok()) << "an error is final";
    }
    return reader.fault();
  };
  EXPECT_EQ(fault_of(raw_frame("", "")), FrameFault::header_length);
  EXPECT_EQ(fault_of("\xff\xff\xff\xff"), FrameFault::header_length);
  EXPECT_EQ(fault_of(std::string("\0\0\0\x41", 4)), FrameFault::header_length);
  EXPECT_EQ(fault_of(raw_frame("{", "")), FrameFault::header_json);
  EXPECT_EQ(fault_of(raw_frame("[]", "")), FrameFault::header_json);
  EXPECT_EQ(fault_of(raw_frame(R"({"bytes":0} x)", "")), FrameFault::header_json);
  EXPECT_EQ(fault_of(raw_frame(R"({"bytes":0,"bytes":0})", "")), FrameFault::header_json);
  EXPECT_EQ(fault_of(raw_frame(R"({"a":[[[[[[[[[1]]]]]]]]],"bytes":0})", "")),
            FrameFault::header_json);
  EXPECT_EQ(fault_of(raw_frame(R"({"type":"hello"})", "")), FrameFault::bytes_field);
  EXPECT_EQ(fault_of(raw_frame(R"({"bytes":"0"})", "")), FrameFault::bytes_field);
  EXPECT_EQ(fault_of(raw_frame(R"({"bytes":-1})", "")), FrameFault::bytes_field);
  EXPECT_EQ(fault_of(raw_frame(R"({"bytes":1.0})", "")), FrameFault::bytes_field);
  EXPECT_EQ(fault_of(raw_frame(R"({"bytes":101})", "")), FrameFault::payload_length);
  EXPECT_EQ(fault_of(raw_frame(R"({"bytes":18446744073709551615})", "")),
            FrameFault::payload_length);
  EXPECT_EQ(fault_of(raw_frame(R"({"bytes":18446744073709551616})", "")), FrameFault::bytes_field);
  EXPECT_EQ(fault_of(raw_frame(R"({"bytes":100})", "")), FrameFault::none);
}

TEST(Frame, AnAnnouncementCostsNothing) {
  FrameReader reader({1024, uint64_t{8} << 30});
  reader.feed(bytes_of(raw_frame(R"({"bytes":4294967296})", "")));
  ASSERT_TRUE(reader.next().ok());
  EXPECT_LT(reader.memory_bytes(), size_t{256} << 10);
  (void)reader.prepare();
  EXPECT_LT(reader.memory_bytes(), size_t{256} << 10);
  // And refused where it is over the limit, before any of it came.
  reader = FrameReader({1024, 1 << 20});
  reader.feed(bytes_of(raw_frame(R"({"bytes":4294967296})", "")));
  EXPECT_FALSE(reader.next().ok());
}

TEST(Frame, MessagesDoNotRepeatThePeer) {
  FrameReader reader({1024, 0});
  reader.feed(bytes_of(raw_frame("{\"evil\x1b[31m\":1,\"evil\x1b[31m\":2}", "")));
  const auto frame = reader.next();
  ASSERT_FALSE(frame.ok());
  EXPECT_EQ(frame.error().message.find("evil"), std::string::npos);
}

TEST(Frame, LimitsMayGrowBetweenFrames) {
  FrameReader reader({64, 0});
  reader.feed(bytes_of(raw_frame(R"({"bytes":0})", "") + raw_frame(R"({"bytes":5})", "12345")));
  ASSERT_TRUE(reader.next().ok());
  reader.set_limits({64, 5});
  const auto frame = reader.next();
  ASSERT_TRUE(frame.ok() && *frame);
  EXPECT_EQ(text_of((*frame)->payload), "12345");
}

TEST(ByteBuffer, IsAQueue) {
  ByteBuffer buffer;
  std::string expected;
  for (int round = 0; round < 2000; ++round) {
    const std::string piece(static_cast<size_t>(round % 37), static_cast<char>('a' + round % 26));
    buffer.append(piece);
    expected += piece;
    const size_t eaten = std::min<size_t>(static_cast<size_t>(round * 7 % 31), expected.size());
    buffer.consume(eaten);
    expected.erase(0, eaten);
    ASSERT_EQ(buffer.text(), expected);
  }
  EXPECT_LT(buffer.capacity(), 8 * expected.size() + 256);
  buffer.clear();
  buffer.trim(0);
  EXPECT_EQ(buffer.capacity(), 0u);
}

}  // namespace
}  // namespace splitd::net
