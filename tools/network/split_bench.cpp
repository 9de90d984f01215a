#include "tools/network/split_bench.h"

#include <algorithm>
#include <cstdio>
#include <vector>

#include "runtime/base/json.h"
#include "runtime/decode/sampler.h"
#include "tools/generate/cancel_watch.h"
#include "tools/network/ends.h"

namespace splitd::cli {
namespace {

constexpr uint32_t kShortPrompt = 8;

// Means over the steps of one round, in milliseconds.
struct Round {
  double token = 0;     // from one token to the next
  double step = 0;      // of which: from handing a row over to having it back
  double body = 0;      // of which: the body, as it says
  double overhead = 0;  // step − smallest round trip − body
  double local = 0;     // token − step: head, tail, sampler
  double bytes_up = 0;  // of a step
  double bytes_down = 0;
};

std::vector<uint32_t> some_ids(uint32_t n, uint32_t n_vocab, uint32_t salt) {
  std::vector<uint32_t> ids(n);
  for (uint32_t i = 0; i < n; ++i) {
    ids[i] = static_cast<uint32_t>((uint64_t{i} * 7919 + salt * 104729u + 11) % n_vocab);
  }
  return ids;
}

Result<Generated> generate(Context& context, TextModel& model, const std::vector<uint32_t>& prompt,
                           uint32_t n_gen) {
  Result<Session*> opened = [&] {
    const CancelWatch watch(context, [&] { model.interrupt(); });
    return model.session(prompt.size(), n_gen);
  }();
  if (!opened) return opened.take_error();
  Sampler sampler({}, model.config().n_vocab);
  GenerateOptions options;
  options.max_tokens = n_gen;
  const CancelWatch watch(context, [&] { (*opened)->cancel(); });
  return (*opened)->generate(prompt, options, sampler, [](uint32_t) { return true; });
}

Result<Round> decode_round(Context& context, TextModel& model, uint32_t n_gen, uint32_t salt) {
  const std::vector<uint32_t> prompt = some_ids(kShortPrompt, model.config().n_vocab, salt);
  // The prompt first, so that what is measured is steps alone.
  if (Result<Generated> warm = generate(context, model, prompt, 1); !warm) return warm.take_error();
  const NetworkUse before = *model.network();
  SPLITD_ASSIGN(const Generated out, generate(context, model, prompt, n_gen + 1));
  const NetworkUse after = *model.network();
  const auto n_step = static_cast<double>(std::max<uint64_t>(1, out.n_step));
  const auto n_alone = static_cast<double>(std::max<uint64_t>(1, after.n_step - before.n_step));
  Round round;
  round.token = out.decode_ms / n_step;
  round.step = (after.step_ms - before.step_ms) / n_alone;
  round.body = (after.body_ms - before.body_ms) / n_alone;
  round.overhead = round.step - round.body - after.rtt_ms.value_or(0);
  round.local = round.token - round.step;
  round.bytes_up = static_cast<double>(after.bytes_up - before.bytes_up) / n_step;
  round.bytes_down = static_cast<double>(after.bytes_down - before.bytes_down) / n_step;
  return round;
}

Round median(std::vector<Round> rounds) {
  std::sort(rounds.begin(), rounds.end(),
            [](const Round& a, const Round& b) { return a.token < b.token; });
  return rounds[rounds.size() / 2];
}

}  // namespace

Status bench_split(Context& context, const std::string& path, const EngineOptions& engine,
                   uint32_t n_prompt, uint32_t n_gen, uint32_t repetitions) {
  SPLITD_ASSIGN(const BodyChoice choice, read_body_flags(context));
  SPLITD_ASSIGN(const std::unique_ptr<TextModel> model, open_ends(context, path, engine, choice));
  SPLITD_TRY(model->read_ahead(context.progress()));
  context.end_progress();
  std::vector<Round> rounds;
  std::vector<double> first_ms;
  for (uint32_t i = 0; i <= repetitions; ++i) {  // the first does not count
    if (n_gen > 0) {
      SPLITD_ASSIGN(const Round round, decode_round(context, *model, n_gen, i));
      if (i > 0) rounds.push_back(round);
    }
    if (n_prompt > 0) {
      const std::vector<uint32_t> prompt = some_ids(n_prompt, model->config().n_vocab, 1000 + i);
      SPLITD_ASSIGN(const Generated out, generate(context, *model, prompt, 1));
      if (i > 0) first_ms.push_back(out.prefill_ms);
    }
  }
  const NetworkUse use = *model->network();
  std::sort(first_ms.begin(), first_ms.end());
  if (context.flag("json")) {
    JsonWriter json;
    json.begin_object().field("rtt_ms", use.rtt_ms.value_or(0));
    if (!rounds.empty()) {
      const Round r = median(rounds);
      json.key("step").begin_object().field("token_ms", r.token).field("local_ms", r.local);
      json.field("step_ms", r.step).field("body_ms", r.body).field("overhead_ms", r.overhead);
      json.field("bytes_up", r.bytes_up).field("bytes_down", r.bytes_down);
      json.field("tokens_per_second", r.token > 0 ? 1000 / r.token : 0.0).end_object();
    }
    if (!first_ms.empty()) {
      json.key("prefill").begin_object().field("tokens", n_prompt);
      json.field("first_token_ms", first_ms[first_ms.size() / 2]).end_object();
    }
    context.out().write(json.end_object().take() + "\n");
    return {};
  }
  char text[800];
  if (!rounds.empty()) {
    const Round r = median(rounds);
    std::snprintf(text, sizeof text,
                  "a token        %9.3f ms   %.2f tok/s\n"
                  "  here         %9.3f ms   head, tail, sampler\n"
                  "  round trip   %9.3f ms   the smallest ping\n"
                  "  body         %9.3f ms   as it says\n"
                  "  overhead     %9.3f ms   framing, wire, %s, wake-ups, jitter\n"
                  "bytes a step   %9.0f up   %.0f down\n",
                  r.token, 1000 / r.token, r.local, use.rtt_ms.value_or(0), r.body, r.overhead,
                  choice.remote.tls ? "TLS" : "TCP", r.bytes_up, r.bytes_down);
    context.out().write(text);
  }
  if (!first_ms.empty()) {
    std::snprintf(text, sizeof text, "first token    %9.1f ms   of a prompt of %u\n",
                  first_ms[first_ms.size() / 2], n_prompt);
    context.out().write(text);
  }
  return {};
}

}  // namespace splitd::cli
