// Rounds and clocks behind model_bench.h.
#include "tools/measure/model_bench.h"

#include <algorithm>
#include <chrono>
#include <functional>
#include <string>
#include <utility>

#include "tools/command.h"

namespace splitd::cli {
namespace {

using Clock = std::chrono::steady_clock;

constexpr uint32_t kSliceTokens = 16;  // decoded between two reads
constexpr uint32_t kStepTurns = 3;     // of all numbers of rows, in a round

double seconds_between(Clock::time_point begin, Clock::time_point end) {
  return std::chrono::duration<double>(end - begin).count();
}

// Any token; which ones costs the same.
uint32_t token_at(uint32_t n, uint32_t n_vocab) {
  return static_cast<uint32_t>((n * uint64_t{2654435761} >> 7) % n_vocab);
}

// What is done one after the other while a text grows: a step of some rows, or a read.
struct Turn {
  uint32_t rows = 0;  // 0: a read
  double result = 0;  // seconds; of a read, bytes a second
};

// Asked for a draft, it looks at the clock: from one question to the next is one whole step.
class Metronome final : public Drafter {
 public:
  Metronome(std::vector<Turn>& turns, ReadProbe* probe, uint32_t n_vocab,
            std::function<bool()> go_on)
      : turns_(turns), probe_(probe), n_vocab_(n_vocab), go_on_(std::move(go_on)) {}

  bool done() const { return next_ > turns_.size() || cancelled_; }
  bool cancelled() const { return cancelled_; }

  std::string_view name() const override { return "metronome"; }
  void begin(std::span<const uint32_t>) override {}
  Status propose(const DraftRequest& request, Draft& draft) override {
    const Clock::time_point now = Clock::now();
    if (running_) turns_[next_ - 1].result = seconds_between(began_, now);
    for (; next_ < turns_.size() && turns_[next_].rows == 0; ++next_) {
      turns_[next_].result = probe_ != nullptr ? probe_->read() : 0;
    }
    running_ = next_ < turns_.size();
    if (running_) {
      const uint32_t n = std::min(turns_[next_].rows - 1, request.budget);
      for (uint32_t i = 0; i < n; ++i) {
        const auto at = static_cast<uint32_t>(request.position) + i;
        draft.add(token_at(at, n_vocab_), static_cast<int32_t>(i) - 1, 1.0F);
      }
    }
    ++next_;
    cancelled_ = !go_on_();
    began_ = Clock::now();
    return {};
  }
  void observe(const StepSeen&) override {}

 private:
  std::vector<Turn>& turns_;
  ReadProbe* probe_;
  uint32_t n_vocab_;
  std::function<bool()> go_on_;
  bool cancelled_ = false;
  size_t next_ = 0;
  bool running_ = false;
  Clock::time_point began_;
};

class Bench {
 public:
  Bench(TextModel& model, const BenchOptions& options, ReadProbe* probe, const ProgressFn& progress)
      : model_(model), options_(options), probe_(probe), progress_(progress) {}

  Result<BenchResult> run();

 private:
  uint32_t n_vocab() const { return model_.config().n_vocab; }
  std::vector<uint32_t> random_prompt(uint32_t n);
  std::vector<Turn> turns_of_round() const;
  uint64_t rows_needed() const;
  Status read();
  Status prefill(bool count);
  Status steps(bool count);
  void note_decode(const std::vector<Turn>& turns, size_t begin, size_t end);
  void note_steps(const std::vector<Turn>& turns, size_t begin);

