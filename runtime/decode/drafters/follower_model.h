// Owns: one opinion out of three on what follows: that of earlier text (SuffixModel), that of the
// model's own earlier logits after the same tokens (RecycleTable) and after rows that were alike
// (KinModel, where it is used). Each says a probability or nothing; how much either is
// worth, alone and when several name a token, is learnt from every token of the answer (logistic
// mixing, with weights chosen by how much context matched). Not thread-safe.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "runtime/decode/drafters/kin_model.h"
#include "runtime/decode/drafters/recycle_table.h"
#include "runtime/decode/drafters/suffix_model.h"

namespace splitd {

class FollowerModel {
 public:
  struct Place {
    SuffixModel::Place text;
    RecycleTable::Place context;
    KinModel::Place kin = -1;
  };

  FollowerModel(uint32_t n_vocab, const TokenCorpus* corpus);

  void begin_text() {
    text_.begin_text();
    kin_.leave();
  }
  // The text goes on with `token` after `place`, which is its end. `learn`: the model said so.
  void append(const Place& place, uint32_t token, bool learn);
  void put(const RecycleTable::Place& context, std::span<const uint32_t> top,
           std::span<const float> probability) {
    recycled_.put(context, top, probability);
  }

  // Where the text ends that was appended; `text` is that text.
  Place end(std::span<const uint32_t> text) const {
    return {text_.end(), RecycleTable::end_of(text), kin_.root()};
  }
  Place enter(const Place& place, uint32_t token) {
    return {text_.enter(place.text, token), RecycleTable::enter(place.context, token),
            kin_.enter(place.kin, token)};
  }
  KinModel& kin() { return kin_; }
  // Appends guesses, all different.
  void guesses(const Place& place, std::vector<Guess>& out);

 private:
  struct Mixed {
    uint32_t token;
    size_t who;                 // bits: by_text, by_table, by_kin
    float text, recycled, kin;  // log odds; 0 where it says nothing
    float probability;
  };
  struct Weights {
    float text, recycled, kin, bias;
  };
  enum : size_t { by_text = 1, by_table = 2, by_kin = 4, kSpeakers = 8 };
  static constexpr size_t kLengths = 6, kOrders = RecycleTable::kOrders + 1;

  void mix(const Place& place);
  // Whether kin was asked tells what it means that it does not name a token.
  Weights& weights(size_t who, bool has_kin, size_t length, size_t order) {
    return weights_[((who * 2 + (has_kin ? 1 : 0)) * kLengths + length) * kOrders + order];
  }
  Weights& weights(size_t who) { return weights(who, has_kin_, length_, order_); }
  Mixed& mixed(uint32_t token);

  SuffixModel text_;
  RecycleTable recycled_;
  KinModel kin_;
  std::array<Weights, kSpeakers * 2 * kLengths * kOrders> weights_;
  // Of the place that was mixed last.
  std::vector<Mixed> mixed_;
  std::vector<Guess> found_;
  size_t length_ = 0;
  size_t order_ = 0;
  bool has_kin_ = false;
};

}  // namespace splitd
