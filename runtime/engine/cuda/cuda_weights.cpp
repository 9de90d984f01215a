// Views → device memory behind cuda_weights.h.
#include "runtime/engine/cuda/cuda_weights.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

#include "kernels/quantised.h"
#include "runtime/base/float16.h"
#include "runtime/engine/weight_type.h"

namespace splitd {
namespace {

namespace gpu = kernels::cuda;

constexpr size_t kStagingBytes = size_t{16} << 20;  // two of them

// Types with one scale a group of 32 keep their form, 16-bit and wider ones too; others lie on the
// device as f16, which holds what they mean to 11 bits.
gpu::WeightType device_type(kernels::WeightType type) {
  switch (type) {
    case kernels::WeightType::f32:
      return gpu::WeightType::f32;
    case kernels::WeightType::bf16:
      return gpu::WeightType::bf16;
    case kernels::WeightType::q8_0:
    case kernels::WeightType::q8:
      return gpu::WeightType::q8;
    case kernels::WeightType::q4_0:
    case kernels::WeightType::q4:
      return gpu::WeightType::q4;
    default:
      return gpu::WeightType::f16;
  }
}

float value_at(const TensorView& view, size_t i) {
  if (view.dtype == DType::f32) {
    float value;
    std::memcpy(&value, view.data + 4 * i, 4);
    return value;
  }
  uint16_t bits;
  std::memcpy(&bits, view.data + 2 * i, 2);
  return view.dtype == DType::bf16 ? to_f32(bf16{bits}) : to_f32(f16{bits});
}

uint64_t bytes_of(const LayerWeights& layer) {
  uint64_t out = 0;
  const auto add = [&](const TensorView& view) { out += view.bytes; };
  for (const TensorView* view : {&layer.q, &layer.k, &layer.v, &layer.qkv, &layer.o, &layer.gate,
                                 &layer.up, &layer.gate_up, &layer.down, &layer.router}) {
    add(*view);
  }
  for (const ExpertWeights& expert : layer.experts) {
    add(expert.gate);
    add(expert.up);
    add(expert.down);
  }
  return out;
}

}  // namespace

class CudaWeights::Uploader {
 public:
  Uploader(DeviceArena& arena, bool exact, cudaStream_t stream, uint64_t total,
           const ProgressFn& progress)
      : arena_(arena), exact_(exact), stream_(stream), total_(total), progress_(progress) {}
  ~Uploader() {
    // Nothing may be under way when the buffers go.
    cudaStreamSynchronize(stream_);
    for (cudaEvent_t event : done_) {
      if (event != nullptr) cudaEventDestroy(event);
    }
  }

  Status begin() {
    for (int i = 0; i < 2; ++i) {
      SPLITD_ASSIGN(staging_[i], PinnedBuffer::make(kStagingBytes, "uploading weights"));
      SPLITD_TRY(cuda_status(cudaEventCreateWithFlags(&done_[i], cudaEventDisableTiming),
                             "make an event"));
    }
    return {};
  }

  Status add(const TensorView& view, CudaProducts& to) {
    SPLITD_ASSIGN(const gpu::Matrix one, matrix(view));
    to.w[to.n_matrix++] = one;
    const gpu::ActivationType form = form_of(one.type);
    if (to.n_matrix > 1 && form != to.form) {
      to.form = gpu::ActivationType::f32;  // the one that every kernel can do without
    } else {
      to.form = form;
    }
    return {};
  }

  // `one_added`: what is stored holds 1 + w already, or the model multiplies by w alone.
  Result<const float*> norm(const TensorView& view, bool plus_one) {
    std::vector<float> values;
    append(view, values);
    if (plus_one) {
      for (float& value : values) value = 1.0f + value;
    }
    return floats(values);
  }

  Result<const float*> bias(std::initializer_list<const TensorView*> views) {
    std::vector<float> values;
    for (const TensorView* view : views) append(*view, values);
    return floats(values);
  }

  Status experts(const std::vector<ExpertWeights>& from,
                 std::initializer_list<TensorView ExpertWeights::*> parts, CudaExperts& to) {
    std::vector<gpu::Matrix> table;
    for (const ExpertWeights& expert : from) {
      CudaProducts products;
      for (TensorView ExpertWeights::*part : parts) SPLITD_TRY(add(expert.*part, products));
      for (const gpu::Matrix& w : products.w) table.push_back(w);
      for (uint32_t i = 0; i < products.n_matrix; ++i) {
        if (products.w[i].type != table[0].type) {
          return model_error(
              "experts whose weights have different types cannot be computed with on a GPU");
        }
      }
      to.n_matrix = products.n_matrix;
      to.n = products.n();
      to.form = products.form;
    }
    to.type = table[0].type;
    SPLITD_ASSIGN(void* device, arena_.take(table.size() * sizeof(gpu::Matrix), "the experts"));
    SPLITD_TRY(copy_now(device, table.data(), table.size() * sizeof(gpu::Matrix)));
    to.w = static_cast<const gpu::Matrix*>(device);
    return {};
  }

