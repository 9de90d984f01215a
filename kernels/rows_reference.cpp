// Owns: what the row kernels mean: scalar, in f64 and rounded once at the end, or exact where the
// contract says so. Speed is not its business.
#include <cmath>
#include <cstring>
#include <limits>

#include "kernels/kernels.h"
#include "runtime/base/float16.h"

namespace splitd::kernels {
namespace {

float element(const void* p, WeightType type, size_t i) {
  switch (type) {
    case WeightType::f32:
      return static_cast<const float*>(p)[i];
    case WeightType::bf16:
      return to_f32(static_cast<const bf16*>(p)[i]);
    case WeightType::f16:
      return to_f32(static_cast<const f16*>(p)[i]);
    default:
      return 0;
  }
}

void rms_norm(const RmsNormArgs& args) {
  double sum = 0;
  for (size_t i = 0; i < args.n; ++i) sum += double{args.x[i]} * args.x[i];
  const double r = 1 / std::sqrt(sum / static_cast<double>(args.n) + double{args.eps});
  for (size_t i = 0; i < args.n; ++i) {
    const double w = double{element(args.w, args.w_type, i)} + (args.plus_one ? 1 : 0);
    args.out[i] = static_cast<float>(args.x[i] * r * w);
  }
}

void rope(float* heads, size_t n_head, size_t d_head, size_t n_rotary, const float* cos,
          const float* sin) {
  const size_t half = n_rotary / 2;
  for (size_t head = 0; head < n_head; ++head) {
    float* x = heads + head * d_head;
    for (size_t i = 0; i < half; ++i) {
      const double a = x[i], b = x[half + i];
      x[i] = static_cast<float>(a * cos[i] - b * sin[i]);
      x[half + i] = static_cast<float>(b * cos[i] + a * sin[i]);
    }
  }
}

double activation(Gate kind, double x) {
  switch (kind) {
    case Gate::silu:
      return x / (1 + std::exp(-x));
    case Gate::gelu_tanh: {
      const double u = std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x);
      return x / (1 + std::exp(-2 * u));  // x/2 · (1 + tanh u)
    }
    case Gate::gelu_erf:
      return x / 2 * std::erfc(-x / std::sqrt(2.0));
  }
  return 0;
}

void gate(Gate kind, const float* gate, const float* up, float* out, size_t n) {
  for (size_t i = 0; i < n; ++i) out[i] = static_cast<float>(activation(kind, gate[i]) * up[i]);
}

void softcap(float* x, size_t n, float cap) {
  for (size_t i = 0; i < n; ++i) x[i] = static_cast<float>(cap * std::tanh(double{x[i]} / cap));
}

void add(float* out, const float* x, size_t n) {
  for (size_t i = 0; i < n; ++i) out[i] += x[i];
}

void scale(float* x, size_t n, float factor) {
  for (size_t i = 0; i < n; ++i) x[i] *= factor;
}

void add_scaled(float* out, const float* x, size_t n, float w) {
  for (size_t i = 0; i < n; ++i) out[i] = std::fma(w, x[i], out[i]);
}

void softmax(float* x, size_t n) {
  double highest = -std::numeric_limits<double>::infinity();
  for (size_t i = 0; i < n; ++i) highest = x[i] > highest ? x[i] : highest;
  double sum = 0;
  for (size_t i = 0; i < n; ++i) sum += std::exp(x[i] - highest);
  for (size_t i = 0; i < n; ++i) x[i] = static_cast<float>(std::exp(x[i] - highest) / sum);
}

void embed(const void* table, WeightType type, uint32_t id, size_t n, float factor, float* out) {
  for (size_t i = 0; i < n; ++i) out[i] = element(table, type, size_t{id} * n + i) * factor;
}

// By insertion into a sorted list.
size_t top_k(const float* x, size_t n, size_t k, float* values, uint32_t* ids) {
  size_t size = 0;
  for (size_t i = 0; i < n; ++i) {
    if (std::isnan(x[i])) return i;
    size_t at = size;
    while (at > 0 && values[at - 1] < x[i]) --at;
    if (at >= k) continue;
    if (size < k) ++size;
    for (size_t j = size - 1; j > at; --j) {
      values[j] = values[j - 1];
      ids[j] = ids[j - 1];
    }
    values[at] = x[i];
    ids[at] = static_cast<uint32_t>(i);
  }
  return n;
}

size_t first_non_finite(const float* x, size_t n) {
  size_t i = 0;
  while (i < n && std::isfinite(x[i])) ++i;
  return i;
}

// --- the wire ---

constexpr size_t kGroup = 32;

void put_u16(uint8_t* data, uint16_t bits) {
  data[0] = static_cast<uint8_t>(bits);
  data[1] = static_cast<uint8_t>(bits >> 8);
}
uint16_t get_u16(const uint8_t* data) {
  return static_cast<uint16_t>(data[0] | (data[1] << 8));
}

// x / scale for a group of n ≤ 32 values.
void quantise(const float* x, size_t n, float scale, float low, float high, int* q) {
  for (size_t i = 0; i < kGroup; ++i) {
    const float ratio = i < n && scale != 0 ? std::nearbyint(x[i] / scale) : 0.0f;
    q[i] = static_cast<int>(ratio < low ? low : ratio > high ? high : ratio);
  }
}

void encode_group(WireType type, const float* x, size_t n, uint8_t* data) {
  float extreme = 0;
  for (size_t i = 0; i < n; ++i) {
    if (i == 0 || std::fabs(x[i]) > std::fabs(extreme)) extreme = x[i];
  }
  const bool q8 = type == WireType::q8;
  const f16 rounded = to_f16(q8 ? std::fabs(extreme) / 127.0f : extreme / -8.0f);
  int q[kGroup];
  quantise(x, n, to_f32(rounded), q8 ? -127.0f : -8.0f, q8 ? 127.0f : 7.0f, q);
  put_u16(data, rounded.bits);
  for (size_t i = 0; i < (q8 ? kGroup : kGroup / 2); ++i) {
    data[2 + i] = static_cast<uint8_t>(q8 ? q[i] : (q[i] + 8) | ((q[16 + i] + 8) << 4));
  }
}

size_t encode_row(WireType type, const float* x, size_t n, uint8_t* data, int8_t* exponent) {
  const size_t bad = first_non_finite(x, n);
  if (bad < n) return bad;
  float top = 0;
  for (size_t i = 0; i < n; ++i) top = std::fmax(top, std::fabs(x[i]));
  int e = 0;
  if (wire_has_exponents(type)) {
    std::frexp(top, &e);
    e = e > 15 ? e - 15 : 0;
    *exponent = static_cast<int8_t>(e);
  }
  for (size_t i = 0; i < n; ++i) {
    const float h = std::ldexp(x[i], -e);
    if (type == WireType::f32) {
      std::memcpy(data + i * 4, &h, 4);
    } else if (type == WireType::bf16) {
      const bf16 rounded = to_bf16(h);
      if (!std::isfinite(to_f32(rounded))) return i;
      put_u16(data + i * 2, rounded.bits);
    } else if (type == WireType::f16) {
      put_u16(data + i * 2, to_f16(h).bits);
    }
  }
  if (type != WireType::q8 && type != WireType::q4) return n;
  for (size_t i = 0; i < n; i += kGroup, data += type == WireType::q8 ? 34 : 18) {
    const size_t count = n - i < kGroup ? n - i : kGroup;
    float group[kGroup];
    for (size_t j = 0; j < count; ++j) group[j] = std::ldexp(x[i + j], -e);
    encode_group(type, group, count, data);
  }
  return n;
}

RowFault wire_encode(WireType type, const float* rows, size_t row_stride, size_t n_row, size_t n,
                     uint8_t* data, int8_t* exponents) {
  for (size_t row = 0; row < n_row; ++row) {
    int8_t* exponent = wire_has_exponents(type) ? exponents + row : nullptr;
    uint8_t* to = data + row * wire_data_bytes(type, n);
    const size_t column = encode_row(type, rows + row * row_stride, n, to, exponent);
    if (column < n) return {row, column};
  }
  return {n_row, 0};
}

float decode_element(WireType type, const uint8_t* data, size_t i) {
  float x = 0;
  switch (type) {
    case WireType::f32:
      std::memcpy(&x, data + i * 4, 4);
      return x;
    case WireType::bf16:
      return to_f32(bf16{get_u16(data + i * 2)});
    case WireType::f16:
      return to_f32(f16{get_u16(data + i * 2)});
    case WireType::q8: {
      const uint8_t* group = data + i / kGroup * 34;
      return to_f32(f16{get_u16(group)}) * static_cast<int8_t>(group[2 + i % kGroup]);
    }
    case WireType::q4: {
      const uint8_t* group = data + i / kGroup * 18;
      const int pair = group[2 + i % 16];
      const int q = (i % kGroup < 16 ? pair & 15 : pair >> 4) - 8;
      return to_f32(f16{get_u16(group)}) * static_cast<float>(q);
    }
  }
  return x;
}

RowFault wire_decode(WireType type, const uint8_t* data, const int8_t* exponents, size_t n_row,
                     size_t n, float* rows, size_t row_stride) {
  for (size_t row = 0; row < n_row; ++row) {
    const int e = wire_has_exponents(type) ? exponents[row] : 0;
    if (e < 0 || e > 113) return {row, n};
    const uint8_t* from = data + row * wire_data_bytes(type, n);
    float* to = rows + row * row_stride;
    for (size_t i = 0; i < n; ++i) to[i] = std::ldexp(decode_element(type, from, i), e);
    const size_t bad = first_non_finite(to, n);
    if (bad < n) return {row, bad};
  }
  return {n_row, 0};
}

}  // namespace

void add_rows_reference(RowKernels& table) {
  table.rms_norm = rms_norm;
  table.rope = rope;
  table.gate = gate;
  table.softcap = softcap;
  table.add = add;
  table.scale = scale;
  table.add_scaled = add_scaled;
  table.softmax = softmax;
  table.embed = embed;
  table.top_k = top_k;
  table.first_non_finite = first_non_finite;
  table.wire_encode = wire_encode;
  table.wire_decode = wire_decode;
}

}  // namespace splitd::kernels
