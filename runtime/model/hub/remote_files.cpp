#include "runtime/model/hub/remote_files.h"

#include "runtime/base/sha256.h"
#include "runtime/model/hub/git_blob.h"

namespace splitd {

using net::Cancellation;
using net::HttpClient;
using net::HttpRequest;
using net::HttpResponse;
using net::Url;

namespace {

// The text of an entity tag; empty for weak ones, which promise nothing about bytes.
std::string strong_tag(std::optional<std::string_view> field) {
  if (!field || field->size() < 2 || field->front() != '"' || field->back() != '"') return {};
  return std::string(field->substr(1, field->size() - 2));
}

// The answer to our question in a chain of redirects: the hub speaks of the file in its first.
std::optional<std::string_view> linked(const HttpResponse& response, std::string_view name) {
  for (const net::HttpResponseHead& head : response.history()) {
    if (const auto value = head.fields.find(name)) return value;
  }
  return response.fields().find(name);
}

bool looks_like_sha256(std::string_view text) {
  return text.size() == 64 && text.find_first_not_of("0123456789abcdef") == text.npos;
}

bool expired(int status) {  // what content networks say to signed URLs that are too old
  return status == 401 || status == 403 || status == 404 || status == 410;
}

}  // namespace

HttpRequest RemoteFiles::request(Url url, const Cancellation& cancel) const {
  HttpRequest out;
  const bool private_way = url.secure() || net::is_loopback(url.host);
  if (private_way && same_origin(url, endpoint_)) out.bearer = &token_;
  out.url = std::move(url);
  out.cancel = &cancel;
  return out;
}

Url RemoteFiles::file_url(const RepoFile& file) const {
  Url url = endpoint_;
  url.path += spec_.repo + "/resolve/" + commit_ + "/" + net::percent_encode(file.name);
  return url;
}

Error RemoteFiles::refusal(const HttpResponse& response, std::string_view what) const {
  const std::string code(linked(response, "X-Error-Code").value_or(""));
  const std::string name = spec_.repo + (what.empty() ? "" : " " + std::string(what));
  const std::string with_token = token_.empty() ? " (no token is set: HF_TOKEN)" : "";
  const int status = response.status();
  if (code == "GatedRepo") {
    return peer_error(name + ": access is restricted; accept its terms at " + endpoint_.shown() +
                      spec_.repo + ", and set HF_TOKEN" + with_token);
  }
  if (code == "RevisionNotFound") {
    return peer_error(spec_.repo + " has no revision " + spec_.revision);
  }
  if (status == 401 || status == 403 || status == 404) {
    return peer_error(name + ": " + response.url().shown() + " answers " + std::to_string(status) +
                      ": it does not exist, or is private and the token may not read it" +
                      with_token);
  }
  return net::status_error(response).within(name);
}

Result<RepoInfo> RemoteFiles::info(HttpClient& client, const Cancellation& cancel) {
  Url url = endpoint_;
  url.path += "api/models/" + spec_.repo + "/revision/" + net::percent_encode(spec_.revision);
  url.query = "?blobs=true";
  SPLITD_ASSIGN(HttpResponse response, client.send(request(url, cancel)));
  if (response.status() != 200) return refusal(response, "");
  SPLITD_ASSIGN(const std::string json, response.read_all(kMaxRepoInfoBytes));
  Result<RepoInfo> info = parse_repo_info(json);
  if (!info) return info.take_error().within(response.url().shown());
  commit_ = info->commit;
  return info;
}

Status RemoteFiles::complete(HttpClient& client, RepoFile& file, const Cancellation& cancel) {
  if (file.size) return {};
  HttpRequest head = request(file_url(file), cancel);
  head.method = "HEAD";
  SPLITD_ASSIGN(const HttpResponse response, client.send(head));
  if (response.status() != 200) return refusal(response, file.name);
  std::optional<std::string_view> size = linked(response, "X-Linked-Size");
  if (!size) size = response.fields().find("Content-Length");
  if (size) file.size = net::parse_decimal(*size);
  if (!file.size) return peer_error(spec_.repo + " " + file.name + ": the hub states no size");
  const std::string tag = strong_tag(linked(response, "X-Linked-Etag"));
  if (file.sha256.empty() && file.git_sha1.empty() && looks_like_sha256(tag)) file.sha256 = tag;
  return {};
}

std::optional<RemoteFiles::Place> RemoteFiles::place_of(const RepoFile& file) const {
  const std::lock_guard lock(mutex_);
  const auto found = places_.find(file.name);
  if (found == places_.end()) return std::nullopt;
  return found->second;
}

void RemoteFiles::forget_place(const RepoFile& file) {
  const std::lock_guard lock(mutex_);
  places_.erase(file.name);
}

// Whether the answer holds what was asked for, of the content that was asked for.
Result<RemoteAnswer> RemoteFiles::check(HttpResponse response, const RepoFile& file,
                                        std::optional<ByteRange> range,
                                        const std::string& validator) const {
  const std::string what = response.url().shown();
  const uint64_t size = *file.size;
  const auto lie = [&](const std::string& said) {
    const auto type = response.fields().find("Content-Type");
    return peer_error(what + ": " + said + ", but the hub states " + std::to_string(size) +
                      " bytes" + (type ? " (Content-Type " + net::quoted(*type) + ")" : ""));
  };
  RemoteAnswer out;
  if (response.status() == 416) {
    out.kind = RemoteAnswer::Kind::changed;
    return out;
  }
  if (response.status() != 200 && response.status() != 206) return refusal(response, file.name);
  const std::string tag = strong_tag(linked(response, "X-Linked-Etag"));
  out.validator = tag.empty() ? strong_tag(response.fields().find("ETag")) : tag;
  if (!file.sha256.empty() && looks_like_sha256(tag) && tag != file.sha256) {
    return peer_error(what + ": the hub states two contents for one file: sha256 " + file.sha256 +
                      " and " + tag);
  }
  if (!validator.empty() && !out.validator.empty() && validator != out.validator) {
    out.kind = RemoteAnswer::Kind::changed;
    return out;
  }
  if (response.status() == 200) {
    if (response.length().value_or(size) != size) {
      return lie(std::to_string(*response.length()) + " bytes");
    }
    const bool all = !range || (range->begin == 0 && range->end == size);
    out.kind = all ? RemoteAnswer::Kind::bytes : RemoteAnswer::Kind::whole;
    out.response = std::move(response);
    return out;
  }
  const auto field = response.fields().find("Content-Range");
  const auto part = field ? net::parse_content_range(*field) : std::nullopt;
  if (!range || !part || part->begin != range->begin || part->end != range->end ||
      response.length().value_or(range->size()) != range->size()) {
    return peer_error(what + ": a part that was not asked for: Content-Range " +
                      net::quoted(field.value_or("(none)")));
  }
  if (part->total.value_or(size) != size) return lie("a part of " + std::to_string(*part->total));
  out.response = std::move(response);
  return out;
}

Result<RemoteAnswer> RemoteFiles::open(HttpClient& client, const RepoFile& file,
                                       std::optional<ByteRange> range, const std::string& validator,
                                       const Cancellation& cancel) {
  const auto ask = [&](Url url) {
    HttpRequest out = request(std::move(url), cancel);
    if (range) {
      out.fields.add(
          "Range", "bytes=" + std::to_string(range->begin) + "-" + std::to_string(range->end - 1));
    }
    return client.send(out);
  };
  if (const std::optional<Place> place = place_of(file)) {
    SPLITD_ASSIGN(HttpResponse response, ask(place->url));
    const std::string etag = strong_tag(response.fields().find("ETag"));
    // There the hub's own words are missing: the content is the one it sent us to as long as the
    // place calls it the same.
    const bool same = etag == place->etag && !expired(response.status()) &&
                      response.status() != 416 &&
                      (validator.empty() || validator == place->validator);
    if (same) {
      SPLITD_ASSIGN(RemoteAnswer answer, check(std::move(response), file, range, ""));
      answer.validator = place->validator;
      return answer;
    }
    forget_place(file);
  }
  SPLITD_ASSIGN(HttpResponse response, ask(file_url(file)));
  const Place place{response.url(), strong_tag(response.fields().find("ETag")), ""};
  SPLITD_ASSIGN(RemoteAnswer answer, check(std::move(response), file, range, validator));
  if (answer.kind == RemoteAnswer::Kind::bytes && !same_origin(place.url, endpoint_)) {
    const std::lock_guard lock(mutex_);
    places_[file.name] = {place.url, place.etag, answer.validator};
  }
  return answer;
}

Result<std::string> RemoteFiles::fetch(HttpClient& client, const RepoFile& file,
                                       std::optional<ByteRange> range, uint64_t most,
                                       const Cancellation& cancel) {
  const uint64_t bytes = range ? range->size() : *file.size;
  const std::string what = spec_.repo + " " + file.name;
  if (bytes > most) {
    return peer_error(what + ": " + std::to_string(bytes) + " bytes, at most " +
                      std::to_string(most) + " are accepted");
  }
  net::Backoff backoff(client.options().retry);
  while (true) {
    SPLITD_ASSIGN(RemoteAnswer answer, open(client, file, range, "", cancel));
    if (answer.kind != RemoteAnswer::Kind::bytes) {
      return peer_error(what + ": the server does not serve byte ranges");
    }
    Result<std::string> text = answer.response->read_all(bytes);
    if (text.ok() && text->size() != bytes) {
      text = peer_error(what + ": " + std::to_string(text->size()) + " bytes instead of " +
                        std::to_string(bytes));
    }
    if (text.ok()) return text;
    const auto pause = backoff.next();
    if (text.error().kind != ErrorKind::peer || !pause) return text;
    SPLITD_TRY(net::sleep_for(*pause, {net::Clock::time_point::max(), &cancel}));
  }
}

}  // namespace splitd
