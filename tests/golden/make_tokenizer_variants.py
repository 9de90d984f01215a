"""Small tokenizers that differ in one step each, and what the `tokenizers` library makes of nasty texts.

`models` are two small BPE models trained on the texts of inputs/tokenizer_texts.json. A variant is a
tokenizer.json without its model: `model` names one of `models`, `options` are put over its members and
`tokens` behind its vocabulary. Per text: `ids` (as the post-processor adds to them), `plain` (special
tokens treated as text, nothing added; only where it differs from `bare`, the ids with nothing added,
itself left out where it is `ids`), `decoded` and `decoded_without_special` (of `ids`; the latter only
where it differs). `real` are the same views of the shipped tokenizers.
"""

import argparse
import copy
import json
import random
from pathlib import Path

from common import HERE, TOKENIZERS, versions, write_json

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers  # noqa: E402

TEXTS = [
    "", " ", "  ", "\n", "a", " a", "a ", "Hello world, it's the word.", " leading", "trailing \n ",
    "I'LL don't we'Ve '\u017ftop", "12345 1,000 \u0663\u0664 \u00bd\u2167\u00b2 a1b22", "snake_case camelCase HTTPServer",
    "<s>a</s> <s> <|im_start|>user\n<|im_end|>x", "a <l> b <r> c <lr> d<l><r>  <lr>\t\n",
    "word words aword the word the, _the \u2581the", "<n> <N>x \u00dcn\u00ef U\u0308ni\u0308 \u00fcn\u00ef camel Case CAMEL CASE",
    "<|a|>b <|a <|a|b a|>b", "\u2581x \u2581\u2581y Ġz Ċ <0x0A> <unk>", "e\u0301\u00e9\u0301 a\u0301\u0328 \u212b\u2126 \ufb01\u0133 \u1e9b\u0323 \uac01\u1100\u1161\u11a8",
    "\u0130I\u0131\u00df\u1e9e \u03a3\u03c3\u03c2 \u01c5", "a\u0085b\u00a0c\u2028d\u3000e\u180ef\u200bg\ufeffh\x1ci", "tab\t\tnew\r\n\r\nline \r x",
    "\u4e2d\u6587 \u304b\u306a\u30ab\u30ca \ud55c\uad6d \u0e44\u0e17\u0e22", "\u0939\u093f\u0928\u094d\u0926\u0940 \u0639\u064e\u0631\u064e\u0628\u064a",
    "\U0001f468\u200d\U0001f469\u200d\U0001f467 \U0001f1e9\U0001f1ea \U0001f44d\U0001f3fd 1\ufe0f\u20e3", "\x00\x01\x7f\ufffd\uffff\U0010ffff\ue000\u0378",
    "\U00010d50\U00010d70 \u1c89\u0897\U0001e5d0\U00016d63 \U000323b0\u0ecf\U0001fae9", "!!! ... ?! -- == #$%^&*()_+|~`<>", "aaaa    bbbb\n\n\n\n----",
    "a-b--c - d", "</s></s> <|think|>  <|im_end|>  \n x", "\u00ab\u00bf\u060c\u3001\uff01\u2e43 \u2474\u20ac\u2122",
]

