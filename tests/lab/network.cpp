#include "tests/lab/network.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <thread>

namespace splitd::lab {
namespace {

constexpr const char* kDevice = "wan0";
constexpr const char* kServerAddress = "10.77.0.1";
constexpr const char* kClientAddress = "10.77.0.2";
constexpr const char* kNetAddress = "10.77.0.0";
constexpr unsigned char kPrefixBits = 30;
constexpr uint32_t kDeviceQueuePackets = 20'000;  // the link's queue is the one that shall be full

Error not_allowed(std::string step) {
  Error error = system_error(std::move(step));
  error.message +=
      "; the lab needs root, or user namespaces (`unshare -Urn true`) and /dev/net/tun";
  return error;
}

Status write_text(const std::string& path, std::string_view text) {
  const FileDescriptor file(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
  if (!file.valid() || ::write(file.get(), text.data(), text.size()) < 0) return system_error(path);
  return {};
}

// Root may have a network namespace at once; others in a user namespace, where they stay who they
// are.
Status enter_network_namespace(bool& in_user_namespace) {
  if (::unshare(CLONE_NEWNET) == 0) return {};
  if (in_user_namespace) return not_allowed("unshare(CLONE_NEWNET)");
  const std::string uid = std::to_string(::geteuid());
  const std::string gid = std::to_string(::getegid());
  if (::unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0) {
    return not_allowed("unshare(CLONE_NEWUSER | CLONE_NEWNET)");
  }
  in_user_namespace = true;
  SPLITD_TRY(write_text("/proc/self/setgroups", "deny"));
  SPLITD_TRY(write_text("/proc/self/uid_map", uid + " " + uid + " 1"));
  return write_text("/proc/self/gid_map", gid + " " + gid + " 1");
}

Result<FileDescriptor> open_tun() {
  FileDescriptor tun(::open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC));
  if (!tun.valid()) return not_allowed("/dev/net/tun");
  ifreq request{};
  request.ifr_flags = IFF_TUN | IFF_NO_PI;
  std::strcpy(request.ifr_name, kDevice);
  if (::ioctl(tun.get(), TUNSETIFF, &request) != 0) return not_allowed("making a TUN device");
  return tun;
}

Status set_device(const FileDescriptor& socket, unsigned long what, const char* name,
                  const std::function<void(ifreq&)>& fill) {
  ifreq request{};
  std::strcpy(request.ifr_name, name);
  fill(request);
  if (::ioctl(socket.get(), what, &request) == 0) return {};
  return system_error("configuring " + std::string(name));
}

void fill_address(ifreq& request, in_addr_t address) {
  sockaddr_in ipv4{};
  ipv4.sin_family = AF_INET;
  ipv4.sin_addr.s_addr = address;
  std::memcpy(&request.ifr_addr, &ipv4, sizeof ipv4);
}

Status configure_devices(const std::string& address, size_t mtu) {
  const FileDescriptor socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!socket.valid()) return system_error("socket");
  const auto up = [](ifreq& request) { request.ifr_flags = IFF_UP | IFF_RUNNING; };
  SPLITD_TRY(set_device(socket, SIOCSIFFLAGS, "lo", up));
  SPLITD_TRY(set_device(socket, SIOCSIFMTU, kDevice,
                        [&](ifreq& request) { request.ifr_mtu = static_cast<int>(mtu); }));
  SPLITD_TRY(set_device(socket, SIOCSIFADDR, kDevice, [&](ifreq& request) {
    fill_address(request, ::inet_addr(address.c_str()));
  }));
  SPLITD_TRY(set_device(socket, SIOCSIFNETMASK, kDevice, [](ifreq& request) {
    fill_address(request, htonl(~uint32_t{0} << (32 - kPrefixBits)));
  }));
  return set_device(socket, SIOCSIFFLAGS, kDevice, up);
}

// --- What only netlink can do for those who are root in a user namespace alone

// A message that grows attribute by attribute.
struct NetlinkMessage {
  alignas(nlmsghdr) std::array<std::byte, 512> bytes{};

