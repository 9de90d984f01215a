#include "tools/plan/plan_report.h"

#include <cstdio>
#include <utility>

#include "tools/doctor/report.h"

namespace splitd::cli {
namespace {

using kernels::WireType;

constexpr std::pair<const char*, WireType> kWires[] = {{"f32", WireType::f32},
                                                       {"bf16", WireType::bf16},
                                                       {"f16", WireType::f16},
                                                       {"q8", WireType::q8},
                                                       {"q4", WireType::q4}};

std::string_view kv_text(KvType type) {
  switch (type) {
    case KvType::f32:
      return "f32";
    case KvType::f16:
      return "f16";
    case KvType::bf16:
      return "bf16";
    case KvType::q8:
      return "q8";
  }
  return "";
}

std::string number_text(const char* pattern, double value) {
  char text[64];
  std::snprintf(text, sizeof text, pattern, value);
  return text;
}

std::string layers_text(const LayerRange& range) {
  return std::to_string(range.begin) + ":" + std::to_string(range.end);
}

// Milliseconds of one token on the device: what it reads, at that speed.
double token_ms(const DeviceCost& cost, const ReadSpeed& speed) {
  return 1e3 * static_cast<double>(cost.token_weights + cost.token_kv) / speed.bytes_per_second;
}

std::string place_text(const SplitChoice& choice) {
  if (choice.whole) return "all layers";
  if (choice.head + choice.tail == 0) return "no layer";
  return "head " + std::to_string(choice.head) + ", tail " + std::to_string(choice.tail);
}

void add_choice(const SplitChoice& choice, const SplitPlan& plan, const ReadSpeed& speed,
                std::string& out) {
  const DeviceCost& device = choice.device;
  const auto line = [&out](const std::string& label, const std::string& value) {
    out +=
        "  " + label + std::string(label.size() < 13 ? 13 - label.size() : 1, ' ') + value + "\n";
  };
  line(
      choice.dtype,
      (choice.fits ? "" : "does not fit: ") + place_text(choice) + ", " +
          bytes_text(device.total()) + " here: weights " + bytes_text(device.weights) +
          (device.embedding == 0 ? "" : ", rows of the embedding " + bytes_text(device.embedding)) +
          ", KV " + bytes_text(device.kv) + ", work " + bytes_text(device.work));
  std::string token = bytes_text(device.token_weights) + " of weights and " +
                      bytes_text(device.token_kv) + " of KV read";
  if (speed.bytes_per_second > 0) {
    token += number_text(", %.1f ms", token_ms(device, speed));
  }
  if (!choice.whole) {
    token += "; " + bytes_text(wire_row_bytes(WireType::f16, plan.d_model)) +
             " up and as many down, " + bytes_text(wire_row_bytes(WireType::q8, plan.d_model)) +
             " with --wire q8";
  }
  line("  a token", token);
  if (choice.whole) return;
  line("  the body", "layers " + layers_text(choice.body.layers) + " as stored: weights " +
                         bytes_text(choice.body.weights) + ", KV " + bytes_text(choice.body.kv) +
                         " a session; a token reads " + bytes_text(choice.body.token_weights));
}

void add_commands(const SplitChoice& choice, const SplitPlan& plan, const std::string& path,
                  std::string& out) {
  std::string model = path;
  if (choice.dtype != "stored") {
    model = path + "-" + choice.dtype;
    out +=
        "  so           splitd convert " + path + " " + model + " --dtype " + choice.dtype + "\n";
  }
  const std::string indent = choice.dtype == "stored" ? "  so           " : "               ";
  const std::string room = " --ctx " + std::to_string(plan.options.n_ctx) + " --kv " +
                           std::string(kv_text(plan.options.kv));
  if (choice.whole) {
    out += indent + "splitd run " + model + room + "\n";
    return;
  }
  out += indent + "splitd cloud " + path + " --layers " + layers_text(choice.body.layers) + "\n";
  out += "               splitd local " + model + " --body HOST:PORT --head " +
         std::to_string(choice.head) + " --tail " + std::to_string(choice.tail) + room + "\n";
}

}  // namespace

std::string plan_text(const SplitPlan& plan, const ReadSpeed& speed, const std::string& path) {
  std::string out = "plan for a device of " + bytes_text(plan.options.memory) + ": " +
                    std::to_string(plan.options.n_ctx) + " tokens of context, KV " +
                    std::string(kv_text(plan.options.kv));
  if (speed.bytes_per_second > 0) {
    out += number_text(", memory read at %.1f GB/s", speed.bytes_per_second * 1e-9) +
           (speed.measured ? " (measured here)" : " (as given)");
  }
  out += "\n";
  for (const SplitChoice& choice : plan.choices) add_choice(choice, plan, speed, out);
  if (plan.best) {
    add_commands(plan.choices[*plan.best], plan, path, out);
  } else {
    out += "  so           nothing fits: a smaller --ctx, --kv q8 or more --memory\n";
  }
  return out;
}

void write_plan(JsonWriter& json, const SplitPlan& plan, const ReadSpeed& speed) {
  json.begin_object().field("memory", plan.options.memory).field("ctx", plan.options.n_ctx);
  json.field("kv", kv_text(plan.options.kv));
  if (speed.bytes_per_second > 0) {
    json.field("read_gb_per_second", speed.bytes_per_second * 1e-9);
    json.field("read_speed", std::string_view(speed.measured ? "measured" : "given"));
  }
  json.key("choices").begin_array();
  for (const SplitChoice& choice : plan.choices) {
    const DeviceCost& device = choice.device;
    json.begin_object().field("dtype", std::string_view(choice.dtype));
    json.field("fits", choice.fits).field("whole", choice.whole);
    json.field("head", choice.head).field("tail", choice.tail);
    json.key("device").begin_object().field("bytes", device.total());
    json.field("weight_bytes", device.weights).field("embedding_bytes", device.embedding);
    json.field("kv_bytes", device.kv).field("work_bytes", device.work).end_object();
    json.key("token").begin_object().field("weight_bytes", device.token_weights);
    json.field("kv_bytes", device.token_kv);
    json.key("wire_bytes").begin_object();  // each way
    for (const auto& [name, type] : kWires) {
      json.field(name, choice.whole ? uint64_t{0} : wire_row_bytes(type, plan.d_model));
    }
    json.end_object();
    if (speed.bytes_per_second > 0) json.field("ms", token_ms(device, speed));
    json.end_object();
    if (!choice.whole) {
      json.key("body").begin_object().key("layers").begin_array();
      json.number(uint64_t{choice.body.layers.begin}).number(uint64_t{choice.body.layers.end});
      json.end_array().field("weight_bytes", choice.body.weights);
      json.field("kv_bytes", choice.body.kv);
      json.field("token_weight_bytes", choice.body.token_weights).end_object();
    }
    json.end_object();
  }
  json.end_array().key("best");
  if (plan.best) {
    json.string(plan.choices[*plan.best].dtype);
  } else {
    json.null();
  }
  json.end_object();
}

}  // namespace splitd::cli
