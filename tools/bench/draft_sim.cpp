// Replays recorded texts through a drafter and a controller over a link that is computed: tokens a
// step and a second by kind of text, without a model, a network or waiting. For choosing; what a
// user gets is `splitd bench decode`. Frames in flight, waves of the tail, the study of the prompt
// and the work that is put off go as in Session; rows beside the text are not known, so drafters
// that need them (jacobi, lookahead) cannot be replayed. Costs are those of the machine and lab of
// runtime/decode/README.md.
//
//   draft_sim record MODEL PROMPTS OUT [TEMPERATURE [N]]
//   draft_sim replay MODEL TRACES DRAFTER [name=value …]
//     rtt=80.5 link=0.2 (ms a row, both ways) frames=6 parts=3 (of a draft) half=0|1 (every other
//     text) warm=0|1 type=NAME text=1 (each text too) judged=1 (claimed against true)
#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <string>

#include "runtime/decode/controller.h"
#include "runtime/decode/drafters/make_drafter.h"
#include "runtime/decode/pending_tree.h"
#include "tools/bench/draft_trace.h"

namespace splitd::bench {
namespace {

// ms of n rows on one core, SmolLM2-135M in bf16: measured ratios to one row.
double ratio(double n) {
  static constexpr double kAt[][2] = {{1, 1},     {2, 1.06}, {3, 1.3},   {4, 1.48},
                                      {6, 1.5},   {8, 1.88}, {10, 1.97}, {12, 2.2},
                                      {16, 2.97}, {24, 4.3}, {32, 5.55}};
  for (size_t i = 1; i < std::size(kAt); ++i) {
    if (n > kAt[i][0]) continue;
    const double share = (n - kAt[i - 1][0]) / (kAt[i][0] - kAt[i - 1][0]);
    return kAt[i - 1][1] + share * (kAt[i][1] - kAt[i - 1][1]);
  }
  return n / 32 * 5.55;
}

struct Options {
  double rtt = 80.5, link = 0.2;
  uint32_t frames = 6, parts = DraftParts::kMost;
  int half = -1;
  bool warm = false, text = false, judged = false;
  std::string type;

  double head(uint32_t n) const { return 0.3 + 0.7 * ratio(n); }
  double body(uint32_t n) const { return 8.9 * ratio(n); }
  double tail(uint32_t n) const { return 3.1 * ratio(n); }
  double one_way(uint32_t n) const { return rtt / 2 + 0.15 + link / 2 * n; }
  double sequential_ms() const { return head(1) + body(1) + tail(1) + 2 * one_way(1); }
};

struct Sum {
  double tokens = 0, steps = 0, rows = 0, ms = 0, propose_us = 0, frames = 0;
  std::vector<double> us;
  std::array<std::array<double, 3>, 12> judged{};

  void add(const Sum& other) {
    tokens += other.tokens, steps += other.steps, rows += other.rows, ms += other.ms;
    propose_us += other.propose_us, frames += other.frames;
    us.insert(us.end(), other.us.begin(), other.us.end());
    for (size_t i = 0; i < judged.size(); ++i) {
      for (size_t j = 0; j < 3; ++j) judged[i][j] += other.judged[i][j];
    }
  }
};

class Replay {
 public:
  Replay(const Trace& trace, Drafter& drafter, TokenSketches& tokens, const Options& options)
      : trace_(trace),
        drafter_(drafter),
        options_(options),
        controller_({.most_rows = 32, .most_frames = options.frames}) {
    has_sketches_ = drafter_.use(tokens);
    drafter_.begin(std::span(trace.text).first(trace.n_prompt));
    pending_.reserve(128);
    n_ = trace.n_prompt + 1;
    n_unstudied_ = std::min<size_t>(256, trace.n_prompt);
  }

  Sum run() {
    if (n_ >= trace_.n()) return {};
    while (n_ < trace_.n()) {
      fill();
      wait();
      take_reply();
      walk();
    }
    sum_.ms = now_;
    return std::move(sum_);
  }

 private:
  struct InLink {
    double reply = 0, sent = 0, body_ms = 0;
  };

  SeenRow seen_row(int32_t row, size_t position) const {
    SeenRow seen;
    seen.row = row;
    seen.next = trace_.text[std::min(position + 1, trace_.n() - 1)];
    const size_t n_top = std::min<size_t>(kTraceTop, drafter_.n_top());
    seen.top = trace_.top_of(position).first(n_top);
    seen.top_probability = trace_.probability_of(position).first(n_top);
    if (has_sketches_) seen.sketch = trace_.sketch_of(position);
    if (has_sketches_ && position > 0) seen.before = trace_.sketch_of(position - 1);
    return seen;
  }

