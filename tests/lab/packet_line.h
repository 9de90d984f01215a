// Owns: the packets that are on their way, in order, in one ring of slots of equal size that was
// touched in advance: at 80,000 packets a second neither an allocation nor a page fault may get in
// the way. It grows by doubling when it must. Not thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

#include "tests/lab/link.h"

namespace splitd::lab {

class PacketLine {
 public:
  PacketLine(size_t slot_bytes, size_t slots) : slot_bytes_(slot_bytes) { grow(slots); }

  bool empty() const { return count_ == 0; }
  size_t size() const { return count_; }
  bool is_full() const { return count_ == slots_.size() && count_ >= kMaxSlots; }

  // Where the next packet may be written before push(); not while is_full().
  std::span<std::byte> back() {
    if (count_ == slots_.size()) grow(2 * count_);
    return {bytes_.data() + index(count_) * slot_bytes_, slot_bytes_};
  }
  void push(size_t bytes, Time due) { slots_[index(count_++)] = {due, bytes}; }

  Time due() const { return slots_[first_].due; }
  std::span<const std::byte> front() const {
    return {bytes_.data() + first_ * slot_bytes_, slots_[first_].bytes};
  }
  void pop() {
    first_ = index(1);
    --count_;
  }
  void clear() { first_ = count_ = 0; }

 private:
  static constexpr size_t kMaxSlots = 1 << 18;  // 400 MB of full packets

  struct Slot {
    Time due{};
    size_t bytes = 0;
  };

  size_t index(size_t offset) const { return (first_ + offset) % slots_.size(); }
  void grow(size_t slots) {
    std::vector<Slot> new_slots(slots);
    std::vector<std::byte> new_bytes(slots * slot_bytes_);
    for (size_t i = 0; i < count_; ++i) {
      new_slots[i] = slots_[index(i)];
      std::memcpy(new_bytes.data() + i * slot_bytes_, bytes_.data() + index(i) * slot_bytes_,
                  new_slots[i].bytes);
    }
    slots_ = std::move(new_slots);
    bytes_ = std::move(new_bytes);
    first_ = 0;
  }

  size_t slot_bytes_;
  std::vector<Slot> slots_;
  std::vector<std::byte> bytes_;
  size_t first_ = 0;
  size_t count_ = 0;
};

}  // namespace splitd::lab
