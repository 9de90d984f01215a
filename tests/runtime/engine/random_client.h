// A client of a stage that does random things, right and wrong, and knows from a NaiveTree what has
// to come back; the bits of a row are those of its tokens computed alone in a fresh session.
#pragma once

#include <gtest/gtest.h>

#include <cstring>
#include <deque>
#include <map>
#include <random>
#include <unordered_map>

#include "runtime/engine/local_stage.h"
#include "tests/runtime/engine/naive_tree.h"
#include "tests/runtime/engine/stage_backends.h"

namespace splitd {

// What every path of tokens computes to, alone: a trie that is filled on demand and forgotten when
// it has grown large.
class Reference {
 public:
  Reference(Backend& backend, KvType type)
      : backend_(backend), type_(type), d_(backend.config().d_model) {
    nodes_.emplace_back();
  }

  size_t n_computed() const { return n_computed_; }    // paths
  uint32_t generation() const { return generation_; }  // node numbers hold within one

  void forget_some() {
    if (nodes_.size() < kMostNodes) return;
    nodes_.assign(1, {});
    index_.clear();
    ++generation_;
  }
  // 0 is the place before the first token.
  uint32_t child(uint32_t node, uint32_t token) {
    const auto [found, is_new] =
        index_.try_emplace(uint64_t{node} << 32 | token, static_cast<uint32_t>(nodes_.size()));
    if (is_new) nodes_.push_back({node, token, {}});
    return found->second;
  }
  // The last row of the path that ends in the node.
  std::span<const float> row(uint32_t node) {
    if (nodes_[node].row.empty()) compute(node);
    return nodes_[node].row;
  }

 private:
  static constexpr size_t kMostNodes = 200000;
  struct Node {
    uint32_t parent = 0;
    uint32_t token = 0;
    std::vector<float> row = {};  // empty: not computed yet
  };

  void compute(uint32_t node) {
    std::vector<uint32_t> chain, tokens;
    for (; node != 0; node = nodes_[node].parent) chain.insert(chain.begin(), node);
    for (const uint32_t at : chain) tokens.push_back(nodes_[at].token);
    const std::vector<float> rows = recompute(backend_, tokens, type_);
    for (size_t i = 0; i < chain.size(); ++i) {
      const auto begin = rows.begin() + static_cast<std::ptrdiff_t>(i * d_);
      nodes_[chain[i]].row.assign(begin, begin + static_cast<std::ptrdiff_t>(d_));
    }
    ++n_computed_;
  }

  Backend& backend_;
  KvType type_;
  size_t d_;
  size_t n_computed_ = 0;
  uint32_t generation_ = 1;
  std::vector<Node> nodes_;
  std::unordered_map<uint64_t, uint32_t> index_;
};

struct Sent {
  NaiveTree::Verdict verdict;
  bool bad_rows = false;
  RowId first = 0;
  std::vector<uint8_t> born_dead;  // by row
  uint32_t n_unread = 0;
};

struct Awaited {
  uint32_t seq;
  bool out_of_order;  // an error whatever is kept for seq
};

struct ClientShape {
  KvShape kv;
  uint32_t window;       // the smallest
  uint32_t most_commit;  // rows of a frame
  uint32_t n_choice;     // tokens to choose from at each depth; the first is likeliest
  uint32_t likely;       // in percent
  uint32_t most_rows;    // of a session's life: the naive model forgets nothing and grows slow
};

class RandomClient {
 public:
  RandomClient(LocalStage& stage, Backend& backend, const ClientShape& shape, std::mt19937& random)
      : stage_(stage),
        backend_(backend),
        shape_(shape),
        random_(random),
        id_(*stage.open(shape.kv)),
        naive_(shape.kv, shape.window) {}
  ~RandomClient() { stage_.close(id_); }

  SessionId id() const { return id_; }
  size_t n_awaited() const { return awaited_.size(); }
  size_t n_row() const { return naive_.rows.size(); }

  struct Counts {
    size_t sent = 0, refused = 0, lost = 0, repeats = 0, out_of_order = 0, full = 0;
    size_t live = 0, died = 0, born_dead = 0, in_flight = 0;
  };

