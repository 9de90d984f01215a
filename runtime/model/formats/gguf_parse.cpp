// The header of one GGUF file: metadata, then tensor infos, then the layout of the data. A cursor
// checks every step against the file's end and the caps before the step is taken.
#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <tuple>
#include <utility>

#include "runtime/base/checked.h"
#include "runtime/base/utf8.h"
#include "runtime/model/formats/gguf.h"
#include "runtime/model/formats/gguf_wire.h"

namespace splitd {
namespace {

constexpr uint64_t kMaxNameBytes = 65535;  // the format's cap on keys
constexpr uint64_t kMaxArrayItems = uint64_t{1} << 22;
constexpr uint32_t kMaxRank = 4;  // ggml's
constexpr std::string_view kAlignmentKey = "general.alignment";

// ggml's numbers. A type without a DType is known by name, to say what a file would need.
struct TensorType {
  std::string_view name;
  std::optional<DType> dtype;
};
std::optional<TensorType> tensor_type(uint32_t number) {
  constexpr std::optional<DType> kNone;
  constexpr std::array<TensorType, 42> kTypes = {{
      {"F32", DType::f32},   {"F16", DType::f16},   {"Q4_0", DType::q4_0}, {"Q4_1", DType::q4_1},
      {"Q4_2", kNone},       {"Q4_3", kNone},       {"Q5_0", DType::q5_0}, {"Q5_1", DType::q5_1},
      {"Q8_0", DType::q8_0}, {"Q8_1", kNone},       {"Q2_K", kNone},       {"Q3_K", kNone},
      {"Q4_K", DType::q4_k}, {"Q5_K", DType::q5_k}, {"Q6_K", DType::q6_k}, {"Q8_K", kNone},
      {"IQ2_XXS", kNone},    {"IQ2_XS", kNone},     {"IQ3_XXS", kNone},    {"IQ1_S", kNone},
      {"IQ4_NL", kNone},     {"IQ3_S", kNone},      {"IQ2_S", kNone},      {"IQ4_XS", kNone},
      {"I8", DType::i8},     {"I16", DType::i16},   {"I32", DType::i32},   {"I64", DType::i64},
      {"F64", DType::f64},   {"IQ1_M", kNone},      {"BF16", DType::bf16}, {"Q4_0_4_4", kNone},
      {"Q4_0_4_8", kNone},   {"Q4_0_8_8", kNone},   {"TQ1_0", kNone},      {"TQ2_0", kNone},
      {"IQ4_NL_4_4", kNone}, {"IQ4_NL_4_8", kNone}, {"IQ4_NL_8_8", kNone}, {"MXFP4", kNone},
      {"NVFP4", kNone},      {"Q1_0", kNone},
  }};
  if (number >= kTypes.size()) return std::nullopt;
  return kTypes[number];
}
constexpr std::string_view kSupportedTypes =
    "F32, F16, BF16, F64, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q4_K, Q5_K, Q6_K, I8, I16, I32, I64";

// Reads forward through the header. After a failed step nothing more is asked of it.
class Cursor {
 public:
  Cursor(std::span<const std::byte> first, uint64_t file_bytes)
      : first_(first),
        file_bytes_(file_bytes),
        end_(std::min<uint64_t>(file_bytes, kMaxGgufMetadataBytes)) {}

  uint64_t at() const { return at_; }
  uint64_t left() const { return end_ - at_; }  // of the header, at most
  const std::byte* here() const { return first_.data() + at_; }
  // What failed may be there, beyond the bytes at hand.
  bool needs_more() const { return needs_more_; }

  Status skip(uint64_t bytes) {
    needs_more_ = bytes <= left() && at_ + bytes > first_.size();
    if (bytes <= left() && !needs_more_) {
      at_ += bytes;
      return {};
    }
    const std::string wanted = std::to_string(bytes) + " bytes from byte " + std::to_string(at_);
    if (end_ == file_bytes_) {
      return model_error("the file ends early: " + wanted + " of " + std::to_string(end_));
    }
    return model_error("the header goes on past " + std::to_string(end_) +
                       " bytes, the most that is accepted: " + wanted);
  }

  template <class T>
  Result<T> read() {
    const std::byte* from = here();
    SPLITD_TRY(skip(sizeof(T)));
    T value;
    std::memcpy(&value, from, sizeof value);
    return value;
  }

