// Owns: every cap and timeout of the network, each with its reason. What a test or a user must be
// able to shrink is a field somewhere whose default is a constant of this file.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>

namespace splitd::net::limits {

using std::chrono::milliseconds;

// --- Reaching a peer

// Resolving a name and connecting to one of its addresses, together. Linux alone would try a single
// dead address for two minutes.
inline constexpr milliseconds kConnect{20'000};
// RFC 8305's "connection attempt delay": when the next address is tried beside the last one.
inline constexpr milliseconds kNextAddress{250};
// Addresses of one name that are tried: a hostile DNS answer could hold thousands.
inline constexpr size_t kMaxAddresses = 12;
// A handshake is two round trips and a few milliseconds of arithmetic; slow links add seconds.
inline constexpr milliseconds kTlsHandshake{20'000};
// A vanished peer is noticed on an idle connection: first probe after, then between, then how many.
inline constexpr int kKeepAliveIdleSeconds = 30;
inline constexpr int kKeepAliveIntervalSeconds = 10;
inline constexpr int kKeepAliveProbes = 3;
// Unsent bytes that the kernel takes over per connection before it says "full": more would stand
// in the way of a cancellation, less would not keep 1 Gbit/s busy between two wake-ups.
inline constexpr int kNotSentBytes = 256 << 10;
// RFC 1035: what a name can be at most.
inline constexpr size_t kMaxHostBytes = 253;
// CA bundles are about 250 KB; a file given by mistake (a model) is not read to its end.
inline constexpr uint64_t kMaxCaFileBytes = uint64_t{16} << 20;
// Saved TLS sessions of one client: a hub and its content networks are a handful of hosts.
inline constexpr size_t kMaxTlsSessions = 16;

// --- HTTP/1.1

// Signed URLs of content networks reach 2 KB; servers refuse beyond 8 KB.
inline constexpr size_t kMaxUrlBytes = 8192;
// Status line and fields together, and trailers again. nginx and Apache allow 8 to 32 KB; a hub's
// security policy and signed Location take about 4 KB.
inline constexpr size_t kMaxHttpHeadBytes = size_t{64} << 10;
inline constexpr size_t kMaxHttpFields = 128;
// "<hex size>[;extensions]": nobody sends extensions.
inline constexpr size_t kMaxChunkLineBytes = 256;
// 1xx answers before the real one: 100 and 103 are all that exist in practice.
inline constexpr int kMaxInterimHeads = 8;
// Hub → cache → content network is two.
inline constexpr int kMaxRedirects = 8;
// From the request's last byte to the end of the answer's head, all of it.
inline constexpr milliseconds kHttpHead{30'000};
// A body must bring this many bytes in each window, so neither silence nor a drip holds us.
inline constexpr milliseconds kHttpBodyWindow{30'000};
inline constexpr uint64_t kHttpBodyWindowBytes = 4096;
// An unwanted answer's body is read and dropped up to here, to keep the connection; beyond, a new
// one costs less.
inline constexpr uint64_t kHttpDrainBytes = uint64_t{64} << 10;
inline constexpr milliseconds kHttpDrain{250};
// Idle connections that a client keeps.
inline constexpr size_t kMaxIdleConnections = 4;
// One read from a socket or a TLS record (16 KiB at most), so four records.
inline constexpr size_t kReadBytes = size_t{64} << 10;

// --- Trying again

// Attempts of one request: with the back-off below they span about 15 s.
inline constexpr int kHttpAttempts = 5;
// Doubled each time up to the most, and each wait is drawn from its upper half (jitter).
inline constexpr milliseconds kBackoffFirst{500};
inline constexpr milliseconds kBackoffMost{10'000};
// A Retry-After above this is reported instead of obeyed: the hub's windows are 5 minutes.
inline constexpr milliseconds kRetryAfterMost{330'000};

// --- Frames (DESIGN §6)

// A step's header is ≤ 160 bytes and ≤ 4 a row; lists of dead ids (7 bytes each) make the longest.
inline constexpr uint32_t kMaxFrameHeaderBytes = uint32_t{64} << 10;
// Before hello nobody has asked for more.
inline constexpr uint32_t kMaxHelloBytes = 8192;
// {"rows": {"parents": [1, 2]}} is three deep; values and keys cost 16 bytes of memory each.
inline constexpr uint32_t kMaxFrameDepth = 8;
inline constexpr size_t kMaxFrameNodes = 16384;
// One read, where the frames may be that long: 16 TLS records or a handful of steps at once.
inline constexpr size_t kFrameReadBytes = size_t{64} << 10;
// And where they are short: strangers and probes.
inline constexpr size_t kLeastReadBytes = 2048;
// What an idle connection keeps of its buffers.
inline constexpr size_t kIdleBufferBytes = size_t{16} << 10;

// --- TLS between splitd's own ends

// "identity hex64" lines: a fleet of thousands fits, a file given by mistake does not.
inline constexpr uint64_t kMaxPskFileBytes = uint64_t{1} << 20;
inline constexpr size_t kMaxPskIdentityBytes = 64;
inline constexpr uint64_t kMaxKeyFileBytes = uint64_t{64} << 10;
// Sessions that a server can resume: one round trip saved at each reconnect. About 200 bytes each
// with a PSK, 1 KB with a certificate.
inline constexpr size_t kMaxServerTlsSessions = 1024;
inline constexpr std::chrono::seconds kTlsSessionLife{3600};

// --- WebSocket and probes

inline constexpr size_t kMaxControlFrameBytes = 125;  // RFC 6455
// Fragments without content between two that have some: each costs us and brings nothing.
inline constexpr int kMaxEmptyFragments = 16;
// A request's head on the splitd port: an upgrade by a browser's standards is below 2 KB.
inline constexpr size_t kMaxRequestHeadBytes = 8192;

// Answers to pings that a peer which reads nothing can make us hold: about 50 KB.
inline constexpr int kMaxUnreadPongs = 1000;

// --- A server's connections

// All of them, and those before hello. A descriptor and 2 KB each, 6 KB once bytes came, 30 KB once
// a TLS hello began (measured).
inline constexpr size_t kMaxConnections = 4096;
inline constexpr size_t kMaxStrangers = 1024;
// Beyond it the OLDEST of that address is closed: slow peers lose, a new real one gets in.
inline constexpr size_t kMaxStrangersPerAddress = 64;
// From accept() to a good hello: TLS and upgrade are three round trips.
inline constexpr milliseconds kHello{10'000};
// Goodbye, unsent bytes included, to a peer that does not read.
inline constexpr milliseconds kCloseLinger{2'000};
// No descriptors left: accepting pauses this long, so that the loop does not spin.
inline constexpr milliseconds kAcceptPause{100};
// Connections taken per round of the loop, so that a flood does not starve those that are open.
inline constexpr int kAcceptsPerRound = 32;

// --- Liveness and backpressure

// Nothing heard for this long: a ping. Mobile NATs forget idle connections after 30 s or more.
inline constexpr milliseconds kPingAfterSilence{5'000};
// A peer silent for this long after a ping is dead (DESIGN §6).
inline constexpr milliseconds kPong{10'000};
// A frame that was begun must bring this many bytes in each window (a 2G phone brings 100 times
// that), so that neither silence nor a drip holds its memory.
inline constexpr milliseconds kFrameWindow{30'000};
inline constexpr uint64_t kFrameWindowBytes = 4096;
// A connection with more unsent is not scheduled, and this much time of it closes it (DESIGN §6).
inline constexpr uint64_t kUnsentBytes = uint64_t{8} << 20;
inline constexpr milliseconds kUnsent{30'000};
// Messages up to here are encrypted and written by the thread that has them (100 µs at ChaCha20's
// 0.45 GB/s); larger ones by the I/O thread, while the caller computes on.
inline constexpr size_t kWriteByCallerBytes = size_t{48} << 10;
// A client waiting for a reply looks this long before it sleeps: a wake-up costs 10 to 50 µs. Both
// ends often share a machine, so not longer.
inline constexpr std::chrono::microseconds kClientSpin{50};

}  // namespace splitd::net::limits
