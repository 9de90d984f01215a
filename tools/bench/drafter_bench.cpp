// Replays texts that a model wrote through a drafter, without the model: tokens per step and µs a
// step by budget and kind of text. For judging drafters; what a user gets is `splitd bench decode`.
// Input (JSON lines, drafter_traces.py makes them): {"type", "temperature", "n_vocab",
// "prompt": [ids], "ids": [ids], "top": [[ids]], "p": [[…]]}, top and p of every row from the
// prompt's last on. Drafters that need rows beside the text (jacobi, lookahead) cannot be replayed.
#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <map>
#include <random>
#include <string>

#include "runtime/base/json.h"
#include "runtime/decode/drafters/make_drafter.h"

namespace splitd {
namespace {

struct Trace {
  std::string type;
  uint32_t n_vocab = 0;
  size_t n_prompt = 0;
  std::vector<uint32_t> text;  // prompt and answer
  std::vector<std::vector<uint32_t>> top;
  std::vector<std::vector<float>> probability;
};

struct Sum {
  double tokens = 0, steps = 0, rows = 0, us = 0, worst_us = 0;
  // How honest probabilities are, by tenths: claimed, true, rows.
  std::array<std::array<double, 3>, 10> judged{};
};

std::vector<uint32_t> ids_of(Json array) {
  std::vector<uint32_t> out;
  for (const Json id : array.elements()) out.push_back(static_cast<uint32_t>(*id.to_u64()));
  return out;
}

std::vector<Trace> read_traces(const char* path, double temperature) {
  std::vector<Trace> traces;
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    const Result<JsonDoc> doc = JsonDoc::parse(line);
    if (!doc.ok()) continue;
    const Json root = doc->root();
    if (root.find("temperature")->to_f64() != temperature) continue;
    Trace trace;
    trace.type = root.find("type")->text();
    trace.n_vocab = static_cast<uint32_t>(*root.find("n_vocab")->to_u64());
    trace.text = ids_of(*root.find("prompt"));
    trace.n_prompt = trace.text.size();
    const std::vector<uint32_t> answer = ids_of(*root.find("ids"));
    trace.text.insert(trace.text.end(), answer.begin(), answer.end());
    for (const Json row : root.find("top")->elements()) trace.top.push_back(ids_of(row));
    for (const Json row : root.find("p")->elements()) {
      trace.probability.emplace_back();
      for (const Json p : row.elements()) {
        trace.probability.back().push_back(static_cast<float>(*p.to_f64()));
      }
    }
    traces.push_back(std::move(trace));
  }
  return traces;
}

void judge(const Draft& draft, const std::vector<bool>& right, Sum& sum) {
  for (size_t row = 0; row < draft.size(); ++row) {
    const float p = draft.probabilities[row];
    auto& tenth = sum.judged[std::min<size_t>(static_cast<size_t>(p * 10), 9)];
    tenth[0] += p;
    tenth[1] += right[row] ? 1 : 0;
    tenth[2] += 1;
  }
}

void replay(const Trace& trace, Drafter& drafter, uint32_t budget, Sum& sum) {
  using Clock = std::chrono::steady_clock;
  const std::span<const uint32_t> all = trace.text;
  Draft draft;
  std::vector<SeenRow> rows;
  std::vector<bool> right;
  drafter.begin(all.first(trace.n_prompt));
  // The first token came with the prompt.
  size_t n = trace.n_prompt + 1;
  while (n < all.size()) {
    draft.clear();
    const Clock::time_point start = Clock::now();
    (void)drafter.propose({all.first(n), n, budget, n}, draft);
    const Clock::time_point proposed = Clock::now();
    right.assign(draft.size(), false);
    rows.clear();
    int32_t at = -1;
    size_t n_accepted = 0;
    while (true) {
      const size_t row = n - 1 - (trace.n_prompt - 1) + n_accepted;
      rows.push_back({at, all[n + n_accepted], trace.top[row], trace.probability[row]});
      ++n_accepted;
      int32_t next = -1;
      for (size_t i = static_cast<size_t>(at + 1); i < draft.size() && next < 0; ++i) {
        if (draft.parents[i] == at && draft.tokens[i] == all[n + n_accepted - 1]) {
          next = static_cast<int32_t>(i);
        }
      }
      if (next >= 0) right[static_cast<size_t>(next)] = true;
      if (next < 0 || n + n_accepted == all.size()) break;
      at = next;
    }
    judge(draft, right, sum);
    const Clock::time_point told = Clock::now();
    drafter.observe({all.first(n), &draft, all.subspan(n, n_accepted), rows});
    const auto spent = (proposed - start) + (Clock::now() - told);
    const double us = std::chrono::duration<double, std::micro>(spent).count();
    n += n_accepted;
    sum.tokens += static_cast<double>(n_accepted);
    sum.rows += static_cast<double>(draft.size() + 1);
    sum.steps += 1;
    sum.us += us;
    sum.worst_us = std::max(sum.worst_us, us);
  }
}

// What a step costs behind a long text over a large vocabulary: words drawn by Zipf's law, every
// other stretch of them a copy of an earlier one.
int time_long_text(std::string_view name, uint32_t n_text, uint32_t n_vocab, uint32_t budget) {
  using Clock = std::chrono::steady_clock;
  constexpr size_t kSteps = 400;
  DrafterOptions options;
  options.n_vocab = n_vocab;
  Result<std::unique_ptr<Drafter>> made = make_drafter(name, options);
  if (!made.ok()) {
    std::fprintf(stderr, "%s\n", made.error().message.c_str());
    return 1;
  }
  Drafter& drafter = **made;
  std::mt19937 random(1);
  std::vector<uint32_t> all;
  const auto share = std::uniform_real_distribution<>(0, 1);
  while (all.size() < n_text + kSteps + 1) {
    const bool copies = all.size() > 100 && random() % 2 == 0;
    const size_t from = copies ? random() % (all.size() - 50) : 0;
    for (size_t i = 0; i < 40; ++i) {
      auto at = share;
      const double drawn = std::pow(static_cast<double>(n_vocab), at(random)) - 1;
      all.push_back(copies ? all[from + i] : std::min(n_vocab - 1, static_cast<uint32_t>(drawn)));
    }
  }
  const std::span<const uint32_t> text = all;
  const Clock::time_point begun = Clock::now();
  drafter.begin(text.first(n_text));
  const std::chrono::duration<double, std::milli> begin_ms = Clock::now() - begun;
  std::vector<uint32_t> top(8);
  std::vector<float> probabilities = {.5f, .2f, .1f, .05f, .02f, .01f, .01f, .01f};
  std::vector<double> us;
  double rows = 0;
  Draft draft;
  for (size_t n = n_text + 1; n < n_text + kSteps; ++n) {
    draft.clear();
    for (size_t i = 0; i < top.size(); ++i) top[i] = static_cast<uint32_t>(random() % n_vocab);
    const Clock::time_point start = Clock::now();
    (void)drafter.propose({text.first(n), n, budget, n}, draft);
    const SeenRow row{-1, all[n], top, probabilities};
    drafter.observe({text.first(n), &draft, text.subspan(n, 1), {&row, 1}});
    us.push_back(std::chrono::duration<double, std::micro>(Clock::now() - start).count());
    rows += static_cast<double>(draft.size());
  }
  std::sort(us.begin(), us.end());
  std::printf(
      "%-14s %u tokens of %u, budget %u: %.0f rows, us/step median %.0f, 99 %% %.0f; begin %.1f "
      "ms\n",
      std::string(name).c_str(), n_text, n_vocab, budget, rows / static_cast<double>(us.size()),
      us[us.size() / 2], us[us.size() * 99 / 100], begin_ms.count());
  return 0;
}

}  // namespace
}  // namespace splitd

