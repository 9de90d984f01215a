"""Writes unicode_data.inc: the character tables that the `tokenizers` library matches with.

General categories are Unicode 16.0 (what its regex engine, Oniguruma 6.9.10, carries), taken from
unicodedata2 and checked against the library. Where the library's own steps follow another version
of Unicode, the set is asked of the library, one question for every code point.

    pip install tokenizers==0.23.3 unicodedata2==16.0.0
    python make_unicode_data.py > unicode_data.inc
"""

import unicodedata2
from tokenizers import Regex, normalizers, pre_tokenizers

CATEGORIES = "Cn Cc Cf Co Cs Ll Lm Lo Lt Lu Mc Me Mn Nd Nl No Pc Pd Pe Pf Pi Po Ps Sc Sk Sm So Zl Zp Zs".split()
# Scripts that tokenizers tell apart; others come from PCRE2, with its version of Unicode.
SCRIPTS = "Arabic Cyrillic Devanagari Greek Han Hangul Hebrew Hiragana Katakana Latin Thai".split()
EVERY = [chr(c) for c in range(0x110000) if not 0xD800 <= c <= 0xDFFF]


def chunks(size):
    return (EVERY[i : i + size] for i in range(0, len(EVERY), size))


def matched_by(pattern):
    """The characters that the library's regex engine matches."""
    remover = normalizers.Replace(Regex(pattern), "")
    found = set()
    for chunk in chunks(4096):
        found.update(set(chunk) - set(remover.normalize_str("".join(chunk))))
    return found


def isolated_by(step):
    """The characters that a pre-tokenizer cuts out from between letters."""
    found = set()
    for chunk in chunks(1024):
        pieces = step.pre_tokenize_str("a" + "a".join(chunk) + "a")
        found.update(text for text, _ in pieces if len(text) == 1 and text != "a")
    return found


def word_characters():
    r"""Rust's \w: what `Whitespace` keeps together with a letter."""
    found = set()
    for chunk in chunks(256):
        pieces = pre_tokenizers.Whitespace().pre_tokenize_str(" ".join("a" + c for c in chunk))
        found.update(text[1] for text, _ in pieces if len(text) == 2 and text[0] == "a")
    return found


def of_category(*prefixes):
    return {c for c in EVERY if unicodedata2.category(c).startswith(prefixes)}


def newer_than_normalizer():
    """Marks and decomposables of Unicode 16 that the library's normalizers do not know."""
    nfd, nfkd = normalizers.NFD(), normalizers.NFKD()
    found = set()
    for c in EVERY:
        if unicodedata2.combining(c):
            if nfd.normalize_str("\u0345" + c + "\u0334") == "\u0345" + c + "\u0334":
                found.add(c)
        elif 0xAC00 <= ord(c) <= 0xD7A3:
            continue
        elif unicodedata2.decomposition(c) and nfkd.normalize_str(c) == c:
            found.add(c)
            # What composes to it is as new, except for marks that older letters share.
            parts = [chr(int(x, 16)) for x in unicodedata2.decomposition(c).split() if x[0] != "<"]
            found.update(part for part in parts if not unicodedata2.combining(part) and ord(part) > 0xFFFF)
    return found


def ranges(characters):
    result = []
    for value in sorted(map(ord, characters)):
        if result and result[-1][1] + 1 == value:
            result[-1][1] = value
        else:
            result.append([value, value])
    return result


def print_array(declaration, items, per_line):
    print(f"inline constexpr {declaration}[] = {{")
    for i in range(0, len(items), per_line):
        print("    " + ", ".join(items[i : i + per_line]) + ",")
    print("};\n")


def print_set(name, characters):
    items = [f"{{0x{first:x}, 0x{last:x}}}" for first, last in ranges(characters)]
    print_array(f"CodePointRange {name}", items, 5)


def print_categories():
    category = lambda c: "Cs" if 0xD800 <= c <= 0xDFFF else unicodedata2.category(chr(c))
    items, last = [], None
    for c in range(0x110000):
        if category(c) != last:
            last = category(c)
            items.append(f"0x{c << 5 | CATEGORIES.index(last):x}")
    for name in ("L", "N", "P", "S", "M", "Z", "Lu", "Ll", "Lm"):
        assert matched_by(r"\p{%s}" % name) == of_category(name), name
    print("// Where a category begins: first code point << 5 | index into kCategoryNames.")
    print_array("uint32_t kCategoryStarts", items, 10)


def print_lowercase():
    """Runs of (first, last, shift) for single-character lower case."""
    lower, runs = normalizers.Lowercase(), []
    for c in EVERY:
        text = lower.normalize_str(c)
        if text == c or len(text) != 1:
            continue
        value, shift = ord(c), ord(text) - ord(c)
        for step in (1, 2):
            if runs and runs[-1][2] == shift and runs[-1][1] + step == value and runs[-1][3] in (0, step):
                runs[-1][1], runs[-1][3] = value, step
                break
        else:
            runs.append([value, value, shift, 0])
    items = [f"{{0x{a:x}, 0x{b:x}, {shift}, {max(step, 1)}}}" for a, b, shift, step in runs]
    print("// Every step-th code point of first..last has a lower case `shift` away (U+0130 aside: two characters).")
    print_array("LowercaseRun kLowercaseRuns", items, 4)


def main():
    print("// Made by make_unicode_data.py with tokenizers 0.23.3 and unicodedata2 "
          f"{unicodedata2.unidata_version}; not edited by hand.\n// clang-format off")
    print_array("std::string_view kCategoryNames", [f'"{name}"' for name in CATEGORIES], 12)
    print_categories()
    alphabetic = matched_by(r"\p{Alphabetic}")
    assert alphabetic == matched_by("[[:alpha:]]")
    print_set("kAlphabetic", alphabetic)
    # The sets that are computed from it and the categories.
    word = alphabetic | of_category("M", "Nd", "Pc")
    assert word_characters() == word | {"\u200c", "\u200d"}
    assert matched_by(r"\w") == word | set("\u00b2\u00b3\u00b9\u00bc\u00bd\u00be")
    assert matched_by("[[:word:]]") == word
    assert matched_by("[[:alnum:]]") == alphabetic | of_category("Nd")
    assert matched_by("[[:punct:]]") == of_category("P", "S")
    graph = set(EVERY) - of_category("Cc", "Cn", "Cs") - matched_by(r"\s")
    assert matched_by("[[:graph:]]") == graph
    assert matched_by("[[:print:]]") == graph | of_category("Zs")
    print_set("kOtherUppercase", matched_by(r"\p{Uppercase}") - of_category("Lu"))
    print_set("kOtherLowercase", matched_by(r"\p{Lowercase}") - of_category("Ll"))
    for script in SCRIPTS:
        print_set("kScript" + script, matched_by(r"\p{%s}" % script))
    print("// Rust's char::is_numeric.")
    print_set("kRustNumeric", isolated_by(pre_tokenizers.Digits(True)))
    print("// Punctuation, as the pre-tokenizer of that name sees it.")
    print_set("kPunctuation", isolated_by(pre_tokenizers.Punctuation("isolated")))
    print("// Marks, as StripAccents sees them.")
    strip = normalizers.StripAccents()
    print_set("kStrippedMarks", {c for c in EVERY if strip.normalize_str("a" + c + "a") == "aa"})
    print("// What Unicode 16 reorders or decomposes and the library's normalizers leave alone.")
    print_set("kNewerThanNormalizer", newer_than_normalizer())
    print_lowercase()
    print("// clang-format on")


if __name__ == "__main__":
    main()