  void draft(uint32_t base, uint32_t most) {
    draft_.clear();
    text_.assign(trace_.text.begin(), trace_.text.begin() + static_cast<std::ptrdiff_t>(n_));
    if (!pending_.empty()) {
      text_.resize(size_t{pending_.row(base).position} + 1);
      for (uint32_t at = base; at != 0; at = static_cast<uint32_t>(pending_.row(at).parent)) {
        text_[pending_.row(at).position] = pending_.row(at).token;
      }
    }
    DraftRequest request{.text = text_, .n_certain = n_, .position = text_.size()};
    request.budget = std::min(most, controller_.budget());
    if (has_sketches_) request.before = trace_.sketch_of(n_ - 2);
    request.most_ms = controller_.guess_ms() > 0 ? 50 : 0;
    const auto start = std::chrono::steady_clock::now();
    if (request.budget > 0) (void)drafter_.propose(request, draft_);
    const std::chrono::duration<double, std::micro> us = std::chrono::steady_clock::now() - start;
    sum_.us.push_back(us.count());
  }

  void send(PendingFrame& frame) {
    frame.head_ms = options_.head(frame.n_row);
    now_ += frame.head_ms;
    InLink in;
    in.sent = now_;
    const double there = std::max(now_, up_free_) + options_.one_way(frame.n_row);
    up_free_ = there - options_.rtt / 2;
    in.body_ms = options_.body(frame.n_row);
    body_free_ = std::max(there, body_free_) + in.body_ms;
    in.reply = std::max(body_free_, down_free_) + options_.one_way(frame.n_row);
    down_free_ = in.reply - options_.rtt / 2;
    links_.push_back(in);
    sum_.rows += frame.n_row;
    sum_.frames += 1;
  }

  void fill() {
    if (pending_.empty()) {
      draft(0, 32 * options_.parts - 1);
      const DraftParts parts = controller_.parts_worth(draft_, options_.parts);
      draft_.cut(parts.n_row());
      const auto position = static_cast<uint32_t>(n_ - 1);
      send(pending_.add(trace_.text[position], position, draft_, parts.end[0]));
      for (uint32_t i = 1; i < parts.n_part; ++i) {
        send(pending_.add_rest(parts.end[i] - parts.end[i - 1]));
      }
    }
    while (pending_.n_owed() < std::min(kReplyWindow, options_.frames)) {
      const uint32_t room = std::min(32u, 128 - pending_.n_row());
      const uint32_t leaf = pending_.likeliest_leaf(0);
      const InFlight flight{.n_frame = pending_.n_owed(),
                            .n_row = pending_.n_row(),
                            .probability = static_cast<double>(pending_.row(leaf).probability)};
      if (!controller_.may_be_worth_below(flight)) break;
      draft(leaf, room);
      draft_.cut(controller_.rows_worth_below(flight, draft_));
      if (draft_.size() == 0) break;
      send(pending_.add_below(leaf, draft_));
    }
  }

  void wait() {
    double until = links_.front().sent + controller_.spare_ms();
    if (controller_.spare_ms() <= 0) return;
    for (double at = now_; at < until;) {
      if (drafter_.work()) {
        at += 0.15;
      } else if (n_unstudied_ > 0) {
        const size_t n = std::min<size_t>(4, n_unstudied_);
        const size_t n_kept = std::min<size_t>(256, trace_.n_prompt);
        n_unstudied_ -= n;
        for (size_t i = 0; i < n; ++i) {
          const size_t position = trace_.n_prompt - n_kept + n_unstudied_ + i;
          drafter_.study(std::span(trace_.text).first(position + 1), seen_row(-1, position));
        }
        at += 5;
      } else {
        return;
      }
    }
  }

  void take_reply() {
    while (true) {
      now_ = std::max(now_, links_.front().reply);
      if (pending_.frame(0).n_row > 0) break;
      pending_.pop();
      links_.erase(links_.begin());
    }
    const PendingFrame& frame = pending_.frame(0);
    const uint64_t bytes = uint64_t{frame.n_sent} * 1152 + 100;
    controller_.observe({.n_row = frame.n_sent,
                         .head_ms = frame.head_ms,
                         .wait_ms = now_ - links_.front().sent,
                         .body_ms = links_.front().body_ms,
                         .alone = frame.is_alone,
                         .bytes_up = bytes,
                         .bytes_down = bytes});
  }

