#include "runtime/model/config_rope.h"

#include <cmath>

namespace splitd {
namespace {

constexpr std::string_view kRopeKinds = "default, linear, llama3, longrope";

// The member `key` of the config as an object, or nothing when it is absent, null or empty.
Result<std::optional<ConfigReader>> section(const ConfigReader& reader, std::string_view key) {
  const std::optional<Json> value = reader.find(key);
  if (!value) return std::optional<ConfigReader>();
  if (!value->is_object()) return reader.refuse(key, *value, "an object or null");
  if (value->size() == 0) return std::optional<ConfigReader>();
  return std::optional<ConfigReader>(ConfigReader(*value, reader.name(key) + "."));
}

struct RopeContext {
  const ConfigReader& reader;  // the config around the section
  const Family& family;
  const ModelConfig& config;
  double theta;    // where the section does not say
  double partial;  // likewise
};

Result<RopeKind> read_kind(const ConfigReader& rope, const Family& family) {
  const std::string_view key = rope.find("rope_type") ? "rope_type" : "type";
  SPLITD_ASSIGN(const std::string kind, rope.string(key, "default"));
  if (kind == "default") return RopeKind::plain;
  if (kind == "linear") return RopeKind::linear;
  if (kind == "llama3") return RopeKind::llama3;
  if (kind == "longrope") return RopeKind::longrope;
  // Early Phi-3 files; the reference reads both as longrope, for this family alone.
  if (family.partial_rotary && (kind == "su" || kind == "yarn")) return RopeKind::longrope;
  return model_error(rope.name(key) + " is \"" + kind +
                     "\", which is not supported; supported: " + std::string(kRopeKinds));
}

// A Phi-3 file has it beside the section, and that one wins; others have it inside.
Result<uint64_t> read_original_ctx(const ConfigReader& rope, const RopeContext& context) {
  constexpr std::string_view kKey = "original_max_position_embeddings";
  const uint64_t fallback =
      context.family.partial_rotary ? context.family.n_ctx : context.config.n_ctx;
  const ConfigReader& where = context.reader.find(kKey) ? context.reader : rope;
  return where.integer(kKey, fallback, 1, kMaxContext);
}

Status read_llama3(const ConfigReader& rope, const RopeContext& context, RopeConfig& out) {
  for (const std::string_view key : {"factor", "low_freq_factor", "high_freq_factor"}) {
    if (!rope.find(key)) return model_error(rope.name(key) + " is missing; llama3 rope needs it");
  }
  SPLITD_ASSIGN(out.factor, rope.positive("factor", 1.0));
  SPLITD_ASSIGN(out.low_freq_factor, rope.positive("low_freq_factor", 1.0));
  SPLITD_ASSIGN(out.high_freq_factor, rope.positive("high_freq_factor", 4.0));
  SPLITD_ASSIGN(out.original_ctx, read_original_ctx(rope, context));
  if (out.high_freq_factor <= out.low_freq_factor) {
    return rope.refuse("high_freq_factor", *rope.find("high_freq_factor"),
                       "more than low_freq_factor, " + number_text(out.low_freq_factor));
  }
  return {};
}

// Other engines let these replace the attention factor for short or long contexts; the reference
// ignores them. Where that would differ, nobody can tell which is meant.
Status refuse_mscale(const ConfigReader& rope, float attention_factor) {
  for (const std::string_view key : {"short_mscale", "long_mscale"}) {
    SPLITD_ASSIGN(const double value, rope.positive(key, attention_factor));
    if (std::abs(value - attention_factor) > 1e-6 * attention_factor) {
      return rope.refuse(key, *rope.find(key),
                         "the attention factor, " + number_text(attention_factor) + ", or none");
    }
  }
  return {};
}

Status read_longrope(const ConfigReader& rope, const RopeContext& context, RopeConfig& out) {
  SPLITD_ASSIGN(out.original_ctx, read_original_ctx(rope, context));
  SPLITD_ASSIGN(out.short_factors, rope.positives("short_factor", out.n_rotary / 2));
  SPLITD_ASSIGN(out.long_factors, rope.positives("long_factor", out.n_rotary / 2));
  const double extension =
      static_cast<double>(context.config.n_ctx) / static_cast<double>(out.original_ctx);
  SPLITD_ASSIGN(const double factor, rope.positive("factor", extension));
  SPLITD_ASSIGN(const double attention,
                rope.positive("attention_factor",
                              double{longrope_attention_factor(factor, out.original_ctx)}));
  out.attention_factor = static_cast<float>(attention);
  return refuse_mscale(rope, out.attention_factor);
}

// `rope` may be missing: a plain rope then.
Result<RopeConfig> read_rope(const std::optional<ConfigReader>& rope, const RopeContext& context) {
  RopeConfig out;
  out.theta = context.theta;
  double partial = context.partial;
  if (rope) {
    SPLITD_ASSIGN(out.kind, read_kind(*rope, context.family));
    SPLITD_ASSIGN(out.theta, rope->positive("rope_theta", context.theta));
    SPLITD_ASSIGN(partial, rope->positive("partial_rotary_factor", context.partial));
  }
  if (partial > 1.0 || (partial != 1.0 && !context.family.partial_rotary)) {
    return model_error("partial_rotary_factor is " + number_text(partial) + "; accepted: " +
                       (context.family.partial_rotary ? "more than 0, at most 1" : "1"));
  }
  out.n_rotary = static_cast<uint32_t>(context.config.d_head * partial);
  if (out.n_rotary == 0 || out.n_rotary % 2 != 0) {
    return model_error("rope turns " + std::to_string(out.n_rotary) + " dimensions of a head of " +
                       std::to_string(context.config.d_head) +
                       "; accepted: an even number of them");
  }
  if (!rope) return out;
  if (out.kind == RopeKind::linear) {
    if (!rope->find("factor")) return model_error(rope->name("factor") + " is missing");
    SPLITD_ASSIGN(out.factor, rope->positive("factor", 1.0));
  }
  if (out.kind == RopeKind::llama3) SPLITD_TRY(read_llama3(*rope, context, out));
  if (out.kind == RopeKind::longrope) SPLITD_TRY(read_longrope(*rope, context, out));
  return out;
}

// Both spellings in one file are accepted when they do not contradict each other.
Status refuse_contradiction(const ConfigReader& old_style, const ConfigReader& new_style,
                            const Family& family) {
  SPLITD_ASSIGN(const RopeKind old_kind, read_kind(old_style, family));
  SPLITD_ASSIGN(const RopeKind new_kind, read_kind(new_style, family));
  if (old_kind == new_kind) return {};
  return model_error(
      "rope_scaling and rope_parameters name different kinds of rope; accepted: one "
      "of the two");
}

Status read_two_ropes(const ConfigReader& reader, const Family& family, RopeContext context,
                      ModelConfig& config) {
  SPLITD_ASSIGN(const std::optional<ConfigReader> parameters, section(reader, "rope_parameters"));
  SPLITD_ASSIGN(std::optional<ConfigReader> full, section(reader, "rope_scaling"));
  std::optional<ConfigReader> local;
  if (parameters) {
    for (const std::string_view key : {"rope_theta", "rope_type", "type", "factor"}) {
      const std::optional<Json> value = parameters->find(key);
      if (value) {
        return parameters->refuse(key, *value,
                                  "none: each layer type, full_attention and sliding_attention, "
                                  "has its own rope_parameters");
      }
    }
    SPLITD_ASSIGN(const std::optional<ConfigReader> nested, section(*parameters, "full_attention"));
    SPLITD_ASSIGN(local, section(*parameters, "sliding_attention"));
    if (full && nested) SPLITD_TRY(refuse_contradiction(*full, *nested, family));
    if (!full) full = nested;
  }
  SPLITD_ASSIGN(const RopeConfig full_rope, read_rope(full, context));
  SPLITD_ASSIGN(context.theta, reader.positive("rope_local_base_freq", family.window_theta));
  SPLITD_ASSIGN(const RopeConfig local_rope, read_rope(local, context));
  config.ropes = {full_rope, local_rope};
  return {};
}

}  // namespace

float longrope_attention_factor(double extension, uint64_t original_ctx) {
  if (extension <= 1.0 || original_ctx <= 1) return 1.0f;
  return static_cast<float>(
      std::sqrt(1.0 + std::log(extension) / std::log(static_cast<double>(original_ctx))));
}

Status read_ropes(const ConfigReader& reader, const Family& family, ModelConfig& config) {
  SPLITD_ASSIGN(const double theta, reader.positive("rope_theta", family.theta));
  SPLITD_ASSIGN(const double partial, reader.positive("partial_rotary_factor", 1.0));
  RopeContext context{reader, family, config, theta, partial};
  if (family.window_theta > 0.0) return read_two_ropes(reader, family, context, config);

  SPLITD_ASSIGN(const std::optional<ConfigReader> parameters, section(reader, "rope_parameters"));
  SPLITD_ASSIGN(std::optional<ConfigReader> rope, section(reader, "rope_scaling"));
  if (parameters) {
    for (const std::string_view key : {"full_attention", "sliding_attention"}) {
      const std::optional<Json> value = parameters->find(key);
      if (value) return parameters->refuse(key, *value, "one rope for all layers of this family");
    }
    // The base is not part of rope_scaling, so it may stand here alone.
    if (!reader.find("rope_theta")) {
      SPLITD_ASSIGN(context.theta, parameters->positive("rope_theta", family.theta));
    }
    if (rope) SPLITD_TRY(refuse_contradiction(*rope, *parameters, family));
    if (!rope) rope = parameters;
  }
  SPLITD_ASSIGN(const RopeConfig one, read_rope(rope, context));
  config.ropes = {one};
  return {};
}

}  // namespace splitd
