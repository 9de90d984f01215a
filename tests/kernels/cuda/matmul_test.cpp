// Matrix products on the GPU against f64 sums of what the weights mean, and batch invariance bit
// for bit.
#include "kernels/cuda/matmul.h"

#include <algorithm>
#include <cmath>

#include "runtime/base/float16.h"
#include "tests/kernels/cuda/device_array.h"

namespace splitd::kernels::cuda {
namespace {

// A random matrix as it lies on the device, and what it means.
struct TestMatrix {
  DeviceArray<unsigned char> data{0};
  DeviceArray<uint16_t> scales{0};
  Matrix w;
  std::vector<float> values;  // (n, k)
};

template <class T>
void put(std::vector<unsigned char>& bytes, size_t at, T value) {
  std::memcpy(bytes.data() + at, &value, sizeof(value));
}

TestMatrix make_matrix(WeightType type, uint32_t n, uint32_t k, std::mt19937& random) {
  const uint32_t k_padded = pad_k(k);
  const size_t pitch = row_bytes(type, k_padded);
  std::vector<unsigned char> bytes(n * pitch);
  std::vector<uint16_t> scales(size_t{n} * k_padded / kGroup, to_f16(0.5f).bits);
  std::vector<float> values = normal_values(size_t{n} * k, random);
  std::uniform_int_distribution<int> q8(-128, 127), q4(-8, 7);
  std::uniform_real_distribution<float> scale(0.001f, 0.1f);
  for (uint16_t& s : scales) s = to_f16(scale(random)).bits;
  for (uint32_t row = 0; row < n; ++row) {
    for (uint32_t i = 0; i < k; ++i) {
      float& value = values[size_t{row} * k + i];
      const size_t begin = row * pitch, group = size_t{row} * (k_padded / kGroup) + i / kGroup;
      switch (type) {
        case WeightType::f32:
          put(bytes, begin + 4 * i, value);
          break;
        case WeightType::bf16:
          put(bytes, begin + 2 * i, to_bf16(value).bits);
          value = to_f32(to_bf16(value));
          break;
        case WeightType::f16:
          put(bytes, begin + 2 * i, to_f16(value).bits);
          value = to_f32(to_f16(value));
          break;
        case WeightType::q8: {
          const int q = q8(random);
          put(bytes, begin + i, static_cast<int8_t>(q));
          value = to_f32(f16{scales[group]}) * static_cast<float>(q);
          break;
        }
        case WeightType::q4: {
          const int q = q4(random);
          unsigned char& byte = bytes[begin + i / 64 * 32 + i % 32];
          byte = static_cast<unsigned char>(byte | (q + 8) << (i / 32 % 2 * 4));
          value = to_f32(f16{scales[group]}) * static_cast<float>(q);
          break;
        }
      }
    }
  }
  TestMatrix out{DeviceArray<unsigned char>(bytes), DeviceArray<uint16_t>(scales), {}, values};
  out.w = {out.data.get(), out.scales.get(), type, n, k_padded};
  return out;
}

// Rows of A in the form, padded, and as the form rounded them.
DeviceArray<unsigned char> make_rows(ActivationType form, uint32_t m, uint32_t k,
                                     std::vector<float>& a) {
  const uint32_t k_padded = pad_k(k);
  const size_t size = form == ActivationType::bf16 ? 2 : 4;
  std::vector<unsigned char> bytes(m * k_padded * size);
  for (uint32_t row = 0; row < m; ++row) {
    for (uint32_t i = 0; i < k; ++i) {
      float& value = a[size_t{row} * k + i];
      const size_t at = (size_t{row} * k_padded + i) * size;
      if (form == ActivationType::bf16) {
        put(bytes, at, to_bf16(value).bits);
        value = to_f32(to_bf16(value));
        continue;
      }
      if (form == ActivationType::tf32) {
        const uint32_t rounded = (std::bit_cast<uint32_t>(value) + 0x1000u) & 0xffffe000u;
        value = std::bit_cast<float>(rounded);
      }
      put(bytes, at, value);
    }
  }
  return DeviceArray<unsigned char>(bytes);
}

struct Case {
  WeightType type;
  bool exact;
};

class CudaMatmul : public testing::TestWithParam<Case> {
 protected:
  ActivationType form() const {
    return GetParam().exact ? ActivationType::f32 : activation_of(GetParam().type);
  }

