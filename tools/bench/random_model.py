"""Writes a model of random bf16 weights in the shape of Llama-3.2-1B, with a vocabulary of 49152
and tied embeddings, twice: as a GGUF and as a Hugging Face directory of the same numbers. Large
enough that no cache holds it, and free to hand around. No tokenizer.

    python3 random_model.py OUT         writes OUT.gguf and OUT/

Weights are small enough that thousands of tokens stay finite; norms are ones.
"""

import argparse
import json
import os
import struct
import sys

import numpy as np

D_MODEL, N_HEAD, N_KV_HEAD, D_HEAD, D_FF, N_VOCAB = 2048, 32, 8, 64, 8192, 49152
N_CTX, EPS, THETA = 8192, 1e-5, 500000.0
F32, BF16 = 0, 30  # ggml's numbers of types
U32, FLOAT, STRING = 4, 6, 8  # GGUF's numbers of types of values
ALIGNMENT = 32


def text(value):
    data = value.encode()
    return struct.pack("<Q", len(data)) + data


def pair(key, value):
    if isinstance(value, str):
        return text(key) + struct.pack("<I", STRING) + text(value)
    if isinstance(value, float):
        return text(key) + struct.pack("<If", FLOAT, value)
    return text(key) + struct.pack("<II", U32, value)


def tensors(n_layer):
    """(GGUF's name, transformers' name, shape), the slowest dimension first."""
    yield "token_embd.weight", "model.embed_tokens.weight", (N_VOCAB, D_MODEL)
    for i in range(n_layer):
        for gguf, hf, shape in (
            ("attn_norm", "input_layernorm", (D_MODEL,)),
            ("attn_q", "self_attn.q_proj", (N_HEAD * D_HEAD, D_MODEL)),
            ("attn_k", "self_attn.k_proj", (N_KV_HEAD * D_HEAD, D_MODEL)),
            ("attn_v", "self_attn.v_proj", (N_KV_HEAD * D_HEAD, D_MODEL)),
            ("attn_output", "self_attn.o_proj", (D_MODEL, N_HEAD * D_HEAD)),
            ("ffn_norm", "post_attention_layernorm", (D_MODEL,)),
            ("ffn_gate", "mlp.gate_proj", (D_FF, D_MODEL)),
            ("ffn_up", "mlp.up_proj", (D_FF, D_MODEL)),
            ("ffn_down", "mlp.down_proj", (D_MODEL, D_FF)),
        ):
            yield f"blk.{i}.{gguf}.weight", f"model.layers.{i}.{hf}.weight", shape
    yield "output_norm.weight", "model.norm.weight", (D_MODEL,)


def count(shape):
    return int(np.prod(shape))


def gguf_head(plan, n_layer):
    meta = {
        "general.architecture": "llama",
        "general.name": "random 1B",
        "general.file_type": 32,
        "llama.block_count": n_layer,
        "llama.context_length": N_CTX,
        "llama.embedding_length": D_MODEL,
        "llama.feed_forward_length": D_FF,
        "llama.attention.head_count": N_HEAD,
        "llama.attention.head_count_kv": N_KV_HEAD,
        "llama.attention.layer_norm_rms_epsilon": EPS,
        "llama.rope.dimension_count": D_HEAD,
        "llama.rope.freq_base": THETA,
        "llama.vocab_size": N_VOCAB,
        "tokenizer.ggml.model": "no_vocab",
    }
    infos, offset = b"", 0
    for name, _, shape in plan:
        norm = len(shape) == 1
        infos += text(name) + struct.pack("<I", len(shape))
        infos += b"".join(struct.pack("<Q", n) for n in reversed(shape))
        infos += struct.pack("<IQ", F32 if norm else BF16, offset)
        offset += -(-count(shape) * (4 if norm else 2) // ALIGNMENT) * ALIGNMENT
    head = b"GGUF" + struct.pack("<IQQ", 3, len(plan), len(meta))
    head += b"".join(pair(k, v) for k, v in meta.items()) + infos
    return head + b"\0" * (-len(head) % ALIGNMENT)


def safetensors_head(plan):
    header, offset = {}, 0
    for _, name, shape in plan:
        end = offset + 2 * count(shape)
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [offset, end]}
        offset = end
    data = json.dumps(header).encode()
    data += b" " * (-len(data) % 64)
    return struct.pack("<Q", len(data)) + data


def config(n_layer):
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "torch_dtype": "bfloat16",
        "hidden_size": D_MODEL,
        "intermediate_size": D_FF,
        "num_hidden_layers": n_layer,
        "num_attention_heads": N_HEAD,
        "num_key_value_heads": N_KV_HEAD,
        "head_dim": D_HEAD,
        "hidden_act": "silu",
        "max_position_embeddings": N_CTX,
        "rms_norm_eps": EPS,
        "rope_theta": THETA,
        "tie_word_embeddings": True,
        "vocab_size": N_VOCAB,
        "bos_token_id": 1,
        "eos_token_id": 2,
    }


def bf16_bits(values):
    bits = values.view(np.uint32)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16)


def interleaved(bits):
    """Rows of q and k as GGUF wants them: the halves of each head's rotation pair by pair."""
    heads = bits.reshape(-1, 2, D_HEAD // 2, D_MODEL)
    return heads.swapaxes(1, 2).reshape(bits.shape)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out")
    parser.add_argument("--layers", type=int, default=16)
    args = parser.parse_args()

    plan = list(tensors(args.layers))
    os.makedirs(args.out, exist_ok=True)
    with open(f"{args.out}/config.json", "w") as out:
        json.dump(config(args.layers), out, indent=2)
    rng = np.random.default_rng(1)
    with open(f"{args.out}.gguf", "wb") as gguf, open(f"{args.out}/model.safetensors", "wb") as hf:
        gguf.write(gguf_head(plan, args.layers))
        hf.write(safetensors_head(plan))
        for name, _, shape in plan:
            if len(shape) == 1:
                bits = bf16_bits(np.ones(shape, np.float32))
                data = np.ones(shape, np.float32).tobytes()
            else:
                deviation = np.float32(0.02 if name.startswith("token") else shape[1] ** -0.5)
                bits = bf16_bits(rng.standard_normal(shape, np.float32) * deviation)
                q_or_k = name.endswith(("attn_q.weight", "attn_k.weight"))
                data = (interleaved(bits) if q_or_k else bits).tobytes()
            hf.write(bits.tobytes())
            gguf.write(data + b"\0" * (-len(data) % ALIGNMENT))
    print(f"{args.out}: {len(plan)} tensors, {os.path.getsize(args.out + '.gguf') / 1e6:.0f} MB",
          file=sys.stderr)


if __name__ == "__main__":
    main()
