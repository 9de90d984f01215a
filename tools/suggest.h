// Owns: "did you mean": the known name nearest to one that is not known. Pure.
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace splitd::cli {

// Insertions, deletions, substitutions and swaps of neighbours, each 1; '-' and '_' are alike, and
// so are upper and lower case.
[[nodiscard]] size_t edit_distance(std::string_view a, std::string_view b);

// The nearest of `names`, or "" where none is near enough to be what was meant.
[[nodiscard]] std::string_view nearest_name(std::string_view name,
                                            std::span<const std::string_view> names);

// " (did you mean '<before><name>'?)", or "" where nothing is near.
[[nodiscard]] std::string did_you_mean(std::string_view name,
                                       std::span<const std::string_view> names,
                                       std::string_view before = {});

}  // namespace splitd::cli
