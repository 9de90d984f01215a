// `splitd cloud`: the layers between, for peers that send hidden states.
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <algorithm>

#include "net/tcp.h"
#include "runtime/base/memory.h"
#include "runtime/split/body_server.h"
#include "runtime/split/remote_link.h"
#include "tools/commands.h"
#include "tools/generate/local_model.h"
#include "tools/generate/options.h"
#include "tools/model_path.h"
#include "tools/network/tls_flags.h"

namespace splitd::cli {
namespace {

std::chrono::milliseconds milliseconds_of(std::chrono::nanoseconds time) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(time);
}

// ---- What is served

// The layers that are here, as one range: the first run of them.
LayerRange layers_here(const ModelFiles& files) {
  const uint32_t n_layer = files.config().n_layer;
  LayerRange here;
  while (here.begin < n_layer && !files.has_layer(here.begin)) ++here.begin;
  here.end = here.begin;
  while (here.end < n_layer && files.has_layer(here.end)) ++here.end;
  return here;
}

// Which layers are served, and which are offered to who has no opinion. Without --layers a peer may
// have any that are here, and is offered all but the first and the last.
Status choose_layers(const Context& context, const ModelFiles& files, BodyModel& body) {
  const uint32_t n_layer = files.config().n_layer;
  const LayerRange here = layers_here(files);
  if (here.begin == here.end) {
    return model_error(files.path() + ": no layer is here, only " + files.parts_text());
  }
  body.layers = body.offer = here;
  if (!context.given("layers")) {
    if (here == LayerRange{0, n_layer} && n_layer > 2) body.offer = {1, n_layer - 1};
    return {};
  }
  const auto [begin, end] = context.range("layers");
  if (end > n_layer) {
    return usage_error("--layers: " + std::to_string(begin) + ":" + std::to_string(end) +
                       "; the model has " + std::to_string(n_layer) + " layers");
  }
  body.layers = body.offer = {static_cast<uint32_t>(begin), static_cast<uint32_t>(end)};
  for (uint32_t layer = body.layers.begin; layer < body.layers.end; ++layer) {
    if (files.has_layer(layer)) continue;
    return model_error(files.path() + ": layer " + std::to_string(layer) +
                       " is not here; there are " + files.parts_text());
  }
  return {};
}

Result<BodyModel> body_model(const Context& context, LocalModel& model) {
  BodyModel out;
  out.config = model.config();
  out.table = &model.table();
  SPLITD_TRY(choose_layers(context, model.files(), out));
  SPLITD_ASSIGN(const Sha256Digest fingerprint, model.files().fingerprint());
  out.fingerprint = hex(fingerprint);
  out.make_backend = [&model](LayerRange layers, bool exact) -> Result<BodyBackend> {
    BodyBackend made;
    SPLITD_ASSIGN(ModelWeights views, model.files().weights(layers, false, false));
    auto weights = std::make_shared<ModelWeights>(std::move(views));
    SPLITD_ASSIGN(made.backend, model.backend(*weights, exact));
    made.weights = std::move(weights);
    return made;
  };
  return out;
}

// ---- Options

// Of what this machine has left beside the weights, most; a little stays for everything else.
uint64_t default_memory(const LocalModel& model, LayerRange layers) {
  constexpr uint64_t kLeast = uint64_t{256} << 20;
  const uint64_t weights = model.in_file_bytes(layers);
  const DeviceChoice& device = model.device();
  const uint64_t available = device.is_cuda ? device.memory_bytes : available_memory_bytes();
  return std::max(kLeast, (available - std::min(available, weights)) / 4 * 3);
}

// What one peer may have: as given, else three quarters, so that somebody else always fits.
uint64_t share(const Context& context, std::string_view flag, uint64_t all, uint64_t given) {
  return context.given(flag) ? given : std::max<uint64_t>(1, all / 4 * 3);
}

BodyOptions body_options(Context& context, const EngineOptions& engine, uint64_t memory) {
  BodyOptions out;
  if (context.given("kv")) out.kv = engine.kv;
  if (context.given("compute")) out.exact = engine.exact;
  out.max_ctx = engine.n_ctx;
  const auto number = [&](std::string_view flag) {
    return static_cast<uint64_t>(context.integer(flag));
  };
  out.max_pending = static_cast<uint32_t>(number("max-pending"));
  out.max_rows = static_cast<uint32_t>(number("step-rows"));
  out.most = {number("sessions"), number("rows"),
              context.given("memory") ? context.size_bytes("memory") : memory};
  out.most_of_peer = {
      share(context, "peer-sessions", out.most.sessions, number("peer-sessions")),
      share(context, "peer-rows", out.most.rows, number("peer-rows")),
      share(context, "peer-memory", out.most.bytes, context.size_bytes("peer-memory"))};
  out.idle = milliseconds_of(context.duration("idle-timeout"));
  out.unsent_limit = context.size_bytes("unsent");
  out.unsent_limit_of_all = context.size_bytes("unsent-of-all");
  out.log = context.log();
  return out;
}

Result<net::ServerOptions> server_options(Context& context) {
  net::ServerOptions out;
  Result<BodyAddress> address = parse_body_address(context.text("listen"), true);
  if (!address) return address.take_error().within("--listen");
  out.host = address->host;
  out.port = address->port;
  SPLITD_ASSIGN(const net::TlsOptions tls, read_tls_flags(context));
  const bool local = out.host == "localhost" || net::is_loopback_address(out.host);
  if (!tls.any() && !local && !context.flag("insecure")) {
    return usage_error("--listen: " + context.text("listen") +
                       " can be reached from other machines, and without TLS anyone there could "
                       "use this body and read what is sent: --psk-file or --cert, --key and "
                       "--ca, or --insecure");
  }
  if (tls.any()) {
    SPLITD_ASSIGN(out.tls, net::TlsContext::server(tls));
  }
  out.congestion = context.text("congestion");
  out.max_connections = static_cast<size_t>(context.integer("connections"));
  out.max_strangers = std::min(out.max_strangers, out.max_connections);
  out.unsent_limit = context.size_bytes("unsent");
  out.log = context.log();
  return out;
}

// ---- Signals

// SIGTERM and SIGINT as events of a loop: the first drains, the second ends the process as if
// nobody had asked for it. Threads that are started later leave both alone.
class Signals {
 public:
  Signals() {
    ::sigemptyset(&set_);
    ::sigaddset(&set_, SIGTERM);
    ::sigaddset(&set_, SIGINT);
    ::pthread_sigmask(SIG_BLOCK, &set_, &before_);
    file_ = FileDescriptor(::signalfd(-1, &set_, SFD_NONBLOCK | SFD_CLOEXEC));
  }
  Signals(const Signals&) = delete;
  Signals& operator=(const Signals&) = delete;
  ~Signals() {
    unwatch();
    ::pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  }

