#include "runtime/decode/drafters/align_model.h"

#include <algorithm>
#include <bit>

namespace splitd {

AlignModel::AlignModel() : tokens_(kCapacity), marks_(kCapacity, unmarked) {
  for (auto& table : last_) table.assign(size_t{1} << kBits, 0);
  for (size_t i = 0; i < rates_.size(); ++i) {
    const size_t lost = i % kLost, mark = i / kLost % kMarks, share = i / kLost / kMarks % kShares,
                 run = i / kLost / kMarks / kShares % kRuns,
                 kind = i / kLost / kMarks / kShares / kRuns;
    // As found in half of the texts of README.md's table.
    static constexpr float kByRun[kRuns] = {-2.3f, -0.7f, 0.7f, 1.1f, 1.3f, 1.3f};
    static constexpr float kByShare[kShares] = {-0.6f, -0.1f, 0.2f, 0.7f};
    static constexpr float kByMark[kMarks] = {0.1f, 0.7f, -0.6f};
    static constexpr float kByLost[kLost] = {0.1f, 0.6f, 0, -0.5f};
    const float odds = kind == next_frame
                           ? (run == 0 ? -2.5f : -3.5f)
                           : kByRun[run] + kByShare[share] + kByMark[mark] + kByLost[lost];
    rates_[i] = Rate(squash(odds), 6);
  }
}

size_t AlignModel::bucket(const Thread& thread, Kind kind, Mark mark) const {
  const size_t run = std::min<size_t>(static_cast<size_t>(std::bit_width(thread.run)), kRuns - 1);
  const auto n = static_cast<size_t>(std::popcount(thread.past));
  const size_t share = n < 5 ? 0 : n < 9 ? 1 : n < 13 ? 2 : 3;
  const size_t lost = thread.lost == 0 ? 0 : thread.lost < 3 ? 1 : thread.lost < 7 ? 2 : 3;
  return (((kind * kRuns + run) * kShares + share) * kMarks + mark) * kLost + lost;
}

void AlignModel::begin_text() {
  begin_ = n_;
  end_ = {};
}

// One token on, along the thread. Where another one came than it expects, the text may have
// changed it, left some out or put some in: it is looked for from where all was well, first where
// what stood there had been copied itself. Some tokens in a row must agree before that is believed.
AlignModel::Thread AlignModel::follow(const Thread& thread, uint32_t token) const {
  Thread next = thread;
  if (!is_here(thread.at) || !is_here(thread.base)) return {};
  const auto is_at = [&](uint32_t at, int run) {
    next.at = at + 1;
    next.run = static_cast<uint8_t>(std::min(255, run));
    next.past = static_cast<uint16_t>(thread.past << 1 | 1);
    if (thread.lost == 0 || run >= kSure) {
      next.lost = 0;
      next.base = next.at;
    } else {
      ++next.lost;
    }
    return next;
  };
  if (thread.lost == kMostLost) return {};
  if (token_at(thread.at) == token) return is_at(thread.at, thread.run + 1);
  next.past = static_cast<uint16_t>(thread.past << 1);
  next.lost = static_cast<uint8_t>(thread.lost + 1);
  next.run = 0;
  next.at = (thread.lost > 0 && thread.run > 0 ? thread.base : thread.at) + 1;
  uint32_t nearest = 0;
  // Not in what came since: a text does not go along itself.
  const uint32_t end = std::min(thread.base + kWindow, n_ - std::min<uint32_t>(n_, thread.lost));
  for (uint32_t at = thread.base; at < end; ++at) {
    if (token_at(at) != token) continue;
    if (nearest == 0) nearest = at;
    if (mark_at(at) != copied) continue;
    nearest = at;
    break;
  }
  if (nearest == 0) return next;
  next.at = nearest + 1;
  next.run = 1;
  return next;
}

AlignModel::Place AlignModel::enter(const Place& place, uint32_t token) const {
  Place out;
  for (size_t i = 0; i < kThreads; ++i) {
    if (place[i].at != 0) out[i] = follow(place[i], token);
  }
  return out;
}

// What a thread says, the likelier first.
size_t AlignModel::say(const Thread& thread, std::array<Said, kKinds>& out) const {
  size_t n = 0;
  const auto add = [&](Kind kind, uint32_t at) {
    if (!is_here(at)) return;
    const uint32_t token = token_at(at);
    for (size_t i = 0; i < n; ++i) {
      if (out[i].token == token) return;
    }
    out[n++] = {token, bucket(thread, kind, mark_at(at))};
  };
  if (thread.at == 0) return 0;
  add(same, thread.at);
  const bool sure = thread.lost == 0 && mark_at(thread.at) == copied;
  if (sure) return n;
  const uint32_t end = std::min(thread.base + kWindow, n_ - std::min<uint32_t>(n_, thread.lost));
  for (uint32_t at = thread.base; at < end; ++at) {
    if (mark_at(at) != copied || at == thread.at) continue;
    add(next_frame, at);
    break;
  }
  return n;
}

void AlignModel::guesses(const Place& place, std::vector<Guess>& out) const {
  const size_t first = out.size();
  std::array<Said, kKinds> said;
  for (const Thread& thread : place) {
    const size_t n = say(thread, said);
    for (size_t i = 0; i < n; ++i) {
      const float p = rates_[said[i].bucket].value();
      size_t at = first;
      while (at < out.size() && out[at].token != said[i].token) ++at;
      if (at == out.size()) {
        out.push_back({said[i].token, p});
      } else {
        out[at].probability = std::max(out[at].probability, p);
      }
    }
  }
}

uint32_t& AlignModel::last_of(uint32_t length) {
  uint64_t hash = length;
  for (uint32_t i = 1; i <= length; ++i) {
    hash = (hash ^ token_at(n_ - i)) * 0x9E3779B97F4A7C15u;
    hash ^= hash >> 29;
  }
  return last_[length == kGram ? 0 : 1][hash >> (64 - kBits)];
}

// The text is where it was at `at` before: a thread, unless it has better ones.
void AlignModel::offer(uint32_t at, uint32_t length) {
  if (at == 0 || !is_here(at)) return;
  for (uint32_t i = 1; i <= length; ++i) {
    if (at <= i || !is_here(at - i) || token_at(at - i) != token_at(n_ - i)) return;
  }
  const auto worth = [](const Thread& thread) {
    if (thread.at == 0) return -1;
    return std::popcount(thread.past) - (thread.lost > 0 ? 4 : 0);
  };
  Thread* worst = &end_[0];
  for (Thread& thread : end_) {
    if (thread.at == at && thread.lost == 0) return;
    if (worth(thread) <= worth(*worst)) worst = &thread;
  }
  Thread fresh;
  fresh.at = fresh.base = at;
  fresh.run = static_cast<uint8_t>(length);
  fresh.past = static_cast<uint16_t>((1u << length) - 1);
  if (worth(*worst) < worth(fresh) + 4) *worst = fresh;
}

void AlignModel::find_threads() {
  for (const uint32_t length : {kLongGram, kGram}) {
    if (n_ - begin_ < length) continue;
    uint32_t& last = last_of(length);
    offer(last, length);
    last = n_;
  }
}

void AlignModel::append(uint32_t token, bool learn) {
  if (learn) {
    std::array<Said, kKinds> said;
    for (const Thread& thread : end_) {
      const size_t n = say(thread, said);
      for (size_t i = 0; i < n; ++i) rates_[said[i].bucket].learn(said[i].token == token);
    }
  }
  Mark mark = unmarked;
  for (const Thread& thread : end_) {
    if (thread.at == 0 || mark == copied) continue;
    mark =
        thread.lost == 0 && is_here(thread.at) && token_at(thread.at) == token ? copied : changed;
  }
  end_ = enter(end_, token);
  if (end_[0].at != 0 && end_[0].at == end_[1].at) {
    if (std::popcount(end_[0].past) < std::popcount(end_[1].past)) end_[0] = end_[1];
    end_[1] = {};
  }
  // Found again counts as copied: it is part of the frame.
  for (const Thread& thread : end_) {
    if (thread.at != 0 && thread.run > 0) mark = copied;
  }
  tokens_[n_ % kCapacity] = token;
  marks_[n_ % kCapacity] = mark;
  ++n_;
  find_threads();
}

}  // namespace splitd
