#include "net/frame.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>

namespace splitd::net {
namespace {

constexpr size_t kPrefixBytes = 4;

uint32_t read_u32(std::span<const std::byte> bytes) {
  return std::to_integer<uint32_t>(bytes[0]) << 24 | std::to_integer<uint32_t>(bytes[1]) << 16 |
         std::to_integer<uint32_t>(bytes[2]) << 8 | std::to_integer<uint32_t>(bytes[3]);
}

}  // namespace

std::span<std::byte> FrameReader::prepare() {
  // A long frame is read to its end and no further, so that nothing has to be moved afterwards; but
  // memory is taken only as bytes arrive.
  const uint64_t most = kPrefixBytes + limits_.max_header_bytes + limits_.max_payload_bytes;
  uint64_t want = std::min<uint64_t>(most, limits::kFrameReadBytes);
  if (has_header_) {
    const uint64_t whole = kPrefixBytes + header_bytes_ + payload_bytes_;
    const uint64_t held = held_bytes();
    if (whole > held + want) {
      want = std::min<uint64_t>(whole - held, std::max<uint64_t>(want, held));
      return buffer_.prepare(static_cast<size_t>(want)).first(static_cast<size_t>(want));
    }
  }
  return buffer_.prepare_read(static_cast<size_t>(std::max<uint64_t>(want, 1)));
}

Error FrameReader::fail(FrameFault fault, std::string message) {
  fault_ = fault;
  return peer_error(std::move(message));
}

Result<std::optional<Frame>> FrameReader::next() {
  if (fault_ != FrameFault::none) return peer_error("frame after a broken frame");
  buffer_.consume(done_bytes_);
  done_bytes_ = 0;
  const std::span<const std::byte> bytes = std::as_const(buffer_).bytes();
  if (!has_header_) {
    if (bytes.size() < kPrefixBytes) return std::optional<Frame>();
    header_bytes_ = read_u32(bytes);
    if (header_bytes_ == 0 || header_bytes_ > limits_.max_header_bytes) {
      return fail(FrameFault::header_length,
                  "frame header of " + std::to_string(header_bytes_) + " bytes; 1 to " +
                      std::to_string(limits_.max_header_bytes) + " are accepted");
    }
    if (bytes.size() - kPrefixBytes < header_bytes_) return std::optional<Frame>();
    SPLITD_TRY(parse_header(bytes.subspan(kPrefixBytes, header_bytes_)));
    has_header_ = true;
  }
  const uint64_t whole = kPrefixBytes + header_bytes_ + payload_bytes_;
  if (bytes.size() < whole) return std::optional<Frame>();
  done_bytes_ = static_cast<size_t>(whole);
  has_header_ = false;
  return std::optional<Frame>(
      Frame{header_.root(),
            bytes.subspan(kPrefixBytes + header_bytes_, static_cast<size_t>(payload_bytes_))});
}

Status FrameReader::parse_header(std::span<const std::byte> bytes) {
  // A copy, because the buffer moves while the payload comes in.
  header_text_.assign(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  const JsonLimits json{limits_.max_header_bytes, limits::kMaxFrameDepth, limits::kMaxFrameNodes};
  if (!header_.read_view(header_text_, json).ok()) {
    // The parser's own words would repeat a key of the peer's.
    return fail(FrameFault::header_json, "frame header that is not strict JSON");
  }
  if (!header_.root().is_object()) {
    return fail(FrameFault::header_json, "frame header is " +
                                             std::string(json_kind_name(header_.root().kind())) +
                                             " instead of an object");
  }
  const std::optional<Json> field = header_.root().find("bytes");
  const std::optional<uint64_t> count = field ? field->to_u64() : std::nullopt;
  if (!count) {
    return fail(FrameFault::bytes_field, field ? "\"bytes\" in a frame header is no integer from 0"
                                               : "a frame header without \"bytes\"");
  }
  if (*count > limits_.max_payload_bytes) {
    return fail(FrameFault::payload_length,
                "frame payload of " + std::to_string(*count) + " bytes; at most " +
                    std::to_string(limits_.max_payload_bytes) + " are accepted here");
  }
  payload_bytes_ = *count;
  return {};
}

void FrameReader::trim() {
  buffer_.consume(done_bytes_);
  done_bytes_ = 0;
  buffer_.trim(limits::kIdleBufferBytes);
}

namespace {

// {"a":1} → {"bytes":N,"a":1}; {} → {"bytes":N}. What stands before the members.
class HeaderStart {
 public:
  HeaderStart(std::string_view header, size_t payload_bytes) {
    constexpr std::string_view kName = "{\"bytes\":";
    std::copy(kName.begin(), kName.end(), text_.begin());
    char* end = text_.data() + text_.size();
    end = std::to_chars(text_.data() + kName.size(), end, payload_bytes).ptr;
    if (header != "{}") *end++ = ',';
    size_ = static_cast<size_t>(end - text_.data());
  }
  std::string_view text() const { return {text_.data(), size_}; }

 private:
  std::array<char, 32> text_{};  // 9 + at most 20 digits + 1
  size_t size_ = 0;
};

}  // namespace

size_t frame_bytes(std::string_view header, size_t payload_bytes) {
  return kPrefixBytes + HeaderStart(header, payload_bytes).text().size() + header.size() - 1 +
         payload_bytes;
}

std::span<std::byte> append_frame(ByteBuffer& out, std::string_view header, size_t payload_bytes) {
  const HeaderStart start(header, payload_bytes);
  const std::string_view members = header.substr(1);
  const size_t header_bytes = start.text().size() + members.size();
  const std::span<std::byte> room = out.prepare(kPrefixBytes + header_bytes + payload_bytes);
  for (size_t i = 0; i < kPrefixBytes; ++i) {
    room[i] = static_cast<std::byte>(header_bytes >> (24 - 8 * i) & 0xff);
  }
  std::byte* at = room.data() + kPrefixBytes;
  std::memcpy(at, start.text().data(), start.text().size());
  std::memcpy(at + start.text().size(), members.data(), members.size());
  out.commit(kPrefixBytes + header_bytes + payload_bytes);
  return room.subspan(kPrefixBytes + header_bytes, payload_bytes);
}

}  // namespace splitd::net
