#include "tests/lab/self_test.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <thread>

#include "tests/lab/lab.h"

namespace splitd::lab {
namespace {

constexpr uint16_t kEchoPort = 7007;
constexpr uint16_t kBulkPort = 7008;
constexpr size_t kPings = 200;
constexpr size_t kPingBytes = 64;
constexpr size_t kPingPacketBytes = kPingBytes + 28;  // IP and UDP
constexpr Nanoseconds kPingInterval{5'000'000};

struct Bulk {
  Direction direction = Direction::up;
  std::array<char, 16> congestion{};
  int error = 0;            // of choosing the congestion control
  uint64_t all_bytes = 0;   // that the receiver read
  uint64_t half_bytes = 0;  // in the second half of its time
  int64_t connect_ns = 0;   // points in time, of the clock all processes share
  int64_t half_ns = 0;
  int64_t end_ns = 0;
  uint32_t retransmits = 0;
};

// What both children fill, in memory they share with the parent.
struct Results {
  std::array<int64_t, kPings> round_trip_ns{};  // in order of arrival
  size_t answered = 0;
  std::array<Bulk, 4> bulks;
  size_t bulk_count = 0;
};

int64_t now_ns() {
  return Nanoseconds(Clock::now().time_since_epoch()).count();
}

sockaddr_in address_of(const std::string& host, uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  ::inet_pton(AF_INET, host.c_str(), &address.sin_addr);
  return address;
}

FileDescriptor bound_socket(int type, const sockaddr_in& address) {
  FileDescriptor socket(::socket(AF_INET, type | SOCK_CLOEXEC, 0));
  if (::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    return FileDescriptor();
  }
  return socket;
}

int use_congestion(int socket, const Bulk& bulk) {
  const char* name = bulk.congestion.data();
  const auto length = static_cast<socklen_t>(std::strlen(name));
  return ::setsockopt(socket, IPPROTO_TCP, TCP_CONGESTION, name, length) == 0 ? 0 : errno;
}

// Until the receiver has had enough and closes.
void send_bulk(int socket, Bulk& bulk) {
  const timeval patience{10, 0};
  ::setsockopt(socket, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
  bulk.error = use_congestion(socket, bulk);
  std::vector<std::byte> bytes(256 * 1024);
  while (bulk.error == 0 && ::send(socket, bytes.data(), bytes.size(), MSG_NOSIGNAL) > 0) {
  }
  tcp_info info{};
  socklen_t length = sizeof info;
  ::getsockopt(socket, IPPROTO_TCP, TCP_INFO, &info, &length);
  bulk.retransmits = info.tcpi_total_retrans;
}

void receive_bulk(int socket, Bulk& bulk, Nanoseconds time) {
  const timeval patience{10, 0};
  ::setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  std::vector<std::byte> bytes(256 * 1024);
  int64_t first_ns = 0;
  while (true) {
    const ssize_t count = ::recv(socket, bytes.data(), bytes.size(), 0);
    if (count <= 0) return;
    const int64_t now = now_ns();
    if (first_ns == 0) first_ns = now;
    bulk.all_bytes += static_cast<uint64_t>(count);
    bulk.end_ns = now;
    if (bulk.half_ns == 0 && now - first_ns >= time.count() / 2) {
      bulk.half_ns = now;
    } else if (bulk.half_ns != 0) {
      bulk.half_bytes += static_cast<uint64_t>(count);
    }
    if (now - first_ns >= time.count()) return;
  }
}

// Echoes datagrams, and takes connections one at a time: the first byte says which transfer it is.
int serve(const std::string& host, Results& results, Nanoseconds time) {
  const FileDescriptor echo = bound_socket(SOCK_DGRAM, address_of(host, kEchoPort));
  const FileDescriptor listener = bound_socket(SOCK_STREAM, address_of(host, kBulkPort));
  if (!echo.valid() || !listener.valid() || ::listen(listener.get(), 8) != 0) return 1;
  std::array<std::byte, 2048> datagram;
  while (true) {
    std::array<pollfd, 2> ready = {pollfd{echo.get(), POLLIN, 0},
                                   pollfd{listener.get(), POLLIN, 0}};
    ::poll(ready.data(), ready.size(), -1);
    if (ready[0].revents != 0) {
      sockaddr_in peer{};
      socklen_t length = sizeof peer;
      const ssize_t count = ::recvfrom(echo.get(), datagram.data(), datagram.size(), 0,
                                       reinterpret_cast<sockaddr*>(&peer), &length);
      if (count > 0) {
        ::sendto(echo.get(), datagram.data(), static_cast<size_t>(count), 0,
                 reinterpret_cast<sockaddr*>(&peer), length);
      }
    }
    if (ready[1].revents == 0) continue;
    const FileDescriptor connection(::accept(listener.get(), nullptr, nullptr));
    unsigned char index = 0;
    if (::recv(connection.get(), &index, 1, 0) != 1 || index >= results.bulks.size()) continue;
    Bulk& bulk = results.bulks[index];
    if (bulk.direction == Direction::up) {
      receive_bulk(connection.get(), bulk, time);
    } else {
      send_bulk(connection.get(), bulk);
    }
  }
}

void ping_all(const std::string& host, Results& results, Nanoseconds round_trip) {
  const FileDescriptor socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  const sockaddr_in server = address_of(host, kEchoPort);
  ::connect(socket.get(), reinterpret_cast<const sockaddr*>(&server), sizeof server);
  size_t sent = 0;
  Time next = Clock::now();
  while (results.answered < kPings) {
    if (sent < kPings && Clock::now() >= next) {
      std::array<std::byte, kPingBytes> datagram{};
      const int64_t now = now_ns();
      std::memcpy(datagram.data(), &now, sizeof now);
      ::send(socket.get(), datagram.data(), datagram.size(), 0);
      // The last one may take its time.
      next += ++sent < kPings ? kPingInterval : round_trip + std::chrono::milliseconds(500);
    } else if (sent == kPings && Clock::now() >= next) {
      return;
    }
    const int64_t left = std::max<int64_t>(0, Nanoseconds(next - Clock::now()).count());
    const timespec timeout{left / 1'000'000'000, left % 1'000'000'000};
    pollfd ready{socket.get(), POLLIN, 0};
    if (::ppoll(&ready, 1, &timeout, nullptr) <= 0) continue;
    std::array<std::byte, kPingBytes> datagram;
    int64_t then = 0;
    if (::recv(socket.get(), datagram.data(), datagram.size(), 0) != kPingBytes) continue;
    std::memcpy(&then, datagram.data(), sizeof then);
    results.round_trip_ns[results.answered++] = now_ns() - then;
  }
}

int measure(const std::string& host, Results& results, const LabOptions& options) {
  ping_all(host, results, options.links.round_trip());
  const sockaddr_in server = address_of(host, kBulkPort);
  for (unsigned char i = 0; i < results.bulk_count; ++i) {
    Bulk& bulk = results.bulks[i];
    FileDescriptor socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    bulk.connect_ns = now_ns();
    if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&server), sizeof server) != 0) {
      bulk.error = errno;
      continue;
    }
    ::send(socket.get(), &i, 1, MSG_NOSIGNAL);
    if (bulk.direction == Direction::up) {
      send_bulk(socket.get(), bulk);
    } else {
      receive_bulk(socket.get(), bulk, options.seconds);
    }
    socket = FileDescriptor();
    // What it left in the queue shall have passed, and its sender have learnt of the end.
    std::this_thread::sleep_for(options.links.round_trip() * 2 + std::chrono::milliseconds(50));
  }
  return 0;
}

