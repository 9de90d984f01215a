#include "tests/lab/proxy_pipe.h"

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

namespace splitd::lab {
namespace {

constexpr uint64_t kQueueBytes = 64 * 1024;
constexpr uint64_t kWindowWithoutRate = 16 << 20;
constexpr size_t kMostRead = 64 * 1024;
constexpr size_t kLeastRead = 1448;  // what an Ethernet packet of TCP carries

// About a millisecond of a slow link at a time, so that its bytes arrive spread out.
size_t read_bytes(const ProxyLink& link) {
  if (link.bits_per_second == 0) return kMostRead;
  return std::clamp(static_cast<size_t>(link.bits_per_second / 8000), kLeastRead, kMostRead);
}

}  // namespace

uint64_t ProxyLink::window_bytes() const {
  if (bits_per_second == 0) return kWindowWithoutRate;
  const double way =
      static_cast<double>(bits_per_second) / 8e9 * static_cast<double>(delay.count());
  return static_cast<uint64_t>(way) + kQueueBytes;
}

bool ProxyPipe::wants_bytes(const ProxyLink& link) const {
  if (input_ended_) return false;
  return state_ == PipeState::broken || (!link.paused && held_bytes_ < link.window_bytes());
}

bool ProxyPipe::take_in(int from, ProxyLink& link) {
  std::vector<std::byte> bytes(read_bytes(link));
  const ssize_t count = ::recv(from, bytes.data(), bytes.size(), MSG_DONTWAIT);
  if (count < 0 && (errno == EAGAIN || errno == EINTR)) return true;
  if (count < 0) {
    end_with_reset(link);
    return false;
  }
  if (count == 0) {
    push_mark(Kind::end, link);
    return true;
  }
  if (state_ == PipeState::broken || state_ == PipeState::ended) return true;
  bytes.resize(static_cast<size_t>(count));
  const Time sent = link.wire.send(Clock::now(), bytes.size(), link.bits_per_second);
  last_due_ = std::max({last_due_, sent + link.delay, not_before_ + link.delay});
  held_bytes_ += bytes.size();
  pieces_.push_back({last_due_, Kind::bytes, std::move(bytes)});
  return true;
}

void ProxyPipe::push_mark(Kind kind, const ProxyLink& link) {
  input_ended_ = true;
  last_due_ = std::max(last_due_, Clock::now() + link.delay);
  if (state_ != PipeState::broken) pieces_.push_back({last_due_, kind});
}

void ProxyPipe::end_with_reset(const ProxyLink& link) {
  push_mark(Kind::reset, link);
}

void ProxyPipe::discard() {
  pieces_.clear();
  held_bytes_ = 0;
  state_ = PipeState::broken;
}

uint64_t ProxyPipe::deliver(int to, Time now, uint64_t most) {
  uint64_t written = 0;
  while (state_ == PipeState::open && !pieces_.empty() && pieces_.front().due <= now) {
    Piece& piece = pieces_.front();
    if (piece.kind == Kind::bytes) {
      const size_t left = std::min<uint64_t>(piece.bytes.size() - piece.sent, most - written);
      if (left == 0) break;
      const ssize_t count =
          ::send(to, piece.bytes.data() + piece.sent, left, MSG_NOSIGNAL | MSG_DONTWAIT);
      if (count < 0) {
        if (errno == EINTR) continue;
        state_ = errno == EAGAIN ? PipeState::blocked : PipeState::broken;
        break;
      }
      piece.sent += static_cast<size_t>(count);
      written += static_cast<uint64_t>(count);
      held_bytes_ -= static_cast<uint64_t>(count);
      if (piece.sent < piece.bytes.size()) continue;
    } else {
      reset_due_ = piece.kind == Kind::reset;
      if (!reset_due_) ::shutdown(to, SHUT_WR);
      state_ = PipeState::ended;
    }
    pieces_.pop_front();
  }
  return written;
}

}  // namespace splitd::lab
