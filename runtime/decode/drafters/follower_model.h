// Owns: one opinion out of four on what follows: that of earlier text with the same end
// (SuffixModel) and of an earlier piece that this one goes along (AlignModel), that of the model's
// own earlier logits after the same tokens (RecycleTable) and after rows that were alike (KinModel,
// where it is used). Each says a probability or nothing; how much either is
// worth, alone and when several name a token, is learnt from every token of the answer: softmax
// over all that are named and what nobody names. Not thread-safe.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "runtime/decode/drafters/align_model.h"
#include "runtime/decode/drafters/kin_model.h"
#include "runtime/decode/drafters/recycle_table.h"
#include "runtime/decode/drafters/suffix_model.h"

namespace splitd {

class FollowerModel {
 public:
  static constexpr size_t kMostGuesses = SuffixModel::kMostGuesses + AlignModel::kMostGuesses +
                                         RecycleTable::kTop + KinModel::kGuesses;  // of one place

  struct Place {
    SuffixModel::Place text;
    RecycleTable::Place context;
    AlignModel::Place aligned;
    KinModel::Place kin = -1;
  };

  FollowerModel(uint32_t n_vocab, const TokenCorpus* corpus);

  void begin_text() {
    text_.begin_text();
    aligned_.begin_text();
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
    return {text_.end(), RecycleTable::end_of(text), aligned_.end(), kin_.root()};
  }
  Place enter(const Place& place, uint32_t token) {
    return {text_.enter(place.text, token), RecycleTable::enter(place.context, token),
            aligned_.enter(place.aligned, token), kin_.enter(place.kin, token)};
  }
  KinModel& kin() { return kin_; }
  // Appends at most kMostGuesses guesses, all different.
  void guesses(const Place& place, std::vector<Guess>& out);

 private:
  enum : size_t { by_text = 1, by_table = 2, by_kin = 4, by_aligned = 8, kSpeakers = 16 };
  // What a token's score is made of: log odds of who names it, 0 of who does not, and how much is
  // known of the place.
  enum : size_t {
    f_text,
    f_table,
    f_kin,
    f_aligned,
    f_one,
    f_length,
    f_order,
    f_has_kin,
    kFeatures
  };
  using Features = std::array<float, kFeatures>;
  struct Mixed {
    uint32_t token;
    size_t who;  // bits: by_text, by_table, by_kin, by_aligned
    Features features;
    float probability;
  };

  void mix(const Place& place);
  Mixed& mixed(uint32_t token);

  SuffixModel text_;
  RecycleTable recycled_;
  AlignModel aligned_;
  KinModel kin_;
  std::array<Features, kSpeakers> weights_;  // by who names a token
  // Of the place that was mixed last.
  std::vector<Mixed> mixed_;
  std::vector<Guess> found_;
};

}  // namespace splitd
