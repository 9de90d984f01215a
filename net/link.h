// Owns: a channel on a socket: what a server's connection and a client have in common. Private to
// them. `mutex` guards the channel's sending side and all plain fields; whose turn it is to read is
// settled by the owner, and only the reader calls channel.prepare(), commit() and next(), with the
// mutex held (a frame may be looked at without).
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>

#include "net/channel.h"
#include "net/loop.h"
#include "net/tcp.h"

namespace splitd::net {

struct Link {
  Link(Loop& the_loop, std::unique_ptr<TcpStream> socket, ChannelOptions options)
      : loop(the_loop), stream(std::move(socket)), channel(std::move(options)) {}

  enum class Read : uint8_t { some, nothing, ended };
  // One read into the channel. Notes when the peer was heard.
  Result<Read> read_once();
  // Writes up to about `budget` bytes of what is pending, and asks the loop to go on where the
  // socket is full. A broken socket is seen by whoever reads.
  void flush(size_t budget);
  // After a message was queued: small ones are written here and now, large ones by the loop.
  void flush_by_caller();
  // Tells the loop what to wait for; without effect while not registered.
  void update_interest();

  Loop& loop;
  std::unique_ptr<TcpStream> stream;
  std::mutex mutex;
  Channel channel;
  Watch watch;
  bool registered = false;
  bool loop_reads = true;                  // the loop shall wait for bytes
  bool loop_writes = false;                // the loop shall wait for room
  bool broken = false;                     // writing failed
  int interest = -1;                       // as the loop knows it
  Clock::time_point heard = Clock::now();  // the peer, last
  Clock::time_point pinged;                // by us, last
  std::atomic<uint64_t> bytes_in{0};
  std::atomic<uint64_t> bytes_out{0};
  std::atomic<uint64_t> unsent{0};
};

}  // namespace splitd::net