void plan_bulks(Results& results, const std::string& congestion) {
  const std::vector<std::string> names =
      congestion.empty() ? std::vector<std::string>{"bbr", "cubic"} : std::vector{congestion};
  for (const std::string& name : names) {
    for (const Direction direction : {Direction::up, Direction::down}) {
      Bulk& bulk = results.bulks[results.bulk_count++];
      bulk.direction = direction;
      name.copy(bulk.congestion.data(), bulk.congestion.size() - 1);
    }
  }
}

// --- What is said about it

// What the link itself owes a ping; the rest is the lab's own.
Nanoseconds ping_nominal(const LinkPair& links) {
  Nanoseconds nominal = links.round_trip();
  for (const LinkSettings* link : {&links.up, &links.down}) {
    Wire wire;
    nominal += wire.send(Time{}, kPingPacketBytes, link->bits_per_second) - Time{};
  }
  return nominal;
}

bool report_pings(Results& results, const LabOptions& options) {
  const auto begin = results.round_trip_ns.begin();
  const auto end = begin + static_cast<ptrdiff_t>(results.answered);
  std::sort(begin, end);
  const Nanoseconds nominal = ping_nominal(options.links);
  std::printf("ping       %zu of %zu answered", results.answered, kPings);
  if (results.answered == 0) {
    std::printf("\n");
    return options.links.up.loss > 0.5 || options.links.down.loss > 0.5;
  }
  const auto over = [&](double part) {
    const double last = static_cast<double>(results.answered - 1);
    return duration_text(Nanoseconds{begin[static_cast<ptrdiff_t>(part * last)]} - nominal);
  };
  std::printf("; over the nominal %s: %s least, %s median, %s 99 %%, %s most\n",
              duration_text(nominal).c_str(), over(0).c_str(), over(0.5).c_str(),
              over(0.99).c_str(), over(1).c_str());
  return Nanoseconds{*begin} >= nominal;
}