  TextModel& model_;
  const BenchOptions& options_;
  ReadProbe* probe_;
  const ProgressFn& progress_;
  Session* session_ = nullptr;
  uint32_t n_prompts_ = 0;
  BenchResult result_;
};

// Begins otherwise than all before, so that nothing of them can be used again.
std::vector<uint32_t> Bench::random_prompt(uint32_t n) {
  std::vector<uint32_t> prompt(n);
  for (uint32_t i = 0; i < n; ++i) prompt[i] = token_at(n_prompts_ * 8191 + i, n_vocab());
  prompt[0] = n_prompts_++ % n_vocab();
  return prompt;
}

// One step that does not count, decode in slices between reads, then turns of all numbers of rows.
std::vector<Turn> Bench::turns_of_round() const {
  std::vector<Turn> turns{{.rows = 1}, {.rows = 0}};
  for (uint32_t n = 0; n < options_.n_gen; ++n) {
    turns.push_back({.rows = 1});
    if ((n + 1) % kSliceTokens == 0 || n + 1 == options_.n_gen) turns.push_back({.rows = 0});
  }
  for (uint32_t turn = 0; turn < kStepTurns; ++turn) {
    for (const uint32_t rows : options_.rows) turns.push_back({.rows = rows});
  }
  return turns;
}

// If every draft were right; the prompt, and what the question after the last step takes.
uint64_t Bench::rows_needed() const {
  uint64_t steps = uint64_t{options_.depth} + 3;
  for (const Turn& turn : turns_of_round()) steps += turn.rows;
  return std::max<uint64_t>(steps, options_.n_prompt);
}

Status Bench::read() {
  if (probe_ != nullptr) result_.read.values.push_back(probe_->read());
  return {};
}

Status Bench::prefill(bool count) {
  if (options_.n_prompt == 0) return {};
  GenerateOptions options;
  options.max_tokens = 1;
  Sampler sampler({}, n_vocab());
  const auto go_on = [](uint32_t) { return true; };
  SPLITD_ASSIGN(const Generated generated, session_->generate(random_prompt(options_.n_prompt),
                                                              options, sampler, go_on, progress_));
  if (count) result_.prefill.values.push_back(options_.n_prompt / generated.prefill_ms * 1e3);
  return {};
}

Status Bench::steps(bool count) {
  std::vector<Turn> turns = turns_of_round();
  Metronome metronome(turns, probe_, n_vocab(), [&] {
    return !progress_ ||
           progress_({"measuring", result_.decode.values.size(), options_.repetitions});
  });
  GenerateOptions options;
  options.max_tokens = UINT32_MAX;
  options.drafter = &metronome;
  Sampler sampler({}, n_vocab());
  const auto go_on = [&](uint32_t) { return !metronome.done(); };
  const Result<Generated> generated =
      session_->generate(random_prompt(options_.depth + 1), options, sampler, go_on);
  if (!generated) return generated.error();
  if (metronome.cancelled()) return interrupted_error();
  if (!count) return {};
  const size_t decode_end = turns.size() - kStepTurns * options_.rows.size();
  note_decode(turns, 1, decode_end);
  note_steps(turns, decode_end);
  return {};
}

// Turns from a read to a read.
void Bench::note_decode(const std::vector<Turn>& turns, size_t begin, size_t end) {
  double all_seconds = 0, seconds = 0, read = turns[begin].result;
  uint32_t n = 0;
  if (read > 0) result_.read.values.push_back(read);
  for (size_t i = begin + 1; i < end; ++i) {
    if (turns[i].rows != 0) {
      seconds += turns[i].result;
      ++n;
      continue;
    }
    all_seconds += seconds;
    if (turns[i].result > 0) {
      const double rate = static_cast<double>(n * result_.token_bytes) / seconds;
      result_.decode_of_read.values.push_back(rate / ((read + turns[i].result) / 2));
      result_.read.values.push_back(turns[i].result);
      read = turns[i].result;
    }
    seconds = 0;
    n = 0;
  }
  if (options_.n_gen != 0) result_.decode.values.push_back(options_.n_gen / all_seconds);
}

void Bench::note_steps(const std::vector<Turn>& turns, size_t begin) {
  const size_t n = options_.rows.size();
  for (size_t i = begin; i < turns.size(); ++i) {
    StepSamples& step = result_.steps[(i - begin) % n];
    const double one_row = turns[begin + (i - begin) / n * n].result;
    step.seconds.values.push_back(turns[i].result);
    step.cost.values.push_back(turns[i].result / one_row);
  }
}

Result<BenchResult> Bench::run() {
  const uint64_t most = model_.config().n_ctx;
  if (rows_needed() > most) {
    return usage_error("bench: --n-prompt, or --depth with --n-gen and --rows, take " +
                       std::to_string(rows_needed()) + " tokens; the model has room for " +
                       std::to_string(most));
  }
  SPLITD_ASSIGN(session_, model_.session(rows_needed(), 0));
  const LayerRange all{0, model_.config().n_layer};
  SPLITD_ASSIGN(const ModelWeights weights, model_.local().files().weights(all, true, true));
  result_.token_bytes = token_bytes(model_.config(), weights);
  for (const uint32_t rows : options_.rows) result_.steps.push_back({.rows = rows});
  for (uint32_t round = 0; round <= options_.repetitions; ++round) {
    const bool count = round != 0;  // the first touches every weight and all scratch memory
    SPLITD_TRY(steps(count));
    SPLITD_TRY(prefill(count));
    SPLITD_TRY(read());
  }
  return std::move(result_);
}

}  // namespace

double Samples::best() const {
  return more_is_better ? *std::max_element(values.begin(), values.end())
                        : *std::min_element(values.begin(), values.end());
}

double Samples::median() const {
  std::vector<double> sorted(values);
  std::sort(sorted.begin(), sorted.end());
  const size_t n = sorted.size();
  return (sorted[n / 2] + sorted[(n - 1) / 2]) / 2;
}

uint64_t token_bytes(const ModelConfig& config, const ModelWeights& weights) {
  uint64_t bytes = weights.head.bytes + weights.norm.bytes;
  for (const LayerWeights& layer : weights.layers) {
    for (const TensorView* matrix : {&layer.q, &layer.k, &layer.v, &layer.o, &layer.gate, &layer.up,
                                     &layer.down, &layer.router}) {
      bytes += matrix->bytes;
    }
    for (const TensorView* small :
         {&layer.attn_norm, &layer.q_bias, &layer.k_bias, &layer.v_bias, &layer.q_norm,
          &layer.k_norm, &layer.o_bias, &layer.attn_post_norm, &layer.mlp_norm, &layer.gate_bias,
          &layer.up_bias, &layer.down_bias, &layer.mlp_post_norm}) {
      bytes += small->bytes;
    }
    if (layer.experts.empty()) continue;
    const ExpertWeights& expert = layer.experts.front();
    bytes += config.n_expert_used * (expert.gate.bytes + expert.up.bytes + expert.down.bytes);
  }
  return bytes;
}

Result<BenchResult> bench_model(TextModel& model, const BenchOptions& options, ReadProbe* probe,
                                const ProgressFn& progress) {
  return Bench(model, options, probe, progress).run();
}

}  // namespace splitd::cli
