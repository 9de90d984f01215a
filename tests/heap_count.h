// Counts what this test binary takes from the heap: every malloc and operator new, its own and its
// libraries'. To be included by one source of a binary. Where a sanitizer brings an allocator of
// its own, that one is asked.
#pragma once

#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SPLITD_SANITIZED_HEAP 1
#endif
#elif defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SPLITD_SANITIZED_HEAP 1
#endif

#ifdef SPLITD_SANITIZED_HEAP
#include <sanitizer/allocator_interface.h>
#else
#include <malloc.h>
#endif

namespace splitd::heap {

inline std::atomic<uint64_t> n_alloc{0};  // blocks taken, ever
inline std::atomic<size_t> alive{0};      // bytes
inline std::atomic<size_t> peak{0};       // the most of them since it was last set

inline void count_taken(size_t bytes) {
  n_alloc.fetch_add(1, std::memory_order_relaxed);
  const size_t now = alive.fetch_add(bytes, std::memory_order_relaxed) + bytes;
  size_t most = peak.load(std::memory_order_relaxed);
  while (now > most && !peak.compare_exchange_weak(most, now, std::memory_order_relaxed)) {
  }
}
inline void count_given_back(size_t bytes) {
  alive.fetch_sub(bytes, std::memory_order_relaxed);
}

}  // namespace splitd::heap

#ifdef SPLITD_SANITIZED_HEAP

namespace splitd::heap {

inline const int installed = __sanitizer_install_malloc_and_free_hooks(
    [](const volatile void*, size_t bytes) { count_taken(bytes); },
    [](const volatile void* block) {
      count_given_back(__sanitizer_get_allocated_size(const_cast<const void*>(block)));
    });

}  // namespace splitd::heap

#else

extern "C" {
void* __libc_malloc(size_t bytes);
void* __libc_calloc(size_t count, size_t bytes);
void* __libc_realloc(void* block, size_t bytes);
void* __libc_memalign(size_t align, size_t bytes);
void __libc_free(void* block);

void* malloc(size_t bytes) noexcept {
  void* block = __libc_malloc(bytes);
  if (block != nullptr) splitd::heap::count_taken(::malloc_usable_size(block));
  return block;
}
void* calloc(size_t count, size_t bytes) noexcept {
  void* block = __libc_calloc(count, bytes);
  if (block != nullptr) splitd::heap::count_taken(::malloc_usable_size(block));
  return block;
}
void* realloc(void* old, size_t bytes) noexcept {
  const size_t before = old == nullptr ? 0 : ::malloc_usable_size(old);
  void* block = __libc_realloc(old, bytes);
  if (block != nullptr || bytes == 0) splitd::heap::count_given_back(before);
  if (block != nullptr) splitd::heap::count_taken(::malloc_usable_size(block));
  return block;
}
void* memalign(size_t align, size_t bytes) noexcept {
  void* block = __libc_memalign(align, bytes);
  if (block != nullptr) splitd::heap::count_taken(::malloc_usable_size(block));
  return block;
}
void* aligned_alloc(size_t align, size_t bytes) noexcept {
  return memalign(align, bytes);
}
int posix_memalign(void** out, size_t align, size_t bytes) noexcept {
  void* block = memalign(align, bytes);
  if (block == nullptr) return ENOMEM;
  *out = block;
  return 0;
}
void free(void* block) noexcept {
  if (block != nullptr) splitd::heap::count_given_back(::malloc_usable_size(block));
  __libc_free(block);
}
}

#endif