  void evaluate(const PendingFrame& frame, uint32_t row) {
    path_.assign(1, 1.0f);
    std::vector<uint32_t> wave = {row};
    for (uint32_t i = row + 1; i < frame.n_row; ++i) {
      if (pending_.row(i).parent != static_cast<int32_t>(wave.back())) continue;
      wave.push_back(i);
      path_.push_back(pending_.row(i).probability / std::max(pending_.row(row).probability, 1e-9f));
    }
    wave.resize(std::clamp<size_t>(controller_.wave_rows(path_), 1, wave.size()));
    for (const uint32_t i : wave) pending_.row(i).tail_id = 1;
    const auto n = static_cast<uint32_t>(wave.size());
    now_ += options_.tail(n);
    controller_.observe_tail(n, options_.tail(n));
  }

  void walk() {
    PendingFrame& frame = pending_.frame(0);
    sum_.steps += frame.was_rest ? 0 : 1;
    const size_t n_text = frame.n_text;
    judge(frame);
    uint32_t at = 0;
    int32_t child = -1;
    seen_.clear();
    if (!frame.has_last_token) seen_.push_back(seen_row(-1, pending_.row(at).position - 1));
    while (true) {
      if (pending_.row(at).tail_id == kNoRow) evaluate(frame, at);
      PendingRow& row = pending_.row(at);
      seen_.push_back(seen_row(row.draft_row, row.position));
      const uint32_t token = trace_.text[n_++];
      sum_.tokens += 1;
      child = n_ < trace_.n() ? pending_.child(at, token) : -1;
      if (child < 0 || static_cast<uint32_t>(child) >= frame.n_row) break;
      at = static_cast<uint32_t>(child);
    }
    const std::span<const uint32_t> text(trace_.text);
    drafter_.observe({text.first(n_text), &frame.draft, text.subspan(n_text, n_ - n_text), seen_});
    if (child >= 0) {
      pending_.go_on_from(static_cast<uint32_t>(child));
    } else {
      pending_.drop_rows();
    }
    pending_.pop();
    links_.erase(links_.begin());
  }

  // Every row of the frame: what it claimed when it was sent, and whether it is the text.
  void judge(const PendingFrame& frame) {
    static constexpr float kBins[] = {.01f, .02f, .04f, .07f, .12f, .2f, .3f, .45f, .6f, .8f, .95f};
    right_.clear();
    for (uint32_t i = 0; i < frame.n_row; ++i) {
      const PendingRow& row = pending_.row(i);
      const bool above = row.parent < 0 || right_[static_cast<size_t>(row.parent)];
      right_.push_back(above && row.position < trace_.n() &&
                       trace_.text[row.position] == row.token);
      if (row.draft_row < 0) continue;
      const float p = frame.draft.probabilities[static_cast<size_t>(row.draft_row)];
      size_t bin = 0;
      while (bin < std::size(kBins) && p > kBins[bin]) ++bin;
      sum_.judged[bin][0] += static_cast<double>(p);
      sum_.judged[bin][1] += right_.back() ? 1 : 0;
      sum_.judged[bin][2] += 1;
    }
  }

