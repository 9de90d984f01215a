// A golden model opened with the CPU backend, and one session of it run by hand: what the engine's
// tests compare with. Expected values come from transformers (tests/golden/make_models.py).
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "kernels/select.h"
#include "runtime/base/files.h"
#include "runtime/base/json.h"
#include "runtime/engine/cpu_backend.h"
#include "runtime/model/formats/tensor_files.h"
#include "runtime/model/model_files.h"

namespace splitd {

inline const std::string kGoldenModels = std::string(SPLITD_TEST_DATA) + "/golden/models/";

inline std::vector<std::string> golden_model_names() {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(kGoldenModels)) {
    if (entry.is_directory()) names.push_back(entry.path().filename());
  }
  std::sort(names.begin(), names.end());
  return names;
}

// Whole numbers of a JSON array.
template <class T>
std::vector<T> integers(Json array) {
  std::vector<T> out;
  for (const Json item : array.elements()) out.push_back(static_cast<T>(*item.to_i64()));
  return out;
}

class GoldenModel {
 public:
  explicit GoldenModel(const std::string& name)
      : files_(ModelFiles::open(kGoldenModels + name)),
        expected_(TensorFiles::open_safetensors(kGoldenModels + name + "/expected.safetensors")),
        json_(JsonDoc::parse(*read_file(kGoldenModels + name + "/expected.json"))),
        weights_(files_->weights({0, files_->config().n_layer}, true, true)) {}

  const ModelConfig& config() const { return files_->config(); }
  Json json() const { return json_->root(); }
  const ModelFiles& files() const { return *files_; }
  const ModelWeights& weights() const { return *weights_; }

  std::unique_ptr<Backend> backend(const kernels::KernelTable& table, ThreadPool& pool,
                                   bool exact = true) const {
    return std::move(*make_cpu_backend(config(), *weights_, {&table, &pool, exact}));
  }

  // A tensor of expected.safetensors as floats.
  std::vector<float> expected(std::string_view name) const {
    const TensorInfo* info = expected_->find(name);
    if (info == nullptr) return {};
    std::vector<float> out(info->bytes / sizeof(float));
    std::memcpy(out.data(), expected_->view(*info).data, info->bytes);
    return out;
  }

 private:
  Result<ModelFiles> files_;
  Result<TensorFiles> expected_;
  Result<JsonDoc> json_;
  Result<ModelWeights> weights_;
};

// One session driven directly: a timeline, its KV, forward() a frame at a time.
class HandSession {
 public:
  HandSession(Backend& backend, KvShape shape)
      : backend_(backend),
        timeline_(shape.n_ctx, shape.max_pending),
        kv_(std::move(*backend.make_kv(shape))),
        d_(backend.config().d_model) {}

  Timeline& timeline() { return timeline_; }

  // Hidden states after the layers of the backend; `each_layer` sees them before layer 0 as −1 and
  // after every layer.
  template <class EachLayer>
  std::vector<float> run(const std::vector<uint32_t>& tokens, const TimelineRequest& request,
                         const EachLayer& each_layer) {
    EXPECT_TRUE(timeline_.check(request).ok());
    const Timeline::Applied applied = timeline_.apply(request);
    backend_.move_rows(*kv_, applied.moves);
    std::vector<BatchRow> rows;
    std::vector<std::vector<uint32_t>> paths;
    for (const RowPlace& row : applied.rows) {
      paths.emplace_back(timeline_.n_slot());
      const bool pending = row.position >= timeline_.n_committed();
      if (pending) timeline_.pending_path(row.id, paths.back());
      rows.push_back({kv_.get(), row.position, row.slot,
                      pending ? timeline_.n_committed() : row.position + 1, paths.back().data()});
    }
    std::vector<float> hidden(tokens.size() * d_);
    backend_.embed(tokens, hidden.data());
    each_layer(-1, hidden);
    for (uint32_t layer = 0; layer < backend_.config().n_layer; ++layer) {
      EXPECT_TRUE(backend_.forward(rows, hidden.data(), {layer, layer + 1}, [] { return true; }));
      each_layer(static_cast<int>(layer), hidden);
    }
    return hidden;
  }

  // Tokens appended to the committed path, or hung as a tree from its end.
  std::vector<float> append(const std::vector<uint32_t>& tokens,
                            const std::vector<int32_t>& parents = {}) {
    TimelineRequest request;
    request.append = Frame{.first = timeline_.next_id(),
                           .base = timeline_.last_committed(),
                           .n_row = static_cast<uint32_t>(tokens.size()),
                           .parents = parents,
                           .commit = parents.empty()};
    return run(tokens, request, [](int, const std::vector<float>&) {});
  }

  std::vector<float> logits(const std::vector<float>& hidden) {
    std::vector<float> normed(hidden.size());
    backend_.norm(hidden, normed.data());
    std::vector<float> out(hidden.size() / d_ * backend_.config().n_vocab);
    backend_.project(normed, out.data());
    return out;
  }

 private:
  Backend& backend_;
  Timeline timeline_;
  std::unique_ptr<Kv> kv_;
  size_t d_;
};

// max|a − b| / max|b|.
inline double relative_error(const std::vector<float>& a, const std::vector<float>& b) {
  EXPECT_EQ(a.size(), b.size());
  EXPECT_FALSE(b.empty());
  double error = 0, largest = 0;
  for (size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
    error = std::max(error, std::fabs(double{a[i]} - b[i]));
    if (std::isnan(a[i])) return NAN;
    largest = std::max(largest, std::fabs(double{b[i]}));
  }
  return error / largest;
}

}  // namespace splitd