  void unwatch() {
    if (loop_ != nullptr) loop_->remove(watch_);
    loop_ = nullptr;
  }
  Status watch(net::Loop& loop, BodyServer& server) {
    if (!file_.valid()) return system_error("signalfd");
    server_ = &server;
    watch_.fd = file_.get();
    watch_.owner = this;
    watch_.ready = [](net::Watch& watch, net::Readiness) {
      static_cast<Signals*>(watch.owner)->take();
    };
    SPLITD_TRY(loop.add(watch_, true, false));
    loop_ = &loop;
    return {};
  }
  bool interrupted() const { return first_ == SIGINT; }
  // One came that nobody has taken yet.
  bool waiting() const {
    sigset_t pending;
    return ::sigpending(&pending) == 0 &&
           (::sigismember(&pending, SIGTERM) == 1 || ::sigismember(&pending, SIGINT) == 1);
  }

 private:
  void take() {
    signalfd_siginfo info;
    while (::read(file_.get(), &info, sizeof(info)) == static_cast<ssize_t>(sizeof(info))) {
      const int number = static_cast<int>(info.ssi_signo);
      if (first_ == 0) {
        first_ = number;
        server_->drain();
      } else {
        ::signal(number, SIG_DFL);
        ::pthread_sigmask(SIG_SETMASK, &before_, nullptr);
        ::raise(number);
      }
    }
  }