BYTES = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
PREFIXED = BYTES | {"add_prefix_space": True}
UNSPLIT = BYTES | {"use_regex": False}
SPACES = {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"}
PREPEND = {"type": "Prepend", "prepend": "\u2581"}
FALLBACK_TOKENS = [f"<0x{byte:02X}>" for byte in range(256)]
PATTERNS = {
    "cl100k": r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+",
    "o200k": r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    "kimi": r"[\p{Han}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+(?i:'s|'t)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s+",
    "bloom": r" ?[^(\s|[.,!?…。，、।۔،])]+",
    "superbpe": r"(?=(\d{3})+(?!\d))",
    "words": r"\w+|[^\w\s]+", "border": r"\b", "line": r"^.*$", "case": r"(?i:[a-z]{2,3})+", "posix": r"[[:alnum:]]+|[[:punct:]]+",
}


def sequence(kind, *steps):
    return {"type": "Sequence", kind: list(steps)}


def split(pattern, behavior="Isolated", invert=False, kind="Regex"):
    return {"type": "Split", "pattern": {kind: pattern}, "behavior": behavior, "invert": invert}


def metaspace(scheme, splits=True):
    return {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": scheme, "split": splits}


def added(content, **flags):
    return {"id": 0, "content": content, "single_word": False, "lstrip": False, "rstrip": False,
            "normalized": False, "special": True} | flags


SPECIAL = [added(text) for text in ("<s>", "</s>", "<|im_start|>", "<|im_end|>")]
FLAGGED = [
    added("<l>", lstrip=True), added("<r>", rstrip=True), added("<lr>", lstrip=True, rstrip=True),
    added("word", single_word=True, special=False), added("the", single_word=True, normalized=True, special=False),
    added("<n>", normalized=True), added("\u00dcn\u00ef", normalized=True, special=False),
    added("  ", special=False), added("\n", special=False, rstrip=True), added("<|a|>"), added("<|a"),
    added("a|>b"), added("\u4e2d", special=False, lstrip=True), added("camel Case", normalized=True, special=False),
]
PHI3 = [added("<unk>"), added("<s>"), added("</s>", rstrip=True, special=False),
        added("<|im_end|>", rstrip=True), added("<|think|>", lstrip=True, rstrip=True)]
TEMPLATE = {
    "type": "TemplateProcessing",
    "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}},
               {"SpecialToken": {"id": "</s>", "type_id": 0}}],
    "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
    "special_tokens": {"<s>": {"id": "<s>", "ids": [5], "tokens": ["<s>"]},
                       "</s>": {"id": "</s>", "ids": [6, 7], "tokens": ["</s>", "x"]}},
}


def train(corpus, pre_tokenizer, normalizer, size, **trainer):
    tokenizer = Tokenizer(models.BPE())
    if pre_tokenizer:
        tokenizer.pre_tokenizer = pre_tokenizer
    if normalizer:
        tokenizer.normalizer = normalizer
    tokenizer.train_from_iterator(corpus, trainers.BpeTrainer(vocab_size=size, show_progress=False, **trainer))
    return json.loads(tokenizer.to_str())["model"]


def variants():
    """(name, model, members of tokenizer.json, model options, further tokens)"""
    byte_level = lambda name, steps, **more: (name, "bytes", {"pre_tokenizer": steps, "decoder": BYTES} | more, {}, [])
    steps = lambda *each: sequence("pretokenizers", *each)
    result = [
        byte_level("bytes", BYTES), byte_level("bytes_prefix", PREFIXED), byte_level("bytes_unsplit", UNSPLIT),
        byte_level("bytes_twice", steps(BYTES, split(r"\p{N}"), UNSPLIT)),
        byte_level("bytes_first", steps(UNSPLIT, split("\u0120", "MergedWithNext"))),
        ("ignore_merges", "bytes", {"pre_tokenizer": BYTES, "decoder": BYTES}, {"ignore_merges": True}, []),
        byte_level("digits", steps({"type": "Digits", "individual_digits": False}, BYTES)),
        byte_level("digit", steps({"type": "Digits", "individual_digits": True}, BYTES)),
        byte_level("punctuation", steps({"type": "Punctuation"}, UNSPLIT)),
        byte_level("punctuation_contiguous", steps({"type": "Punctuation", "behavior": "Contiguous"}, UNSPLIT)),
        byte_level("whitespace", steps({"type": "Whitespace"}, UNSPLIT)),
        byte_level("whitespace_split", steps({"type": "WhitespaceSplit"}, PREFIXED)),
        byte_level("delimiter", steps({"type": "CharDelimiterSplit", "delimiter": "-"}, BYTES)),
        byte_level("roberta", PREFIXED, post_processor={
            "type": "RobertaProcessing", "sep": ["</s>", 6], "cls": ["<s>", 5], "trim_offsets": True, "add_prefix_space": True}),
        byte_level("post_sequence", BYTES, post_processor=sequence("processors", BYTES, TEMPLATE)),
    ]
    for behavior in ("Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"):
        for invert in (False, True):
            result.append(byte_level(f"split_{behavior}_{invert}", steps(split(r"\s+|\p{N}", behavior, invert), UNSPLIT)))
        result.append(byte_level(f"split_space_{behavior}", steps(split(" ", behavior, False, "String"), BYTES)))
        result.append(byte_level(f"split_empty_{behavior}", steps(split(r"\d*", behavior), UNSPLIT)))
    for name, pattern in PATTERNS.items():
        result.append(byte_level("pattern_" + name, steps(split(pattern), UNSPLIT)))
    for scheme in ("first", "always", "never"):
        for splits in (True, False):
            step = metaspace(scheme, splits)
            result.append((f"metaspace_{scheme}_{splits}", "characters", {"pre_tokenizer": step, "decoder": step}, {}, []))
    collapse = sequence("normalizers", {"type": "Replace", "pattern": {"Regex": "  +"}, "content": " "},
                        {"type": "Strip", "strip_left": True, "strip_right": False})
    result.append(("metaspace_stripped", "characters", {
        "normalizer": collapse, "pre_tokenizer": metaspace("first"),
        "decoder": sequence("decoders", {"type": "ByteFallback"}, metaspace("first"))}, {}, []))
    result.append(("metaspace_words", "characters", {
        "pre_tokenizer": steps({"type": "WhitespaceSplit"}, metaspace("first")), "decoder": metaspace("first")}, {}, []))
    normal = {
        "none": None, "nfc": {"type": "NFC"}, "nfd": {"type": "NFD"}, "nfkc": {"type": "NFKC"}, "nfkd": {"type": "NFKD"},
        "lower": {"type": "Lowercase"}, "llama": sequence("normalizers", PREPEND, SPACES),
        "strip": {"type": "Strip", "strip_left": True, "strip_right": True}, "nmt": {"type": "Nmt"},
        "accents": sequence("normalizers", {"type": "NFD"}, {"type": "StripAccents"}, {"type": "Lowercase"}),
        "regex": {"type": "Replace", "pattern": {"Regex": r"\s+"}, "content": " "}, "bytes": {"type": "ByteLevel"},
    }
    for name, step in normal.items():
        members = {"added_tokens": SPECIAL + FLAGGED, "normalizer": step}
        result.append(("flags_" + name, "bytes", members | {"pre_tokenizer": BYTES, "decoder": BYTES}, {}, []))
        result.append(("flags_characters_" + name, "characters", members | {"pre_tokenizer": metaspace("first")}, {}, []))
    llama = {
        "normalizer": sequence("normalizers", PREPEND, SPACES),
        "decoder": sequence("decoders", {"type": "Replace", "pattern": {"String": "\u2581"}, "content": " "},
                            {"type": "ByteFallback"}, {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 0}),
        "post_processor": TEMPLATE,
    }
    options = {"unk_token": "<unk>", "fuse_unk": True, "byte_fallback": True}
    tokens = ["<unk>", "<s>", "</s>"]
    result.append(("llama", "characters", llama, options, tokens + FALLBACK_TOKENS))
    result.append(("phi3", "characters", llama | {"added_tokens": PHI3}, options, tokens + FALLBACK_TOKENS))
    for fuse in (True, False):
        options = {"unk_token": "<unk>", "fuse_unk": fuse}
        result.append((f"unknown_{fuse}", "characters", llama, options, tokens))
        result.append((f"unknown_some_bytes_{fuse}", "characters", llama, options | {"byte_fallback": True},
                       tokens + FALLBACK_TOKENS[0x80:0xE0]))
    result.append(("dropped", "characters", {"normalizer": SPACES}, {}, []))
    result.append(("strip_text", "characters", {"normalizer": SPACES, "decoder": sequence(
        "decoders", {"type": "Replace", "pattern": {"String": "\u2581"}, "content": " "}, {"type": "Fuse"},
        {"type": "Strip", "content": " ", "start": 2, "stop": 1})}, {}, []))
    result.append(("strip_tokens", "characters", {"normalizer": SPACES, "decoder": sequence(
        "decoders", {"type": "Strip", "content": "\u2581", "start": 1, "stop": 0},
        {"type": "Replace", "pattern": {"Regex": "[0-9]"}, "content": "#"})}, {}, []))
    return result


def assemble(model, members, options, tokens):
    """The whole tokenizer.json of a variant; SPECIAL are its added tokens unless it has its own."""
    model = copy.deepcopy(model) | options
    end = len(model["vocab"])
    for token in tokens:
        if token not in model["vocab"]:
            model["vocab"][token], end = end, end + 1
    document = {"version": "1.0", "truncation": None, "padding": None, "added_tokens": SPECIAL, "normalizer": None,
                "pre_tokenizer": None, "post_processor": None, "decoder": None} | members
    return document | {"model": model}


def decode(tokenizer, ids, skip_special):
    """The text; null where the library panics (its Strip does, at the end of an empty text)."""
    try:
        return tokenizer.decode(ids, skip_special_tokens=skip_special)
    except BaseException as panic:  # pyo3's PanicException
        if type(panic).__name__ != "PanicException":
            raise
        return None


def views(tokenizer, text):
    ids = tokenizer.encode(text, add_special_tokens=True).ids
    bare = tokenizer.encode(text, add_special_tokens=False).ids
    tokenizer.encode_special_tokens = True
    plain = tokenizer.encode(text, add_special_tokens=False).ids
    tokenizer.encode_special_tokens = False
    result = {"ids": ids, "decoded": decode(tokenizer, ids, False)}
    without = decode(tokenizer, ids, True)
    if bare != ids:
        result["bare"] = bare
    if plain != bare:
        result["plain"] = plain
    if without != result["decoded"]:
        result["decoded_without_special"] = without
    return result


def random_texts(count):
    """White space, marks, new letters, cut-up special tokens: a fixed random mix of what hurts."""
    generator = random.Random(20)
    parts = [part for text in TEXTS for part in text.split(" ") if part]
    blanks = [" ", "  ", "\n", "\r\n", "\t", "\u00a0", "\u0085", "\u2028", "\u3000", "\u180e", "", "", ""]
    texts = []
    for _ in range(count):
        text = ""
        for _ in range(generator.randrange(2, 9)):
            part = generator.choice(parts)
            cut = generator.randrange(len(part) + 1) if generator.random() < 0.3 else len(part)
            text += part[:cut] + generator.choice(blanks)
        texts.append(text)
    return texts


def build(corpus):
    trained = {
        "bytes": train(corpus, pre_tokenizers.ByteLevel(add_prefix_space=False), None, 500,
                       initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet())),
        # Most characters stay unknown to this one. (limit_alphabet would break ties at random.)
        "characters": train([text for text in corpus if max(text, default=" ") < "\u0400"] + TEXTS[:8],
                            None, normalizers.Replace(" ", "\u2581"), 500),
    }
    cases = []
    for name, model, members, options, tokens in variants():
        document = assemble(trained[model], members, options, tokens)
        tokenizer = Tokenizer.from_str(json.dumps(document))
        del document["model"]
        cases.append({"name": name, "model": model, "options": options, "tokens": tokens, "tokenizer": document,
                      "texts": [views(tokenizer, text) for text in TEXTS]})
    directories = sorted(path.parent for path in TOKENIZERS.glob("*/tokenizer.json"))
    real = {path.name: Tokenizer.from_file(str(path / "tokenizer.json")) for path in directories}
    return {
        "made_with": versions("tokenizers"), "texts": TEXTS, "models": trained, "variants": cases,
        "real": [{"text": text} | {name: views(tokenizer, text) for name, tokenizer in real.items()}
                 for text in TEXTS + random_texts(60)],
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--inputs", type=Path, default=HERE / "inputs/tokenizer_texts.json")
    parser.add_argument("--out", type=Path, default=HERE / "tokenizer_variants.json")
    arguments = parser.parse_args()
    corpus = [item["text"] for item in json.loads(arguments.inputs.read_text())["texts"]]
    document = build(corpus)
    write_json(arguments.out, document)
    print(f"{len(document['variants'])} variants, {len(document['real'])} texts")


if __name__ == "__main__":
    main()
