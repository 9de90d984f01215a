// Owns: a small session for the tests of attention: a tree of rows with random keys and values, a
// cache that ends at guard pages, and queries over a path of the tree.
#pragma once

#include <memory>
#include <vector>

#include "tests/kernels/rows_check.h"

namespace splitd::kernels {

inline constexpr KvType kTypes[] = {KvType::f32, KvType::f16, KvType::bf16, KvType::q8};

struct Shape {
  uint32_t d_head = 64;
  uint32_t n_head = 1;
  float softcap = 0;
  float scale = 0.3f;
};

// A query with the rows it descends from, itself the last.
struct Query {
  std::vector<float> q;
  std::vector<size_t> path;  // row by position
  size_t lo = 0;
  size_t n_committed = 0;
  std::vector<uint32_t> slots;  // of the positions from n_committed on

  uint32_t position() const { return static_cast<uint32_t>(path.size() - 1); }
};

class Session {
 public:
  Session(const Shape& shape, KvType type, uint32_t ring, uint32_t n_slot, const KernelTable& table,
          Random& random, Values values = Values::normal)
      : shape_(shape),
        type_(type),
        ring_(ring),
        table_(&table),
        random_(&random),
        values_(values),
        k_(kv_k_bytes(type, shape.d_head, n_slot)),
        v_(kv_v_bytes(type, shape.d_head, n_slot)) {
    // Whatever was there before: NaN in every type.
    std::fill(k_.begin(), k_.end(), uint8_t{0xff});
    std::fill(v_.begin(), v_.end(), uint8_t{0xff});
  }

  const Shape& shape() const { return shape_; }
  const std::vector<float>& key(size_t row) const { return keys_[row]; }
  const std::vector<float>& value(size_t row) const { return rows_v_[row]; }
  size_t committed(size_t position) const { return committed_[position]; }
  size_t n_committed() const { return committed_.size(); }

  // A new row with random contents, in no slot yet.
  size_t new_row() {
    std::vector<float> row(shape_.d_head);
    fill(row.data(), row.size(), values_, *random_);
    keys_.push_back(row);
    fill(row.data(), row.size(), values_, *random_);
    rows_v_.push_back(row);
    return keys_.size() - 1;
  }

  void put(size_t row, uint32_t slot) {
    table_->attention.write_k(type_, keys_[row].data(), shape_.d_head, slot, k_.data());
    table_->attention.write_v(type_, rows_v_[row].data(), shape_.d_head, slot, v_.data());
  }

  void commit_row(size_t row) {
    put(row, static_cast<uint32_t>(committed_.size() % ring_));
    committed_.push_back(row);
  }
  void commit(size_t count) {
    for (size_t i = 0; i < count; ++i) commit_row(new_row());
  }

  // Row `from` of another session, with its key and value.
  size_t adopt(const Session& other, size_t row) {
    keys_.push_back(other.keys_[row]);
    rows_v_.push_back(other.rows_v_[row]);
    return keys_.size() - 1;
  }

  void write_key(size_t position, const std::vector<float>& key) {
    table_->attention.write_k(type_, key.data(), shape_.d_head,
                              static_cast<uint32_t>(position % ring_), k_.data());
  }
  void overwrite_key(size_t position, size_t i, float x) {
    std::vector<float> key = keys_[committed_[position]];
    key[i] = x;
    write_key(position, key);
  }
  void overwrite_value(size_t position, size_t i, float x) {
    std::vector<float> value = rows_v_[committed_[position]];
    value[i] = x;
    table_->attention.write_v(type_, value.data(), shape_.d_head,
                              static_cast<uint32_t>(position % ring_), v_.data());
  }

  // Over committed rows only.
  Query query(size_t position, size_t lo, Random& random) const {
    Query query;
    query.q.resize(size_t{shape_.n_head} * shape_.d_head);
    for (float& x : query.q) x = random.normal();
    query.path.assign(committed_.begin(),
                      committed_.begin() + static_cast<ptrdiff_t>(position) + 1);
    query.lo = lo;
    query.n_committed = position + 1;
    return query;
  }

  std::vector<float> attend(const Query& query) const { return attend(query, *table_); }
  std::vector<float> attend(const Query& query, const KernelTable& table) const {
    return attend(std::vector<const Query*>{&query}, table)[0];
  }

  std::vector<std::vector<float>> attend(const std::vector<const Query*>& queries,
                                         const KernelTable& table) const {
    Work work(*this, queries, table);
    table.attention.run(work.args);
    return work.out;
  }

  // The same by splits, computed in the order given by `random`.
  std::vector<std::vector<float>> attend_by_splits(const std::vector<const Query*>& queries,
                                                   const KernelTable& table, Random& random) const {
    Work work(*this, queries, table);
    uint32_t first = UINT32_MAX, last = 0;
    for (const AttentionRow& row : work.rows) {
      first = std::min(first, row.lo / kAttentionSplit);
      last = std::max(last, row.position / kAttentionSplit);
    }
    const size_t bytes = table.attention.partial_bytes(shape_.d_head, shape_.n_head);
    Guarded<uint8_t> partials((last - first + 1) * queries.size() * bytes);
    std::fill(partials.begin(), partials.end(), uint8_t{0xff});
    std::vector<uint32_t> order;
    for (uint32_t split = first; split <= last; ++split) {
      order.insert(order.begin() + static_cast<ptrdiff_t>(random.below(order.size() + 1)), split);
    }
    for (const uint32_t split : order) {
      table.attention.run_split(work.args, split, first, partials.data());
    }
    table.attention.merge(work.args, first, partials.data());
    return work.out;
  }

 private:
  struct Work {
    AttentionArgs args = {};
    std::vector<AttentionRow> rows;
    std::vector<Guarded<float>> q;
    std::vector<std::vector<float>> out;
    Guarded<uint8_t> scratch;

    Work(const Session& session, const std::vector<const Query*>& queries, const KernelTable& table)
        : scratch(table.attention.scratch_bytes(session.shape_.d_head, session.shape_.n_head)) {
      std::fill(scratch.begin(), scratch.end(), uint8_t{0xff});
      for (const Query* query : queries) {
        q.emplace_back(query->q.size());
        std::copy(query->q.begin(), query->q.end(), q.back().data());
        out.emplace_back(query->q.size());
      }
      for (size_t i = 0; i < queries.size(); ++i) {
        const Query& query = *queries[i];
        rows.push_back({q[i].data(), out[i].data(), query.position(),
                        static_cast<uint32_t>(query.lo), static_cast<uint32_t>(query.n_committed),
                        query.slots.empty() ? nullptr : query.slots.data()});
      }
      args = {rows.data(),           rows.size(),
              session.k_.data(),     session.v_.data(),
              session.type_,         session.shape_.d_head,
              session.shape_.n_head, session.ring_,
              session.shape_.scale,  session.shape_.softcap,
              scratch.data()};
    }
  };

  Shape shape_;
  KvType type_;
  uint32_t ring_;
  const KernelTable* table_;
  Random* random_;
  Values values_;
  Guarded<uint8_t> k_, v_;
  std::vector<std::vector<float>> keys_, rows_v_;
  std::vector<size_t> committed_;
};

}  // namespace splitd::kernels
