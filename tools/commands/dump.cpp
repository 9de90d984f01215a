// `splitd dump`: what the engine computes for given tokens, every hidden state and every logit, in
// one safetensors file, for comparing with a reference and with itself. Each stage of --split is a
// backend of its own with weights, keys and values of its own layers alone.
#include <algorithm>
#include <string>

#include "runtime/engine/layer_run.h"
#include "runtime/engine/not_finite.h"
#include "runtime/model/formats/safetensors_writer.h"
#include "tools/commands.h"
#include "tools/generate/local_model.h"
#include "tools/generate/options.h"
#include "tools/model_path.h"

namespace splitd::cli {
namespace {

struct Rows {
  std::vector<uint32_t> ids;
  std::vector<int32_t> parents;  // by row: an earlier row or −1; empty for a chain
  uint32_t depth = 0;            // positions that they take
};

struct StageOfLayers {
  std::unique_ptr<Backend> backend;
  LayerRun run;
};

Result<Rows> read_rows(const Context& context, uint32_t n_vocab) {
  Rows rows;
  SPLITD_ASSIGN(rows.ids, read_ids(context, n_vocab));
  rows.depth = static_cast<uint32_t>(rows.ids.size());
  if (!context.given("parents")) return rows;
  const std::vector<int64_t>& parents = context.integers("parents");
  if (parents.size() != rows.ids.size()) {
    return usage_error("--parents: " + std::to_string(parents.size()) + " of them for " +
                       std::to_string(rows.ids.size()) + " --ids; one for each is accepted");
  }
  rows.depth = 0;
  std::vector<uint32_t> depths;
  for (size_t row = 0; row < parents.size(); ++row) {
    const int64_t parent = parents[row];
    if (parent < -1 || parent >= static_cast<int64_t>(row)) {
      return usage_error("--parents: " + std::to_string(parent) + " of row " + std::to_string(row) +
                         "; -1 or an earlier row is accepted");
    }
    rows.parents.push_back(static_cast<int32_t>(parent));
    depths.push_back(parent < 0 ? 1 : depths[static_cast<size_t>(parent)] + 1);
    rows.depth = std::max(rows.depth, depths.back());
  }
  return rows;
}

// Where the stages begin, and the end of the last.
Result<std::vector<uint32_t>> read_cuts(const Context& context, uint32_t n_layer) {
  std::vector<uint32_t> cuts = {0};
  for (const int64_t cut : context.integers("split")) {
    if (cut <= int64_t{cuts.back()} || cut >= int64_t{n_layer}) {
      return usage_error("--split: " + std::to_string(cut) + " behind " +
                         std::to_string(cuts.back()) +
                         "; ascending layers between 0 and the model's " + std::to_string(n_layer) +
                         " are accepted");
    }
    cuts.push_back(static_cast<uint32_t>(cut));
  }
  cuts.push_back(n_layer);
  return cuts;
}

class Dump {
 public:
  Dump(const Context& context, const LocalModel& model, const Rows& rows)
      : context_(context), config_(model.config()), rows_(rows) {}

  Status open_stages(LocalModel& model, std::span<const uint32_t> cuts, const KvShape& shape);
  Status create_file(const std::string& path);
  Status compute(size_t chunk);
  Status write();

 private:
  size_t n_row() const { return rows_.ids.size(); }
  size_t d_model() const { return config_.d_model; }
  size_t next_frame(size_t begin, size_t chunk, std::vector<int32_t>& parents) const;
  Status run_frame(size_t begin, size_t end, std::span<const int32_t> parents);
  Status put(std::span<const float> values);