  // `exact`: the stage has given no reply that was not checked.
  void act(bool exact, Counts& counts) {
    const uint32_t kind = below(20);
    if (kind == 0) return send_out_of_order(exact, counts);
    if (kind <= 2 && last_ > 0) return send_repeat(counts);
    send_new(counts);
  }

  // Takes back the newest rows.
  void cancel(Counts& counts) {
    TimelineRequest request;
    request.edit = TimelineRequest::Edit::rewind;
    const auto n_committed = static_cast<uint32_t>(naive_.committed.size());
    request.rewind =
        n_committed - std::min(n_committed, below(percent(5) ? 2 * shape_.most_commit : 16));
    submit(request, {}, false, counts);
  }

  // Checks the reply that came. `exact`: nothing was sent since it was made.
  void check(const StageReply& reply, Reference& reference, bool exact, Counts& counts) {
    ASSERT_FALSE(awaited_.empty());
    const Awaited want = awaited_.front();
    awaited_.pop_front();
    ASSERT_EQ(reply.seq, want.seq);
    if (!exact && want.seq <= acked_) return;  // acked before or after it was given
    if (want.out_of_order || want.seq <= acked_) {
      ASSERT_TRUE(reply.error);
      ASSERT_EQ(reply.error->kind, ErrorKind::usage);
      return;
    }
    if (const auto again = given_.find(want.seq); again != given_.end()) {
      const StageReply& first = again->second;
      ASSERT_EQ(reply.error.has_value(), first.error.has_value());
      if (reply.error) {
        ASSERT_EQ(reply.error->message, first.error->message);
      }
      ASSERT_EQ(reply.ids, first.ids);
      ASSERT_EQ(reply.dead, first.dead);
      ASSERT_EQ(reply.rows, first.rows);
      return;
    }
    ASSERT_EQ(want.seq, delivered_ + 1);
    delivered_ = want.seq;
    given_[want.seq] = reply;
    check_first(reply, sent_.at(want.seq), reference, exact, counts);
  }

 private:
  uint32_t below(size_t n) { return n == 0 ? 0 : static_cast<uint32_t>(random_() % n); }
  bool percent(uint32_t p) { return below(100) < p; }

  void check_first(const StageReply& reply, const Sent& sent, Reference& reference, bool exact,
                   Counts& counts) {
    if (sent.bad_rows || sent.verdict != NaiveTree::Verdict::accepted) {
      ASSERT_TRUE(reply.error);
      const bool lost = !sent.bad_rows && sent.verdict == NaiveTree::Verdict::lost;
      ASSERT_EQ(is_lost(*reply.error), lost) << reply.error->message;
      return;
    }
    ASSERT_FALSE(reply.error) << reply.error->message;
    const size_t d = backend_.config().d_model;
    ASSERT_EQ(reply.rows.size(), reply.ids.size() * d);
    ASSERT_EQ(reply.ids.size() + reply.dead.size(), sent.born_dead.size());
    size_t n_live = 0, n_dead = 0;
    reference.forget_some();
    for (auto i = static_cast<uint32_t>(sent.born_dead.size()); i-- > 0;) {
      // From the last row: what is computed alone for it has most of the others on its way.
      if (naive_.is_live(sent.first + i)) reference.row(node(sent.first + i, reference));
    }
    for (uint32_t i = 0; i < sent.born_dead.size(); ++i) {
      const RowId id = sent.first + i;
      if (n_dead < reply.dead.size() && reply.dead[n_dead] == id) {
        ASSERT_FALSE(naive_.is_live(id)) << id;
        ++n_dead;
        continue;
      }
      ASSERT_LT(n_live, reply.ids.size());
      ASSERT_EQ(reply.ids[n_live], id);
      ASSERT_FALSE(sent.born_dead[i]) << id;
      ASSERT_TRUE(!exact || naive_.is_live(id)) << id;
      if (i < sent.n_unread) {
        ++n_live;
        continue;
      }
      const std::span<const float> row = reference.row(node(id, reference));
      ASSERT_EQ(std::memcmp(row.data(), reply.rows.data() + n_live * d, d * sizeof(float)), 0)
          << "row " << id << " at position " << naive_.rows[id].position;
      ++n_live;
    }
    counts.live += n_live;
    counts.died += n_dead;
  }

