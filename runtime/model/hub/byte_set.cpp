#include "runtime/model/hub/byte_set.h"

#include <algorithm>

namespace splitd {

void ByteSet::add(ByteRange range) {
  if (range.begin >= range.end) return;
  // All that touch the new one melt into it.
  const auto first = std::partition_point(ranges_.begin(), ranges_.end(),
                                          [&](ByteRange r) { return r.end < range.begin; });
  auto last = first;
  for (; last != ranges_.end() && last->begin <= range.end; ++last) {
    range.begin = std::min(range.begin, last->begin);
    range.end = std::max(range.end, last->end);
  }
  ranges_.insert(ranges_.erase(first, last), range);
}

void ByteSet::remove(ByteRange range) {
  if (range.begin >= range.end) return;
  std::vector<ByteRange> left;
  for (const ByteRange r : ranges_) {
    if (r.begin < range.begin) left.push_back({r.begin, std::min(r.end, range.begin)});
    if (r.end > range.end) left.push_back({std::max(r.begin, range.end), r.end});
  }
  ranges_ = std::move(left);
}

bool ByteSet::contains(ByteRange range) const {
  return first_missing(range).size() == 0;
}

uint64_t ByteSet::size() const {
  uint64_t total = 0;
  for (const ByteRange range : ranges_) total += range.size();
  return total;
}

ByteRange ByteSet::first_missing(ByteRange within) const {
  auto next = std::partition_point(ranges_.begin(), ranges_.end(),
                                   [&](ByteRange r) { return r.end <= within.begin; });
  if (next != ranges_.end() && next->begin <= within.begin) within.begin = (next++)->end;
  if (next != ranges_.end()) within.end = std::min(within.end, next->begin);
  if (within.begin >= within.end) return {};
  return within;
}

}  // namespace splitd
