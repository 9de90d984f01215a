#include "tools/network/body_flags.h"

#include <string>
#include <utility>

#include "tools/generate/options.h"
#include "tools/network/tls_flags.h"

namespace splitd::cli {

FlagGroup body_flags() {
  return {.title = "Body",
          .flags = {{.name = "body",
                     .kind = FlagKind::text,
                     .metavar = "HOST:PORT",
                     .help = "who computes the layers between; several equal ones: who answers",
                     .repeatable = true},
                    {.name = "head",
                     .kind = FlagKind::integer,
                     .help = "first layers that are computed here; by default as the body offers",
                     .min = 0,
                     .max = kMaxLayers},
                    {.name = "tail",
                     .kind = FlagKind::integer,
                     .help = "last layers that are computed here; by default as the body offers",
                     .min = 0,
                     .max = kMaxLayers},
                    {.name = "wire",
                     .kind = FlagKind::choice,
                     .help = "what hidden states travel as",
                     .fallback = "f16",
                     .choices = "f16|bf16|f32|q8|q4"},
                    {.name = "transport",
                     .kind = FlagKind::choice,
                     .help = "raw TCP, or WebSocket where only HTTP passes",
                     .fallback = "tcp",
                     .choices = "tcp|ws"},
                    {.name = "retry-for",
                     .kind = FlagKind::duration,
                     .help = "how long a lost body is looked for",
                     .fallback = "60s"},
                    {.name = "allow-drift",
                     .help = "a body with another arith may take over, though the text may differ"},
                    {.name = "congestion",
                     .kind = FlagKind::text,
                     .metavar = "NAME",
                     .help = "TCP congestion control, such as bbr; by default the system's"}}};
}

static Status read_addresses(const Context& context, const net::TlsOptions& tls,
                             std::vector<BodyAddress>& bodies) {
  if (context.texts("body").empty()) {
    return usage_error("--body: HOST:PORT of a body is needed (splitd cloud prints it)");
  }
  for (const std::string& text : context.texts("body")) {
    Result<BodyAddress> address = parse_body_address(text);
    if (!address) return address.take_error().within("--body");
    if (!tls.any() && !context.flag("insecure") && !is_loopback_name(address->host)) {
      return usage_error(
          "--body: " + text +
          " is another machine, and without TLS everyone between can read and "
          "change what is sent: --psk-file or --cert, --key and --ca, or --insecure");
    }
    bodies.push_back(std::move(*address));
  }
  return {};
}

Result<BodyChoice> read_body_flags(Context& context) {
  BodyChoice out;
  RemoteOptions& remote = out.remote;
  SPLITD_ASSIGN(const net::TlsOptions tls, read_tls_flags(context));
  SPLITD_TRY(read_addresses(context, tls, remote.bodies));
  if (tls.any()) {
    SPLITD_ASSIGN(remote.tls, net::TlsContext::client(tls));
  }
  remote.websocket = context.text("transport") == "ws";
  remote.congestion = context.text("congestion");
  SPLITD_ASSIGN(remote.wire, wire_of_name(context.text("wire")));
  SPLITD_ASSIGN(const EngineOptions engine, read_engine_options(context));
  if (context.given("kv")) remote.kv = engine.kv;
  if (context.given("compute")) remote.exact = engine.exact;
  remote.retry_for =
      std::chrono::duration_cast<std::chrono::milliseconds>(context.duration("retry-for"));
  remote.allow_drift = context.flag("allow-drift");
  remote.log = context.log();
  if (context.given("head")) out.head = static_cast<uint32_t>(context.integer("head"));
  if (context.given("tail")) out.tail = static_cast<uint32_t>(context.integer("tail"));
  return out;
}

Result<LayerRange> layers_between(uint32_t head, uint32_t tail, uint32_t n_layer) {
  if (uint64_t{head} + tail < n_layer) return LayerRange{head, n_layer - tail};
  return usage_error("--head " + std::to_string(head) + " --tail " + std::to_string(tail) +
                     ": the model has " + std::to_string(n_layer) +
                     " layers, and at least one is the body's");
}

}  // namespace splitd::cli
