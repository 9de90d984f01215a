#include "runtime/engine/fair_share.h"

#include <algorithm>
#include <limits>

namespace splitd {

// What a batch counts for when the next one is there.
static constexpr double kMemory = 0.95;
// Below this part of what it could be, the two loads rose and fell together in all batches, and
// nothing tells one cost from the other.
static constexpr double kLeastSpread = 1e-4;

void RowCost::learn(const RowLoad& load, double ms) {
  if (load.rows <= 0 || ms <= 0) return;
  const auto add = [](double& sum, double value) { sum = kMemory * sum + value; };
  add(rows_rows_, load.rows * load.rows);
  add(rows_reach_, load.rows * load.reach);
  add(reach_reach_, load.reach * load.reach);
  add(rows_ms_, load.rows * ms);
  add(reach_ms_, load.reach * ms);
  const double spread = rows_rows_ * reach_reach_ - rows_reach_ * rows_reach_;
  if (spread > kLeastSpread * rows_rows_ * reach_reach_) {
    ms_per_reach_ = (reach_ms_ * rows_rows_ - rows_ms_ * rows_reach_) / spread;
  }
  // A row costs something by itself, and none costs less for what it attends to: else the fit was
  // noise, and the other cost alone explains the batches.
  ms_per_reach_ = std::max(ms_per_reach_, 0.0);
  ms_per_row_ = (rows_ms_ - ms_per_reach_ * rows_reach_) / rows_rows_;
  const double least = 0.05 * rows_ms_ / rows_rows_;
  if (ms_per_row_ < least) {
    ms_per_row_ = least;
    ms_per_reach_ = (reach_ms_ - least * rows_reach_) / reach_reach_;
  }
}

void share_rows(std::span<RowClaim> claims, size_t room) {
  size_t want = 0;
  for (RowClaim& claim : claims) {
    claim.rows = claim.want;
    want += claim.want;
  }
  if (want <= room || claims.empty()) return;
  // The time that everybody is to have had: found by halving, as rows given rise with it.
  const auto rows_at = [](const RowClaim& claim, double level) {
    const double rows = (level - claim.spent_ms) / claim.row_ms;
    return std::clamp(rows, 0.0, static_cast<double>(claim.want));
  };
  double low = claims[0].spent_ms, high = low;
  for (const RowClaim& claim : claims) {
    low = std::min(low, claim.spent_ms);
    high = std::max(high, claim.spent_ms + static_cast<double>(claim.want) * claim.row_ms);
  }
  for (int i = 0; i < 50; ++i) {
    const double level = (low + high) / 2;
    double rows = 0;
    for (const RowClaim& claim : claims) rows += rows_at(claim, level);
    (rows > static_cast<double>(room) ? high : low) = level;
  }
  for (RowClaim& claim : claims) {
    claim.rows = static_cast<size_t>(rows_at(claim, low));
    room -= claim.rows;
  }
  // Less than one row a claim is left: to whoever has least with what it was given.
  const auto level_of = [](const RowClaim& claim) {
    return claim.rows == claim.want
               ? std::numeric_limits<double>::infinity()
               : claim.spent_ms + static_cast<double>(claim.rows) * claim.row_ms;
  };
  for (; room > 0; --room) {
    ++std::min_element(claims.begin(), claims.end(), [&](const auto& a, const auto& b) {
        return level_of(a) < level_of(b);
      })->rows;
  }
}

}  // namespace splitd
