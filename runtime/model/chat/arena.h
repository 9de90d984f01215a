// Owns: the memory of one template or one rendering. Objects are never freed one by one, so cyclic
// values and deeply nested ones cost nothing to drop, and the budget bounds all that a hostile
// template can allocate. Everything in it is trivially destructible. Not thread-safe.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

#include "runtime/model/chat/failure.h"

namespace splitd::jinja {

class Arena {
 public:
  explicit Arena(size_t budget_bytes) : budget_(budget_bytes) {}
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  void* allocate(size_t bytes) {
    bytes = (bytes + kAlign - 1) & ~(kAlign - 1);
    if (bytes <= left_) {
      void* const place = next_;
      next_ += bytes;
      left_ -= bytes;
      return place;
    }
    return allocate_slow(bytes);
  }

  template <class T, class... Args>
  T* make(Args&&... args) {
    static_assert(std::is_trivially_destructible_v<T> && alignof(T) <= kAlign);
    return new (allocate(sizeof(T))) T{std::forward<Args>(args)...};
  }

  // n value-initialised Ts.
  template <class T>
  T* array(size_t n) {
    static_assert(std::is_trivially_destructible_v<T> && alignof(T) <= kAlign);
    if (n > budget_ / sizeof(T)) refuse();
    T* const items = static_cast<T*>(allocate(n * sizeof(T)));
    for (size_t i = 0; i < n; ++i) new (items + i) T();
    return items;
  }

  template <class T>
  std::span<T> copy(std::span<const T> items) {
    if (items.empty()) return {};
    T* const out = array<T>(items.size());
    std::copy(items.begin(), items.end(), out);
    return {out, items.size()};
  }
  template <class T>
  std::span<T> copy(const std::vector<T>& items) {
    return copy(std::span<const T>(items));
  }

  // Bytes that live outside the arena but count in its budget: text under construction.
  void charge(size_t bytes) {
    if (bytes > budget_ - used_) refuse();
    used_ += bytes;
  }
  void release(size_t bytes) { used_ -= bytes; }

 private:
  static constexpr size_t kAlign = 8;
  static constexpr size_t kFirstBlock = size_t{16} << 10;
  static constexpr size_t kLargestBlock = size_t{1} << 20;

  [[noreturn]] void refuse() const {
    fail_limit("needs more than " + std::to_string(budget_ >> 20) + " MiB of memory");
  }

  void* allocate_slow(size_t bytes) {
    const bool alone = bytes > block_bytes_ / 4;
    const size_t size = alone ? bytes : block_bytes_;
    charge(size);
    blocks_.push_back(std::make_unique_for_overwrite<std::byte[]>(size));
    std::byte* const block = blocks_.back().get();
    if (alone) return block;  // the block in use keeps what it has left
    next_ = block + bytes;
    left_ = size - bytes;
    block_bytes_ = std::min(block_bytes_ * 2, kLargestBlock);
    return block;
  }

  size_t budget_;
  size_t used_ = 0;
  size_t block_bytes_ = kFirstBlock;
  std::byte* next_ = nullptr;
  size_t left_ = 0;
  std::vector<std::unique_ptr<std::byte[]>> blocks_;
};

}  // namespace splitd::jinja
