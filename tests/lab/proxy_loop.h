// Owns: the proxy's thread: its listener, its connections, its faults. Private to WanProxy. Its
// functions belong to that thread, but counters(), which others may wait for.
#pragma once

#include <poll.h>

#include <array>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "runtime/base/files.h"
#include "tests/lab/mailbox.h"
#include "tests/lab/proxy.h"
#include "tests/lab/proxy_pipe.h"

namespace splitd::lab {

class WanProxy::Loop {
 public:
  explicit Loop(const ProxyOptions& options) : options_(options) {}

  Status listen();
  Status start() {
    return mailbox_.start([this] { run(); });
  }

  // From any thread: makes the call on the loop's.
  void call(const std::function<void()>& function) { mailbox_.call(function); }
  ProxyCounters counters() const;
  bool wait(const std::function<bool(const ProxyCounters&)>& condition,
            std::chrono::milliseconds limit) const;
  uint16_t port() const { return port_; }

  // --- The loop's thread
  ProxyLink& link(Direction direction) { return links_[static_cast<size_t>(direction)]; }
  void set_target_port(uint16_t port) { options_.target_port = port; }
  void set_refusing(bool refusing) { refusing_ = refusing; }
  void cut_after(Direction direction, uint64_t bytes, Cut how);
  void cut(Cut how);
  void vanish(End end);
  void resume();

 private:
  struct Connection {
    FileDescriptor client;
    FileDescriptor target;
    bool connecting = true;
    std::array<ProxyPipe, 2> pipes;  // by Direction
    bool done = false;

    ProxyPipe& pipe(Direction direction) { return pipes[static_cast<size_t>(direction)]; }
    FileDescriptor& sender(Direction direction) {
      return direction == Direction::up ? client : target;
    }
    FileDescriptor& receiver(Direction direction) {
      return direction == Direction::up ? target : client;
    }
  };
  // An end that is told nothing more: what it sends is read and dropped.
  struct Orphan {
    FileDescriptor socket;
    bool stays = false;  // at the end of its stream too: it must not learn that nobody is there
    bool ended = false;
  };
  struct CutAfter {
    uint64_t bytes = 0;
    Cut how = Cut::reset;
  };
  struct PendingCut {
    int receiver = -1;  // its kernel must have taken all bytes first
    Cut how = Cut::reset;
  };

  void run();
  void poll_all();
  void handle(Connection& connection, const pollfd& client, const pollfd& target);
  void accept_all();
  void finish_connecting(Connection& connection);
  void deliver_all();
  void deliver(Connection& connection, Direction direction, Time now);
  void lose_receiver(Connection& connection, Direction direction);
  void swallow(Orphan& orphan);
  void try_pending_cut();
  std::optional<Time> next_due();
  void forget_done();
  void count(const std::function<void(ProxyCounters&)>& change);

  ProxyOptions options_;
  FileDescriptor listener_;
  uint16_t port_ = 0;
  std::array<ProxyLink, 2> links_;
  std::array<std::optional<CutAfter>, 2> cut_after_;
  std::optional<PendingCut> pending_cut_;
  bool refusing_ = false;
  std::vector<std::unique_ptr<Connection>> connections_;
  std::vector<Orphan> orphans_;
  std::vector<pollfd> ready_;

  mutable std::mutex mutex_;  // guards counters_
  mutable std::condition_variable counters_changed_;
  ProxyCounters counters_;

  Mailbox mailbox_;  // last: its thread ends first
};

}  // namespace splitd::lab
