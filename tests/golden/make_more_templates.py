"""More chat templates and random snippets, rendered by transformers and Jinja2.

`chat_cases`: the conversations of --inputs (and a few of our own) through every template of
inputs/chat_templates, which are written after the public templates of well-known families.
`snippet_cases`: what is easy to get wrong, listed in SNIPPETS, and expressions and small templates
drawn from a grammar with a fixed seed. A case has `text`, or `error` where Python raises;
`raised_by_template` marks raise_exception, whose message must be passed on. Snippets whose result
depends on an address, or that Jinja refuses for a bug of its own, are left out.
"""

import argparse
import copy
import json
import random
import re
import signal
import warnings
from pathlib import Path
from unittest import mock

from common import HERE, versions, write_json
from make_templates import FrozenDatetime, NOW, REQUEST_FIELDS

import jinja2
from transformers.utils import chat_template_utils

VARIABLES = {"bos_token": "<s>", "eos_token": "</s>"}

TOOLS = [{"type": "function", "function": {
    "name": "plan", "description": "Plan a <trip>.", "parameters": {"type": "object", "required": ["to"], "properties": {
        "to": {"type": "string", "description": "Where", "enum": ["Rome", "Oslo"], "default": "Rome"},
        "days": {"type": "integer", "default": 3},
        "tags": {"type": "array", "items": {"type": "string"}, "nullable": True},
        "legs": {"type": "array", "items": {"type": "object", "properties": {"km": {"type": "number"}}, "required": []}},
        "when": {"oneOf": [{"type": "string", "description": "ISO", "default": "now"}, {"type": "integer"}]},
        "any": {"type": ["string", "null"]}, "extra": {"type": "object", "additionalProperties": {"type": "boolean"}},
    }}}}]