  sigset_t set_{};
  sigset_t before_{};
  FileDescriptor file_;
  net::Watch watch_;
  net::Loop* loop_ = nullptr;
  BodyServer* server_ = nullptr;
  int first_ = 0;
};

Status run_cloud(Context& context) {
  SPLITD_ASSIGN(net::ServerOptions net, server_options(context));
  SPLITD_ASSIGN(const std::string path, resolve_model(context.argument("MODEL")));
  SPLITD_ASSIGN(const EngineOptions engine, read_engine_options(context));
  Signals signals;
  SPLITD_ASSIGN(const std::unique_ptr<LocalModel> model, LocalModel::open(path, engine));
  SPLITD_ASSIGN(BodyModel body, body_model(context, *model));
  SPLITD_ASSIGN(const uint32_t most, model->context(model->config().n_ctx));
  const ProgressFn bar = context.progress();
  SPLITD_TRY(model->read_ahead({body.offer, false, false}, [&](const Progress& progress) {
    return bar(progress) && !signals.waiting();
  }));
  context.end_progress();

  BodyServerOptions options;
  options.net = std::move(net);
  options.body = body_options(context, engine, default_memory(*model, body.layers));
  options.body.max_ctx = most;
  options.drain = milliseconds_of(context.duration("drain-timeout"));

  SPLITD_ASSIGN(const std::unique_ptr<net::Loop> loop, net::Loop::create());
  SPLITD_ASSIGN(const std::unique_ptr<BodyServer> server,
                BodyServer::start(*loop, std::move(body), std::move(options)));
  const struct Unwatch {  // before the loop goes
    Signals& signals;
    ~Unwatch() { signals.unwatch(); }
  } unwatch{signals};
  SPLITD_TRY(signals.watch(*loop, *server));
  context.err().write("listening on " + server->address() + "\n");
  SPLITD_TRY(context.err().flush());
  SPLITD_TRY(loop->run());
  if (signals.interrupted()) return interrupted_error();
  return {};
}

FlagGroup budget_flags() {
  return {.title = "Budgets, in all and of one peer (default: three quarters)",
          .flags = {
              {.name = "sessions",
               .kind = FlagKind::integer,
               .help = "sessions, those whose connection is gone too",
               .fallback = "1024",
               .min = 1,
               .max = 1e6},
              {.name = "peer-sessions",
               .kind = FlagKind::integer,
               .help = "…of one peer",
               .min = 1,
               .max = 1e6},
              {.name = "rows",
               .kind = FlagKind::integer,
               .help = "rows that all sessions may hold",
               .fallback = "1000000000",
               .min = 1},
              {.name = "peer-rows", .kind = FlagKind::integer, .help = "…of one peer", .min = 1},
              {.name = "memory",
               .kind = FlagKind::size,
               .help = "keys, values and kept replies; by default most of what is free"},
              {.name = "peer-memory", .kind = FlagKind::size, .help = "…of one peer"},
              {.name = "max-pending",
               .kind = FlagKind::integer,
               .help = "rows of a session beside its text (--ctx)",
               .fallback = "1024",
               .min = 0,
               .max = 1e6},
              {.name = "step-rows",
               .kind = FlagKind::integer,
               .help = "rows of one step",
               .fallback = "512",
               .min = 1,
               .max = kMostFrameRows},
              {.name = "connections",
               .kind = FlagKind::integer,
               .help = "connections at once",
               .fallback = "4096",
               .min = 1,
               .max = 1e6},
              {.name = "unsent",
               .kind = FlagKind::size,
               .help = "bytes that a peer may leave unread before it gets no turn",
               .fallback = "8M"},
              {.name = "unsent-of-all",
               .kind = FlagKind::size,
               .help = "…all peers together",
               .fallback = "256M"},
          }};
}

}  // namespace

Command cloud_command() {
  return {
      .name = "cloud",
      .summary = "compute the layers between, for splitd local elsewhere",
      .positionals = {{.name = "MODEL",
                       .help = "a model directory, or org/name that was pulled; its layers suffice",
                       .completes = Completes::model}},
      .flags = {{.title = "Serving",
                 .flags = {{.name = "layers",
                            .kind = FlagKind::range,
                            .help = "layers A to B-1 alone; by default any that a peer asks for"},
                           {.name = "listen",
                            .kind = FlagKind::text,
                            .metavar = "HOST:PORT",
                            .help = "port 0: a free one, which is printed",
                            .fallback = "127.0.0.1:7777"},
                           {.name = "idle-timeout",
                            .kind = FlagKind::duration,
                            .help = "a session that says nothing for so long is forgotten",
                            .fallback = "300s"},
                           {.name = "drain-timeout",
                            .kind = FlagKind::duration,
                            .help = "what sessions get to finish after SIGTERM",
                            .fallback = "30s"},
                           {.name = "congestion",
                            .kind = FlagKind::text,
                            .metavar = "NAME",
                            .help =
                                "TCP congestion control, such as bbr; by default the system's"}}},
                budget_flags(),
                engine_flags(),
                tls_flags()},
      .examples = {{"splitd cloud ./SmolLM2"},
                   {"splitd cloud ./SmolLM2 --layers 4:26 --listen 0.0.0.0:7777 --psk-file keys"}},
      .notes =
          "It prints `listening on HOST:PORT` once it serves. /healthz, /readyz and /metrics "
          "answer HTTP on the same port. SIGTERM ends it in order.",
      .run = run_cloud};
}

}  // namespace splitd::cli
