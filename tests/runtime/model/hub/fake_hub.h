// A hub and its content network for tests: two HTTPS servers under different names, Hugging Face's
// API on the first, large files by redirect to the second. Faults are injected per request.
#pragma once

#include <map>
#include <mutex>
#include <optional>
#include <string>

#include "runtime/base/json.h"
#include "runtime/base/sha256.h"
#include "runtime/model/hub/git_blob.h"
#include "runtime/model/hub/hub.h"
#include "tests/net/test_server.h"
#include "tests/temp_dir.h"

namespace splitd {

inline std::string sha256_of(std::string_view text) {
  Sha256 hash;
  hash.update(text);
  return hex(hash.finish());
}

inline std::string git_sha1_of(std::string_view text) {
  GitBlobHash hash(text.size());
  hash.update(std::as_bytes(std::span(text.data(), text.size())));
  return hash.finish();
}

class FakeHub {
 public:
  using Fault = std::function<std::optional<net::TestReply>(const net::TestRequest&)>;

  std::string repo = "org/name";
  std::string commit = std::string(40, 'a');
  std::map<std::string, std::string> files;
  // What the list says instead of the truth.
  std::map<std::string, uint64_t> stated_size;
  std::map<std::string, std::string> stated_sha256;
  bool list_sizes = true;
  bool list_hashes = true;
  bool redirect_large = true;
  Fault hub_fault;
  Fault cdn_fault;

  // Between two pulls: a request that the client gave up may still be on its way to a handler.
  std::mutex mutex;  // guards all of the above while the servers run
  template <class Fn>
  void change(Fn&& fn) {
    const std::lock_guard lock(mutex);
    fn();
  }
  void fault_hub(Fault fault) {
    change([&] { hub_fault = std::move(fault); });
  }
  void fault_cdn(Fault fault) {
    change([&] { cdn_fault = std::move(fault); });
  }

  static bool is_large(const std::string& name) {
    return name.ends_with(".safetensors") || name.ends_with(".gguf");
  }
  std::string etag_of(const std::string& name) const {
    const std::string& content = files.at(name);
    return "\"" + (is_large(name) ? sha256_of(content) : git_sha1_of(content)) + "\"";
  }

  net::TestServer cdn{[this](const net::TestRequest& request) { return answer_cdn(request); },
                      net::local_identity()};
  // After the CDN, whose address its answers tell until they have ended.
  net::TestServer hub{[this](const net::TestRequest& request) { return answer_hub(request); },
                      net::local_identity()};

  TempDir dir;
  std::string ca_file = net::write_authority(dir.path());

  PullOptions options() {
    PullOptions out;
    out.model = repo;
    out.endpoint = hub.url();
    out.cache = dir.path() + "/cache";
    out.token = net::Secret(std::string("hf_secret_token_value"));
    net::HttpClientOptions& http = out.download.http;
    if (!tls_) tls_ = *net::TlsClient::create({ca_file});
    http.connect.tls = tls_;
    http.retry.first = net::milliseconds(1);
    http.retry.most = net::milliseconds(2);
    out.download.connections = 3;
    out.download.stretch_bytes = 50'000;
    return out;
  }

  net::TestReply serve_large(const net::TestRequest& request, const std::string& name) const {
    return net::serve_content(request, files.at(name), "\"cdn-" + name + "\"");
  }

  std::string snapshot(const std::string& part = "") const {
    return dir.path() + "/cache/org--name/snapshots/" + commit + (part.empty() ? "" : "." + part);
  }
  uint64_t bytes_sent() const { return hub.body_bytes_sent() + cdn.body_bytes_sent(); }
  void forget() {
    hub.forget_requests();
    cdn.forget_requests();
  }

 private:
  std::string list() const {
    JsonWriter out;
    out.begin_object().field("id", repo).field("sha", commit).key("siblings").begin_array();
    for (const auto& [name, content] : files) {
      const auto size = stated_size.find(name);
      const uint64_t bytes = size == stated_size.end() ? content.size() : size->second;
      out.begin_object().field("rfilename", name);
      if (list_sizes) out.field("size", bytes);
      if (list_hashes && is_large(name)) {
        const auto hash = stated_sha256.find(name);
        const std::string stated = hash == stated_sha256.end() ? sha256_of(content) : hash->second;
        out.key("lfs").begin_object().field("sha256", stated).field("size", bytes).end_object();
      } else if (list_hashes) {
        out.field("blobId", git_sha1_of(content));
      }
      out.end_object();
    }
    return out.end_array().end_object().take();
  }

  net::TestReply answer_hub(const net::TestRequest& request) {
    const std::lock_guard lock(mutex);
    if (hub_fault) {
      if (std::optional<net::TestReply> reply = hub_fault(request)) return *reply;
    }
    net::TestReply reply;
    if (request.target.starts_with("/api/models/" + repo + "/revision/")) {
      reply.body = list();
      return reply;
    }
    const std::string prefix = "/" + repo + "/resolve/" + commit + "/";
    const std::string name = request.target.substr(std::min(prefix.size(), request.target.size()));
    if (!request.target.starts_with(prefix) || !files.contains(name)) {
      reply.status = 404;
      reply.fields.emplace_back("X-Error-Code", "EntryNotFound");
      return reply;
    }
    if (!is_large(name) || !redirect_large) {
      return net::serve_content(request, files.at(name), etag_of(name));
    }
    reply.status = 302;
    reply.body = "Found";
    reply.fields.emplace_back("Location", cdn.url("127.0.0.1") + "/" + name + "?Signature=s3cret");
    reply.fields.emplace_back("X-Linked-Etag", etag_of(name));
    reply.fields.emplace_back("X-Linked-Size", std::to_string(files.at(name).size()));
    reply.fields.emplace_back("X-Repo-Commit", commit);
    return reply;
  }

  net::TestReply answer_cdn(const net::TestRequest& request) {
    const std::lock_guard lock(mutex);
    if (cdn_fault) {
      if (std::optional<net::TestReply> reply = cdn_fault(request)) return *reply;
    }
    const std::string name = request.target.substr(1, request.target.find('?') - 1);
    if (!files.contains(name)) return net::TestReply{.status = 404};
    return serve_large(request, name);
  }

  std::shared_ptr<net::TlsClient> tls_;
};

}  // namespace splitd