  NetlinkMessage(uint16_t type, uint16_t flags, const void* body, size_t size) {
    header()->nlmsg_len = static_cast<uint32_t>(NLMSG_LENGTH(size));
    header()->nlmsg_type = type;
    header()->nlmsg_flags = static_cast<uint16_t>(NLM_F_REQUEST | NLM_F_ACK | flags);
    std::memcpy(NLMSG_DATA(header()), body, size);
  }
  nlmsghdr* header() { return reinterpret_cast<nlmsghdr*>(bytes.data()); }
  rtattr* add(unsigned short type, const void* data, size_t size) {
    auto* attribute = reinterpret_cast<rtattr*>(bytes.data() + NLMSG_ALIGN(header()->nlmsg_len));
    attribute->rta_type = type;
    attribute->rta_len = static_cast<unsigned short>(RTA_LENGTH(size));
    if (size > 0) std::memcpy(RTA_DATA(attribute), data, size);
    header()->nlmsg_len =
        static_cast<uint32_t>(NLMSG_ALIGN(header()->nlmsg_len) + RTA_ALIGN(attribute->rta_len));
    return attribute;
  }
};

// 0, or the errno that the kernel answers with.
int exchange(NetlinkMessage& message) {
  const FileDescriptor socket(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE));
  alignas(nlmsghdr) std::array<std::byte, 1024> reply;
  if (::send(socket.get(), message.bytes.data(), message.header()->nlmsg_len, 0) < 0 ||
      ::recv(socket.get(), reply.data(), reply.size(), 0) < 0) {
    return errno;
  }
  return -static_cast<const nlmsgerr*>(NLMSG_DATA(reinterpret_cast<nlmsghdr*>(reply.data())))
              ->error;
}

Status set_device_queue() {
  ifinfomsg device{};
  device.ifi_index = static_cast<int>(::if_nametoindex(kDevice));
  NetlinkMessage message(RTM_NEWLINK, 0, &device, sizeof device);
  message.add(IFLA_TXQLEN, &kDeviceQueuePackets, sizeof kDeviceQueuePackets);
  errno = exchange(message);
  return errno == 0 ? Status() : Status(system_error("the device's queue"));
}

// The sysctl refuses what only root of the machine may use (cubic, often); the attribute of a route
// does not, and it decides for connecting and for accepting ends.
Status set_congestion(const std::string& address, const std::string& congestion) {
  rtmsg route{};
  route.rtm_family = AF_INET;
  route.rtm_dst_len = kPrefixBits;
  route.rtm_table = RT_TABLE_MAIN;
  route.rtm_protocol = RTPROT_KERNEL;
  route.rtm_scope = RT_SCOPE_LINK;
  route.rtm_type = RTN_UNICAST;
  NetlinkMessage message(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, &route, sizeof route);
  const in_addr_t net = ::inet_addr(kNetAddress);
  const in_addr_t source = ::inet_addr(address.c_str());
  const unsigned device = ::if_nametoindex(kDevice);
  message.add(RTA_DST, &net, sizeof net);
  message.add(RTA_PREFSRC, &source, sizeof source);
  message.add(RTA_OIF, &device, sizeof device);
  rtattr* metrics = message.add(RTA_METRICS, nullptr, 0);
  const rtattr* name = message.add(RTAX_CC_ALGO, congestion.c_str(), congestion.size() + 1);
  metrics->rta_len = static_cast<unsigned short>(metrics->rta_len + RTA_ALIGN(name->rta_len));
  const int error = exchange(message);
  if (error == 0) return {};
  return usage_error("congestion control \"" + congestion + "\": " + std::strerror(error) +
                     "; this kernel has those of net.ipv4.tcp_available_congestion_control");
}

Status set_tcp_buffers(uint64_t bytes) {
  const std::string most = std::to_string(bytes);
  SPLITD_TRY(write_text("/proc/sys/net/ipv4/tcp_rmem", "4096 131072 " + most));
  return write_text("/proc/sys/net/ipv4/tcp_wmem", "4096 16384 " + most);
}

