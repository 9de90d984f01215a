// Owns: scratch memory that grows and never shrinks, aligned for the widest vectors. Growing loses
// the content: it is scratch.
#pragma once

#include <cstddef>
#include <cstdlib>
#include <memory>
#include <new>

namespace splitd {

class AlignedBuffer {
 public:
  static constexpr size_t kAlign = 64;

  // At least `bytes`, uninitialised where it had to grow.
  std::byte* bytes(size_t bytes) {
    if (bytes > size_) {
      const size_t rounded = (bytes + kAlign - 1) / kAlign * kAlign;
      data_.reset();  // before the new one, so that both are never there at once
      data_.reset(static_cast<std::byte*>(::operator new (rounded, std::align_val_t{kAlign})));
      size_ = rounded;
    }
    return data_.get();
  }
  float* floats(size_t count) { return reinterpret_cast<float*>(bytes(count * sizeof(float))); }

 private:
  struct Free {
    void operator()(std::byte* data) const { ::operator delete (data, std::align_val_t{kAlign}); }
  };
  std::unique_ptr<std::byte, Free> data_;
  size_t size_ = 0;
};

}  // namespace splitd
