// A Server on a thread of its own that answers {"type":"echo"} messages with what they hold. The
// first message of a connection counts as its hello.
#pragma once

#include <atomic>
#include <mutex>
#include <string>
#include <vector>

#include "net/server.h"

namespace splitd::net {

class EchoServer {
 public:
  explicit EchoServer(ServerOptions options = {});
  ~EchoServer();

  uint16_t port() const { return server_->port(); }
  ServerCounters counters() const { return server_->counters(); }
  Server& server() { return *server_; }
  LoopThread& thread() { return *thread_; }

  std::vector<std::string> opened() const;  // "identity transport" of each connection
  std::vector<std::string> closed() const;  // why each went
  std::shared_ptr<Connection> last() const;
  std::atomic<uint64_t> messages{0};
  std::atomic<bool> stop_answering{false};

  static constexpr uint64_t kMaxPayload = uint64_t{64} << 20;

 private:
  Status answer(const std::shared_ptr<Connection>& connection, const Frame& frame);

  std::unique_ptr<LoopThread> thread_;
  std::unique_ptr<Server> server_;
  mutable std::mutex mutex_;  // guards what follows
  std::vector<std::string> opened_;
  std::vector<std::string> closed_;
  std::shared_ptr<Connection> last_;
};

}  // namespace splitd::net
