#include "runtime/split/budget.h"

#include <string_view>

namespace splitd {
namespace {

std::string amount(uint64_t value, bool bytes) {
  if (!bytes) return std::to_string(value);
  const bool small = value < (uint64_t{16} << 20);
  return std::to_string(small ? value >> 10 : value >> 20) + (small ? " KiB" : " MiB");
}

// What does not fit; empty when all does.
std::string excess(const Usage& used, const Usage& cost, const Usage& most) {
  struct Item {
    std::string_view name;
    uint64_t Usage::*field;
    bool bytes;
  };
  static constexpr Item kItems[] = {{"sessions", &Usage::sessions, false},
                                    {"rows", &Usage::rows, false},
                                    {"memory", &Usage::bytes, true}};
  for (const Item& item : kItems) {
    const uint64_t have = used.*item.field, need = cost.*item.field, limit = most.*item.field;
    if (have <= limit && need <= limit - have) continue;
    return std::string(item.name) + ": " + amount(have, item.bytes) + " of " +
           amount(limit, item.bytes) + " are in use, and this needs " + amount(need, item.bytes);
  }
  return {};
}

Usage sum(const Usage& a, const Usage& b) {
  return {a.sessions + b.sessions, a.rows + b.rows, a.bytes + b.bytes};
}

Usage difference(const Usage& a, const Usage& b) {
  return {a.sessions - b.sessions, a.rows - b.rows, a.bytes - b.bytes};
}

}  // namespace

Status Budget::take(const std::string& peer, const Usage& cost) {
  const Usage mine = used_by(peer);
  if (const std::string what = excess(mine, cost, most_of_peer_); !what.empty()) {
    return peer_error("no room for this peer: " + what);
  }
  if (const std::string what = excess(used_, cost, most_); !what.empty()) {
    return peer_error("no room: " + what);
  }
  peers_[peer] = sum(mine, cost);
  used_ = sum(used_, cost);
  return {};
}

void Budget::give_back(const std::string& peer, const Usage& cost) {
  const auto at = peers_.find(peer);
  at->second = difference(at->second, cost);
  if (at->second == Usage()) peers_.erase(at);
  used_ = difference(used_, cost);
}

Usage Budget::used_by(const std::string& peer) const {
  const auto at = peers_.find(peer);
  return at == peers_.end() ? Usage() : at->second;
}

}  // namespace splitd