CONVERSATIONS = [
    {"name": "nested_tools", "messages": [{"role": "user", "content": "Plan it."}], "tools": TOOLS, "add_generation_prompt": True},
    {"name": "documents", "messages": [{"role": "user", "content": "Q?"}], "documents": [{"title": "A", "text": "Alpha </s>"}, {"title": "B", "text": "Beta"}],
     "add_generation_prompt": True, "variables": {"controls": {"length": "short", "citations": True}}},
    {"name": "two_calls", "messages": [
        {"role": "system", "content": "Be brief. /no_think"}, {"role": "user", "content": "Both?"},
        {"role": "assistant", "content": "On it.", "thinking": "Two calls.", "tool_calls": [
            {"id": "aaaaaaaaa", "type": "function", "function": {"name": "plan", "arguments": {"to": "Oslo", "n": [1, 2.5, None, True], "s": "é\"\n"}}},
            {"id": "bbbbbbbbb", "type": "function", "function": {"name": "now", "arguments": {}}}]},
        {"role": "tool", "tool_call_id": "aaaaaaaaa", "content": "ok"}, {"role": "tool", "tool_call_id": "bbbbbbbbb", "content": "12:00"},
        {"role": "assistant", "content": "<think>\nhm\n</think>\n\nDone."}, {"role": "user", "content": "Thanks /system_override"}],
     "tools": TOOLS, "add_generation_prompt": True},
    {"name": "image_parts", "messages": [{"role": "system", "content": [{"type": "text", "text": "See."}]},
        {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": " What? "}]}], "add_generation_prompt": True},
    {"name": "continue_parts", "messages": [{"role": "user", "content": "Go"}, {"role": "assistant", "content": [{"type": "text", "text": "It is  "}]}],
     "continue_final_message": True},
    {"name": "continue_spaces", "messages": [{"role": "user", "content": "Go"}, {"role": "assistant", "content": " Sure, \n"}], "continue_final_message": True},
    {"name": "continue_reasoning", "messages": [{"role": "user", "content": "Go"}, {"role": "assistant", "content": "x", "reasoning_content": "Well,"}],
     "continue_final_message": "reasoning_content"},
    {"name": "continue_user", "messages": [{"role": "user", "content": "Go on and"}], "continue_final_message": True, "add_generation_prompt": True},
]

CONTEXT = {
    "s": "Hello World", "e": "", "u": "Straße ÀÉ ñ🙂x", "sp": "  a b \n", "ml": "l1\n  l2\r\nl3\n\nend", "n": 5, "z": 0, "neg": -3, "f": 2.5,
    "big": 12345678901234567890, "t": True, "fl": False, "no": None, "xs": [1, 2, 3], "ys": ["b", "A", "a"], "mix": [1, "a", None, True, 2.5], "emp": [],
    "d": {"a": 1, "b": "x", "c": [1, 2], "items": 7}, "ed": {}, "num": "42", "fs": " 3.7 ", "nest": {"a": {"b": [{"c": "deep"}]}},
    "ms": [{"role": "system", "content": "Sys"}, {"role": "user", "content": "Hi <b>&'\"", "n": 2},
           {"role": "assistant", "content": "Yo", "tool_calls": [{"id": "1", "function": {"name": "f", "arguments": {"x": 1}}}]},
           {"role": "user", "content": "Bye", "n": 1}],
}

SNIPPETS = r"""
{% for x in xs %}{% continue %}{% else %}else{% endfor %}|{% for x in xs %}{% break %}{% else %}else{% endfor %}
{% set x = 1 %}{% for i in xs %}{{ x }}{% set x = i %}{% endfor %}{{ x }}
{% for i in xs %}{% if i == 2 %}{% set s = i %}{% endif %}{{ s }}{% endfor %}
{% set s %}[{{ s }}]{% endset %}{{ s }}
{% macro m() %}{{ v }}{% endmacro %}{% set v = 1 %}{{ m() }}{% set v = 2 %}{{ m() }}
{% macro m(a, b=a) %}{{ a }}{{ b }}{{ varargs }}{{ kwargs }}{% endmacro %}{{ m(1) }}{{ m(1, 2, 3, z=4) }}{{ m() }}
{% macro m(a, b) %}[{{ a }}|{{ b }}]{% endmacro %}{{ m(*[1, 2]) }}{{ m(**{'b': 3}) }}{{ m.name }}{{ m.arguments }}
{% macro list(items) %}{% for i in items %}<{{ caller(i, loop.index) }}>{% endfor %}{% endmacro %}{% call(x, n) list(ys) %}{{ n }}{{ x }}{{ s[0] }}{% endcall %}
{% for t in [{'v': 1, 'k': [{'v': 2, 'k': []}]}] recursive %}{{ loop.depth }}{{ t.v }}({{ loop(t.k) }}){% endfor %}
{% for a, b in [[1, 2], 'xy'] if a != 1 %}{{ a }}{{ b }}{{ loop.length }}{% endfor %}
{% set ns = namespace(go=true) %}{% for x in range(5) if ns.go %}{{ x }}{% if x == 1 %}{% set ns.go = false %}{% endif %}{% endfor %}
{% set ns = namespace(go=true) %}{% for x in range(5) if ns.go %}{{ x }}{{ loop.last }}{% if x == 1 %}{% set ns.go = false %}{% endif %}{% endfor %}
{% for x in xs %}{{ x in loop }}{{ loop.index }}{% endfor %}
{% set g = xs|map('string') %}{{ g|first }}{{ g|join }}{{ g|list }}
{% if emp|select %}truthy{% endif %}{% if emp|select|list %}truthy{% endif %}
{{ 'a' ~ '<b>'|safe ~ '<c>' }}|{{ '<b>'|safe + '<c>' }}|{{ '<b>'|e|e }}|{{ '<b>'|safe|upper is escaped }}|{{ ['<b>'|safe] }}|{{ '%s'|safe % '<' }}|{{ '<'|safe|replace('<', '>') }}
{{ 'ab'|safe|join('<') }}{{ ('<'|safe).join(['&', '>'|safe]) }}{{ ('{}'|safe).format('<') }}
{{ none.x }}{{ none.x is defined }}{{ d.pop }}{{ d['pop'] is defined }}{{ xs.append is defined }}{{ d['keys']() }}
{{ d.items() }}{{ d.keys() }}{{ d.values()|list }}{{ d.get('q') }}{{ 'a' in d.keys() }}{{ ('a', 1) in d.items() }}
{{ range(5)[1:3] }}{{ range(5)[-1] }}{{ 3 in range(5) }}{{ range(3) == range(0, 3) }}{{ range(0, 10, 3)|last }}{{ range(0) }}
{{ -7 // 2 }},{{ -7 % 3 }},{{ 7 % -3 }},{{ -7.5 // 2 }},{{ 7.5 % -2 }},{{ 2 ** -2 }},{{ 0.1 + 0.2 }},{{ 1e22 }},{{ 1e16 }},{{ 123456789.123 }},{{ 5e-324 }},{{ 1/3 }}
{{ 2.5|round }}{{ 3.5|round }}{{ 2.675|round(2) }}{{ 1234|round(-2) }}{{ 1250|round(-2) }}{{ 1350.0|round(-2) }}{{ 2.1|round(0, 'ceil') }}{{ 2.15|round(1, 'floor') }}
{{ 1 == 1.0 }}{{ true == 1 }}{{ {1: 'a', true: 'b', 1.0: 'c'} }}{{ [1, true, 1.0]|unique|list }}{{ 1 in [true] }}{{ 'x' == 1 }}
{{ ys|sort }}{{ ys|sort(case_sensitive=true) }}{{ ms|sort(attribute='role,content')|map(attribute='content')|list }}{{ [3, 1, 2]|sort(reverse=true) }}{{ ms|groupby('role')|map('first')|list }}
{% for g in ms|groupby('role') %}{{ g.grouper }}={{ g.list|length }};{% endfor %}
{{ 'Σας ΣΑΣ ΑΣ.Σ'|lower }}{{ 'ΣΑΣ'.title() }}{{ 'ﬁ ǆ ß'|upper }}{{ 'ﬁ ǆ ß'.title() }}{{ 'ﬁ ǆ ß'|title }}{{ 'İ'|lower|length }}{{ 'ﬃß'.casefold() }}
{{ '²'.isdigit() }}{{ '²'.isdecimal() }}{{ '½'.isnumeric() }}{{ '٣'|int }}{{ '1_000'|int }}{{ '0x1f'|int(base=16) }}{{ ' 12 '|int }}{{ '1e3'|int }}{{ '1_0.5'|float }}{{ 'nan'|float }}{{ 'inf'|int(3) }}
{{ 'a\u2028b\x1cc\r\nd'.splitlines() }}{{ 'a\n'.splitlines(true) }}{{ '\u00a0x\u3000'|trim }}{{ '  a  b '.split() }}{{ '  a  b '.split(' ') }}{{ 'a b c'.rsplit(none, 1) }}{{ 'a,b,c'.rsplit(',', 1) }}
{{ ['\x7f\u200b\u00ad\U0001f642\ue000é', "it's", 'a"b', '\\'] }}
{{ '\101\x41\u0041\
continued \q \'' }}{{ '\é' }}
{{ 'x'.center(4) }}|{{ 'x'.center(5, '*') }}|{{ '-4'.zfill(5) }}|{{ 'ab'.ljust(4, '.') }}|{{ 'a\tb'.expandtabs(4) }}|{{ 'abc'.partition('b') }}|{{ 'abc'.rpartition('z') }}
{{ 'hello'.find('l', 3) }}{{ 'hello'.find('', 9) }}{{ 'aaa'.count('a', 1) }}{{ 'é🙂x'.find('x') }}{{ 'é🙂x'[1] }}{{ 'é🙂x'[::-1] }}{{ 'abc'.replace('', '-') }}{{ 'abc'.replace('', '-', 2) }}
{{ d|tojson }}{{ {1: 2, none: 3, true: 4, 1.5: 5}|tojson }}{{ (1, 2)|tojson }}{{ '</script>\u2028\x7f'|tojson }}{{ [1e400, -1e400]|tojson }}{{ [[], {}, [[]]]|tojson(indent=2) }}
{{ d|tojson(true) }}{{ u|tojson(ensure_ascii=true) }}{{ d|tojson(separators=[',', '='], sort_keys=true) }}{{ xs|tojson(indent='\t') }}
{{ '{:>8}|{:<8}|{:^8}|{:=+8}|{:08.3f}|{:,}|{:_x}|{:%}|{:.3}|{!r:>6}|{:c}'.format('a', 'b', 'c', 5, 3.14159, 1234567, 65535, 0.25, 'abcdef', 'q', 65) }}
{{ '{0[a]}{1.role}{0[c][1]}{x}{{}}'.format(d, ms[0], x=9) }}{{ '{:{}}|'.format('a', 4) }}{{ '{a}'.format_map(d) }}{{ '{:010,.2f}|{:.1}|{:.2}|{:g}'.format(1234.5, 3.0, 1234.5, 1e10) }}
{{ '%05d|%-5s|%+.2e|%x|%o|%c|%%|%5.1f|%r|%s' % (42, 'a', 12345.678, 255, 8, 'z', 2.25, 'q', none) }}{{ '%(a)s-%(b)5s' % d }}{{ '%s' % undef }}{{ '%s%s'|format(1, 2) }}
{{ ml|indent }}|{{ ml|indent(2, true) }}|{{ ml|indent('> ', blank=true) }}|{{ ''|indent }}|{{ 'a\n'|indent }}
{{ 'foo bar baz qux'|truncate(9) }}|{{ 'foo bar baz qux'|truncate(9, true) }}|{{ 'foo bar baz qux'|truncate(11) }}|{{ 'foo bar baz qux'|truncate(11, false, '...', 0) }}|{{ 'foobarbaz'|truncate(3, leeway=0) }}
{{ xs|batch(2, '-')|list }}{{ xs|slice(2, '-')|list }}{{ range(10)|slice(3)|list }}{{ xs|sum(start=10) }}{{ ms|sum('n', 0) if false else 'x' }}{{ emp|max }}{{ emp|first is defined }}{{ ys|min }}{{ ys|max(case_sensitive=true) }}
{{ ms|map(attribute='tool_calls.0.function.name')|list }}
{{ ms|map(attribute='n', default=0)|list }}{{ ms|selectattr('n')|list|length }}{{ ms|rejectattr('n', 'defined')|map(attribute='role')|join(',') }}{{ mix|select('string')|list }}{{ mix|reject('none')|list }}{{ ['a', 'b']|map('replace', 'a', 'z')|list }}
{{ 'a b&c=d/e é'|urlencode }}{{ {'q': 'a b', 'r': 1}|urlencode }}{{ {'class': 'a', 'x': none, 'y': '<'}|xmlattr }}{{ 1|filesizeformat }}{{ 13000|filesizeformat }}{{ 2048|filesizeformat(true) }}{{ 'one two, three_4'|wordcount }}
{% set c = cycler('a', 'b') %}{{ c.next() }}{{ c.next() }}{{ c.next() }}{{ c.current }}{% set j = joiner(', ') %}{{ j() }}x{{ j() }}y
{{ loop is defined }}{{ undef is sequence }}{{ undef is iterable }}{{ undef is callable }}{{ none is mapping }}{{ 1 is sameas 1 }}{{ 'a' is in 'cat' }}{{ 4 is divisibleby 2 }}{{ 'indent' is filter }}{{ 'odd' is test }}{{ range is callable }}
{{ x if false }}{{ (x if false) is defined }}{{ 1 if 0 else 2 if 0 else 3 }}{{ not 1 == 2 }}{{ 1 < 3 > 2 }}{{ 'a' if 'b' in 'abc' and not false }}
{{ [1, 2, 3][-2:] }}{{ 'abc'[5:] }}{{ xs[none:2] }}{{ xs[::-2] }}{{ 'hello'[-100:100:2] }}{{ xs[true] }}{{ (1, 2, 3)[:2] }}
{% filter upper %}a{% filter replace('B', 'x') %}b{{ s }}{% endfilter %}{% endfilter %}{% set y | trim | upper %} q {% endset %}[{{ y }}]
{% with a = 1, b = a %}{{ a }}{{ b }}{% endwith %}{% with %}{% set q = 1 %}{{ q }}{% endwith %}{{ q }}
{% print 1, 'a' %}{% if true: %}colon{% endif %}{{ 'a' 'b' }}{{ 1.real }}{{ xs.0 }}{{ nest.a.b.0.c }}{{ ms[1]['content'][0:2] }}
a{#- c -#} b {#+ d +#}
e{##}f {%- raw -%} {{ x }} {%- endraw -%} g
    {% raw %}  {% if %}
    {% endraw %}
  {%- if true -%}  x  {%+ endif %}  
  {% if true +%}
y{% endif %}
{{- 'z' -}}  w
{{ namespace({'a': 1}, b=2) }}{{ dict([('a', 1)], b=2) }}{{ dict.fromkeys(['x'], 1) }}{% set ns = namespace() %}{% set ns.x, y = 1, 2 %}{{ ns.x }}{{ y }}{{ ns['x'] }}
{% generation %}{% set q = 1 %}{{ q }}{% endgeneration %}{{ q is defined }}
{{ strftime_now('%Y-%m-%dT%H:%M:%S %a %A %b %B %j %y %p %I %-d %e %% %U %w %f|%z|%Z|%G-W%V %D %T') }}
{{ lipsum }}
{% if false %}{{ 1|nofilter }}{{ 1 is notest }}{% endif %}{{ 2|nofilter if false else 'ok' }}
{{ 1|nofilter }}
{{ undef.x }}
{{ undef[0] }}
{{ undef + 1 }}
{{ 'a' + 1 }}
{{ 1 + 'a' }}
{{ [] + () }}
{{ 1 < 'a' }}
{{ 'a' in 5 }}
{{ 5|length }}
{{ (xs|map('upper'))|length }}
{{ xs|last(1) }}
{{ 'a'.foo() }}
{{ 'a'() }}
{{ d.update({}) }}
{{ 1 // 0 }}
{{ range(1000000) }}
{{ {[]: 1} }}
{{ undef() }}
{{ xs[1:2, 3] }}
{{ raise_exception('Refused: ' ~ s) }}
{{ 'abc' is no_such_test }}
{% set loop = 1 %}{{ loop }}{% for x in xs %}{% set loop = 2 %}{% endfor %}
{% break %}
{% for x in 5 %}{% endfor %}
{% for a, b in [[1]] %}{% endfor %}
{% set a, b = [1, 2, 3] %}
{% set d.x = 1 %}
{% set ns = namespace() %}{% set ns._x = 1 %}
{% macro m(a, a) %}{% endmacro %}
{% macro m(a=1, b) %}{% endmacro %}
{{ dict(a=1, a=2) }}
{% macro m() %}{% endmacro %}{{ m(1) }}
{% macro m() %}{% endmacro %}{{ m(x=1) }}
{% macro m() %}{% endmacro %}{% call m() %}{% endcall %}
{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}
{% filter length %}x{% endfilter %}
{% include 'x' %}
{% extends 'x' %}
{% import 'x' as y %}
{% do xs.append(1) %}
{% trans %}x{% endtrans %}
{% if x %}{% endfor %}
{% endif %}
{{ x
{{ 'abc }}
{# abc
{% raw %}
{{ (1 }}
{{ 1 ) }}
{{ }}
{{ x | }}
{{ x is }}
{{ a b }}
{{ 1..2 }}
{{ $ }}
{{ 'a' is string is string }}
""".strip("\n")

METHODS = {"upper": 0, "lower": 0, "title": 0, "capitalize": 0, "strip": 1, "lstrip": 1, "rstrip": 1, "split": 2, "rsplit": 2, "splitlines": 0, "join": 1,
           "replace": 3, "startswith": 1, "endswith": 1, "find": 2, "rfind": 2, "index": 1, "count": 1, "isdigit": 0, "isalpha": 0, "isalnum": 0, "isupper": 0,
           "islower": 0, "istitle": 0, "isspace": 0, "partition": 1, "rpartition": 1, "removeprefix": 1, "removesuffix": 1, "zfill": 1, "ljust": 2, "center": 2,
           "swapcase": 0, "casefold": 0}
FILTERS = ["trim", "upper", "lower", "title", "capitalize", "length", "list", "first", "last", "reverse|list", "string", "int", "float", "abs", "sort", "unique|list",
           "sum", "min", "max", "join", "join('-')", "tojson", "tojson(indent=2)", "e", "default('?')", "default('?', true)", "replace('a', 'X')", "indent(2)", "round(1)",
           "truncate(5)", "wordcount", "urlencode", "items|list", "dictsort", "batch(2)|list", "slice(2)|list", "map('string')|list", "select|list", "reject('none')|list",
           "map(attribute='role')|list", "selectattr('role', 'equalto', 'user')|list", "groupby('role')", "center(9)", "format('x')", "attr('upper')"]
TESTS = ["odd", "even", "defined", "undefined", "none", "boolean", "true", "false", "integer", "float", "lower", "upper", "string", "mapping", "number", "sequence",
         "iterable", "callable", "escaped", "divisibleby(2)", "in(xs)", "eq(1)", "gt(1)", "sameas(none)"]
STRINGS = ["'abc'", "''", "'a b c'", "' '", "'aXbXc'", "'é'", "'%s-%s'", "'{}'", "'1'", "'-12'", "'it\\'s'", "'ﬁ ǆ'"]
NUMBERS = ["0", "1", "2", "-1", "10", "1.5", "-2.5", "1e16"]
NAMES = list(CONTEXT) + ["undef", "x", "ns"]


class Grammar:
    """Random expressions and templates over CONTEXT."""

    def __init__(self, seed):
        self.random = random.Random(seed)

    def pick(self, options):
        return self.random.choice(options)

    def atom(self):
        return self.pick([self.pick(NAMES), self.pick(NAMES), self.pick(STRINGS), self.pick(NUMBERS), self.pick(["true", "false", "none"])])

    def expression(self, depth):
        if depth <= 0:
            return self.atom()
        inner = lambda: self.expression(depth - 1 - self.random.randrange(2))
        kind = self.random.randrange(12)
        if kind == 0:
            return f"({inner()} {self.pick(['+', '-', '*', '/', '//', '%', '~'])} {inner()})"
        if kind == 1:
            return f"({inner()} {self.pick(['==', '!=', '<', '>=', 'in', 'not in'])} {inner()})"
        if kind == 2:
            return f"({inner()} {self.pick(['and', 'or'])} {inner()})"
        if kind == 3:
            return f"({inner()} if {inner()} else {inner()})"
        if kind == 4:
            return f"{self.pick(NAMES)}[{inner()}]"
        if kind == 5:
            part = lambda: self.pick(["", "", "1", "-1", "2", "n", "none"])
            return f"{self.pick(NAMES)}[{part()}:{part()}{self.pick(['', ':', ':-1', ':2'])}]"
        if kind == 6:
            return f"{self.pick(NAMES)}.{self.pick(['a', 'b', 'role', 'items', 'get', 'upper', 'x', '0'])}"
        if kind == 7:
            name = self.pick(list(METHODS))
            arguments = [self.pick([self.pick(STRINGS), self.atom(), "3"]) for _ in range(self.random.randint(0, METHODS[name]))]
            return f"{self.pick(STRINGS + ['s', 'u', 'sp', 'ml', 'num'])}.{name}({', '.join(arguments)})"
        if kind in (8, 9):
            return f"({inner()}|{self.pick(FILTERS)})"
        if kind == 10:
            return f"({inner()} is {self.pick(['', 'not '])}{self.pick(TESTS)})"
        return self.pick([f"[{inner()}, {inner()}]", f"({inner()},)", f"{{'k': {inner()}}}", f"-{self.atom()}", f"not {inner()}"])

    def space(self):
        return self.pick(["", "", "\n", "  ", "\n  ", "\t\n", "x", " y\n"])

    def tag(self, text):
        return "{%" + self.pick(["", "", "-", "+"]) + f" {text} " + self.pick(["", "", "-", "+"]) + "%}"

    def body(self, depth):
        return "".join(self.space() + self.statement(depth) + self.space() for _ in range(self.random.randint(1, 3)))

    def statement(self, depth):
        simple = lambda: self.pick([self.pick(NAMES), f"{self.pick(NAMES)}|default('?')", f"{self.pick(NAMES)} ~ {self.pick(NAMES)}", "x is defined", "ns.v", "ms[0].role"])
        kind = self.random.randrange(10) if depth > 0 else 0
        if kind <= 2:
            return "{{" + self.pick(["", "-"]) + f" {simple()} " + self.pick(["", "-"]) + "}}"
        if kind == 3:
            return self.tag(f"set {self.pick(['x', 's', 'n', 'ns.v'])} = {simple()}")
        if kind == 4:
            return self.tag("set x") + self.body(depth - 1) + self.tag("endset")
        if kind in (5, 6):
            middle = self.tag("else") + self.body(depth - 1) if self.random.random() < 0.5 else ""
            return self.tag(f"if {simple()}") + self.body(depth - 1) + middle + self.tag("endif")
        if kind == 7:
            return self.tag(f"with x = {simple()}") + self.body(depth - 1) + self.tag("endwith")
        if kind == 8:
            return self.tag("macro m(x, s=x)") + self.body(depth - 1) + self.tag("endmacro") + "{{ m(1) }}{{ m(n, s='q') }}"
        loop = self.pick(["", " if x", " if loop is defined"])
        inside = "{{ " + self.pick(["x", "loop.index", "loop.last", "loop.length", "loop.previtem", "loop.changed(x)"]) + " }}"
        return self.tag(f"for x in {self.pick(['xs', 'ys', 'ms', 's', 'd', 'emp', 'undef', 'range(3)'])}{loop}") + inside + self.body(depth - 1) + self.tag("endfor")


def describe_error(error):
    return {"error": {"message": str(error), "raised_by_template": type(error) is jinja2.exceptions.TemplateError}}


def render_chat(source, conversation):
    """What apply_chat_template does, without a tokenizer."""
    messages = [{key: value for key, value in message.items() if value is not None} for message in copy.deepcopy(conversation["messages"])]
    request = {field: conversation[field] for field in REQUEST_FIELDS + ("documents",) if field in conversation} | conversation.get("variables", {})
    try:
        if request.get("continue_final_message") and request.get("add_generation_prompt"):
            raise ValueError("continue_final_message and add_generation_prompt are not compatible")
        texts, _ = chat_template_utils.render_jinja_template([messages], chat_template=source, **VARIABLES, **request)
    except Exception as error:
        return describe_error(error)
    return {"text": texts[0]}


def render_snippet(source):
    """The text or the error; None where the case is of no use."""
    def too_slow(*_):
        raise TimeoutError

    signal.signal(signal.SIGALRM, too_slow)
    signal.setitimer(signal.ITIMER_REAL, 2)
    try:
        text = chat_template_utils._cached_compile_jinja_template(source).render(**copy.deepcopy(CONTEXT))
        text.encode()
    except (TimeoutError, AssertionError, UnicodeError):
        return None
    except Exception as error:
        return describe_error(error)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    return None if " at 0x" in text or len(text) > 600 else {"text": text}


def listed_snippets():
    """SNIPPETS is one a line; a line that begins with white space or text goes on with the one before."""
    snippets = []
    for line in SNIPPETS.split("\n"):
        if snippets and not re.match(r"\{[{%]|a\{#|\{# abc", line):
            snippets[-1] += "\n" + line
        else:
            snippets.append(line)
    return snippets


def build(inputs, seed, expressions, templates):
    conversations = inputs["conversations"] + CONVERSATIONS
    names = ("multi_turn", "unicode", "special_text", "whitespace", "thinking_off", "thinking_in_history", "reasoning_content", "tool_round_trip",
             "tool_call_null_content", "content_parts", "two_users", "continue_final", "missing_content")
    chosen = [c for c in conversations if c["name"] in names or c in CONVERSATIONS]
    chat_cases = []
    sources = sorted((HERE / "inputs/chat_templates").glob("*.jinja"))
    for path in sources:
        for conversation in chosen:
            case = {"template": path.stem, "conversation": conversation["name"]}
            chat_cases.append(case | render_chat(path.read_text(), conversation))
    grammar = Grammar(seed)
    sources = listed_snippets() + [grammar.body(3) for _ in range(templates)]
    sources += ["{{ " + grammar.expression(grammar.random.randint(1, 3)) + " }}" for _ in range(expressions)]
    snippet_cases = []
    for source in dict.fromkeys(sources):
        result = render_snippet(source)
        if result is not None:
            snippet_cases.append({"template": source} | result)
    return {
        "made_with": versions("transformers", "jinja2"), "now": NOW.isoformat(), "variables": VARIABLES, "context": CONTEXT,
        "conversations": chosen, "chat_cases": chat_cases, "snippet_cases": snippet_cases,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--inputs", type=Path, default=HERE / "inputs/templates.json")
    parser.add_argument("--out", type=Path, default=HERE / "more_template_cases.json")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--expressions", type=int, default=700)
    parser.add_argument("--templates", type=int, default=250)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    with mock.patch.object(chat_template_utils, "datetime", FrozenDatetime):
        document = build(json.loads(arguments.inputs.read_text()), arguments.seed, arguments.expressions, arguments.templates)
    write_json(arguments.out, document)
    for name in ("chat_cases", "snippet_cases"):
        cases = document[name]
        print(f"{len(cases)} {name} ({sum('error' in case for case in cases)} errors)")


if __name__ == "__main__":
    main()
