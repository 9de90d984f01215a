"""Blocks of every supported GGUF type with their fp32 values, and small whole GGUF files.

gguf/dequantize.json: for each type, random blocks and blocks at the edges (extreme scales, all bits
set, infinite scales) in hex, and the bits of what gguf.quants.dequantize makes of them. No scale is
a NaN there: whose payload survives a sum of two is the CPU's choice. F16 and BF16: the SHA-256 of
what all 65536 become, in order.

gguf/typed.gguf: metadata of every type and a tensor of every type; typed.json is what the package's
reader says of it. gguf/split-0000?-of-00003.gguf: a model of three files, as its writer splits it.
"""

import argparse
import hashlib
from pathlib import Path

import gguf
import numpy as np
from common import HERE, versions, write_json
from gguf import GGMLQuantizationType as T
from gguf import GGUFValueType as V

BLOCKS = {  # byte offsets of the f16 fields of a block
    T.Q4_0: [0], T.Q4_1: [0, 2], T.Q5_0: [0], T.Q5_1: [0, 2], T.Q8_0: [0],
    T.Q4_K: [0, 2], T.Q5_K: [0, 2], T.Q6_K: [208],
}
EDGES = [0x0000, 0x8000, 0x0001, 0x83FF, 0x0400, 0x7BFF, 0xFBFF, 0x7C00, 0xFC00, 0x3C00]


def halves(rng, count):
    """Random f16 bits without NaN."""
    bits = rng.integers(0, 2**16, count, dtype=np.uint16)
    return np.where((bits & 0x7FFF) > 0x7C00, bits & 0x83FF, bits)


def blocks(rng, qtype):
    """(n, type_size) bytes: 8 random blocks, then for each edge scale one random and one all-ones."""
    size = gguf.GGML_QUANT_SIZES[qtype][1]
    count = 8 + 2 * len(EDGES)
    out = rng.integers(0, 256, (count, size), dtype=np.uint8)
    out[8 + len(EDGES):] = 255
    for at in BLOCKS[qtype]:
        scale = halves(rng, count)
        scale[8:8 + len(EDGES)] = EDGES
        scale[8 + len(EDGES):] = np.roll(EDGES, at)
        out[:, at:at + 2] = scale.view(np.uint8).reshape(count, 2)
    return out


def hex_of(array):
    return np.ascontiguousarray(array).tobytes().hex()


def dequantize_cases(rng):
    cases = []
    with np.errstate(all="ignore"):
        for qtype in BLOCKS:
            data = blocks(rng, qtype)
            values = np.concatenate([gguf.quants.dequantize(block, qtype) for block in data])
            # inf · 0 is a NaN whose sign is the CPU's choice.
            bits = np.where(np.isnan(values), np.float32(np.nan), values).view(np.uint32)
            cases.append({"type": qtype.name, "n_values": values.size, "hex": hex_of(data), "bits": hex_of(bits)})
        every = np.arange(65536, dtype=np.uint16)
        for qtype, data in ((T.F16, every.view(np.float16)), (T.BF16, every.view(np.uint8))):
            values = gguf.quants.dequantize(data, qtype)
            cases.append({"type": qtype.name, "every_sha256": hashlib.sha256(values.tobytes()).hexdigest()})
    return cases


def typed(path, rng):
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_custom_alignment(64)
    writer.add_uint8("t.u8", 255)
    writer.add_int8("t.i8", -128)
    writer.add_uint16("t.u16", 65535)
    writer.add_int16("t.i16", -32768)
    writer.add_uint32("t.u32", 2**32 - 1)
    writer.add_int32("t.i32", -(2**31))
    writer.add_uint64("t.u64", 2**64 - 1)
    writer.add_int64("t.i64", -(2**63))
    writer.add_float32("t.f32", 1e-5)
    writer.add_float64("t.f64", 1e-5)
    writer.add_bool("t.bool", True)
    writer.add_string("t.string", "é\n\0世界")
    writer.add_array("a.strings", ["", "a", "世界", "x" * 300])
    writer.add_array("a.ints", [1, -2, 3])
    writer.add_array("a.floats", [0.5, -1e30])
    writer.add_array("a.bools", [True, False])
    for qtype in (T.F32, T.F16, T.BF16, *BLOCKS):
        block = gguf.GGML_QUANT_SIZES[qtype][0]
        shape = (3, 2, block)
        if qtype == T.F32:
            writer.add_tensor(f"{qtype.name}.weight", rng.random(shape, dtype=np.float32))
        elif qtype == T.F16:
            writer.add_tensor(f"{qtype.name}.weight", rng.random(shape).astype(np.float16))
        elif qtype == T.BF16:
            writer.add_tensor(f"{qtype.name}.weight", rng.integers(0, 256, (3, 2, 2), dtype=np.uint8), raw_dtype=qtype)
        else:
            data = np.concatenate([blocks(rng, qtype)[:6]]).reshape(3, 2, -1)
            writer.add_tensor(f"{qtype.name}.weight", data, raw_dtype=qtype)
    for dtype in (np.int8, np.int16, np.int32, np.int64, np.float64):
        writer.add_tensor(np.dtype(dtype).name, np.arange(5).astype(dtype))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def split(path, rng):
    writer = gguf.GGUFWriter(path, "llama", split_max_tensors=2)
    writer.add_string("general.name", "split")
    for i in range(5):
        writer.add_tensor(f"t{i}", np.full((2, 3), i, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def described(path):
    """What the package's reader finds: scalars and lists as JSON, u64 and non-ASCII safe."""
    reader = gguf.GGUFReader(path)
    metadata = {}
    for name, field in reader.fields.items():
        if name.startswith("GGUF."):
            continue
        kind = "[" + field.types[-1].name + "]" if field.types[0] == V.ARRAY else field.types[0].name
        metadata[name] = {"type": kind, "value": field.contents()}
    tensors = {}
    for tensor in reader.tensors:
        tensors[tensor.name] = {
            "type": tensor.tensor_type.name,
            "shape": [int(n) for n in reversed(tensor.shape)],
            "begin": int(tensor.data_offset),
            "bytes": int(tensor.n_bytes),
            "data": hex_of(tensor.data),
        }
    return {"metadata": metadata, "tensors": tensors}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=HERE / "gguf")
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    made_with = {"made_with": versions("gguf", "numpy")}
    write_json(out / "dequantize.json", made_with | {"cases": dequantize_cases(np.random.default_rng(1))})
    typed(out / "typed.gguf", np.random.default_rng(2))
    write_json(out / "typed.json", made_with | described(out / "typed.gguf"))
    split(out / "split.gguf", np.random.default_rng(3))


if __name__ == "__main__":
    main()
