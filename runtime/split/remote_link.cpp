#include "runtime/split/remote_link.h"

#include <algorithm>
#include <charconv>
#include <random>
#include <utility>

#include "net/text.h"

namespace splitd {

using net::Clock;
using std::chrono::milliseconds;

static constexpr milliseconds kFirstPause{50};
static constexpr milliseconds kLongestPause{3'000};
static constexpr milliseconds kWelcome{15'000};  // opening a session reserves its memory
// Of the time that a lost body is looked for, what connections may take that break before anybody
// has said a word: it could be an address where something else listens.
static constexpr milliseconds kStranger{10'000};

std::string BodyAddress::text() const {
  const bool v6 = host.find(':') != std::string::npos;
  return (v6 ? "[" + host + "]" : host) + ":" + std::to_string(port);
}

Result<BodyAddress> parse_body_address(std::string_view text, bool to_listen) {
  const auto refuse = [&] {
    return usage_error(net::quoted(text) + " is no address; HOST:PORT or [IPV6]:PORT is accepted");
  };
  const size_t colon = text.rfind(':');
  if (colon == std::string_view::npos || colon == 0) return refuse();
  std::string_view host = text.substr(0, colon);
  const std::string_view digits = text.substr(colon + 1);
  if (host.front() == '[') {
    if (host.back() != ']' || host.size() < 4) return refuse();
    host = host.substr(1, host.size() - 2);
  } else if (host.find(':') != std::string_view::npos) {
    return refuse();
  }
  BodyAddress out{std::string(host), 0};
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), out.port);
  if (error != std::errc() || end != digits.data() + digits.size() ||
      (out.port == 0 && !to_listen)) {
    return refuse();
  }
  return out;
}

Error drifted(const BodyAddress& body, std::string_view arith, std::string_view before) {
  return peer_error("body " + body.text() + " computes as " + net::quoted(arith) +
                    ", the one before as " + net::quoted(before) +
                    ": the text could differ; --allow-drift accepts that");
}

// What the body says must be what was asked for; it could be anything.
static Status check_welcome(const WelcomeMessage& welcome, const HelloMessage& hello) {
  if (welcome.version != kProtocolVersion) {
    return peer_error("speaks version " + std::to_string(welcome.version) +
                      " of the protocol, not " + std::to_string(kProtocolVersion));
  }
  if (welcome.fingerprint != hello.fingerprint) {
    return peer_error("serves another model: fingerprint " + net::quoted(welcome.fingerprint) +
                      ", here " + hello.fingerprint);
  }
  if (hello.layers && welcome.layers != *hello.layers) {
    return peer_error("answers for layers " + std::to_string(welcome.layers.begin) + ":" +
                      std::to_string(welcome.layers.end) + ", not " +
                      std::to_string(hello.layers->begin) + ":" +
                      std::to_string(hello.layers->end));
  }
  if (hello.n_ctx != 0 && welcome.resume.empty()) return peer_error("opened no session");
  return {};
}

Result<BodyLink> BodyFinder::welcomed(std::shared_ptr<net::Client> client,
                                      const HelloMessage& hello, const net::Frame& frame) {
  SPLITD_TRY(reader_.read(frame.header));
  if (reader_.type() == MessageType::error) {
    SPLITD_ASSIGN(const ErrorMessage refusal, reader_.error());
    failure_.for_good = !refusal.retry;
    return peer_error("refuses: " + net::quoted(refusal.message, 400));
  }
  failure_.for_good = true;  // a body that speaks nonsense will do so again
  if (reader_.type() != MessageType::welcome) {
    return peer_error("answers hello with \"" + std::string(reader_.type_name()) + "\"");
  }
  SPLITD_ASSIGN(WelcomeMessage welcome, reader_.welcome());
  SPLITD_TRY(check_welcome(welcome, hello));
  client->release();
  return BodyLink{std::move(client), std::move(welcome)};
}

Result<BodyLink> BodyFinder::greet(const BodyAddress& address, const HelloMessage& hello,
                                   const net::Wait& wait) {
  if (std::shared_ptr<net::Client> asked = std::exchange(asked_, nullptr)) {
    Result<BodyLink> link = introduce(address, std::move(asked), hello, wait);
    if (link || failure_.answered) return link;
    failure_ = {};
  }
  net::ClientOptions options;
  options.host = address.host;
  options.port = address.port;
  options.tls = options_.tls;
  options.websocket = options_.websocket;
  options.congestion = options_.congestion;
  SPLITD_ASSIGN(
      std::shared_ptr<net::Client> client,
      net::Client::connect(io_, options, wait.at_most(options.connect_timeout), &failure_.lost));
  return introduce(address, std::move(client), hello, wait);
}

Result<BodyLink> BodyFinder::introduce(const BodyAddress& address,
                                       std::shared_ptr<net::Client> client,
                                       const HelloMessage& hello, const net::Wait& wait) {
  write_hello(json_, hello);
  const Status sent = client->send(json_.text());
  // A body that refuses at once may be gone already; what it said on leaving is here.
  const Result<net::Frame> frame = client->receive(wait.at_most(kWelcome));
  failure_.answered = frame.ok();
  if (!frame) {
    failure_.lost = client->was_lost();
    return sent.ok() ? frame.error() : sent.error();
  }
  Result<BodyLink> link = welcomed(client, hello, *frame);
  if (!link) return link.take_error().within("body " + address.text());
  return link;
}

Result<BodyLink> BodyFinder::find(const HelloMessage& hello, const net::Wait& wait) {
  std::optional<Error> first;
  Failure all{.for_good = true};
  for (size_t i = 0; i < options_.bodies.size(); ++i) {
    const size_t at = (current_ + i) % options_.bodies.size();
    failure_ = {};
    Result<BodyLink> link = greet(options_.bodies[at], hello, wait);
    if (link) {
      current_ = at;
      known_ = true;
      return link;
    }
    if (link.error().kind == ErrorKind::interrupted) {
      failure_.for_good = true;
      return link.take_error();
    }
    all.lost |= failure_.lost;
    all.answered |= failure_.answered;
    all.for_good &= failure_.for_good;
    if (!first) {
      first = link.take_error();
    } else {
      first->message += "; " + link.error().message;
    }
  }
  failure_ = all;
  return std::move(*first);
}

// While there is no session yet, what a body says is the answer, and so is a stranger's silence. A
// body that has said welcome to a question may have gone away for a moment.
bool BodyFinder::is_worth_another(bool opening) const {
  if (failure_.for_good) return false;
  return !opening || failure_.lost || (known_ && !failure_.answered);
}

Result<BodyLink> BodyFinder::ask_until(Clock::time_point end, Result<BodyLink> link,
                                       const HelloMessage& hello, const net::Cancellation& cancel,
                                       bool opening) {
  std::minstd_rand random(std::random_device{}());
  milliseconds pause = kFirstPause;
  while (!link && is_worth_another(opening) && Clock::now() + pause < end) {
    // From half the pause to all of it, so that many clients do not come back together.
    const auto jitter = milliseconds(random() % static_cast<uint32_t>(pause.count() / 2 + 1));
    Status slept = net::sleep_for(pause - jitter, {Clock::time_point::max(), &cancel});
    if (!slept) {
      failure_.for_good = true;
      return slept.take_error();
    }
    pause = std::min(pause * 2, kLongestPause);
    link = find(hello, {end, &cancel});
  }
  return link;
}

static std::string text_of(milliseconds time) {
  const bool whole = time.count() % 1000 == 0;
  return whole ? std::to_string(time.count() / 1000) + " s" : std::to_string(time.count()) + " ms";
}

Result<BodyLink> BodyFinder::find_first(const HelloMessage& hello,
                                        const net::Cancellation& cancel) {
  Result<BodyLink> link = find(hello, {Clock::time_point::max(), &cancel});
  const milliseconds patience =
      known_ ? options_.retry_for : std::min(options_.retry_for, kStranger);
  if (link || !is_worth_another(true) || patience.count() == 0) return link;
  options_.log.info(link.error().message + "; connecting again");
  link = ask_until(Clock::now() + patience, std::move(link), hello, cancel, true);
  if (link || !is_worth_another(true)) return link;
  return peer_error("no connection lasted until a body said welcome, in " + text_of(patience) +
                    ": " + link.error().message);
}

Result<BodyLink> BodyFinder::find_next(const HelloMessage& hello, const net::Cancellation& cancel) {
  Result<BodyLink> link = find(hello, {Clock::time_point::max(), &cancel});
  if (link || !is_worth_another(false)) return link;
  const Error why = link.take_error();
  return find_again(hello, why, cancel);
}

Result<BodyLink> BodyFinder::find_again(const HelloMessage& hello, const Error& why,
                                        const net::Cancellation& cancel) {
  options_.log.info(why.message + "; connecting again");
  const Clock::time_point end = Clock::now() + options_.retry_for;
  Result<BodyLink> link = ask_until(end, find(hello, {end, &cancel}), hello, cancel, false);
  if (link || !is_worth_another(false)) return link;
  return peer_error("lost the body (" + why.message + ") and could not get it back in " +
                    text_of(options_.retry_for) + ": " + link.error().message);
}

}  // namespace splitd