bool report_bulk(const Bulk& bulk, const LabOptions& options) {
  const bool up = bulk.direction == Direction::up;
  std::printf("bulk %-4s  %-6s", up ? "up" : "down", bulk.congestion.data());
  if (bulk.error != 0) {
    std::printf(" %s\n", std::strerror(bulk.error));
    return true;
  }
  const auto megabits = [](uint64_t bytes, int64_t ns) {
    return ns > 0 ? static_cast<double>(bytes) * 8e3 / static_cast<double>(ns) : 0.0;
  };
  const double all = megabits(bulk.all_bytes, bulk.end_ns - bulk.connect_ns);
  std::printf(" %7.2f Mbit/s (%.2f with its start), %u retransmits\n",
              megabits(bulk.half_bytes, bulk.end_ns - bulk.half_ns), all, bulk.retransmits);
  const uint64_t rate = (up ? options.links.up : options.links.down).bits_per_second;
  return bulk.all_bytes > 0 && (rate == 0 || all <= static_cast<double>(rate) / 1e6);
}

}  // namespace

int self_test(const LabOptions& options, Network& network) {
  void* shared =
      ::mmap(nullptr, sizeof(Results), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (shared == MAP_FAILED) return kExitFailed;
  Results& results = *new (shared) Results;
  plan_bulks(results, options.network.congestion);
  const std::string host = network.server.address;
  std::array<int, 2> start{-1, -1};
  if (::pipe2(start.data(), O_CLOEXEC) != 0) return kExitFailed;
  const auto server =
      fork_into(network.server, [&] { return serve(host, results, options.seconds); });
  // The client begins once the server listens and the link is up.
  const auto client = fork_into(network.client, [&] {
    char go = 0;
    return ::read(start[0], &go, 1) == 1 ? measure(host, results, options) : 1;
  });
  LabLink link(network, options);
  if (!server.ok() || !client.ok() || !link.start().ok()) return kExitFailed;
  while (!is_listening(server.value(), kBulkPort)) {
    if (::waitpid(server.value(), nullptr, WNOHANG) != 0) return kExitFailed;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  if (::write(start[1], "!", 1) != 1) return kExitFailed;
  int status = 0;
  ::waitpid(client.value(), &status, 0);
  ::kill(server.value(), SIGKILL);
  ::waitpid(server.value(), nullptr, 0);

  std::printf("%s\n", link.settings_text().c_str());
  bool good = status == 0;
  good = report_pings(results, options) && good;
  for (size_t i = 0; i < results.bulk_count; ++i) {
    good = report_bulk(results.bulks[i], options) && good;
  }
  std::printf("%s", link.counters_text().c_str());
  ::munmap(shared, sizeof(Results));
  if (!options.check || good) return 0;
  std::fprintf(stderr, "wan_lab: the link gave more than it may, or nothing\n");
  return 1;
}

}  // namespace splitd::lab