 private:
  gpu::ActivationType form_of(gpu::WeightType type) const {
    return exact_ ? gpu::ActivationType::f32 : gpu::activation_of(type);
  }

  static void append(const TensorView& view, std::vector<float>& out) {
    if (view.data == nullptr) return;
    const size_t n = view.shape.empty() ? 1 : view.shape[0];
    for (size_t i = 0; i < n; ++i) out.push_back(value_at(view, i));
  }

  Result<const float*> floats(const std::vector<float>& values) {
    if (values.empty()) return static_cast<const float*>(nullptr);
    SPLITD_ASSIGN(void* device, arena_.take(values.size() * sizeof(float), "a norm"));
    SPLITD_TRY(copy_now(device, values.data(), values.size() * sizeof(float)));
    return static_cast<const float*>(device);
  }

  Status copy_now(void* to, const void* from, size_t bytes) {
    SPLITD_TRY(cuda_status(cudaMemcpyAsync(to, from, bytes, cudaMemcpyHostToDevice, stream_),
                           "take weights"));
    return cuda_status(cudaStreamSynchronize(stream_), "take weights");
  }

  Result<gpu::Matrix> matrix(const TensorView& view) {
    SPLITD_ASSIGN(const kernels::WeightType from, weight_type(view.dtype));
    const auto n = static_cast<uint32_t>(view.shape[0]);
    const auto k = static_cast<uint32_t>(view.shape[1]);
    if (k % kernels::block_values(from) != 0) {
      return model_error("a matrix of " + shape_text(view.shape) + " cannot be " +
                         kernels::type_name(from));
    }
    gpu::Matrix out{.type = device_type(from), .n = n, .k_padded = gpu::pad_k(k)};
    const size_t pitch = gpu::row_bytes(out.type, out.k_padded);
    SPLITD_ASSIGN(void* device, arena_.take(n * pitch, "the weights"));
    auto* data = static_cast<std::byte*>(device);
    out.data = data;
    if (!kernels::is_quantised(from)) {
      SPLITD_TRY(send(n, pitch, data, [&](size_t row, std::byte* to) {
        const size_t bytes = view.bytes / n;
        std::memcpy(to, view.data + row * bytes, bytes);
        std::memset(to + bytes, 0, pitch - bytes);
        return bytes;
      }));
      return out;
    }
    const size_t stored = view.bytes / n;
    if (out.type == gpu::WeightType::f16) {
      std::vector<float> values(k);
      SPLITD_TRY(send(n, pitch, data, [&](size_t row, std::byte* to) {
        kernels::dequantise_row(from, view.data, k, row, values.data());
        std::memset(to, 0, pitch);
        for (size_t i = 0; i < k; ++i) {
          const f16 value = to_f16(values[i]);
          std::memcpy(to + 2 * i, &value.bits, 2);
        }
        return stored;
      }));
      return out;
    }
    const size_t scale_pitch = sizeof(uint16_t) * (out.k_padded / gpu::kGroup);
    SPLITD_ASSIGN(void* scales, arena_.take(n * scale_pitch, "the weights"));
    out.scales = static_cast<const uint16_t*>(scales);
    kernels::QuantisedGroup group;
    SPLITD_TRY(send(n, pitch, data, [&](size_t row, std::byte* to) {
      std::memset(to, out.type == gpu::WeightType::q4 ? 0x88 : 0, pitch);  // 0 is 8 in a nibble
      for (size_t g = 0; g < k / gpu::kGroup; ++g) {
        kernels::unpack_group(from, view.data, k, row, g, group);
        put_quants(out.type, group.quants, g, to);
      }
      return stored;
    }));
    SPLITD_TRY(
        send(n, scale_pitch, static_cast<std::byte*>(scales), [&](size_t row, std::byte* to) {
          std::memset(to, 0, scale_pitch);
          for (size_t g = 0; g < k / gpu::kGroup; ++g) {
            kernels::unpack_group(from, view.data, k, row, g, group);
            const f16 scale = to_f16(group.scale[0]);  // it was one
            std::memcpy(to + 2 * g, &scale.bits, 2);
          }
          return size_t{0};
        }));
    return out;
  }

  static void put_quants(gpu::WeightType type, const int8_t* quants, size_t group, std::byte* row) {
    for (size_t i = 0; i < gpu::kGroup; ++i) {
      if (type == gpu::WeightType::q8) {
        row[group * gpu::kGroup + i] = static_cast<std::byte>(quants[i]);
        continue;
      }
      const int shift = group % 2 == 0 ? 0 : 4;
      std::byte& both = row[group / 2 * gpu::kGroup + i];
      both &= static_cast<std::byte>(0xf0 >> shift);
      both |= static_cast<std::byte>((quants[i] + 8) << shift);
    }
  }

