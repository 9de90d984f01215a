#include "tools/bench/draft_trace.h"

#include <algorithm>
#include <fstream>

#include "kernels/select.h"
#include "runtime/decode/controller.h"
#include "runtime/decode/drafters/make_drafter.h"
#include "runtime/decode/sampler.h"
#include "runtime/engine/layer_run.h"

namespace splitd::bench {
namespace {

// What the model writes; by the quickest way, which is that of any other.
Result<std::vector<uint32_t>> write_answer(cli::TextModel& model, std::span<const uint32_t> prompt,
                                           double temperature, uint32_t n_token) {
  SPLITD_ASSIGN(Session* const session, model.session(prompt.size(), n_token));
  DrafterOptions options;
  options.n_vocab = model.config().n_vocab;
  SPLITD_ASSIGN(const std::unique_ptr<Drafter> drafter, make_drafter("auto", options));
  Controller controller({.most_rows = cli::TextModel::kMostStepRows, .most_frames = 1});
  SamplingOptions sampling;
  sampling.temperature = temperature;
  sampling.seed = 1;
  Sampler sampler(sampling, model.config().n_vocab);
  GenerateOptions how;
  how.max_tokens = n_token;
  how.stop_ids = model.config().eos;
  how.drafter = drafter.get();
  how.controller = &controller;
  SPLITD_ASSIGN(Generated out,
                session->generate(prompt, how, sampler, [](uint32_t) { return true; }));
  out.tokens.resize(cli::text_before_loop(out.tokens));
  return std::move(out.tokens);
}

// The rows of trace.text through the model, and what is kept of them.
Status compute_rows(Backend& whole, Trace& trace) {
  constexpr uint32_t kAtOnce = 16;
  const ModelConfig& config = whole.config();
  const auto n = static_cast<uint32_t>(trace.n());
  SPLITD_ASSIGN(LayerRun run, LayerRun::open(whole, whole.layers(), {n, 1, KvType::f16}));
  const kernels::RowKernels& kernels = kernels::runnable_tables().back()->rows;
  trace.top.resize(n * kTraceTop);
  trace.probability.resize(n * kTraceTop);
  trace.sketch.resize(n * kSketch);
  std::vector<float> logits(size_t{kAtOnce} * config.n_vocab);
  for (uint32_t at = 0; at < n; at += kAtOnce) {
    const uint32_t n_row = std::min(kAtOnce, n - at);
    std::vector<float> rows(size_t{n_row} * config.d_model), normed(rows.size());
    whole.embed(std::span(trace.text).subspan(at, n_row), rows.data());
    TimelineRequest request;
    request.append =
        Frame{.first = at, .base = at == 0 ? kNoRow : at - 1, .n_row = n_row, .commit = true};
    SPLITD_TRY(run.run(request, rows.data(), [] { return true; }));
    whole.norm(rows, normed.data());
    whole.project(normed, logits.data());
    for (uint32_t i = 0; i < n_row; ++i) {
      const size_t row = at + i;
      sketch_row(std::span(rows).subspan(i * config.d_model, config.d_model),
                 std::span(trace.sketch).subspan(row * kSketch, kSketch));
      float* const shares = logits.data() + size_t{i} * config.n_vocab;
      kernels.softmax(shares, config.n_vocab);
      kernels.top_k(shares, config.n_vocab, kTraceTop, trace.probability.data() + row * kTraceTop,
                    trace.top.data() + row * kTraceTop);
    }
  }
  return {};
}

template <class T>
void put(std::ostream& out, const std::vector<T>& values) {
  const auto n = static_cast<uint32_t>(values.size());
  out.write(reinterpret_cast<const char*>(&n), sizeof n);
  out.write(reinterpret_cast<const char*>(values.data()),
            static_cast<std::streamsize>(n * sizeof(T)));
}

template <class T>
bool take(std::istream& in, std::vector<T>& values) {
  uint32_t n = 0;
  in.read(reinterpret_cast<char*>(&n), sizeof n);
  if (!in || n > (uint32_t{1} << 28)) return false;
  values.resize(n);
  in.read(reinterpret_cast<char*>(values.data()), static_cast<std::streamsize>(n * sizeof(T)));
  return bool(in);
}

}  // namespace

Result<Trace> record(cli::TextModel& model, Backend& whole, std::string type,
                     const cli::BenchPrompt& prompt, double temperature, uint32_t n_token) {
  constexpr int64_t kNow = 1704067200;  // the date in a prompt: figures do not depend on the day
  Result<std::vector<uint32_t>> ids =
      prompt.raw ? model.raw_ids(prompt.text) : model.chat_ids({{"user", prompt.text}}, kNow);
  if (!ids) return ids.take_error();
  Trace trace;
  trace.type = std::move(type);
  trace.name = prompt.name;
  trace.n_prompt = static_cast<uint32_t>(ids->size());
  SPLITD_ASSIGN(const std::vector<uint32_t> answer,
                write_answer(model, *ids, temperature, n_token));
  trace.text = std::move(*ids);
  trace.text.insert(trace.text.end(), answer.begin(), answer.end());
  SPLITD_TRY(compute_rows(whole, trace));
  return trace;
}

Status write_traces(const std::string& path, std::span<const Trace> traces) {
  std::ofstream out(path, std::ios::binary);
  for (const Trace& trace : traces) {
    put(out, std::vector<char>(trace.type.begin(), trace.type.end()));
    put(out, std::vector<char>(trace.name.begin(), trace.name.end()));
    put(out, std::vector<uint32_t>{trace.n_prompt});
    put(out, trace.text);
    put(out, trace.top);
    put(out, trace.probability);
    put(out, trace.sketch);
  }
  if (!out.flush()) return failed(path + " cannot be written");
  return {};
}

Result<std::vector<Trace>> read_traces(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::vector<Trace> traces;
  std::vector<char> type, name;
  std::vector<uint32_t> n_prompt;
  while (take(in, type)) {
    Trace trace;
    const bool whole = take(in, name) && take(in, n_prompt) && n_prompt.size() == 1 &&
                       take(in, trace.text) && take(in, trace.top) && take(in, trace.probability) &&
                       take(in, trace.sketch);
    if (!whole) return failed(path + " is cut off");
    trace.type.assign(type.begin(), type.end());
    trace.name.assign(name.begin(), name.end());
    trace.n_prompt = n_prompt[0];
    traces.push_back(std::move(trace));
  }
  if (traces.empty()) return failed(path + " holds no texts");
  return traces;
}

}  // namespace splitd::bench
