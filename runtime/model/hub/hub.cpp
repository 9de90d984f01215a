// What a pull is told by the environment, and the thread that it runs on.
#include "runtime/model/hub/hub.h"

#include <algorithm>
#include <cstdlib>
#include <system_error>
#include <thread>

#include "runtime/model/hub/puller.h"

namespace splitd {
namespace {

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

// Where huggingface_hub's login keeps the token.
std::string token_path() {
  if (std::string path = environment("HF_TOKEN_PATH"); !path.empty()) return path;
  if (std::string home = environment("HF_HOME"); !home.empty()) return home + "/token";
  if (std::string cache = environment("XDG_CACHE_HOME"); !cache.empty()) {
    return cache + "/huggingface/token";
  }
  return environment("HOME") + "/.cache/huggingface/token";
}

net::Secret token_from_environment() {
  std::string text = environment("HF_TOKEN");
  if (text.empty()) text = environment("HUGGING_FACE_HUB_TOKEN");
  if (text.empty()) {
    Result<std::string> file = read_file(token_path(), 4096);
    if (file.ok()) text = std::move(*file);
  }
  const auto is_blank = [](char c) { return c == ' ' || c == '\n' || c == '\r' || c == '\t'; };
  while (!text.empty() && is_blank(text.back())) text.pop_back();
  const auto first = std::find_if_not(text.begin(), text.end(), is_blank);
  text.erase(text.begin(), first);
  return net::Secret(std::move(text));
}

Result<net::Url> endpoint_url(const PullOptions& options) {
  Result<net::Url> url = net::parse_url(options.endpoint);
  if (!url) return url.take_error().within("HF_ENDPOINT");
  if (!url->query.empty()) return usage_error("HF_ENDPOINT: a query does not belong there");
  if (!url->path.ends_with('/')) url->path += '/';
  return url;
}

}  // namespace

Result<PullOptions> pull_options_from_environment(const std::string& ca_file) {
  PullOptions out;
  if (const std::string endpoint = environment("HF_ENDPOINT"); !endpoint.empty()) {
    out.endpoint = endpoint;
  }
  out.token = token_from_environment();
  net::HttpConnectOptions& connect = out.download.http.connect;
  SPLITD_TRY(net::use_proxy_from_environment(connect));
  SPLITD_ASSIGN(connect.tls, net::TlsClient::create({ca_file}));
  return out;
}

Result<PullResult> pull(const PullOptions& options, const ProgressFn& progress) {
  SPLITD_ASSIGN(RepoSpec spec, parse_repo_spec(options.model));
  SPLITD_ASSIGN(net::Url endpoint, endpoint_url(options));
  if (!options.file.empty() &&
      !(is_plain_file_name(options.file) && options.file.ends_with(".gguf"))) {
    return usage_error("--file " + net::quoted(options.file) +
                       ": a .gguf file at the top of the repository is expected");
  }
  if (!options.file.empty() && options.part.kind != PartRequest::Kind::whole) {
    return usage_error("--file names one whole file: no layers can be chosen");
  }
  if (!endpoint.secure() && !net::is_loopback(endpoint.host)) {
    options.log.warning("the hub " + endpoint.shown() +
                        " is not encrypted: the hashes that it states protect nothing, and no "
                        "token is sent");
  }
  std::string cache = options.cache;
  if (cache.empty() && options.directory.empty()) {
    SPLITD_ASSIGN(cache, cache_directory());
  }
  const std::string what = spec.repo;
  SPLITD_ASSIGN(PullPlace place, options.directory.empty()
                                     ? PullPlace::in_cache(cache, spec)
                                     : PullPlace::in_directory(options.directory));
  Puller work(options, std::move(spec), std::move(endpoint), std::move(place));

  std::mutex mutex;  // guards outcome
  std::condition_variable finished;
  std::optional<Result<PullResult>> outcome;
  std::thread thread;
  try {
    thread = std::thread([&] {
      Result<PullResult> result = work.run();
      const std::lock_guard lock(mutex);
      outcome = std::move(result);
      finished.notify_all();
    });
  } catch (const std::system_error& error) {
    return failed(std::string("cannot start a thread: ") + error.what());
  }
  std::unique_lock lock(mutex);
  while (!finished.wait_for(lock, std::chrono::milliseconds(100),
                            [&] { return outcome.has_value(); })) {
    lock.unlock();
    const Tally& tally = work.tally();
    if (progress && !progress({what, tally.done, tally.total})) work.cancel().cancel();
    lock.lock();
  }
  lock.unlock();
  thread.join();
  return std::move(*outcome);
}

}  // namespace splitd
