// What hostile headers cost: the most heap alive at once while one is read, as a multiple of its
// size.
#include <gtest/gtest.h>

#include "runtime/model/formats/gguf.h"
#include "runtime/model/formats/safetensors.h"
#include "tests/heap_count.h"
#include "tests/runtime/model/formats/format_files.h"

namespace splitd {
namespace {

constexpr size_t kHeaderBytes = kMaxSafetensorsHeaderBytes;

// The most heap beyond what was alive before.
template <class Call>
size_t peak_of(Call call) {
  const size_t before = heap::alive;
  heap::peak = before;
  call();
  return heap::peak - before;
}

// begin, then what `part(i)` gives until a header of 32 MiB is full, then end and spaces.
template <class Part>
std::string full_header(const std::string& begin, Part part, const std::string& end) {
  std::string text;
  text.reserve(kHeaderBytes + 8);
  text = le64(kHeaderBytes) + begin;
  for (size_t i = 0;; ++i) {
    const std::string next = part(i);
    if (text.size() + next.size() + end.size() > kHeaderBytes) break;
    text += next;
  }
  text += end;
  text.resize(kHeaderBytes + 8, ' ');
  return text;
}

struct Cost {
  bool accepted;
  double multiple;
};
Cost safetensors_cost(const std::string& file) {
  bool accepted = false;
  const size_t peak =
      peak_of([&] { accepted = parse_safetensors_header(as_bytes(file), file.size()).ok(); });
  return {accepted, static_cast<double>(peak) / static_cast<double>(file.size())};
}

TEST(HostileCost, TheCounterCounts) {
  EXPECT_GE(peak_of([] { std::vector<char> block(1000000); }), 1000000u);
  EXPECT_LT(peak_of([] {}), 1000u);
}

TEST(HostileCost, AsManyTinyTensorsAsFit) {
  const std::string file = full_header(
      "{\"\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}",
      [](size_t i) {
        return ",\"" + std::to_string(i) +
               "\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}";
      },
      "}");
  const Cost cost = safetensors_cost(file);
  EXPECT_TRUE(cost.accepted);  // so that all of it was read
  EXPECT_LT(cost.multiple, 8.0);
}

TEST(HostileCost, Numbers) {
  const auto numbers = [](size_t) { return std::string("0,"); };
  EXPECT_LT(safetensors_cost(full_header("{\"a\":{\"x\":[", numbers, "0]}}")).multiple, 4.5);
  EXPECT_LT(
      safetensors_cost(full_header("{\"a\":{\"dtype\":\"U8\",\"data_offsets\":[0,0],\"shape\":[",
                                   numbers, "0]}}"))
          .multiple,
      4.5);
}

TEST(HostileCost, Nesting) {
  const auto brackets = [](size_t) { return std::string("["); };
  const auto pairs = [](size_t) { return std::string("[],"); };
  EXPECT_LT(safetensors_cost(full_header("{\"a\":", brackets, "")).multiple, 4.5);
  EXPECT_LT(safetensors_cost(full_header("{\"a\":[", pairs, "0]}")).multiple, 4.5);
}

TEST(HostileCost, Metadata) {
  const auto entries = [](size_t i) { return "\"" + std::to_string(i) + "\":\"\","; };
  EXPECT_LT(safetensors_cost(full_header("{\"__metadata__\":{", entries, "\"\":\"\"}}")).multiple,
            8.0);
}

TEST(HostileCost, Escapes) {
  const auto escapes = [](size_t) { return std::string("\\u0001"); };
  EXPECT_LT(safetensors_cost(full_header("{\"", escapes, "\":1}")).multiple, 2.0);
}

TEST(HostileCost, LengthsThatLieCostNothing) {
  const std::string file = le64(kHeaderBytes) + "{";
  EXPECT_LT(peak_of([&] { (void)parse_safetensors_header(as_bytes(file), file.size()).ok(); }),
            10000u);
}

TEST(HostileCost, Index) {
  const std::string file = full_header(
      "{\"weight_map\":{", [](size_t i) { return "\"" + std::to_string(i) + "\":\"a\","; },
      "\"\":\"a\"}}");
  const std::string_view json = std::string_view(file).substr(8);
  EXPECT_LT(peak_of([&] { (void)parse_safetensors_index(json).ok(); }), 8 * kHeaderBytes);
}

TEST(HostileCost, GgufCountsAndArrays) {
  GgufBuilder builder;
  builder.kv("k", GgufType::array,
             GgufBuilder::array(GgufType::string, 1u << 21, std::string(1u << 24, '\0')));
  for (size_t i = 0; i < 100000; ++i) builder.tensors.push_back({std::to_string(i), {0}, 0, ""});
  const std::string file = builder.build();
  bool accepted = false;
  const size_t peak = peak_of([&] { accepted = parse_gguf_header(as_bytes(file)).ok(); });
  EXPECT_TRUE(accepted);
  EXPECT_LT(peak, 2 * file.size());

  builder = GgufBuilder();
  builder.extra_tensors = kMaxGgufTensors;
  builder.n_kv = kMaxGgufKeys;
  builder.kvs = "short";
  EXPECT_LT(peak_of([&] { (void)parse_gguf_header(as_bytes(builder.build())).ok(); }), 10000u);
}

}  // namespace
}  // namespace splitd