Status make_end(NetworkEnd& end, const char* address, const NetworkOptions& options,
                bool& in_user_namespace) {
  end.address = address;
  SPLITD_TRY(enter_network_namespace(in_user_namespace));
  end.name_space = FileDescriptor(::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
  struct stat info {};
  if (!end.name_space.valid() || ::fstat(end.name_space.get(), &info) != 0) {
    return not_allowed("/proc/thread-self/ns/net");
  }
  end.inode = info.st_ino;
  SPLITD_ASSIGN(end.tun, open_tun());
  SPLITD_TRY(configure_devices(end.address, options.mtu));
  SPLITD_TRY(set_device_queue());
  if (!options.congestion.empty()) SPLITD_TRY(set_congestion(end.address, options.congestion));
  if (options.tcp_buffer_bytes > 0) SPLITD_TRY(set_tcp_buffers(options.tcp_buffer_bytes));
  return {};
}

uint64_t network_of(pid_t process) {
  struct stat info {};
  const std::string path = "/proc/" + std::to_string(process) + "/ns/net";
  return ::stat(path.c_str(), &info) == 0 ? info.st_ino : 0;
}

}  // namespace

Result<Network> make_network(const NetworkOptions& options) {
  Network network;
  SPLITD_TRY(make_end(network.server, kServerAddress, options, network.in_user_namespace));
  SPLITD_TRY(make_end(network.client, kClientAddress, options, network.in_user_namespace));
  network.congestion = options.congestion;
  if (network.congestion.empty()) {
    SPLITD_ASSIGN(network.congestion, read_file("/proc/sys/net/ipv4/tcp_congestion_control"));
    while (network.congestion.ends_with('\n')) network.congestion.pop_back();
  }
  return network;
}

Result<pid_t> fork_into(const NetworkEnd& end, const std::function<int()>& body) {
  const pid_t parent = ::getpid();
  const pid_t child = ::fork();
  if (child < 0) return system_error("fork");
  if (child > 0) {
    ::setpgid(child, child);  // here and there: whoever comes first
    return child;
  }
  ::setpgid(0, 0);
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) ::_exit(125);
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  if (::setns(end.name_space.get(), CLONE_NEWNET) != 0) ::_exit(125);
  ::_exit(body());
}

void kill_members(const Network& network, const std::array<pid_t, 2>& spared) {
  for (int pass = 0; pass < 1000; ++pass) {
    bool found = false;
    std::error_code error;
    for (const auto& entry : std::filesystem::directory_iterator("/proc", error)) {
      const std::string name = entry.path().filename().string();
      pid_t process = 0;
      const auto [end, bad] = std::from_chars(name.data(), name.data() + name.size(), process);
      if (bad != std::errc() || *end != '\0') continue;
      if (std::find(spared.begin(), spared.end(), process) != spared.end()) continue;
      const uint64_t inode = network_of(process);
      if (inode == 0 || (inode != network.server.inode && inode != network.client.inode)) continue;
      found = ::kill(process, SIGKILL) == 0 || found;
    }
    if (!found) return;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
}

Result<Watchdog> start_watchdog(const Network& network, const std::function<void()>& clean_up) {
  std::array<int, 2> ends{-1, -1};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) return system_error("pipe");
  FileDescriptor reading(ends[0]);
  Watchdog watchdog;
  watchdog.pipe = FileDescriptor(ends[1]);
  watchdog.pid = ::fork();
  if (watchdog.pid < 0) return system_error("fork");
  if (watchdog.pid > 0) return watchdog;
  ::setsid();  // out of reach of the terminal
  // Nothing else stays open here: neither the devices nor the pipes of whoever reads our output.
  ::dup2(reading.get(), 0);
  for (int fd = 1; fd < 1024; ++fd) ::close(fd);
  char scrap = 0;
  while (::read(0, &scrap, 1) < 0 && errno == EINTR) {
  }
  kill_members(network, {::getpid(), 0});
  clean_up();
  ::_exit(0);
}

bool is_listening(pid_t process, uint16_t port) {
  for (const char* table : {"/net/tcp", "/net/tcp6"}) {
    auto text = read_file("/proc/" + std::to_string(process) + table);
    if (!text.ok()) continue;
    // "  0: 0100004D:1F90 00000000:0000 0A …": local address and port, the peer's, the state.
    std::array<char, 16> wanted;
    std::snprintf(wanted.data(), wanted.size(), ":%04X ", port);
    for (size_t at = 0; (at = text->find(wanted.data(), at)) != std::string::npos; ++at) {
      const size_t state = text->find(' ', at + 6);
      if (state != std::string::npos && text->compare(state, 4, " 0A ") == 0) return true;
    }
  }
  return false;
}

}  // namespace splitd::lab
