// Any bytes as frames: the reader ends, holds no more than it should, and says the same however the
// bytes are cut. The first byte chooses limits and pieces.
#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>

#include "net/frame.h"

namespace {

using namespace splitd;
using namespace splitd::net;

std::string run(std::string_view text, FrameLimits limits, size_t piece) {
  FrameReader reader(limits);
  std::string out;
  while (true) {
    const Result<std::optional<Frame>> frame = reader.next();
    if (!frame.ok()) {
      if (reader.fault() == FrameFault::none) std::abort();
      return out + "fault " + std::to_string(static_cast<int>(reader.fault()));
    }
    if (*frame) {
      const Frame& found = **frame;
      if (found.header.find("bytes")->to_u64() != found.payload.size()) std::abort();
      out.append(reinterpret_cast<const char*>(found.payload.data()), found.payload.size());
      out += ";";
      continue;
    }
    if (text.empty()) break;
    const std::span<std::byte> room = reader.prepare();
    if (room.empty()) std::abort();
    const size_t count = std::min({room.size(), text.size(), piece});
    std::memcpy(room.data(), text.data(), count);
    reader.commit(count);
    text.remove_prefix(count);
  }
  if (reader.memory_bytes() > size_t{256} << 10) std::abort();  // inputs are 64 KB
  return out + "held " + std::to_string(reader.held_bytes());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const FrameLimits limits{data[0] & 1 ? 64u : 4096u,
                           data[0] & 2 ? uint64_t{100} : uint64_t{1} << 40};
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  if (run(text, limits, SIZE_MAX) != run(text, limits, 1u + (data[0] >> 2))) std::abort();
  return 0;
}
