#include "runtime/decode/drafters/recycle_table.h"

#include <algorithm>
#include <cmath>

namespace splitd {
namespace {

// Of a context's newest `n` tokens.
uint64_t hash_of(const RecycleTable::Place& place, uint32_t n) {
  uint64_t hash = n;
  for (uint32_t i = 0; i < n; ++i) {
    hash = (hash ^ place[i]) * 0x9E3779B97F4A7C15u;
    hash ^= hash >> 29;
  }
  return hash;
}

uint32_t check_of(uint64_t hash) {
  return static_cast<uint32_t>(hash >> 32) | 1;
}

}  // namespace

RecycleTable::RecycleTable(uint32_t n_vocab) : by_token_(n_vocab), is_known_(n_vocab, 0) {
  for (auto& table : longer_) table.resize(size_t{1} << kBits);
  for (uint32_t order = 0; order < kOrders; ++order) {
    for (size_t rank = 0; rank < kTop; ++rank) {
      for (size_t sure = 0; sure < kSures; ++sure) {
        // The model's own share, as seen elsewhere: of less worth the less context was the same.
        static constexpr std::array<float, kSures> kShare = {.01f, .05f, .15f, .35f, .65f, .93f};
        static constexpr std::array<float, kOrders> kWorth = {.25f, .5f, .9f};
        const float other = 0.12f / static_cast<float>(rank + 2);
        const float prior = kWorth[order] * kShare[sure] + (1 - kWorth[order]) * other;
        rates_[(order * kTop + rank) * kSures + sure] = Rate(prior, 6);
      }
    }
  }
}

size_t RecycleTable::bytes() const {
  return by_token_.size() * (sizeof(Entry) + 1) +
         longer_.size() * longer_[0].size() * sizeof(Hashed);
}

RecycleTable::Place RecycleTable::end_of(std::span<const uint32_t> text) {
  Place place;
  for (size_t i = 0; i < kOrders; ++i) {
    place[i] = i < text.size() ? text[text.size() - 1 - i] : kNoToken;
  }
  return place;
}

size_t RecycleTable::bucket(uint32_t order, size_t rank, uint8_t share) {
  const size_t sure = share < 6     ? 0
                      : share < 20  ? 1
                      : share < 60  ? 2
                      : share < 130 ? 3
                      : share < 215 ? 4
                                    : 5;
  return ((order - 1) * kTop + rank) * kSures + sure;
}

const RecycleTable::Entry* RecycleTable::find(const Place& place, uint32_t& order) const {
  for (order = kOrders; order > 1; --order) {
    const uint64_t hash = hash_of(place, order);
    const Hashed& slot = longer_[order - 2][hash & ((size_t{1} << kBits) - 1)];
    if (slot.check == check_of(hash)) return &slot.entry;
  }
  if (place[0] < by_token_.size() && is_known_[place[0]] != 0) return &by_token_[place[0]];
  order = 0;
  return nullptr;
}

void RecycleTable::put(const Place& place, std::span<const uint32_t> top,
                       std::span<const float> probability) {
  if (place[0] >= by_token_.size() || top.size() < kTop || probability.size() < kTop) return;
  Entry& entry = by_token_[place[0]];
  for (size_t i = 0; i < kTop; ++i) {
    entry.tokens[i] = top[i];
    entry.shares[i] =
        static_cast<uint8_t>(std::lround(std::clamp(probability[i], 0.0f, 1.0f) * 255));
  }
  is_known_[place[0]] = 1;
  for (uint32_t order = 2; order <= kOrders && place[order - 1] != kNoToken; ++order) {
    const uint64_t hash = hash_of(place, order);
    longer_[order - 2][hash & ((size_t{1} << kBits) - 1)] = {check_of(hash), entry};
  }
}

uint32_t RecycleTable::guesses(const Place& place, std::vector<Guess>& out) const {
  uint32_t order = 0;
  const Entry* entry = find(place, order);
  if (entry == nullptr) return 0;
  for (size_t rank = 0; rank < kTop; ++rank) {
    out.push_back({entry->tokens[rank], rates_[bucket(order, rank, entry->shares[rank])].value()});
  }
  return order;
}

void RecycleTable::learn(const Place& place, uint32_t token) {
  uint32_t order = 0;
  const Entry* entry = find(place, order);
  if (entry == nullptr) return;
  for (size_t rank = 0; rank < kTop; ++rank) {
    rates_[bucket(order, rank, entry->shares[rank])].learn(entry->tokens[rank] == token);
  }
}

}  // namespace splitd
