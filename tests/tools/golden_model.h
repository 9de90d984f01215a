// Golden models for tests of the real binary: their paths, ids as an argument, copies with changed
// tensors, and what `splitd dump` wrote.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <string>
#include <vector>

#include "runtime/base/files.h"
#include "runtime/base/json.h"
#include "runtime/model/formats/tensor_files.h"
#include "tests/runtime/model/golden.h"
#include "tests/temp_dir.h"
#include "tests/tools/run_splitd.h"

namespace splitd {

// As they lie there, so that a new one is tested at once.
inline std::vector<std::string> all_golden_models() {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(golden_model(""))) {
    names.push_back(entry.path().filename());
  }
  std::sort(names.begin(), names.end());
  return names;
}

inline JsonDoc golden_json(const std::string& name) {
  return std::move(*JsonDoc::parse(*read_file(golden_model(name) + "/expected.json")));
}

template <class Items>
std::string comma_list(const Items& items) {
  std::string out;
  for (const auto item : items) out += (out.empty() ? "" : ",") + std::to_string(item);
  return out;
}

inline std::vector<int64_t> integers_of(Json array) {
  std::vector<int64_t> out;
  for (const Json item : array.elements()) out.push_back(*item.to_i64());
  return out;
}

// A tensor of a safetensors file as floats; none where it has no such tensor.
inline std::vector<float> floats_of(const TensorFiles& files, std::string_view name) {
  const TensorInfo* info = files.find(name);
  if (info == nullptr || info->dtype != DType::f32) return {};
  std::vector<float> out(info->bytes / sizeof(float));
  std::memcpy(out.data(), files.view(*info).data, info->bytes);
  return out;
}

// `dump` with these words behind the model; the file's bytes, or what it said on stderr.
inline std::string dump_bytes(const std::string& model, std::vector<std::string> words) {
  const TempDir directory;
  const std::string out = directory.path() + "/dump.safetensors";
  words.insert(words.begin(), {"dump", model});
  words.insert(words.end(), {"--out", out});
  const ProcessResult result = run_splitd(words);
  if (result.exit_code != 0) return std::to_string(result.exit_code) + " " + result.err;
  return read_file(out, uint64_t{1} << 32).value();
}

// "2 splitd: …": the exit code and stderr.
inline std::string refusal(const std::vector<std::string>& words,
                           const ProcessOptions& options = {}) {
  const ProcessResult result = run_splitd(words, options);
  EXPECT_EQ(result.out, "");
  return std::to_string(result.exit_code) + " " + result.err;
}

}  // namespace splitd
