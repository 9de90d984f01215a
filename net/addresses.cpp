// getaddrinfo() behind a deadline.
#include "net/addresses.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cstring>
#include <memory>
#include <mutex>
#include <system_error>
#include <thread>

#include "net/limits.h"
#include "net/tcp.h"

namespace splitd::net {
namespace {

// Shared by the caller and the thread that may outlive it.
struct Lookup {
  std::string host;
  std::string service;
  int flags = 0;
  FileDescriptor done{::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
  std::mutex mutex;  // guards code and found
  int code = 0;
  std::vector<Address> found;
};

int look_up(const Lookup& lookup, std::vector<Address>& found) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = lookup.flags;
  addrinfo* list = nullptr;
  const int code = ::getaddrinfo(lookup.host.c_str(), lookup.service.c_str(), &hints, &list);
  if (code != 0) return code;
  for (const addrinfo* item = list; item != nullptr; item = item->ai_next) {
    if (item->ai_addrlen > sizeof(sockaddr_storage)) continue;
    Address& address = found.emplace_back();
    std::memcpy(&address.bytes, item->ai_addr, item->ai_addrlen);
    address.length = item->ai_addrlen;
    address.family = item->ai_family;
  }
  ::freeaddrinfo(list);
  return 0;
}

// First of one family, first of the other, second of the one, …
std::vector<Address> interleave(const std::vector<Address>& sorted) {
  std::vector<Address> first;
  std::vector<Address> second;
  for (const Address& address : sorted) {
    (address.family == sorted.front().family ? first : second).push_back(address);
  }
  std::vector<Address> out;
  for (size_t i = 0; i < std::max(first.size(), second.size()); ++i) {
    if (i < first.size()) out.push_back(first[i]);
    if (i < second.size()) out.push_back(second[i]);
  }
  if (out.size() > limits::kMaxAddresses) out.resize(limits::kMaxAddresses);
  return out;
}

Status run_lookup(const std::shared_ptr<Lookup>& lookup, const Wait& wait) {
  if (!lookup->done.valid()) return system_error("eventfd");
  try {
    std::thread([lookup] {
      std::vector<Address> found;
      const int code = look_up(*lookup, found);
      {
        const std::lock_guard lock(lookup->mutex);
        lookup->code = code;
        lookup->found = std::move(found);
      }
      const uint64_t one = 1;
      (void)!::write(lookup->done.get(), &one, sizeof one);
    }).detach();
  } catch (const std::system_error& error) {
    return failed(std::string("cannot start a thread: ") + error.what());
  }
  return wait_for(lookup->done.get(), POLLIN, wait, "looking up " + lookup->host);
}

}  // namespace

Result<std::vector<Address>> resolve(const std::string& host, uint16_t port, bool to_listen,
                                     const Wait& wait) {
  if (host.empty() || host.size() > limits::kMaxHostBytes) {
    return usage_error("a host name has 1 to " + std::to_string(limits::kMaxHostBytes) +
                       " bytes, this one " + std::to_string(host.size()));
  }
  const auto lookup = std::make_shared<Lookup>();
  lookup->host = host;
  lookup->service = std::to_string(port);
  lookup->flags = AI_NUMERICSERV | (to_listen ? AI_PASSIVE : 0);
  if (!ip_bytes(host).empty()) {  // cannot block
    lookup->flags |= AI_NUMERICHOST;
    lookup->code = look_up(*lookup, lookup->found);
  } else {
    SPLITD_TRY(run_lookup(lookup, wait));
  }
  const std::lock_guard lock(lookup->mutex);
  if (lookup->code != 0) {
    return peer_error("cannot look up " + host + ": " + ::gai_strerror(lookup->code));
  }
  if (lookup->found.empty()) return peer_error("cannot look up " + host + ": no address");
  return interleave(lookup->found);
}

std::string address_text(const Address& address) {
  char host[NI_MAXHOST];
  char port[NI_MAXSERV];
  if (::getnameinfo(address.get(), address.length, host, sizeof host, port, sizeof port,
                    NI_NUMERICHOST | NI_NUMERICSERV) != 0) {
    return "?";
  }
  const bool six = address.family == AF_INET6;
  return (six ? "[" + std::string(host) + "]" : std::string(host)) + ":" + port;
}

std::string ip_bytes(const std::string& host) {
  unsigned char bytes[16];
  if (::inet_pton(AF_INET, host.c_str(), bytes) == 1) {
    return {reinterpret_cast<const char*>(bytes), 4};
  }
  if (::inet_pton(AF_INET6, host.c_str(), bytes) == 1) {
    return {reinterpret_cast<const char*>(bytes), 16};
  }
  return {};
}

}  // namespace splitd::net