  const Trace& trace_;
  Drafter& drafter_;
  const Options& options_;
  Controller controller_;
  PendingTree pending_;
  std::vector<InLink> links_;
  Draft draft_;
  std::vector<uint32_t> text_;
  std::vector<SeenRow> seen_;
  std::vector<float> path_;
  std::vector<bool> right_;
  Sum sum_;
  size_t n_ = 0;  // tokens of text that are known
  size_t n_unstudied_ = 0;
  double now_ = 0, up_free_ = 0, body_free_ = 0, down_free_ = 0;
  bool has_sketches_ = false;
};

void print(const char* name, Sum& sum, const Options& options) {
  if (sum.steps == 0) return;
  std::sort(sum.us.begin(), sum.us.end());
  const double per_second = 1e3 * sum.tokens / sum.ms;
  std::printf(
      "%-16s %5.0f tokens  %6.2f tok/s = %5.2f x  %5.2f a step of %5.1f ms, %4.1f rows, "
      "%.2f frames; draft us %4.0f, 99 %% %4.0f\n",
      name, sum.tokens, per_second, per_second * options.sequential_ms() / 1e3,
      sum.tokens / sum.steps, sum.ms / sum.steps, sum.rows / sum.steps, sum.frames / sum.steps,
      sum.us[sum.us.size() / 2], sum.us[sum.us.size() * 99 / 100]);
}

int replay_all(cli::TextModel& model, const std::vector<Trace>& traces, const char* name,
               const Options& options) {
  Result<std::unique_ptr<Backend>> embedding = model.local().backend({{0, 0}, true, false});
  if (!embedding) return 1;
  TokenSketches tokens(**embedding);
  std::map<std::string, Sum> sums;
  std::map<std::string, int> seen;
  std::unique_ptr<Drafter> drafter;
  for (const Trace& trace : traces) {
    const int index = seen[trace.type]++;
    if (!options.type.empty() && options.type != trace.type) continue;
    if (options.half >= 0 && index % 2 != options.half) continue;
    if (trace.n() - trace.n_prompt < 8) continue;
    if (!drafter || !options.warm) {
      DrafterOptions make;
      make.n_vocab = model.config().n_vocab;
      Result<std::unique_ptr<Drafter>> made = make_drafter(name, make);
      if (!made) return std::fprintf(stderr, "%s\n", made.error().message.c_str()), 1;
      drafter = std::move(*made);
    }
    Sum sum = Replay(trace, *drafter, tokens, options).run();
    sums[trace.type].add(sum);
    if (options.text) print(("  " + trace.name).c_str(), sum, options);
  }
  Sum all;
  double mean = 0, log_mean = 0;
  for (auto& [type, sum] : sums) {
    all.add(sum);
    const double times = sum.tokens / sum.ms * options.sequential_ms();
    mean += times / static_cast<double>(sums.size());
    log_mean +=
        times / static_cast<double>(sums.size()) * (type == "copying" || type == "editing" ? 0 : 1);
    print(type.c_str(), sum, options);
  }
  print("all", all, options);
  std::printf("mean of kinds %.3f x; without copying and editing %.3f x\n", mean,
              log_mean * static_cast<double>(sums.size()) /
                  static_cast<double>(sums.size() - sums.count("copying") - sums.count("editing")));
  for (const auto& [claimed, hits, rows] : all.judged) {
    if (options.judged && rows > 0) {
      std::printf("   claimed %.3f true %.3f (%.0f rows)\n", claimed / rows, hits / rows, rows);
    }
  }
  return 0;
}

Result<int> run(int argc, char** argv) {
  if (argc < 5)
    return usage_error("draft_sim record MODEL PROMPTS OUT | replay MODEL TRACES DRAFTER");
  const std::string_view command = argv[1];
  cli::EngineOptions engine;
  engine.n_thread = 1;
  SPLITD_ASSIGN(const std::unique_ptr<cli::TextModel> model, cli::TextModel::open(argv[2], engine));
  if (command == "record") {
    SPLITD_ASSIGN(const std::vector<cli::PromptSet> sets, cli::read_prompt_sets(argv[3]));
    SPLITD_ASSIGN(const std::unique_ptr<Backend> whole,
                  model->local().backend(model->local().whole()));
    std::vector<Trace> traces;
    for (const cli::PromptSet& set : sets) {
      for (const cli::BenchPrompt& prompt : set.prompts) {
        SPLITD_ASSIGN(Trace trace,
                      record(*model, *whole, set.type, prompt, argc > 5 ? std::atof(argv[5]) : 0,
                             argc > 6 ? static_cast<uint32_t>(std::atoi(argv[6])) : 256));
        std::printf("%s %s: %zu tokens\n", trace.type.c_str(), trace.name.c_str(),
                    trace.n() - trace.n_prompt);
        traces.push_back(std::move(trace));
      }
    }
    SPLITD_TRY(write_traces(argv[4], traces));
    return 0;
  }
  SPLITD_ASSIGN(const std::vector<Trace> traces, read_traces(argv[3]));
  Options options;
  for (int i = 5; i < argc; ++i) {
    const std::string_view word = argv[i];
    const size_t equals = word.find('=');
    if (equals == word.npos) return usage_error("name=value, not " + std::string(word));
    const std::string_view key = word.substr(0, equals);
    const double value = std::atof(argv[i] + equals + 1);
    if (key == "rtt") options.rtt = value;
    if (key == "link") options.link = value;
    if (key == "frames") options.frames = static_cast<uint32_t>(value);
    if (key == "parts") options.parts = static_cast<uint32_t>(value);
    if (key == "half") options.half = static_cast<int>(value);
    if (key == "warm") options.warm = value != 0;
    if (key == "type") options.type = word.substr(equals + 1);
    if (key == "text") options.text = value != 0;
    if (key == "judged") options.judged = value != 0;
  }
  return replay_all(*model, traces, argv[4], options);
}

}  // namespace
}  // namespace splitd::bench

int main(int argc, char** argv) {
  const splitd::Result<int> status = splitd::bench::run(argc, argv);
  if (!status.ok()) std::fprintf(stderr, "%s\n", status.error().message.c_str());
  return status.ok() ? *status : 1;
}
