"""Writes rows_rope_golden.inc: frequencies and cos/sin as transformers and PyTorch compute them on a
CPU in float32. Needs torch and transformers:  python rows_rope_golden.py > rows_rope_golden.inc"""
import torch
import transformers
from transformers import LlamaConfig, Phi3Config
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS


def floats(values):
    return ", ".join(float(v).hex() + "f" for v in values)


def llama(head_dim, theta, **scaling):
    kind = scaling.pop("rope_type", "default")
    parameters = {"rope_type": kind, "rope_theta": theta, **scaling}
    config = LlamaConfig(hidden_size=head_dim * 4, num_attention_heads=4, head_dim=head_dim,
                         max_position_embeddings=131072, rope_parameters=parameters)
    if kind == "default":
        steps = torch.arange(0, head_dim, 2, dtype=torch.int64).to(dtype=torch.float) / head_dim
        return 1.0 / (theta**steps)
    return ROPE_INIT_FUNCTIONS[kind](config, torch.device("cpu"))[0]


def longrope(head_dim, theta, factors):
    parameters = {"rope_type": "longrope", "rope_theta": theta, "short_factor": factors,
                  "long_factor": factors, "factor": 4.0, "original_max_position_embeddings": 4096}
    config = Phi3Config(hidden_size=head_dim * 4, num_attention_heads=4, num_key_value_heads=4,
                        max_position_embeddings=16384, rope_parameters=parameters,
                        original_max_position_embeddings=4096)
    return ROPE_INIT_FUNCTIONS["longrope"](config, torch.device("cpu"))[0]


factors = [1.0 + i * i * 0.0371 for i in range(24)]
cases = {
    "plain": ("{RopeScaling::plain, 1e4, 64, 1, 1, 4, 0, nullptr}", llama(64, 10000.0)),
    "plain_1e6": ("{RopeScaling::plain, 1e6, 128, 1, 1, 4, 0, nullptr}", llama(128, 1000000.0)),
    "linear": ("{RopeScaling::linear, 1e6, 256, 8, 1, 4, 0, nullptr}",
               llama(256, 1000000.0, rope_type="linear", factor=8.0)),
    "llama3": ("{RopeScaling::llama3, 5e5, 128, 8, 1, 4, 8192, nullptr}",
               llama(128, 500000.0, rope_type="llama3", factor=8.0, low_freq_factor=1.0,
                     high_freq_factor=4.0, original_max_position_embeddings=8192)),
    "llama3_32": ("{RopeScaling::llama3, 5e5, 64, 32, 1, 4, 8192, nullptr}",
                  llama(64, 500000.0, rope_type="llama3", factor=32.0, low_freq_factor=1.0,
                        high_freq_factor=4.0, original_max_position_embeddings=8192)),
    "longrope": ("{RopeScaling::longrope, 1e4, 48, 1, 1, 4, 0, kDivisors}",
                 longrope(48, 10000.0, factors)),
}
print(f"// Written by rows_rope_golden.py with torch {torch.__version__.split('+')[0]}, "
      f"transformers {transformers.__version__}. Not to be edited.")
print("// clang-format off")
print(f"constexpr float kDivisors[] = {{{floats(torch.tensor(factors))}}};")
for name, (_, values) in cases.items():
    print(f"constexpr float k_{name}[] = {{{floats(values)}}};")
print("const FrequencyCase kFrequencyCases[] = {")
for name, (shape, _) in cases.items():
    print(f'    {{"{name}", {shape}, k_{name}}},')
print("};")
print("const AngleCase kAngleCases[] = {")
for position in (0, 1, 7, 1000, 8191, 131071, 999999):
    angles = cases["llama3"][1] * float(position)
    print(f"    {{{position}, {{{floats(angles.cos())}}}, {{{floats(angles.sin())}}}}},")
print("};")
