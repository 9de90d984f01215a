// Owns: which bytes of a file are there: disjoint ranges, ascending. Not thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace splitd {

struct ByteRange {
  uint64_t begin = 0;
  uint64_t end = 0;  // one past the last

  uint64_t size() const { return end - begin; }
  bool operator==(const ByteRange&) const = default;
};

class ByteSet {
 public:
  void add(ByteRange range);  // empty ones change nothing
  void remove(ByteRange range);
  bool contains(ByteRange range) const;
  uint64_t size() const;  // bytes
  // The first part of `within` that is not in the set; empty when there is none.
  ByteRange first_missing(ByteRange within) const;
  const std::vector<ByteRange>& ranges() const { return ranges_; }

 private:
  std::vector<ByteRange> ranges_;
};

}  // namespace splitd