int main(int argc, char** argv) {
  using namespace splitd;
  if (argc < 4) {
    std::fprintf(stderr,
                 "drafter_bench TRACES TEMPERATURE DRAFTER [BUDGET …]\n"
                 "drafter_bench --long DRAFTER N_TEXT [N_VOCAB [BUDGET]]\n");
    return 2;
  }
  if (argv[1] == std::string_view("--long")) {
    const auto number = [&](int i, uint32_t otherwise) {
      return i < argc ? static_cast<uint32_t>(std::atoi(argv[i])) : otherwise;
    };
    return time_long_text(argv[2], number(3, 32768), number(4, 262144), number(5, 64));
  }
  const std::vector<Trace> traces = read_traces(argv[1], std::atof(argv[2]));
  std::vector<uint32_t> budgets;
  for (int i = 4; i < argc; ++i) budgets.push_back(static_cast<uint32_t>(std::atoi(argv[i])));
  if (budgets.empty()) budgets = {4, 8, 16, 32, 64};
  for (const uint32_t budget : budgets) {
    std::map<std::string, Sum> sums;
    for (const Trace& trace : traces) {
      DrafterOptions options;
      options.n_vocab = trace.n_vocab;
      Result<std::unique_ptr<Drafter>> drafter = make_drafter(argv[3], options);
      if (!drafter.ok()) {
        std::fprintf(stderr, "%s\n", drafter.error().message.c_str());
        return 1;
      }
      replay(trace, **drafter, budget, sums[trace.type]);
    }
    Sum all;
    std::printf("%-14s budget %3u:", argv[3], budget);
    double mean = 0;
    for (const auto& [type, sum] : sums) {
      std::printf(" %.4s %.2f", type.c_str(), sum.tokens / sum.steps);
      mean += sum.tokens / sum.steps / static_cast<double>(sums.size());
      all.tokens += sum.tokens, all.steps += sum.steps, all.rows += sum.rows, all.us += sum.us;
      all.worst_us = std::max(all.worst_us, sum.worst_us);
      for (size_t i = 0; i < 10; ++i) {
        for (size_t j = 0; j < 3; ++j) all.judged[i][j] += sum.judged[i][j];
      }
    }
    std::printf("  mean %.2f  rows/token %.1f  us/step %.0f worst %.0f\n", mean,
                all.rows / all.tokens, all.us / all.steps, all.worst_us);
    if (budget != budgets.back()) continue;
    for (const auto& [claimed, hits, rows] : all.judged) {
      if (rows > 0)
        std::printf("   claimed %.3f true %.3f (%.0f rows)\n", claimed / rows, hits / rows, rows);
    }
  }
}