  uint32_t node(RowId id, Reference& reference) {
    nodes_.resize(naive_.rows.size());
    std::vector<RowId> down;
    RowId at = id;
    for (; at != kNoRow && nodes_[at].first != reference.generation();
         at = naive_.rows[at].parent) {
      down.push_back(at);
    }
    uint32_t out = at == kNoRow ? 0 : nodes_[at].second;
    for (; !down.empty(); down.pop_back()) {
      out = reference.child(out, naive_.rows[down.back()].token);
      nodes_[down.back()] = {reference.generation(), out};
    }
    return out;
  }

  uint32_t token(uint32_t position) {
    const uint32_t choice = percent(shape_.likely) ? 0 : below(shape_.n_choice);
    return (position * 2654435761u + choice * 40503u) >> 7 & 255;
  }

  RowId any_row() { return percent(10) ? kNoRow : below(naive_.rows.size() + 1); }
  RowId recent_row() {
    const size_t n = naive_.rows.size();
    return n == 0 ? kNoRow : static_cast<RowId>(n - 1 - below(std::min<size_t>(n, 12)));
  }

  TimelineRequest random_edit() {
    TimelineRequest request;
    const auto n_committed = static_cast<uint32_t>(naive_.committed.size());
    const bool crowded = n_committed + shape_.kv.max_pending > shape_.kv.n_ctx;
    if (crowded || percent(12)) {
      request.edit = TimelineRequest::Edit::rewind;
      const uint32_t near = n_committed - std::min(n_committed, below(8));
      request.rewind = percent(crowded ? 20 : 60) ? near : below(n_committed + 2);
      if (percent(4)) request.rewind = 0;
      if (shape_.window != 0 && percent(20)) request.rewind = naive_.first_kept() - below(2);
    } else if (percent(45)) {
      request.edit = TimelineRequest::Edit::keep;
      request.alone = percent(30);
      const std::vector<RowId> pending = naive_.pending();
      request.keep = pending.empty() || percent(5) ? recent_row()
                     : percent(10)                 ? naive_.last()
                                                   : pending[below(pending.size())];
    }
    return request;
  }

  RowId random_base(const TimelineRequest& request) {
    const uint32_t kind = below(20);
    if (kind == 0) return any_row();
    if (kind <= 2) return recent_row();
    const std::vector<RowId> pending = naive_.pending();
    if (kind <= 8 && request.edit != TimelineRequest::Edit::rewind && !pending.empty()) {
      return pending[below(pending.size())];
    }
    if (request.edit == TimelineRequest::Edit::keep) return request.keep;
    const bool cut =
        request.edit == TimelineRequest::Edit::rewind && request.rewind < naive_.committed.size();
    if (!cut) return naive_.last();
    return request.rewind == 0 ? kNoRow : naive_.committed[request.rewind - 1];
  }

  void send_new(Counts& counts) {
    TimelineRequest request = random_edit();
    std::vector<int32_t> parents;
    std::vector<uint32_t> tokens;
    if (percent(90)) {
      Frame frame{.first = static_cast<RowId>(naive_.rows.size()) + (percent(2) ? 1 : 0),
                  .base = random_base(request),
                  .n_row = percent(2) ? 0 : 1 + below(percent(70) ? 4 : 12),
                  .commit = percent(25)};
      if (frame.commit) frame.n_row = below(shape_.most_commit) + 1;
      if (!frame.commit && percent(50)) {
        for (uint32_t i = 0; i < frame.n_row; ++i) {
          parents.push_back(static_cast<int32_t>(below(i + 1)) - 1 + (percent(1) ? 1 : 0));
          // …or below a row before the base.
          if (percent(15)) parents.back() = -1 - static_cast<int32_t>(below(12));
        }
        frame.parents = parents;
      }
      const bool known = frame.base < naive_.rows.size();
      std::vector<uint32_t> position;
      for (uint32_t i = 0; i < frame.n_row; ++i) {
        const int32_t p = parents.empty() ? static_cast<int32_t>(i) - 1 : parents[i];
        const bool inside = p >= 0 && p < static_cast<int32_t>(i);
        const RowId parent = p < 0 ? NaiveTree::parent_of(frame, i) : frame.base;
        position.push_back(inside ? position[static_cast<size_t>(p)] + 1
                           : known && parent < naive_.rows.size() ? naive_.rows[parent].position + 1
                                                                  : 0);
        tokens.push_back(token(position.back()));
      }
      if (percent(30)) frame.n_unread = below(frame.n_row + 2);
      request.append = frame;
    }
    submit(request, tokens, percent(1), counts);
  }

