// Owns: texts as a model wrote them, with all that a session would show a drafter of their rows:
// the likeliest followers and sketches of hidden states. Made once with the model (record), kept in
// a file, replayed as often as one likes. For draft_sim.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "runtime/base/result.h"
#include "runtime/decode/row_sketch.h"
#include "tools/generate/text_model.h"
#include "tools/measure/prompt_set.h"

namespace splitd::bench {

inline constexpr size_t kTraceTop = 16;

struct Trace {
  std::string type, name;
  uint32_t n_prompt = 0;
  std::vector<uint32_t> text;  // prompt and answer, cut before it loops
  // By row of the text, kTraceTop and kSketch numbers each: what follows it, and the row itself.
  std::vector<uint32_t> top;
  std::vector<float> probability, sketch;

  size_t n() const { return text.size(); }
  std::span<const uint32_t> top_of(size_t row) const {
    return std::span(top).subspan(row * kTraceTop, kTraceTop);
  }
  std::span<const float> probability_of(size_t row) const {
    return std::span(probability).subspan(row * kTraceTop, kTraceTop);
  }
  std::span<const float> sketch_of(size_t row) const {
    return std::span(sketch).subspan(row * kSketch, kSketch);
  }
};

[[nodiscard]] Result<Trace> record(cli::TextModel& model, Backend& whole, std::string type,
                                   const cli::BenchPrompt& prompt, double temperature,
                                   uint32_t n_token);
[[nodiscard]] Status write_traces(const std::string& path, std::span<const Trace> traces);
[[nodiscard]] Result<std::vector<Trace>> read_traces(const std::string& path);

}  // namespace splitd::bench