  // Rows of `pitch` bytes, as `make_row` puts them together; it returns how much of the file it
  // read. While one buffer is copied, the other is filled.
  template <class MakeRow>
  Status send(size_t n_row, size_t pitch, std::byte* to, const MakeRow& make_row) {
    if (pitch > kStagingBytes) return model_error("a row of weights is too long for a GPU");
    const size_t n_at_once = kStagingBytes / pitch;
    for (size_t at = 0; at < n_row; at += n_at_once) {
      const size_t n = std::min(n_at_once, n_row - at);
      SPLITD_TRY(cuda_status(cudaEventSynchronize(done_[turn_]), "take weights"));
      std::byte* staging = staging_[turn_].data();
      for (size_t i = 0; i < n; ++i) n_done_ += make_row(at + i, staging + i * pitch);
      SPLITD_TRY(cuda_status(
          cudaMemcpyAsync(to + at * pitch, staging, n * pitch, cudaMemcpyHostToDevice, stream_),
          "take weights"));
      SPLITD_TRY(cuda_status(cudaEventRecord(done_[turn_], stream_), "take weights"));
      turn_ = 1 - turn_;
      if (progress_ && !progress_({"weights", n_done_, total_})) {
        return Error{ErrorKind::interrupted, "interrupted"};
      }
    }
    return {};
  }

  DeviceArena& arena_;
  const bool exact_;
  cudaStream_t stream_;
  const uint64_t total_;
  const ProgressFn& progress_;
  PinnedBuffer staging_[2];
  cudaEvent_t done_[2] = {};
  int turn_ = 0;
  uint64_t n_done_ = 0;
};

Result<CudaWeights> CudaWeights::upload(const ModelConfig& config, const ModelWeights& weights,
                                        bool exact, cudaStream_t stream,
                                        const ProgressFn& progress) {
  uint64_t total = weights.head.bytes;
  for (const LayerWeights& layer : weights.layers) total += bytes_of(layer);
  CudaWeights out;
  out.range_ = weights.range;
  out.qk_interleaved_ = weights.qk_interleaved;
  const bool plus_one = config.norm_plus_one && !weights.norm_one_added;
  Uploader uploader(out.arena_, exact, stream, total, progress);
  SPLITD_TRY(uploader.begin());

  for (size_t i = 0; i < weights.layers.size(); ++i) {
    const LayerWeights& from = weights.layers[i];
    const bool moe = config.layers[weights.range.begin + i].moe;
    CudaLayer to;
    SPLITD_ASSIGN(to.attn_norm, uploader.norm(from.attn_norm, plus_one));
    SPLITD_ASSIGN(to.q_norm, uploader.norm(from.q_norm, plus_one));
    SPLITD_ASSIGN(to.k_norm, uploader.norm(from.k_norm, plus_one));
    SPLITD_ASSIGN(to.attn_post_norm, uploader.norm(from.attn_post_norm, plus_one));
    SPLITD_ASSIGN(to.mlp_norm, uploader.norm(from.mlp_norm, plus_one));
    SPLITD_ASSIGN(to.mlp_post_norm, uploader.norm(from.mlp_post_norm, plus_one));
    SPLITD_ASSIGN(to.qkv_bias, uploader.bias({&from.q_bias, &from.k_bias, &from.v_bias}));
    SPLITD_ASSIGN(to.o_bias, uploader.bias({&from.o_bias}));
    if (from.qkv.data != nullptr) {
      SPLITD_TRY(uploader.add(from.qkv, to.qkv));
    } else {
      for (const TensorView* view : {&from.q, &from.k, &from.v}) {
        SPLITD_TRY(uploader.add(*view, to.qkv));
      }
    }
    SPLITD_TRY(uploader.add(from.o, to.o));
    if (moe) {
      SPLITD_TRY(uploader.add(from.router, to.router));
      SPLITD_TRY(uploader.experts(from.experts, {&ExpertWeights::gate, &ExpertWeights::up},
                                  to.expert_gate_up));
      SPLITD_TRY(uploader.experts(from.experts, {&ExpertWeights::down}, to.expert_down));
      // Both read the same rows.
      if (to.router.form != to.expert_gate_up.form) {
        to.router.form = to.expert_gate_up.form = gpu::ActivationType::f32;
      }
    } else {
      SPLITD_ASSIGN(to.gate_up_bias, uploader.bias({&from.gate_bias, &from.up_bias}));
      SPLITD_ASSIGN(to.down_bias, uploader.bias({&from.down_bias}));
      if (from.gate_up.data != nullptr) {
        SPLITD_TRY(uploader.add(from.gate_up, to.gate_up));
      } else {
        for (const TensorView* view : {&from.gate, &from.up}) {
          SPLITD_TRY(uploader.add(*view, to.gate_up));
        }
      }
      SPLITD_TRY(uploader.add(from.down, to.down));
    }
    out.layers_.push_back(to);
  }
  SPLITD_ASSIGN(out.norm_, uploader.norm(weights.norm, plus_one));
  if (weights.head.data != nullptr) SPLITD_TRY(uploader.add(weights.head, out.head_));
  return out;
}

}  // namespace splitd
