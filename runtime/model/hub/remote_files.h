// Owns: asking the hub for files of one repository at one commit: its URLs, where a file really
// lies (redirects are remembered, so that a hundred ranges cost one question), what an answer must
// look like to be believed, and what its refusals mean. Thread-safe; each thread brings its own
// HttpClient.
#pragma once

#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

#include "net/http_client.h"
#include "runtime/model/hub/byte_set.h"
#include "runtime/model/hub/pulled.h"
#include "runtime/model/hub/repo_info.h"

namespace splitd {

// What came of asking for bytes.
struct RemoteAnswer {
  enum class Kind : uint8_t {
    bytes,    // the range, as asked for
    whole,    // the whole file although a range was asked for: no ranges here
    changed,  // not the content that the earlier bytes were of, or shorter than stated
  };
  Kind kind = Kind::bytes;
  std::optional<net::HttpResponse> response;
  std::string validator;  // what the server calls this content; empty if it does not say
};

class RemoteFiles {
 public:
  // `token` is borrowed.
  RemoteFiles(net::Url endpoint, RepoSpec spec, const net::Secret& token)
      : endpoint_(std::move(endpoint)), spec_(std::move(spec)), token_(token) {}

  // Asks what the repository holds and pins its commit for everything below.
  Result<RepoInfo> info(net::HttpClient& client, const net::Cancellation& cancel);
  void pin(std::string commit) { commit_ = std::move(commit); }
  const std::string& commit() const { return commit_; }

  // Fills in the size and the hash of a file where the list lacked them.
  Status complete(net::HttpClient& client, RepoFile& file, const net::Cancellation& cancel);

  // `range` of the file; without one, all of it. `validator`: what earlier bytes were of.
  Result<RemoteAnswer> open(net::HttpClient& client, const RepoFile& file,
                            std::optional<ByteRange> range, const std::string& validator,
                            const net::Cancellation& cancel);

  // A small file, or a part of one, into memory.
  Result<std::string> fetch(net::HttpClient& client, const RepoFile& file,
                            std::optional<ByteRange> range, uint64_t most,
                            const net::Cancellation& cancel);

 private:
  struct Place {
    net::Url url;
    std::string etag;       // of the answers there
    std::string validator;  // what the hub called the content when it sent us there
  };

  net::HttpRequest request(net::Url url, const net::Cancellation& cancel) const;
  net::Url file_url(const RepoFile& file) const;
  std::optional<Place> place_of(const RepoFile& file) const;
  void forget_place(const RepoFile& file);
  Result<RemoteAnswer> check(net::HttpResponse response, const RepoFile& file,
                             std::optional<ByteRange> range, const std::string& validator) const;
  Error refusal(const net::HttpResponse& response, std::string_view what) const;

  const net::Url endpoint_;
  const RepoSpec spec_;
  const net::Secret& token_;
  std::string commit_;
  mutable std::mutex mutex_;             // guards places_
  std::map<std::string, Place> places_;  // by file name
};

}  // namespace splitd
