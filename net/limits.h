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

}  // namespace splitd::net::limits
