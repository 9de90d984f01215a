// Owns: what a body keeps for one session and for one connection. Plain records; who may touch what
// stands beside the members.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "net/frame.h"
#include "runtime/engine/local_stage.h"
#include "runtime/split/budget.h"
#include "runtime/split/protocol.h"
#include "runtime/split/resume.h"
#include "runtime/split/wire.h"

namespace splitd {

struct BodySession;

// One connection, without saying what it runs over. Its functions may be called from any thread,
// `admit` only from the one that brings messages.
struct BodyPeer {
  using Fill = void (*)(void* context, std::span<std::byte> payload);

  std::string identity;  // whom budgets count
  // False: the connection is gone. `fill` writes the payload where it is sent from.
  std::function<bool(std::string_view header, size_t payload_bytes, Fill fill, void* context)> send;
  std::function<uint64_t()> unsent_bytes;
  std::function<void()> close;                  // once what was sent is through
  std::function<void(net::FrameLimits)> admit;  // the hello was good
  std::shared_ptr<BodySession> session = {};    // of the thread that brings messages
};

// A backend for some layers, what it computes with, and the stage that serves its sessions.
struct BodyBackend {
  std::shared_ptr<void> weights = {};  // outlive the backend
  std::unique_ptr<Backend> backend = {};
};

struct BodyEngine {
  LayerRange layers;
  bool exact = false;
  BodyBackend computes;
  std::unique_ptr<LocalStage> stage;
  uint64_t n_session = 0;  // guarded by the body's mutex
};

struct BodySession {
  using Clock = std::chrono::steady_clock;

  BodySession(HelloMessage asked, Wire on_wire) : hello(std::move(asked)), wire(on_wire) {}

  // Fixed once it is open.
  uint64_t number = 0;  // for the log: tokens are secret
  HelloMessage hello;   // what it was opened with, nothing left open
  Wire wire;
  ResumeToken token;
  std::string identity;
  std::string arith;
  std::shared_ptr<BodyEngine> engine;
  SessionId id = 0;
  Usage cost;

  // Guarded by the body's mutex.
  enum class State : uint8_t { opening, open, ended };
  State state = State::opening;
  std::shared_ptr<BodyPeer> peer;  // none: detached
  Clock::time_point heard;
  std::array<Clock::time_point, kReplyWindow> arrivals{};  // a ring: of requests not answered yet
  uint32_t first_arrival = 0;
  uint32_t n_in_flight = 0;
  Clock::time_point replied;                       // the last time
  Clock::duration pause = Clock::duration::max();  // from a reply to the step after it, last time
  bool is_busy = false;  // stands in the body's list of those that are owed replies
};

}  // namespace splitd
