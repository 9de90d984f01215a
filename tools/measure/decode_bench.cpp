#include "tools/measure/decode_bench.h"

#include <algorithm>
#include <charconv>
#include <map>

#include "runtime/decode/controller.h"
#include "runtime/decode/drafters/make_drafter.h"
#include "runtime/decode/sampler.h"
#include "tools/now.h"

namespace splitd::cli {
namespace {

constexpr size_t kLeastText = 8;  // tokens: a text that loops from its beginning is left out

struct Text {
  std::vector<uint32_t> prompt;
  std::map<double, std::vector<uint32_t>> tokens;  // by temperature: before any loop
};

class Bench {
 public:
  Bench(const BenchSubject& subject, const DecodeBenchOptions& options, const ProgressFn& progress)
      : subject_(subject), options_(options), progress_(progress) {}

  Status read(const std::vector<PromptSet>& sets);
  Result<DecodeBench> run();

 private:
  Status run_type(size_t type, const std::string& decoder, double temperature);
  Result<Generated> generate(const Text& text, const std::string& decoder, double temperature,
                             uint32_t most, bool counts, DecodeSums& sums);
  Status first_text(TypeFacts& facts, Text& text, const std::string& decoder, double temperature,
                    DecodeSums& sums);
  Status show_progress();

  const BenchSubject& subject_;
  const DecodeBenchOptions& options_;
  const ProgressFn& progress_;
  std::vector<std::vector<Text>> texts_;                      // by type
  std::map<std::string, std::unique_ptr<Drafter>> drafters_;  // by decoder, where they are warm
  DecodeBench out_;
  uint64_t n_done_ = 0, n_all_ = 0;
};

Status Bench::read(const std::vector<PromptSet>& sets) {
  for (const PromptSet& set : sets) {
    texts_.emplace_back();
    out_.types.push_back({.type = set.type});
    for (const BenchPrompt& prompt : set.prompts) {
      if (options_.most_prompts != 0 && texts_.back().size() == options_.most_prompts) break;
      // The date in a prompt is a fixed one: figures do not depend on the day.
      constexpr int64_t kNow = 1704067200;
      Result<std::vector<uint32_t>> ids =
          prompt.raw ? subject_.model->raw_ids(prompt.text)
                     : subject_.model->chat_ids({{"user", prompt.text}}, kNow);
      if (!ids) return ids.take_error();
      texts_.back().push_back({.prompt = std::move(*ids), .tokens = {}});
    }
    out_.types.back().n_prompt = static_cast<uint32_t>(texts_.back().size());
    n_all_ += texts_.back().size();
  }
  n_all_ *= options_.decoders.size() * options_.temperatures.size() *
            std::max<size_t>(1, options_.links.size());
  return {};
}

Status Bench::show_progress() {
  ++n_done_;
  if (!progress_ || progress_({"texts", n_done_, n_all_})) return {};
  return Error{ErrorKind::interrupted, "interrupted"};
}

Result<Generated> Bench::generate(const Text& text, const std::string& decoder, double temperature,
                                  uint32_t most, bool counts, DecodeSums& sums) {
  TextModel& model = *subject_.model;
  SPLITD_ASSIGN(Session* const session, model.session(text.prompt.size(), options_.max_tokens));
  // A controller that knows nothing yet, and a drafter too unless it is to be warm.
  std::unique_ptr<Drafter> fresh;
  std::unique_ptr<Drafter>& owner = options_.warm && counts ? drafters_[decoder] : fresh;
  if (!owner) {
    SPLITD_ASSIGN(owner, drafter_of(decoder, model.config().n_vocab));
  }
  Drafter* const drafter = owner.get();
  Controller controller(
      {.most_rows = TextModel::kMostStepRows, .most_frames = options_.most_frames});
  SamplingOptions sampling;
  sampling.temperature = temperature;
  sampling.seed = options_.seed;
  Sampler sampler(sampling, model.config().n_vocab);
  GenerateOptions how;
  how.max_tokens = most;
  how.stop_ids = model.config().eos;
  how.drafter = drafter;
  how.controller = drafter != nullptr ? &controller : nullptr;
  how.most_frames = drafter != nullptr ? options_.most_frames : 1;
  std::optional<NetworkUse> before;
  // The network counts from the first token on: the prompt is none of a step's business.
  SPLITD_ASSIGN(Generated out, session->generate(text.prompt, how, sampler, [&](uint32_t) {
    if (!before && subject_.network) before = subject_.network();
    return true;
  }));
  sums.n_text += 1;
  sums.n_token += out.tokens.empty() ? 0 : out.tokens.size() - 1;
  sums.n_step += out.n_step;
  sums.n_row += out.n_row;
  sums.decode_ms += out.decode_ms;
  sums.draft_ms += out.draft_ms;
  sums.most_frames = std::max(sums.most_frames, out.most_frames);
  if (before) {
    const NetworkUse after = *subject_.network();
    sums.bytes_up += after.bytes_up - before->bytes_up;
    sums.bytes_down += after.bytes_down - before->bytes_down;
    sums.n_alone += after.n_step - before->n_step;
    sums.wait_ms += after.step_ms - before->step_ms;
    sums.body_ms += after.body_ms - before->body_ms;
    sums.rtt_ms = after.rtt_ms;
  }
  return out;
}

// Finds where the text begins to loop. No warm drafter sees it. Where nothing does, and the decoder
// is the one to be measured, it was measured.
Status Bench::first_text(TypeFacts& facts, Text& text, const std::string& decoder,
                         double temperature, DecodeSums& sums) {
  SPLITD_ASSIGN(Generated out,
                generate(text, decoder, temperature, options_.max_tokens, false, sums));
  const size_t n = text_before_loop(out.tokens);
  facts.n_token += out.tokens.size();
  facts.n_loop_token += out.tokens.size() - n;
  facts.n_loop += n < out.tokens.size();
  out.tokens.resize(n);
  text.tokens[temperature] = std::move(out.tokens);
  return {};
}

Status Bench::run_type(size_t type, const std::string& decoder, double temperature) {
  DecodeSums sums;
  for (Text& text : texts_[type]) {
    if (!text.tokens.contains(temperature)) {
      // The quickest of them: what it writes is what all write.
      const auto& all = options_.decoders;
      const bool has_auto = std::find(all.begin(), all.end(), "auto") != all.end();
      const std::string& first = has_auto ? *std::find(all.begin(), all.end(), "auto") : decoder;
      DecodeSums measured;
      const uint64_t n_loop = out_.types[type].n_loop;
      SPLITD_TRY(first_text(out_.types[type], text, first, temperature, measured));
      if (first == decoder && n_loop == out_.types[type].n_loop && !options_.warm) {
        if (text.tokens[temperature].size() >= kLeastText) sums.add(measured);
        SPLITD_TRY(show_progress());
        continue;
      }
    }
    SPLITD_TRY(show_progress());
    const std::vector<uint32_t>& expected = text.tokens[temperature];
    if (expected.size() < kLeastText) continue;
    SPLITD_ASSIGN(
        const Generated out,
        generate(text, decoder, temperature, static_cast<uint32_t>(expected.size()), true, sums));
    sums.n_other += out.tokens != expected;
  }
  out_.results.push_back({out_.types[type].type, decoder, temperature, std::nullopt, sums});
  return {};
}

Result<DecodeBench> Bench::run() {
  const size_t n_link = std::max<size_t>(1, options_.links.size());
  for (size_t link = 0; link < n_link; ++link) {
    for (const double temperature : options_.temperatures) {
      drafters_.clear();
      for (size_t type = 0; type < texts_.size(); ++type) {
        for (const std::string& decoder : options_.decoders) {
          if (!options_.links.empty()) subject_.delayed->set_link(options_.links[link]);
          SPLITD_TRY(run_type(type, decoder, temperature));
          DecodeResult& result = out_.results.back();
          if (options_.links.empty()) continue;
          result.link = options_.links[link];
        }
      }
    }
  }
  return std::move(out_);
}

}  // namespace

void DecodeSums::add(const DecodeSums& other) {
  n_text += other.n_text;
  n_other += other.n_other;
  n_token += other.n_token;
  n_step += other.n_step;
  n_row += other.n_row;
  decode_ms += other.decode_ms;
  draft_ms += other.draft_ms;
  bytes_up += other.bytes_up;
  bytes_down += other.bytes_down;
  most_frames = std::max(most_frames, other.most_frames);
  n_alone += other.n_alone;
  wait_ms += other.wait_ms;
  body_ms += other.body_ms;
  if (other.rtt_ms) rtt_ms = std::min(rtt_ms.value_or(*other.rtt_ms), *other.rtt_ms);
}

Result<std::unique_ptr<Drafter>> drafter_of(const std::string& decoder, uint32_t n_vocab) {
  DrafterOptions options;
  options.n_vocab = n_vocab;
  const size_t colon = decoder.find(':');
  const std::string name = decoder.substr(0, colon);
  if (colon != std::string::npos) {
    const char* const end = decoder.data() + decoder.size();
    const auto [last, error] = std::from_chars(decoder.data() + colon + 1, end, options.n_gram);
    if (name != "prompt-lookup" || error != std::errc() || last != end || options.n_gram < 1 ||
        options.n_gram > 64) {
      return usage_error("--decoder: '" + decoder +
                         "'; a number behind a colon is prompt-lookup's "
                         "n-gram, 1 to 64");
    }
  }
  if (name == "sequential") return std::unique_ptr<Drafter>();
  return make_drafter(name, options);
}

Result<DecodeBench> bench_decode(const BenchSubject& subject, const std::vector<PromptSet>& sets,
                                 const DecodeBenchOptions& options, const ProgressFn& progress) {
  Bench bench(subject, options, progress);
  SPLITD_TRY(bench.read(sets));
  return bench.run();
}

}  // namespace splitd::cli
