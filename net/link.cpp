#include "net/link.h"

#include <algorithm>

namespace splitd::net {

Result<Link::Read> Link::read_once() {
  const std::span<std::byte> room = channel.prepare();
  SPLITD_ASSIGN(const Io io, stream->try_read(room));
  if (io.bytes > 0) {
    channel.commit(io.bytes);
    heard = Clock::now();
    bytes_in.fetch_add(io.bytes, std::memory_order_relaxed);
    return Read::some;
  }
  if (!io.end) return Read::nothing;
  channel.feed_end();
  return Read::ended;
}

void Link::flush(size_t budget) {
  bool full = false;
  while (budget > 0 && !full && !broken) {
    const std::span<const std::byte> bytes = channel.pending();
    if (bytes.empty()) break;
    const Result<Io> io = stream->try_write(bytes.first(std::min(bytes.size(), budget)));
    if (!io.ok()) {
      broken = true;
      break;
    }
    channel.consumed(io->bytes);
    bytes_out.fetch_add(io->bytes, std::memory_order_relaxed);
    budget -= io->bytes;
    full = io->bytes == 0;
  }
  unsent.store(channel.unsent_bytes(), std::memory_order_relaxed);
  loop_writes = !broken && channel.has_pending();
  update_interest();
}

void Link::flush_by_caller() {
  unsent.store(channel.unsent_bytes(), std::memory_order_relaxed);
  if (loop_writes) return;  // it goes on as soon as there is room
  if (!channel.is_encrypted() || channel.unsent_bytes() <= limits::kWriteByCallerBytes) {
    flush(SIZE_MAX);
  } else {
    loop_writes = true;
    update_interest();
  }
}

void Link::update_interest() {
  const int wanted = (loop_reads ? 1 : 0) | (loop_writes ? 2 : 0);
  if (!registered || wanted == interest) return;
  interest = wanted;
  loop.change(watch, loop_reads, loop_writes);
}

}  // namespace splitd::net
