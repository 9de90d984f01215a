#include "net/buffer.h"

#include <string.h>

#include <algorithm>
#include <cstdlib>
#include <new>
#include <utility>

namespace splitd::net {

ByteBuffer::ByteBuffer(ByteBuffer&& other) noexcept {
  *this = std::move(other);
}

ByteBuffer& ByteBuffer::operator=(ByteBuffer&& other) noexcept {
  std::swap(memory_, other.memory_);
  std::swap(capacity_, other.capacity_);
  std::swap(begin_, other.begin_);
  std::swap(end_, other.end_);
  return *this;
}

ByteBuffer::~ByteBuffer() {
  std::free(memory_);
}

// So many are moved without asking what it costs (2 µs), and a buffer grows up to here by doubling
// itself: messages that are a digit longer than those before shall not take memory each time.
static constexpr size_t kFewBytes = size_t{64} << 10;

std::span<std::byte> ByteBuffer::prepare(size_t count) {
  if (capacity_ - end_ < count) {
    const size_t held = size();
    if (count > SIZE_MAX / 2 - held) throw std::bad_alloc();
    // What is moved was paid for by at least as many bytes consumed since the last move.
    if (held + count <= capacity_ && (begin_ >= held || held <= kFewBytes)) {
      if (held > 0) ::memmove(memory_, memory_ + begin_, held);
    } else {
      const size_t grown =
          std::max({held + count, held * 2, std::min(capacity_ * 2, 2 * kFewBytes)});
      auto* const fresh = static_cast<std::byte*>(std::malloc(grown));
      if (fresh == nullptr) throw std::bad_alloc();
      if (held > 0) ::memcpy(fresh, memory_ + begin_, held);
      std::free(memory_);
      memory_ = fresh;
      capacity_ = grown;
    }
    begin_ = 0;
    end_ = held;
  }
  return {memory_ + end_, capacity_ - end_};
}

std::span<std::byte> ByteBuffer::prepare_read(size_t count) {
  const size_t room = capacity_ - size();
  return prepare(room >= count - count / 2 ? std::min(room, count) : count);
}

void ByteBuffer::append(std::span<const std::byte> bytes) {
  if (bytes.empty()) return;
  ::memcpy(prepare(bytes.size()).data(), bytes.data(), bytes.size());
  commit(bytes.size());
}

void ByteBuffer::consume(size_t count) {
  begin_ += count;
  if (begin_ == end_) begin_ = end_ = 0;
}

void ByteBuffer::trim(size_t keep) {
  if (!empty() || capacity_ <= keep) return;
  std::free(memory_);
  memory_ = nullptr;
  capacity_ = begin_ = end_ = 0;
}

void ByteBuffer::wipe() {
  if (memory_ != nullptr) ::explicit_bzero(memory_, capacity_);
}

}  // namespace splitd::net
