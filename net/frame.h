// Owns: the frame, u32 big-endian header length | JSON header | payload (net/PROTOCOL.md). Reading
// is incremental and knows no socket. Every cap is checked before memory is taken, and memory grows
// as bytes arrive: a frame that announces 4 GB costs nothing. Refuses: a header that is not one
// JSON object, "bytes" that is missing or no integer, what is over the limits. No allocation per
// frame once the buffer has its size. Not thread-safe.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "net/buffer.h"
#include "net/limits.h"
#include "runtime/base/json.h"
#include "runtime/base/result.h"

namespace splitd::net {

struct FrameLimits {
  uint32_t max_header_bytes = limits::kMaxFrameHeaderBytes;
  uint64_t max_payload_bytes = 0;
};

// Both are views of the reader's memory. The payload has no alignment.
struct Frame {
  Json header;  // an object with "bytes"
  std::span<const std::byte> payload;
};

enum class FrameFault : uint8_t {
  none,
  header_length,   // 0, or over the limit
  header_json,     // not one JSON object, or too dense or deep
  bytes_field,     // "bytes" is missing or no integer ≥ 0
  payload_length,  // over the limit
};

class FrameReader {
 public:
  explicit FrameReader(FrameLimits limits = {}) : limits_(limits) {}
  // For frames whose header was not read yet.
  void set_limits(FrameLimits limits) { limits_ = limits; }
  const FrameLimits& frame_limits() const { return limits_; }

  // Where the next bytes go, never empty; commit() says how many came. A read of exactly this span
  // needs no copy afterwards.
  std::span<std::byte> prepare();
  void commit(size_t count) { buffer_.commit(count); }
  void feed(std::span<const std::byte> bytes) { buffer_.append(bytes); }

  // The next whole frame, or nothing yet. It lives until the next call that is not const. An error
  // is final: fault() says which.
  Result<std::optional<Frame>> next();
  FrameFault fault() const { return fault_; }
  std::string_view header_text() const { return header_text_; }  // of the frame handed out last
  // Of the frame under way; what a broken frame begins with.
  uint32_t announced_header_bytes() const { return header_bytes_; }

  // Bytes of a frame that is not whole yet (or not asked for yet).
  size_t held_bytes() const { return buffer_.size() - done_bytes_; }
  size_t memory_bytes() const { return buffer_.capacity(); }
  void trim();  // while idle: gives memory back

 private:
  Status parse_header(std::span<const std::byte> bytes);
  Error fail(FrameFault fault, std::string message);

  FrameLimits limits_;
  ByteBuffer buffer_;
  size_t done_bytes_ = 0;      // of the frame handed out last, at the front of the buffer
  uint32_t header_bytes_ = 0;  // of the frame under way, once the length is known
  uint64_t payload_bytes_ = 0;
  bool has_header_ = false;
  FrameFault fault_ = FrameFault::none;
  std::string header_text_;
  JsonDoc header_;  // of header_text_
};

// What append_frame() adds.
[[nodiscard]] size_t frame_bytes(std::string_view header, size_t payload_bytes);

// Appends a frame whose payload of `payload_bytes` is still to be written, and returns where, so
// that an encoder writes straight into what is sent. `header` is a JSON object without "bytes",
// which is put in front of its members.
[[nodiscard]] std::span<std::byte> append_frame(ByteBuffer& out, std::string_view header,
                                                size_t payload_bytes);

}  // namespace splitd::net
