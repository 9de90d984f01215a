#include "tools/measure/decode_report.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "runtime/base/json.h"

namespace splitd::cli {
namespace {

constexpr int kBar = 24;  // columns

template <class... Values>
std::string format(const char* pattern, Values... values) {
  char text[256];
  std::snprintf(text, sizeof text, pattern, values...);
  return text;
}

bool same_link(const std::optional<Link>& a, const std::optional<Link>& b) {
  if (!a || !b) return a.has_value() == b.has_value();
  return a->rtt_ms == b->rtt_ms && a->mbit == b->mbit;
}

// All kinds of text with one decoder, over one link, at one temperature.
struct Overall {
  std::string decoder;
  double temperature = 0;
  std::optional<Link> link;
  DecodeSums sums;
  double mean_speed = 0;                  // tokens a second, of the kinds' speeds
  std::optional<double> mean_over_first;  // of the kinds' ratios
};

double per(double sum, uint64_t n) {
  return n > 0 ? sum / static_cast<double>(n) : 0;
}

const DecodeResult* first_of(const DecodeBench& bench, const DecodeResult& result,
                             const std::string& first) {
  for (const DecodeResult& other : bench.results) {
    if (other.type == result.type && other.decoder == first &&
        other.temperature == result.temperature && same_link(other.link, result.link)) {
      return &other;
    }
  }
  return nullptr;
}

std::optional<double> over_first(const DecodeBench& bench, const DecodeResult& result,
                                 const std::string& first) {
  const DecodeResult* const other = first_of(bench, result, first);
  if (other == nullptr || other->sums.tokens_per_second() == 0) return std::nullopt;
  return result.sums.tokens_per_second() / other->sums.tokens_per_second();
}

std::vector<Overall> overall(const DecodeBench& bench, const std::string& first) {
  std::vector<Overall> all;
  std::vector<int> n_type;
  for (const DecodeResult& result : bench.results) {
    if (result.sums.n_token == 0) continue;
    size_t at = 0;
    while (at < all.size() &&
           (all[at].decoder != result.decoder || all[at].temperature != result.temperature ||
            !same_link(all[at].link, result.link))) {
      ++at;
    }
    if (at == all.size()) {
      all.push_back({result.decoder, result.temperature, result.link, {}, 0, {}});
      n_type.push_back(0);
    }
    const double n = ++n_type[at];
    Overall& sum = all[at];
    sum.sums.add(result.sums);
    sum.mean_speed += (result.sums.tokens_per_second() - sum.mean_speed) / n;
    if (const std::optional<double> ratio = over_first(bench, result, first)) {
      sum.mean_over_first = sum.mean_over_first.value_or(0) * (1 - 1 / n) + *ratio / n;
    }
  }
  return all;
}

// What a step would take over another link, from what it took over this one.
double projected_ms(const Overall& from, const Link& to) {
  const double step = per(from.sums.decode_ms, from.sums.n_step);
  const double bytes =
      per(static_cast<double>(from.sums.bytes_up + from.sums.bytes_down), from.sums.n_step);
  const auto line_ms = [&](const Link& link) {
    return link.mbit > 0 ? bytes * 8 / (link.mbit * 1e3) : 0.0;
  };
  return step - from.link->rtt_ms - line_ms(*from.link) + to.rtt_ms + line_ms(to);
}

void write_sums(JsonWriter& json, const DecodeSums& s) {
  json.field("texts", s.n_text).field("differ", s.n_other).field("tokens", s.n_token);
  json.field("steps", s.n_step).field("tokens_per_step", s.tokens_per_step());
  json.field("tokens_per_second", s.tokens_per_second());
  json.field("rows_per_token", per(static_cast<double>(s.n_row), s.n_token));
  json.field("draft_ms_per_step", per(s.draft_ms, s.n_step));
  json.field("frames_in_flight_max", s.most_frames);
  const double step_ms = per(s.decode_ms, s.n_step);
  json.field("step_ms", step_ms);
  if (s.bytes_up == 0) return;
  json.field("bytes_up_per_token", per(static_cast<double>(s.bytes_up), s.n_token));
  json.field("bytes_down_per_token", per(static_cast<double>(s.bytes_down), s.n_token));
  if (s.n_alone == 0) return;
  const double wait_ms = per(s.wait_ms, s.n_alone), body_ms = per(s.body_ms, s.n_alone);
  json.key("alone").begin_object().field("steps", s.n_alone).field("wait_ms", wait_ms);
  json.field("body_ms", body_ms);
  if (s.rtt_ms) {
    json.field("rtt_ms", *s.rtt_ms).field("wire_and_overhead_ms", wait_ms - body_ms - *s.rtt_ms);
  }
  if (s.n_alone == s.n_step) json.field("local_ms", step_ms - wait_ms);
  json.end_object();
}

void write_key(JsonWriter& json, const std::string& decoder, double temperature,
               const std::optional<Link>& link) {
  json.field("decoder", std::string_view(decoder)).field("temperature", temperature);
  if (!link) return;
  json.field("rtt_ms", link->rtt_ms);
  if (link->mbit > 0) json.field("mbit", link->mbit);
}

void write_projections(JsonWriter& json, const std::vector<Overall>& all) {
  json.key("projections").begin_array();
  for (const Overall& from : all) {
    for (const Overall& to : all) {
      if (!from.link || !to.link || same_link(from.link, to.link)) continue;
      if (from.decoder != to.decoder || from.temperature != to.temperature) continue;
      const double expected = projected_ms(from, *to.link);
      const double measured = per(to.sums.decode_ms, to.sums.n_step);
      json.begin_object();
      write_key(json, from.decoder, from.temperature, from.link);
      json.field("to_rtt_ms", to.link->rtt_ms).field("step_ms", expected);
      json.field("measured_ms", measured).field("error", expected / measured - 1).end_object();
    }
  }
  json.end_array();
}

std::string bar(double value, double most) {
  // Eighths of a column.
  static constexpr const char* kPart[] = {"", "▏", "▎", "▍", "▌", "▋", "▊", "▉"};
  const int eighths = most > 0 ? static_cast<int>(std::lround(value / most * kBar * 8)) : 0;
  std::string out;
  for (int i = 0; i < eighths / 8; ++i) out += "█";
  out += kPart[eighths % 8];
  const int used = eighths / 8 + (eighths % 8 != 0);
  return out + std::string(static_cast<size_t>(std::max(0, kBar - used)), ' ');
}

std::string line(const std::string& name, const DecodeSums& s, double speed, double most,
                 const std::optional<double>& ratio) {
  std::string out = "  " + name + std::string(name.size() < 17 ? 17 - name.size() : 1, ' ');
  out += bar(speed, most) + format(" %7.1f tok/s %5.2f a step", speed, s.tokens_per_step());
  if (ratio) out += format(" %6.2fx", *ratio);
  if (s.n_other > 0) out += format("  %u OTHER TEXTS", s.n_other);
  return out + "\n";
}

std::string heading(double temperature, const std::optional<Link>& link) {
  std::string out = format("temperature %g", temperature);
  if (link) out += format(", round trip %g ms", link->rtt_ms);
  if (link && link->mbit > 0) out += format(", %g Mbit/s", link->mbit);
  return out + "\n";
}

}  // namespace

std::string decode_json(const DecodeSubject& subject, const DecodeBenchOptions& options,
                        const DecodeBench& bench) {
  const std::string& first = options.decoders.front();
  JsonWriter json;
  json.begin_object().field("model", std::string_view(subject.path));
  json.field("arith", std::string_view(subject.arith)).field("kv", std::string_view(subject.kv));
  json.field("threads", subject.n_thread).field("where", std::string_view(subject.where));
  json.field("max_tokens", options.max_tokens).field("seed", options.seed);
  json.field("warm", options.warm);
  json.key("types").begin_array();
  for (const TypeFacts& type : bench.types) {
    json.begin_object().field("type", std::string_view(type.type));
    json.field("prompts", type.n_prompt).field("tokens", type.n_token);
    json.field("looping", type.n_loop).field("loop_tokens", type.n_loop_token).end_object();
  }
  json.end_array().key("results").begin_array();
  for (const DecodeResult& result : bench.results) {
    json.begin_object().field("type", std::string_view(result.type));
    write_key(json, result.decoder, result.temperature, result.link);
    write_sums(json, result.sums);
    if (const auto ratio = over_first(bench, result, first)) json.field("over_first", *ratio);
    json.end_object();
  }
  json.end_array().key("overall").begin_array();
  const std::vector<Overall> all = overall(bench, first);
  for (const Overall& sum : all) {
    json.begin_object();
    write_key(json, sum.decoder, sum.temperature, sum.link);
    write_sums(json, sum.sums);
    json.field("mean_tokens_per_second", sum.mean_speed);
    if (sum.mean_over_first) json.field("mean_over_first", *sum.mean_over_first);
    json.end_object();
  }
  json.end_array();
  write_projections(json, all);
  return json.end_object().take() + "\n";
}

std::string decode_text(const DecodeSubject& subject, const DecodeBenchOptions& options,
                        const DecodeBench& bench) {
  const std::string& first = options.decoders.front();
  std::string out = subject.path + ": " + subject.arith + ", kv " + subject.kv +
                    format(", %u thread%s, ", subject.n_thread, subject.n_thread == 1 ? "" : "s") +
                    subject.where + "\n";
  uint64_t n_loop = 0, n_token = 0;
  for (const TypeFacts& type : bench.types) {
    n_loop += type.n_loop_token;
    n_token += type.n_token;
  }
  out += format("%llu of %llu tokens were repetition loops: cut off, not counted\n",
                static_cast<unsigned long long>(n_loop), static_cast<unsigned long long>(n_token));
  double most = 0;
  for (const DecodeResult& r : bench.results) most = std::max(most, r.sums.tokens_per_second());
  const std::vector<Overall> all = overall(bench, first);
  const DecodeResult* before = nullptr;
  for (const DecodeResult& result : bench.results) {
    if (before == nullptr || before->temperature != result.temperature ||
        !same_link(before->link, result.link)) {
      out += "\n" + heading(result.temperature, result.link);
      out += "all kinds, each counting alike\n";
      for (const Overall& sum : all) {
        if (sum.temperature != result.temperature || !same_link(sum.link, result.link)) continue;
        out += line(sum.decoder, sum.sums, sum.mean_speed, most, sum.mean_over_first);
      }
    }
    if (before == nullptr || before->type != result.type) out += result.type + "\n";
    out += line(result.decoder, result.sums, result.sums.tokens_per_second(), most,
                over_first(bench, result, first));
    before = &result;
  }
  return out;
}

}  // namespace splitd::cli
