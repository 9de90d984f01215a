#include "tools/measure/calibrator.h"

#include <algorithm>
#include <cstdlib>

#include "runtime/base/sha256.h"
#include "runtime/model/tokenizer/tokenizer.h"

namespace splitd::cli {
namespace {

constexpr size_t kMostTokens = 8192;
constexpr size_t kFewestTokens = 64;

// The embedding and every layer up to the last that is asked for.
Status check_parts(const ModelFiles& files, LayerRange layers) {
  bool there = files.has_embedding();
  for (uint32_t layer = 0; layer < layers.end; ++layer) there = there && files.has_layer(layer);
  if (there) return {};
  return usage_error(files.path() + " holds " + files.parts_text() +
                     ", and a text runs through all layers up to the last that is converted");
}

// Every window begins as the model's texts do: with BOS, where its tokenizer puts one. Without it
// some models compute what they never computed when they were trained.
Result<std::vector<uint32_t>> encode_windows(const Tokenizer& tokenizer, const std::string& text) {
  SPLITD_ASSIGN(const std::vector<uint32_t> ids, tokenizer.encode(text, {.add_special = false}));
  const std::vector<uint32_t> begin = tokenizer.text_begin();
  std::vector<uint32_t> out;
  for (const uint32_t id : ids) {
    if (out.size() % kCalibrationWindow == 0 && !begin.empty()) out.push_back(begin.front());
    out.push_back(id);
  }
  return out;
}

}  // namespace

Result<std::unique_ptr<Calibrator>> Calibrator::open(const std::string& model,
                                                     const std::string& text, LayerRange layers,
                                                     uint32_t n_thread) {
  const char* isa = std::getenv("SPLITD_ISA");
  SPLITD_ASSIGN(const kernels::KernelTable* table,
                kernels::select_table(isa == nullptr ? "" : isa));
  SPLITD_ASSIGN(ModelFiles files, ModelFiles::open(model));
  SPLITD_TRY(check_parts(files, layers));
  if (files.tokenizer_path().empty()) return usage_error(files.path() + " has no tokenizer");
  SPLITD_ASSIGN(const Tokenizer tokenizer, Tokenizer::open(files.tokenizer_path()));
  std::unique_ptr<Calibrator> out(new Calibrator(std::move(files), *table, n_thread));
  SPLITD_ASSIGN(out->ids_, encode_windows(tokenizer, text));
  if (out->ids_.size() > kMostTokens) out->ids_.resize(kMostTokens);
  const uint32_t n_vocab = out->files_.config().n_vocab;
  const bool known =
      std::all_of(out->ids_.begin(), out->ids_.end(), [&](uint32_t id) { return id < n_vocab; });
  if (!known) return usage_error(model + ": its tokenizer has tokens that its embedding lacks");
  if (out->ids_.size() >= kFewestTokens) return out;
  return usage_error("a text of " + std::to_string(out->ids_.size()) + " tokens; at least " +
                     std::to_string(kFewestTokens) + " are needed");
}

std::string Calibrator::id() const {
  Sha256 hash;
  hash.update(std::as_bytes(std::span(ids_)));
  return "calibrated 2 " + std::string(table_.name) + " " + hex(hash.finish());
}

Result<const Feedback*> Calibrator::feedback(const TensorSpec& spec) {
  if (!calibration_) {
    SPLITD_ASSIGN(
        calibration_,
        Calibration::start(files_, {.table = &table_, .pool = &pool_, .exact = false}, ids_));
  }
  return calibration_->feedback(spec);
}

}  // namespace splitd::cli
