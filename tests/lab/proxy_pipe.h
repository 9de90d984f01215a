// Owns: one direction of one proxied connection: the bytes that were read from one socket, each
// piece with the time at which it may be written to the other. Private to the proxy; the thread of
// its loop alone touches it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <vector>

#include "tests/lab/link.h"

namespace splitd::lab {

// The link of one direction, which all connections share.
struct ProxyLink {
  Nanoseconds delay{0};
  uint64_t bits_per_second = 0;
  bool paused = false;
  Wire wire;

  // How much a connection may have on its way: a full link and a short queue, as backpressure.
  uint64_t window_bytes() const;
};

enum class PipeState : uint8_t {
  open,
  blocked,  // the receiver's socket takes no more for now
  ended,    // the end of the stream, or a reset, was passed on
  broken,   // the receiver is gone
};

class ProxyPipe {
 public:
  // What a socket is read for: never before the connection stood on a real link.
  void not_before(Time time) { not_before_ = time; }

  bool wants_bytes(const ProxyLink& link) const;
  // Reads once from the socket, which is ready; its end and its failure are passed on in order.
  // False: the socket failed, and this was the last time.
  bool take_in(int from, ProxyLink& link);
  // The sender is gone: what it sent arrives, then a reset.
  void end_with_reset(const ProxyLink& link);
  // The receiver is gone: nothing is passed any more, and what is read is dropped.
  void discard();

  // Writes what is due, at most `most` bytes; says how many it wrote. wants_reset() may follow.
  uint64_t deliver(int to, Time now, uint64_t most);

  PipeState state() const { return state_; }
  void unblock() {
    if (state_ == PipeState::blocked) state_ = PipeState::open;
  }
  bool wants_reset() const { return reset_due_; }
  bool has_pieces() const { return !pieces_.empty(); }
  Time due() const { return pieces_.front().due; }  // only with has_pieces()

 private:
  enum class Kind : uint8_t { bytes, end, reset };
  struct Piece {
    Time due{};
    Kind kind = Kind::bytes;
    std::vector<std::byte> bytes{};
    size_t sent = 0;
  };

  void push_mark(Kind kind, const ProxyLink& link);

  std::deque<Piece> pieces_;
  uint64_t held_bytes_ = 0;
  Time not_before_{};
  Time last_due_{};
  PipeState state_ = PipeState::open;
  bool input_ended_ = false;
  bool reset_due_ = false;
};

}  // namespace splitd::lab
