// Owns: a split plan for people and as JSON. Pure.
#pragma once

#include <string>

#include "runtime/base/json.h"
#include "tools/plan/split_plan.h"

namespace splitd::cli {

// How fast the device reads memory.
struct ReadSpeed {
  double bytes_per_second = 0;  // 0: not known
  bool measured = false;        // here, just now; else as --read-speed says
};

[[nodiscard]] std::string plan_text(const SplitPlan& plan, const ReadSpeed& speed,
                                    const std::string& path);
// The value of "plan".
void write_plan(JsonWriter& json, const SplitPlan& plan, const ReadSpeed& speed);

}  // namespace splitd::cli
