// Owns: the inside of a Server and of its Connections, shared by server.cpp (listening, caps) and
// server_connection.cpp (one connection's life). Private to them.
#pragma once

#include <list>
#include <string>
#include <unordered_map>

#include "net/link.h"
#include "net/server.h"

namespace splitd::net {

struct Connection::State {
  State(Server::State& the_server, Loop& loop, std::unique_ptr<TcpStream> stream,
        ChannelOptions options);

  // A stranger has hello_timeout; an admitted peer is pinged; a leaving one gets our last bytes and
  // kCloseLinger to take them.
  enum class Stage : uint8_t { stranger, admitted, leaving };

  // The loop's thread.
  void on_ready(Readiness readiness);
  void on_time();
  void read();
  bool dispatch();  // events of the channel; false once it is over
  bool handle(ChannelEvent event);
  void leave(const Error& why);
  void leave_on();  // sends the rest, then waits for the peer's end
  void drop();      // closes the socket; the connection is no longer the server's
  std::optional<Error> overdue(Clock::time_point now);
  Clock::time_point next_check(Clock::time_point now) const;

  // With the link's mutex.
  void queued();

  std::shared_ptr<Connection> self();

  Connection* owner = nullptr;
  Server::State& server;  // the loop's thread, or `open` and the mutex held
  Link link;
  Timer timer;
  uint64_t id = 0;
  std::string group;  // what one address can hold
  std::string identity;
  std::string_view transport = "tcp";
  Stage stage = Stage::stranger;
  bool announced = false;  // `opened` was given out
  bool satisfied = false;  // a probe that was answered; or it left in order after a question
  bool wrote_end = false;
  Clock::time_point since = Clock::now();  // the stage began
  std::list<Connection*>::iterator stranger_place;
  std::list<Connection*>::iterator leaving_place;
  std::list<Connection*>::iterator group_place;
  // Slow peers: how much had come when the frame under way was first seen unfinished.
  std::optional<Clock::time_point> window_began;
  uint64_t window_bytes = 0;
  // The link's mutex guards these.
  bool open = false;  // messages may be sent
  bool close_asked = false;
  std::optional<Clock::time_point> crowded_since;  // more than unsent_limit is unsent
};

struct Server::State {
  State(Loop& the_loop, TcpListener the_listener, ServerOptions given, ServerEvents the_events)
      : loop(the_loop),
        listener(std::move(the_listener)),
        options(std::move(given)),
        events(std::move(the_events)) {}

  void accept_some();
  void take(std::unique_ptr<TcpStream> stream);
  bool make_room(const std::string& group);
  bool close_somebody(std::string_view why);  // who can be spared; false if nobody can
  void close_oldest(std::list<Connection*>& list, std::string_view why);
  void out_of_descriptors();
  void no_longer_stranger(Connection::State& connection);
  void pause_accepting();

  Loop& loop;
  TcpListener listener;
  ServerOptions options;
  ServerEvents events;
  Watch watch;
  Timer accept_again;
  bool accepting = false;
  FileDescriptor spare;  // given up to tell a peer that there is no room
  uint64_t next_id = 1;
  std::unordered_map<uint64_t, std::shared_ptr<Connection>> connections;
  std::list<Connection*> strangers;  // oldest first
  std::list<Connection*> leaving;    // likewise: who still reads our last words
  std::unordered_map<std::string, std::list<Connection*>> groups;  // strangers by address
  std::atomic<uint64_t> accepted{0};
  std::atomic<uint64_t> refused{0};
  std::atomic<size_t> connection_count{0};
  std::atomic<size_t> stranger_count{0};
};

}  // namespace splitd::net