  void submit(const TimelineRequest& request, const std::vector<uint32_t>& tokens, bool bad_rows,
              Counts& counts) {
    const size_t d = backend_.config().d_model;
    std::vector<float> hidden(tokens.size() * d);
    backend_.embed(tokens, hidden.data());
    if (bad_rows) hidden.push_back(0);
    const uint32_t ack = acked_ + below(2) * below(delivered_ - acked_ + 1);
    const uint32_t seq = last_ + 1;
    const Status status = stage_.submit(id_, {seq, ack, request, hidden});
    ASSERT_EQ(status.ok(), awaited_.size() < kReplyWindow);
    if (!status.ok()) {
      ++counts.full;
      return;
    }
    ++counts.sent;
    counts.in_flight = std::max(counts.in_flight, awaited_.size() + 1);
    const bool no_room = seq - std::max(ack, acked_) > kReplyWindow;
    awaited_.push_back({seq, no_room});
    if (no_room) return;
    last_ = seq;
    acknowledge(ack);
    Sent sent{.verdict = naive_.check(request), .bad_rows = bad_rows, .first = 0, .born_dead = {}};
    if (sent.verdict == NaiveTree::Verdict::lost) ++counts.lost;
    if (sent.verdict == NaiveTree::Verdict::accepted && !bad_rows) {
      naive_.apply(request, tokens);
      if (request.append) {
        sent.first = request.append->first;
        sent.n_unread = request.append->n_unread;
      }
      for (RowId id = sent.first; request.append && id < naive_.rows.size(); ++id) {
        sent.born_dead.push_back(naive_.is_live(id) ? 0 : 1);
        counts.born_dead += sent.born_dead.back();
      }
    } else {
      ++counts.refused;
    }
    sent_[seq] = sent;
  }

  void send_repeat(Counts& counts) {
    const uint32_t back = below(std::min(last_, kReplyWindow + 2));
    const uint32_t seq = last_ - back;
    uint32_t ack = acked_ + below(delivered_ - acked_ + 1);
    if (percent(50)) ack = std::min(ack, seq - 1);
    const Status status = stage_.submit(id_, {seq, ack, {}, {}});
    ASSERT_EQ(status.ok(), awaited_.size() < kReplyWindow);
    if (!status.ok()) return;
    ++counts.repeats;
    const bool wrong = seq == 0 || ack >= seq || seq <= acked_;
    awaited_.push_back({seq, wrong});
    if (!wrong) acknowledge(ack);
  }

  void send_out_of_order(bool exact, Counts& counts) {
    const bool gap = !exact || percent(50);
    const uint32_t seq = gap ? last_ + 2 + below(3) : last_ + 1;
    const uint32_t ack = gap ? 0 : delivered_ + 1 + below(3);
    const Status status = stage_.submit(id_, {seq, ack, {}, {}});
    ASSERT_EQ(status.ok(), awaited_.size() < kReplyWindow);
    if (!status.ok()) return;
    ++counts.out_of_order;
    awaited_.push_back({seq, true});
  }

  void acknowledge(uint32_t ack) {
    acked_ = std::max(acked_, ack);
    given_.erase(given_.begin(), given_.upper_bound(acked_));
    sent_.erase(sent_.begin(), sent_.upper_bound(acked_));
  }

  LocalStage& stage_;
  Backend& backend_;  // to embed with
  const ClientShape shape_;
  std::mt19937& random_;
  const SessionId id_;
  NaiveTree naive_;
  std::vector<std::pair<uint32_t, uint32_t>> nodes_;  // generation and node, by row
  uint32_t last_ = 0, acked_ = 0, delivered_ = 0;
  std::deque<Awaited> awaited_;
  std::map<uint32_t, Sent> sent_;
  std::map<uint32_t, StageReply> given_;
};

}  // namespace splitd
