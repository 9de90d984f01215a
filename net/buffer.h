// Owns: a queue of bytes in one contiguous piece of memory: written at the back, read at the front.
// Fresh memory is not cleared. It grows by doubling, so it holds at most about twice what arrived;
// it never shrinks unless trimmed. Spans live until the next call that is not const. Running out of
// memory is bad_alloc. Not thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace splitd::net {

class ByteBuffer {
 public:
  ByteBuffer() = default;
  ByteBuffer(ByteBuffer&& other) noexcept;
  ByteBuffer& operator=(ByteBuffer&& other) noexcept;
  ByteBuffer(const ByteBuffer&) = delete;
  ByteBuffer& operator=(const ByteBuffer&) = delete;
  ~ByteBuffer();

  bool empty() const { return begin_ == end_; }
  size_t size() const { return end_ - begin_; }
  size_t capacity() const { return capacity_; }

  std::span<std::byte> bytes() { return {memory_ + begin_, size()}; }
  std::span<const std::byte> bytes() const { return {memory_ + begin_, size()}; }
  std::string_view text() const {
    return {reinterpret_cast<const char*>(memory_) + begin_, size()};
  }

  // At least `count` writable bytes behind the last one. commit() says how many were written.
  std::span<std::byte> prepare(size_t count);
  // For a read of about `count` bytes: as many, or at least half where all would take more memory.
  std::span<std::byte> prepare_read(size_t count);
  void commit(size_t count) { end_ += count; }
  void append(std::span<const std::byte> bytes);
  void append(std::string_view text) { append(std::as_bytes(std::span(text.data(), text.size()))); }
  // Drops bytes from the front.
  void consume(size_t count);
  void clear() { begin_ = end_ = 0; }

  // Gives memory back, if it is more than `keep` bytes and empty.
  void trim(size_t keep);
  // Overwrites all memory with zeros, for what was secret.
  void wipe();

 private:
  std::byte* memory_ = nullptr;
  size_t capacity_ = 0;
  size_t begin_ = 0;
  size_t end_ = 0;
};

}  // namespace splitd::net
