#include "tools/generate/answer.h"

#include <algorithm>
#include <optional>

#include "runtime/base/json.h"
#include "runtime/decode/stop_strings.h"
#include "tools/generate/cancel_watch.h"
#include "tools/generate/options.h"

namespace splitd::cli {

static NetworkUse since(const NetworkUse& before, NetworkUse now) {
  now.bytes_up -= before.bytes_up;
  now.bytes_down -= before.bytes_down;
  now.n_reconnect -= before.n_reconnect;
  now.n_step -= before.n_step;
  now.step_ms -= before.step_ms;
  now.body_ms -= before.body_ms;
  return now;
}

// What a step took beyond the round trip and the body's own time is ours.
static void write_network(JsonWriter& json, const NetworkUse& use) {
  json.key("network").begin_object();
  if (use.rtt_ms) json.field("rtt_ms", *use.rtt_ms);
  json.field("bytes_up", use.bytes_up).field("bytes_down", use.bytes_down);
  if (use.n_step > 0) {
    const auto n = static_cast<double>(use.n_step);
    json.field("step_ms", use.step_ms / n).field("body_ms_per_step", use.body_ms / n);
    if (use.rtt_ms) {
      json.field("overhead_ms_per_step", (use.step_ms - use.body_ms) / n - *use.rtt_ms);
    }
  }
  json.field("reconnects", use.n_reconnect).end_object();
}

Status answer_prompt(Context& context, TextModel& model, const std::vector<uint32_t>& prompt,
                     Output* stream, Answer& answer) {
  SPLITD_ASSIGN(const SamplingOptions sampling,
                read_sampling(context, model.path(), model.config().n_vocab));
  GenerateOptions options;
  options.max_tokens = static_cast<uint32_t>(context.integer("max-tokens"));
  if (!context.flag("ignore-eos")) options.stop_ids = model.config().eos;
  answer.seed = sampling.seed;

  SPLITD_ASSIGN(Speculation* const speculation, model.speculation(context));
  speculation->apply(sampling, options);
  answer.decoder = speculation->name();

  // A prompt that does not fit is refused before anything is read or computed.
  Result<Session*> opened = [&] {
    const CancelWatch watch(context, [&] { model.interrupt(); });
    return model.session(prompt.size(), options.max_tokens);
  }();
  if (!opened) return opened.take_error();
  Session* const session = *opened;
  SPLITD_TRY(model.read_ahead(context.progress()));
  Sampler sampler(sampling, model.config().n_vocab);
  // A model without a tokenizer answers with ids alone.
  const Tokenizer* tokenizer = nullptr;
  std::optional<StreamDecoder> decoder;
  if (const Result<const Tokenizer*> known = model.tokenizer()) {
    tokenizer = *known;
    decoder.emplace(*tokenizer, false);
  }
  StopStrings stops(context.texts("stop"));
  const auto show = [&](std::string_view text) {
    answer.text += text;
    if (stream == nullptr || text.empty()) return true;
    context.end_progress();
    stream->write(text);
    return stream->flush().ok();
  };

  const std::optional<NetworkUse> before = model.network();
  Error failure;
  std::string piece;
  answer.ids.reserve(std::min(options.max_tokens, 4096u));
  const auto on_token = [&](uint32_t token) {
    answer.ids.push_back(token);
    const bool is_stop = std::find(options.stop_ids.begin(), options.stop_ids.end(), token) !=
                         options.stop_ids.end();
    // Tables are often padded beyond the vocabulary: such a token has no text.
    if (is_stop || !decoder || !tokenizer->token_of(token)) return true;
    piece.clear();
    if (Status status = decoder->push(token, piece); !status.ok()) {
      failure = status.take_error();
      return false;
    }
    const StopStrings::Step step = stops.push(piece);
    answer.stopped = step.stopped;
    return show(step.text) && !step.stopped;
  };
  Result<Generated> generated = [&] {
    const CancelWatch watch(context, [&] { session->cancel(); });
    return session->generate(prompt, options, sampler, on_token, context.progress());
  }();
  context.end_progress();
  if (!answer.stopped && decoder) {
    const StopStrings::Step step = stops.push(decoder->finish());
    answer.stopped = step.stopped;
    show(step.text);
    if (!step.stopped) show(stops.finish());
  }
  if (!generated) return generated.take_error();
  if (!failure.message.empty()) return failure;
  answer.statistics = std::move(*generated);
  if (Status kept = speculation->keep(prompt, answer.ids); !kept.ok()) {
    context.log().warning("--corpus: " + kept.error().message + "; this text is not in it");
  }
  if (before) answer.network = since(*before, *model.network());
  context.log().debug("prompt of " + std::to_string(prompt.size()) + " tokens, " +
                      std::to_string(answer.statistics.n_reused) + " computed before");
  answer.stopped = answer.stopped || answer.statistics.reason == FinishReason::stop;
  return {};
}

std::string answer_json(const Answer& answer, double load_ms) {
  const Generated& s = answer.statistics;
  const auto n_token = static_cast<double>(answer.ids.size());
  JsonWriter json;
  json.begin_object().field("text", std::string_view(answer.text)).key("ids").begin_array();
  for (const uint32_t id : answer.ids) json.number(uint64_t{id});
  json.end_array().field("seed", answer.seed);
  json.field("finish_reason", answer.stopped ? "stop" : "length");
  json.key("usage").begin_object().field("prompt_tokens", s.n_prompt);
  json.field("completion_tokens", uint64_t{answer.ids.size()}).end_object();
  json.key("timing").begin_object().field("load_ms", load_ms);
  json.field("prefill_ms", s.prefill_ms).field("decode_ms", s.decode_ms);
  json.field("tokens_per_second", s.decode_ms > 0 ? n_token * 1e3 / s.decode_ms : 0.0);
  json.end_object().key("speculation").begin_object();
  json.field("decoder", std::string_view(answer.decoder)).field("steps", s.n_step);
  json.field("frames_in_vain", s.n_vain_frame).field("rows_sent", s.n_row);
  // The first token comes from the prompt's last row and no step.
  const double stepped = n_token > 0 ? n_token - 1 : 0;
  json.field("tokens_per_step", s.n_step > 0 ? stepped / static_cast<double>(s.n_step) : 0.0);
  if (stepped > 0) json.field("rows_per_token", static_cast<double>(s.n_row) / stepped);
  json.field("frames_in_flight_max", uint64_t{s.most_frames}).field("draft_ms", s.draft_ms);
  json.end_object();
  if (answer.network) write_network(json, *answer.network);
  return json.end_object().take();
}

}  // namespace splitd::cli
