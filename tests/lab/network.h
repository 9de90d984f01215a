// Owns: two fresh network namespaces with a TUN device each, addressed as the two ends of one /30,
// and starting processes in them. They need root, or user namespaces and a TUN device that one may
// open; nothing of them has a name, so they are gone with the last process and descriptor in them.
// make_network() belongs at the start of a program: it moves the calling thread into the client's
// namespace and needs the process to have no other thread. Not thread-safe.
#pragma once

#include <sys/types.h>

#include <array>
#include <functional>
#include <string>

#include "runtime/base/files.h"

namespace splitd::lab {

struct NetworkOptions {
  size_t mtu = 1500;
  std::string congestion;         // of TCP in both, by route; empty: the kernel's default
  uint64_t tcp_buffer_bytes = 0;  // the most that TCP takes for either direction; 0: the default
};

struct NetworkEnd {
  std::string address;
  FileDescriptor name_space;
  uint64_t inode = 0;  // of the namespace: who is in it
  FileDescriptor tun;  // non-blocking
};

struct Network {
  NetworkEnd server;
  NetworkEnd client;
  std::string congestion;  // what TCP uses unless a program asks for another
  bool in_user_namespace = false;
};

// ErrorKind::failed: not allowed here; ErrorKind::usage: an option is wrong.
[[nodiscard]] Result<Network> make_network(const NetworkOptions& options);

// A process in one end, leading a process group of its own, killed when the calling thread ends.
[[nodiscard]] Result<pid_t> fork_into(const NetworkEnd& end, const std::function<int()>& body);

// Kills whatever is in either namespace but `spared`, until nothing is left.
void kill_members(const Network& network, const std::array<pid_t, 2>& spared);

// A process that survives this one just long enough to kill_members() and `clean_up`, however it
// ends: it watches the other end of the pipe whose writing end is returned.
struct Watchdog {
  pid_t pid = -1;
  FileDescriptor pipe;
};
[[nodiscard]] Result<Watchdog> start_watchdog(const Network& network,
                                              const std::function<void()>& clean_up);

// Whether something in the namespace of that process listens on the port.
[[nodiscard]] bool is_listening(pid_t process, uint16_t port);

}  // namespace splitd::lab