  std::vector<float> run(const std::vector<const TestMatrix*>& matrices, const void* a,
                         uint32_t m) const {
    MatmulJob job;
    uint32_t n = 0;
    for (const TestMatrix* matrix : matrices) {
      job.w[job.n_matrix++] = matrix->w;
      n += matrix->w.n;
    }
    const DeviceArray<float> c(size_t{m} * n);
    job.a = a;
    job.a_type = form();
    job.m = m;
    job.c = c.get();
    job.c_stride = n;
    EXPECT_EQ(matmul(job, nullptr), cudaSuccess);
    return c.read();
  }

  std::mt19937 random_{7};
};

TEST_P(CudaMatmul, IsTheSumOfProducts) {
  SPLITD_NEEDS_DEVICE();
  for (const auto& [m, n, k] : {std::tuple{1u, 16u, 64u},
                                {1u, 5u, 32u},
                                {3u, 33u, 96u},
                                {9u, 17u, 576u},
                                {33u, 40u, 200u},
                                {70u, 24u, 64u}}) {
    const TestMatrix w = make_matrix(GetParam().type, n, k, random_);
    std::vector<float> a = normal_values(size_t{m} * k, random_);
    const DeviceArray<unsigned char> rows = make_rows(form(), m, k, a);
    const std::vector<float> got = run({&w}, rows.get(), m);
    for (uint32_t i = 0; i < m; ++i) {
      for (uint32_t j = 0; j < n; ++j) {
        double sum = 0, magnitude = 0;
        for (uint32_t e = 0; e < k; ++e) {
          const double product = double{a[i * k + e]} * w.values[j * k + e];
          sum += product;
          magnitude += std::fabs(product);
        }
        // A tensor core cuts off where a CPU rounds.
        ASSERT_NEAR(got[i * n + j], sum, magnitude * 1e-6 + 1e-30)
            << "row " << i << " column " << j << " of " << m << "x" << n << "x" << k;
      }
    }
  }
}

TEST_P(CudaMatmul, ARowIsTheSameAloneAndInCompany) {
  SPLITD_NEEDS_DEVICE();
  constexpr uint32_t kM = 65, kN = 40, kK = 576;
  const TestMatrix w = make_matrix(GetParam().type, kN, kK, random_);
  std::vector<float> a = normal_values(kM * kK, random_);
  const DeviceArray<unsigned char> rows = make_rows(form(), kM, kK, a);
  const std::vector<float> all = run({&w}, rows.get(), kM);
  const size_t pitch = size_t{pad_k(kK)} * (form() == ActivationType::bf16 ? 2 : 4);
  for (const uint32_t m : {1u, 2u, 8u, 9u, 17u, 33u, 64u}) {
    for (const uint32_t first : {0u, kM - m}) {
      const std::vector<float> some = run({&w}, rows.get() + first * pitch, m);
      ASSERT_TRUE(std::equal(some.begin(), some.end(), all.begin() + first * kN)) << m << " rows";
    }
  }
}

// A neighbour that is not finite stays where it is.
TEST_P(CudaMatmul, NaNStaysInItsRow) {
  SPLITD_NEEDS_DEVICE();
  const TestMatrix w = make_matrix(GetParam().type, 16, 64, random_);
  std::vector<float> a = normal_values(3 * 64, random_);
  std::vector<float> spoilt = a;
  spoilt[64 + 5] = NAN;
  const DeviceArray<unsigned char> rows = make_rows(form(), 3, 64, a);
  const DeviceArray<unsigned char> bad = make_rows(form(), 3, 64, spoilt);
  const std::vector<float> good = run({&w}, rows.get(), 3), got = run({&w}, bad.get(), 3);
  for (size_t i = 0; i < good.size(); ++i) {
    if (i / 16 == 1) {
      EXPECT_TRUE(std::isnan(got[i])) << i;
    } else {
      EXPECT_EQ(got[i], good[i]) << i;
    }
  }
}

TEST_P(CudaMatmul, MatricesSideBySide) {
  SPLITD_NEEDS_DEVICE();
  const TestMatrix q = make_matrix(GetParam().type, 33, 96, random_);
  const TestMatrix k = make_matrix(GetParam().type, 7, 96, random_);
  const TestMatrix v = make_matrix(GetParam().type, 16, 96, random_);
  std::vector<float> a = normal_values(5 * 96, random_);
  const DeviceArray<unsigned char> rows = make_rows(form(), 5, 96, a);
  const std::vector<float> all = run({&q, &k, &v}, rows.get(), 5);
  size_t column = 0;
  for (const TestMatrix* one : {&q, &k, &v}) {
    const std::vector<float> alone = run({one}, rows.get(), 5);
    for (size_t i = 0; i < 5; ++i) {
      for (size_t j = 0; j < one->w.n; ++j) {
        ASSERT_EQ(all[i * 56 + column + j], alone[i * one->w.n + j]);
      }
    }
    column += one->w.n;
  }
}

TEST_P(CudaMatmul, ExpertsTakeTheirRowsAlone) {
  SPLITD_NEEDS_DEVICE();
  constexpr uint32_t kExperts = 3, kN = 20, kK = 64, kRows = 6, kUsed = 2;
  std::vector<TestMatrix> matrices;
  std::vector<Matrix> table(kExperts * kMostMatrices);
  for (uint32_t e = 0; e < kExperts; ++e) {
    matrices.push_back(make_matrix(GetParam().type, kN, kK, random_));
    table[e * kMostMatrices] = matrices.back().w;
  }
  std::vector<float> a = normal_values(kRows * kK, random_);
  const DeviceArray<unsigned char> rows = make_rows(form(), kRows, kK, a);
  // Places 0, 3, 10 go to expert 0, the rest to 2; 1 has nothing to do.
  constexpr uint32_t kPlaces = kRows * kUsed;
  std::vector<uint32_t> lists(kExperts * kPlaces, 1u << 30), counts(kExperts);
  std::vector<uint32_t> expert_of(kPlaces);
  for (uint32_t place = 0; place < kPlaces; ++place) {
    const uint32_t e = place == 0 || place == 3 || place == 10 ? 0 : 2;
    expert_of[place] = e;
    lists[e * kPlaces + counts[e]++] = place;
  }
  const DeviceArray<Matrix> device_table(table);
  const DeviceArray<uint32_t> device_lists(lists), device_counts(counts);
  const DeviceArray<float> c(kPlaces * kN);
  ExpertJob job;
  job.w = device_table.get();
  job.n_matrix = 1;
  job.n = kN;
  job.type = GetParam().type;
  job.lists = device_lists.get();
  job.counts = device_counts.get();
  job.n_expert = kExperts;
  job.m_most = kPlaces;
  job.m_likely = kPlaces;
  job.a_divisor = kUsed;
  job.a = rows.get();
  job.a_type = form();
  job.c = c.get();
  job.c_stride = kN;
  ASSERT_EQ(matmul_experts(job, nullptr), cudaSuccess);
  const std::vector<float> got = c.read();
  for (uint32_t place = 0; place < kPlaces; ++place) {
    const std::vector<float> all = run({&matrices[expert_of[place]]}, rows.get(), kRows);
    ASSERT_TRUE(std::equal(all.begin() + place / kUsed * kN, all.begin() + (place / kUsed + 1) * kN,
                           got.begin() + place * kN))
        << place;
  }
}

std::string case_name(const testing::TestParamInfo<Case>& info) {
  constexpr const char* kTypes[] = {"f32", "bf16", "f16", "q8", "q4"};
  return std::string(kTypes[static_cast<size_t>(info.param.type)]) +
         (info.param.exact ? "_exact" : "_native");
}

INSTANTIATE_TEST_SUITE_P(Types, CudaMatmul,
                         testing::Values(Case{WeightType::f32, true}, Case{WeightType::bf16, true},
                                         Case{WeightType::f16, true}, Case{WeightType::q8, true},
                                         Case{WeightType::q4, true}, Case{WeightType::bf16, false},
                                         Case{WeightType::f16, false}, Case{WeightType::q8, false},
                                         Case{WeightType::q4, false}),
                         case_name);

}  // namespace
}  // namespace splitd::kernels::cuda