  const Context& context_;
  const ModelConfig& config_;
  const Rows& rows_;
  std::vector<StageOfLayers> stages_;
  std::optional<SafetensorsWriter> file_;
  // (n_row, d_model) each: the embedding, then after every layer.
  std::vector<std::vector<float>> hidden_;
};

Status Dump::open_stages(LocalModel& model, std::span<const uint32_t> cuts, const KvShape& shape) {
  for (size_t i = 0; i + 1 < cuts.size(); ++i) {
    const LayerRange layers{cuts[i], cuts[i + 1]};
    SPLITD_ASSIGN(std::unique_ptr<Backend> backend,
                  model.backend({layers, i == 0, i + 2 == cuts.size()}));
    SPLITD_ASSIGN(LayerRun run, LayerRun::open(*backend, layers, shape));
    stages_.push_back({std::move(backend), std::move(run)});
  }
  return {};
}

Status Dump::create_file(const std::string& path) {
  std::vector<TensorInfo> tensors;
  const auto declare = [&](std::string name, uint64_t width) {
    tensors.push_back({.name = std::move(name), .dtype = DType::f32, .shape = {n_row(), width}});
  };
  declare("hidden.embed", d_model());
  for (uint32_t layer = 0; layer < config_.n_layer; ++layer) {
    declare("hidden.layer." + std::to_string(layer), d_model());
  }
  declare("hidden.norm", d_model());
  declare("logits", config_.n_vocab);
  Result<SafetensorsWriter> file = SafetensorsWriter::create(path, std::move(tensors), {});
  if (!file) return file.take_error().within("--out");
  file_ = std::move(*file);
  hidden_.assign(config_.n_layer + 1, std::vector<float>(n_row() * d_model()));
  return {};
}

// The end of the frame that begins at row `begin`: at most `chunk` rows. A frame hangs from one
// base, so in a tree it also ends where a row hangs from another one.
size_t Dump::next_frame(size_t begin, size_t chunk, std::vector<int32_t>& parents) const {
  size_t end = begin + std::min(chunk, n_row() - begin);
  parents.clear();
  if (rows_.parents.empty()) return end;
  for (size_t row = begin; row < end; ++row) {
    const int32_t parent = rows_.parents[row];
    if (parent >= static_cast<int32_t>(begin)) {
      parents.push_back(parent - static_cast<int32_t>(begin));
    } else if (parent == rows_.parents[begin]) {
      parents.push_back(-1);
    } else {
      end = row;
    }
  }
  return end;
}

Status Dump::run_frame(size_t begin, size_t end, std::span<const int32_t> parents) {
  const size_t n = end - begin, d = d_model();
  std::vector<float> rows(n * d);
  stages_.front().backend->embed(std::span(rows_.ids).subspan(begin, n), rows.data());
  if (const size_t bad = first_not_finite(rows); bad < rows.size()) {
    return model_error("the embedding of token " + std::to_string(rows_.ids[begin + bad / d]) +
                       " is not finite at column " + std::to_string(bad % d));
  }
  const auto keep = [&](size_t which, size_t first_row, std::span<const float> values) {
    std::copy(values.begin(), values.end(),
              hidden_[which].begin() + static_cast<std::ptrdiff_t>((begin + first_row) * d));
  };
  keep(0, 0, rows);
  TimelineRequest request;
  request.append = Frame{.first = static_cast<RowId>(begin),
                         .base = begin == 0 ? kNoRow : static_cast<RowId>(begin - 1),
                         .n_row = static_cast<uint32_t>(n),
                         .parents = parents,
                         .commit = parents.empty()};
  if (!parents.empty()) {
    const int32_t base = rows_.parents[begin];
    request.append->base = base < 0 ? kNoRow : static_cast<RowId>(base);
  }
  for (StageOfLayers& stage : stages_) {
    SPLITD_TRY(stage.run.run(
        request, rows.data(), [this] { return !context_.cancelled(); },
        [&](uint32_t layer, size_t first_row, std::span<const float> hidden) {
          keep(layer + 1, first_row, hidden);
        }));
  }
  return {};
}

Status Dump::compute(size_t chunk) {
  std::vector<int32_t> parents;
  for (size_t begin = 0; begin < n_row();) {
    const size_t end = next_frame(begin, chunk, parents);
    SPLITD_TRY(run_frame(begin, end, parents));
    begin = end;
  }
  return {};
}

Status Dump::put(std::span<const float> values) {
  return file_->write(std::as_bytes(values));
}

Status Dump::write() {
  constexpr size_t kRowsAtOnce = 32;  // whose logits are in memory together
  for (const std::vector<float>& layer : hidden_) SPLITD_TRY(put(layer));
  Backend& last = *stages_.back().backend;
  std::vector<float>& normed = hidden_.back();
  last.norm(normed, normed.data());
  if (const size_t bad = first_not_finite(normed); bad < normed.size()) {
    return model_error("the final norm: row " + std::to_string(bad / d_model()) +
                       " is not finite at column " + std::to_string(bad % d_model()));
  }
  SPLITD_TRY(put(normed));
  std::vector<float> logits;
  for (size_t row = 0; row < n_row(); row += kRowsAtOnce) {
    if (context_.cancelled()) return interrupted_error();
    const size_t n = std::min(kRowsAtOnce, n_row() - row);
    logits.resize(n * config_.n_vocab);
    last.project(std::span(normed).subspan(row * d_model(), n * d_model()), logits.data());
    if (const size_t bad = first_not_finite(logits); bad < logits.size()) {
      return model_error("the head: row " + std::to_string(row + bad / config_.n_vocab) +
                         " is not finite at token " + std::to_string(bad % config_.n_vocab));
    }
    SPLITD_TRY(put(logits));
  }
  return file_->commit();
}

Status run_dump(Context& context) {
  if (!context.given("ids")) return usage_error("dump: --ids is missing; say --ids 1,2,3");
  if (!context.given("out")) return usage_error("dump: --out is missing; say --out F.safetensors");
  SPLITD_ASSIGN(EngineOptions engine, read_engine_options(context));
  engine.progress = context.progress();
  SPLITD_ASSIGN(const std::string path, resolve_model(context.argument("MODEL")));
  SPLITD_ASSIGN(const std::unique_ptr<LocalModel> model, LocalModel::open(path, engine));
  SPLITD_ASSIGN(const Rows rows, read_rows(context, model->config().n_vocab));
  SPLITD_ASSIGN(const std::vector<uint32_t> cuts, read_cuts(context, model->config().n_layer));
  SPLITD_ASSIGN(const uint32_t n_ctx, model->context(rows.depth));
  if (rows.depth > n_ctx) {
    return usage_error("--ids: they take " + std::to_string(rows.depth) +
                       " positions; the context has room for " + std::to_string(n_ctx));
  }
  const auto n_row = static_cast<uint32_t>(rows.ids.size());
  Dump dump(context, *model, rows);
  SPLITD_TRY(dump.open_stages(*model, cuts, {n_ctx, rows.parents.empty() ? 0 : n_row, engine.kv}));
  SPLITD_TRY(dump.create_file(context.text("out")));
  SPLITD_TRY(model->read_ahead(model->whole(), context.progress()));
  context.end_progress();
  SPLITD_TRY(dump.compute(context.given("chunk") ? static_cast<size_t>(context.integer("chunk"))
                                                 : rows.ids.size()));
  return dump.write();
}

}  // namespace

Command dump_command() {
  return {.name = "dump",
          .summary = "write every hidden state and logit of given tokens to a file",
          .positionals = {{.name = "MODEL",
                           .help = "a model directory, or org/name that was pulled",
                           .completes = Completes::model}},
          .flags = {{.title = "Rows",
                     .flags = {{.name = "ids", .kind = FlagKind::integers, .help = "the tokens"},
                               {.name = "parents",
                                .kind = FlagKind::integers,
                                .help = "each one's parent row or -1: a tree instead of a line"},
                               {.name = "chunk",
                                .kind = FlagKind::integer,
                                .help = "compute at most so many rows at a time",
                                .min = 1,
                                .max = 1e9},
                               {.name = "split",
                                .kind = FlagKind::integers,
                                .help = "cut the layers into stages, which begin at these"},
                               {.name = "out",
                                .kind = FlagKind::file,
                                .help = "the safetensors file to write"}}},
                    engine_flags()},
          .examples = {{"splitd dump ./SmolLM2 --ids 1,2,3 --out rows.safetensors"},
                       {"splitd dump ./SmolLM2 --ids 1,2,3 --parents=-1,0,0 --split 10,20 "
                        "--out F"}},
          .run = run_dump};
}

}  // namespace splitd::cli