  // u64 length and bytes.
  Result<std::string_view> string() {
    SPLITD_ASSIGN(const uint64_t length, read<uint64_t>());
    const auto* text = reinterpret_cast<const char*>(here());
    SPLITD_TRY(skip(length));
    return std::string_view(text, length);
  }

 private:
  std::span<const std::byte> first_;
  uint64_t file_bytes_;
  uint64_t end_;
  uint64_t at_ = 0;
  bool needs_more_ = false;
};

class Parser {
 public:
  Parser(std::span<const std::byte> first, uint64_t file_bytes)
      : first_(first), file_bytes_(file_bytes), cursor_(first, file_bytes) {}
  Result<GgufHeader> run();
  bool needs_more() const { return cursor_.needs_more(); }

 private:
  Status preamble();
  Status metadata();
  Status tensors();
  Status alignment();
  Status lay_out();
  Result<std::string_view> name(std::string_view what, uint64_t number);
  Result<GgufType> type();
  Status value(GgufType type, uint32_t depth);
  Status array(uint32_t depth);
  Status booleans(uint64_t count);
  Result<TensorInfo> tensor(uint64_t number);

  std::span<const std::byte> first_;
  uint64_t file_bytes_;
  Cursor cursor_;
  uint64_t n_tensors_ = 0;
  uint64_t n_keys_ = 0;
  GgufHeader header_;
};

Status Parser::preamble() {
  if (first_.size() < 4 || std::memcmp(first_.data(), "GGUF", 4) != 0) {
    return model_error("not GGUF: it does not begin with the letters GGUF");
  }
  SPLITD_TRY(cursor_.skip(4));
  SPLITD_ASSIGN(const uint32_t version, cursor_.read<uint32_t>());
  if (version != 0 && (version & 0xffffu) == 0) {
    return model_error("a big-endian GGUF file; only little-endian ones are supported");
  }
  if (version != 2 && version != 3) {  // 3 is 2, and says that big-endian files may exist
    return model_error("GGUF version " + std::to_string(version) +
                       "; versions 2 and 3 are supported");
  }
  SPLITD_ASSIGN(n_tensors_, cursor_.read<uint64_t>());
  SPLITD_ASSIGN(n_keys_, cursor_.read<uint64_t>());
  constexpr uint64_t kLeastTensor = 8 + 4 + 4 + 8;
  constexpr uint64_t kLeastKey = 8 + 4 + 1;
  const auto check = [this](uint64_t count, uint64_t cap, uint64_t least, const char* what) {
    if (count <= cap && count <= cursor_.left() / least) return Status();
    return Status(model_error("the header counts " + std::to_string(count) + " " + what +
                              "; at most " + std::to_string(cap) +
                              " are accepted, and no more than fit the " +
                              std::to_string(cursor_.left()) + " bytes that follow"));
  };
  SPLITD_TRY(check(n_tensors_, kMaxGgufTensors, kLeastTensor, "tensors"));
  return check(n_keys_, kMaxGgufKeys, kLeastKey, "metadata keys");
}

// A key or a tensor's name; `number` places it in messages until it has one.
Result<std::string_view> Parser::name(std::string_view what, uint64_t number) {
  const std::string place = std::string(what) + " " + std::to_string(number);
  Result<std::string_view> text = cursor_.string();
  if (!text) return text.take_error().within("the name of " + place);
  if (text->size() > kMaxNameBytes) {
    return model_error(place + " has a name of " + std::to_string(text->size()) +
                       " bytes; at most " + std::to_string(kMaxNameBytes) + " are accepted");
  }
  if (!utf8_is_valid(*text)) {
    return model_error(place + ": the name " + quoted_name(*text) + " is not UTF-8");
  }
  return text;
}

Result<GgufType> Parser::type() {
  SPLITD_ASSIGN(const uint32_t number, cursor_.read<uint32_t>());
  if (number > static_cast<uint32_t>(GgufType::f64)) {
    return model_error("unknown value type " + std::to_string(number) + "; 0 to 12 are known");
  }
  return static_cast<GgufType>(number);
}

Status Parser::booleans(uint64_t count) {
  const std::byte* bytes = cursor_.here();
  SPLITD_TRY(cursor_.skip(count));
  for (uint64_t i = 0; i < count; ++i) {
    const auto flag = std::to_integer<unsigned>(bytes[i]);
    if (flag > 1) return model_error("a bool of value " + std::to_string(flag));
  }
  return {};
}

Status Parser::array(uint32_t depth) {
  if (depth >= kMaxGgufArrayDepth) {
    return model_error("arrays nested deeper than " + std::to_string(kMaxGgufArrayDepth));
  }
  SPLITD_ASSIGN(const GgufType item, type());
  SPLITD_ASSIGN(const uint64_t count, cursor_.read<uint64_t>());
  if (count > kMaxArrayItems) {
    return model_error("an array of " + std::to_string(count) + " items; at most " +
                       std::to_string(kMaxArrayItems) + " are accepted");
  }
  if (item == GgufType::boolean) return booleans(count);
  if (const uint64_t bytes = gguf_scalar_bytes(item)) return cursor_.skip(count * bytes);
  for (uint64_t i = 0; i < count; ++i) SPLITD_TRY(value(item, depth + 1));
  return {};
}

Status Parser::value(GgufType type, uint32_t depth) {
  if (type == GgufType::array) return array(depth);
  if (type == GgufType::boolean) return booleans(1);
  if (type != GgufType::string) return cursor_.skip(gguf_scalar_bytes(type));
  SPLITD_ASSIGN(const uint64_t length, cursor_.read<uint64_t>());
  return cursor_.skip(length);
}

Status Parser::metadata() {
  std::vector<GgufHeader::Entry>& entries = header_.metadata;
  for (uint64_t i = 0; i < n_keys_; ++i) {
    SPLITD_ASSIGN(const std::string_view key, name("metadata key", i));
    Result<GgufType> kind = type();
    if (!kind) return kind.take_error().within("metadata " + quoted_name(key));
    entries.push_back({key, GgufValue(*kind, cursor_.here())});
    Status checked = value(*kind, 0);
    if (!checked.ok()) return checked.take_error().within("metadata " + quoted_name(key));
  }
  std::sort(entries.begin(), entries.end(),
            [](const auto& a, const auto& b) { return a.key < b.key; });
  const auto twice = std::adjacent_find(
      entries.begin(), entries.end(), [](const auto& a, const auto& b) { return a.key == b.key; });
  if (twice == entries.end()) return {};
  return model_error("metadata " + quoted_name(twice->key) + " stands twice");
}

Status Parser::alignment() {
  const auto at = std::find_if(header_.metadata.begin(), header_.metadata.end(),
                               [](const auto& entry) { return entry.key == kAlignmentKey; });
  if (at == header_.metadata.end()) return {};
  const std::optional<uint64_t> value =
      at->value.type() == GgufType::u32 ? at->value.to_u64() : std::nullopt;
  if (!value || !std::has_single_bit(*value) || *value > kMaxGgufAlignment) {
    return model_error(std::string(kAlignmentKey) + " is " + at->value.describe() +
                       "; a u32, a power of two up to " + std::to_string(kMaxGgufAlignment) +
                       " is accepted");
  }
  header_.alignment = *value;
  return {};
}

// `begin` is still the offset from the data's start.
Result<TensorInfo> Parser::tensor(uint64_t number) {
  TensorInfo tensor;
  SPLITD_ASSIGN(tensor.name, name("tensor", number));
  const auto error = [&tensor](const std::string& what) {
    return model_error("tensor " + quoted_name(tensor.name) + ": " + what);
  };
  SPLITD_ASSIGN(const uint32_t rank, cursor_.read<uint32_t>());
  if (rank > kMaxRank) {
    return error(std::to_string(rank) + " dimensions; at most " + std::to_string(kMaxRank) +
                 " are accepted");
  }
  tensor.shape.resize(rank);
  for (uint32_t i = rank; i-- > 0;) {  // the file lists the innermost first
    SPLITD_ASSIGN(tensor.shape[i], cursor_.read<uint64_t>());
  }
  SPLITD_ASSIGN(const uint32_t type_number, cursor_.read<uint32_t>());
  const std::optional<TensorType> type = tensor_type(type_number);
  if (!type || !type->dtype) {
    const std::string what = type ? "its type " + std::string(type->name) + " is not supported"
                                  : "unknown type " + std::to_string(type_number);
    return error(what + "; supported are " + std::string(kSupportedTypes));
  }
  tensor.dtype = *type->dtype;
  const uint32_t block = dtype_info(tensor.dtype).block_values;
  const uint64_t row = rank == 0 ? 1 : tensor.shape.back();
  if (row % block != 0) {
    return error("rows of " + std::to_string(row) + " values are no multiple of the " +
                 std::to_string(block) + " in a block of " + std::string(type->name));
  }
  const std::optional<uint64_t> bytes = tensor_bytes(tensor.dtype, tensor.shape);
  if (!bytes) return error(shape_text(tensor.shape) + " is larger than 64 bits can count");
  tensor.bytes = *bytes;
  SPLITD_ASSIGN(tensor.begin, cursor_.read<uint64_t>());
  return tensor;
}

Status Parser::tensors() {
  for (uint64_t i = 0; i < n_tensors_; ++i) {
    SPLITD_ASSIGN(TensorInfo info, tensor(i));
    header_.tensors.push_back(std::move(info));
  }
  std::vector<std::string_view> names;
  names.reserve(header_.tensors.size());
  for (const TensorInfo& info : header_.tensors) names.push_back(info.name);
  std::sort(names.begin(), names.end());
  const auto twice = std::adjacent_find(names.begin(), names.end());
  if (twice == names.end()) return {};
  return model_error("tensor " + quoted_name(*twice) + " stands twice");
}

// Tensors lie one behind the other, each at the next multiple of the alignment, as ggml demands.
// Fewer bytes than one alignment may follow the last: writers pad it.
Status Parser::lay_out() {
  std::sort(header_.tensors.begin(), header_.tensors.end(),
            [](const TensorInfo& a, const TensorInfo& b) {
              return std::tie(a.begin, a.bytes, a.name) < std::tie(b.begin, b.bytes, b.name);
            });
  const uint64_t aligned = (cursor_.at() + header_.alignment - 1) & ~(header_.alignment - 1);
  header_.data_begin = header_.tensors.empty() ? std::min(aligned, file_bytes_) : aligned;
  uint64_t end = 0;  // from the data's start, as the offsets in the file are
  for (TensorInfo& tensor : header_.tensors) {
    const std::string name = "tensor " + quoted_name(tensor.name) + ": ";
    const std::string place = "it begins at byte " + std::to_string(tensor.begin) + " of the data";
    if (tensor.begin % header_.alignment != 0) {
      return model_error(name + place + ", no multiple of the alignment " +
                         std::to_string(header_.alignment));
    }
    const std::optional<uint64_t> next = checked_align_up(end, header_.alignment);
    if (tensor.begin != next) {
      return model_error(name + (tensor.begin < end ? "overlaps: " : "a hole: ") + place +
                         ", the one before ends at " + std::to_string(end));
    }
    const std::optional<uint64_t> begin = checked_add(header_.data_begin, tensor.begin);
    if (!begin || !range_fits(*begin, tensor.bytes, file_bytes_)) {
      return model_error(name + place + " and takes " + std::to_string(tensor.bytes) +
                         " bytes; the data begins at " + std::to_string(header_.data_begin) +
                         " of a file of " + std::to_string(file_bytes_) + "; is it truncated?");
    }
    end = tensor.begin + tensor.bytes;
    tensor.begin = *begin;
  }
  const uint64_t after = file_bytes_ - std::min(header_.data_begin + end, file_bytes_);
  if (after >= header_.alignment) {
    return model_error(std::to_string(after) + " bytes follow the last tensor; fewer than " +
                       std::to_string(header_.alignment) + ", the alignment, are accepted");
  }
  return {};
}

Result<GgufHeader> Parser::run() {
  SPLITD_TRY(preamble());
  SPLITD_TRY(metadata());
  SPLITD_TRY(alignment());
  SPLITD_TRY(tensors());
  SPLITD_TRY(lay_out());
  return std::move(header_);
}

}  // namespace

Result<GgufHeader> parse_gguf_header(std::span<const std::byte> file) {
  return Parser(file, file.size()).run();
}

Result<std::optional<GgufHeader>> parse_gguf_header(std::span<const std::byte> first,
                                                    uint64_t file_bytes) {
  Parser parser(first, file_bytes);
  Result<GgufHeader> header = parser.run();
  if (header) return std::optional(std::move(*header));
  if (parser.needs_more()) return std::optional<GgufHeader>();
  return header.take_error();
}

}  // namespace splitd
