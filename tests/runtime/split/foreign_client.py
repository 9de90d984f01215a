#!/usr/bin/env python3
"""A client of a body as a stranger could write it from net/PROTOCOL.md, with the standard library
alone: it drives `splitd cloud` over raw TCP with golden models and compares what comes back with
what transformers computed (tests/golden/make_models.py).

    foreign_client.py SPLITD GOLDEN_MODELS [NAME …]
"""

import json
import math
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import urllib.error
import urllib.request


class Refused(Exception):
    """An `error` message."""


class Connection:
    """Frames over TCP: u32 big-endian header length | JSON header | payload."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=60)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(self, header, payload=b""):
        text = json.dumps({**header, "bytes": len(payload)}).encode()
        self.socket.sendall(struct.pack(">I", len(text)) + text + payload)

    def read(self, count):
        data = b""
        while len(data) < count:
            more = self.socket.recv(count - len(data))
            if not more:
                raise EOFError("the body closed the connection")
            data += more
        return data

    def receive(self):
        while True:
            (length,) = struct.unpack(">I", self.read(4))
            header = json.loads(self.read(length))
            payload = self.read(header["bytes"])
            if header["type"] == "ping":
                self.send({**header, "type": "pong"})
            elif header["type"] == "error":
                raise Refused(f"{header['code']}: {header['message']}")
            elif header["type"] != "pong":
                return header, payload

    def ask(self, header, payload=b""):
        self.send(header, payload)
        return self.receive()

    def close(self):
        self.socket.close()


def read_safetensors(path):
    """name -> (shape, flat tuple of floats); every tensor is F32."""
    with open(path, "rb") as file:
        data = file.read()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8:8 + length])
    tensors = {}
    for name, info in header.items():
        if name == "__metadata__":
            continue
        assert info["dtype"] == "F32", name
        begin, end = (8 + length + offset for offset in info["data_offsets"])
        tensors[name] = (info["shape"], struct.unpack(f"<{(end - begin) // 4}f", data[begin:end]))
    return tensors


def encode(rows, wire):
    """Rows of floats as a payload."""
    if wire == "f32":
        return b"".join(struct.pack(f"<{len(row)}f", *row) for row in rows)
    data, exponents = b"", b""
    for row in rows:  # f16: h * 2^-e, e = max(0, exponent(absmax) - 15)
        e = max(0, math.frexp(max(abs(x) for x in row))[1] - 15)
        data += struct.pack(f"<{len(row)}e", *(math.ldexp(x, -e) for x in row))
        exponents += struct.pack("b", e)
    return data + exponents


def decode(payload, n, d, wire):
    if wire == "f32":
        assert len(payload) == 4 * n * d
        return [struct.unpack_from(f"<{d}f", payload, 4 * d * i) for i in range(n)]
    assert len(payload) == n * (2 * d + 1)
    exponents = struct.unpack_from(f"{n}b", payload, 2 * n * d)
    rows = []
    for i in range(n):
        half = struct.unpack_from(f"<{d}e", payload, 2 * d * i)
        rows.append([math.ldexp(h, exponents[i]) for h in half])
    return rows


def difference(got, want):
    """max|got - want| / max|want|."""
    assert len(got) == len(want)
    worst = max(abs(a - b) for x, y in zip(got, want) for a, b in zip(x, y))
    return worst / max(abs(b) for y in want for b in y)


class Session:
    def __init__(self, port, welcome, layers, wire, n_ctx, resume=None):
        self.connection = Connection(port)
        self.hello = {
            "type": "hello", "version": 1, "fingerprint": welcome["fingerprint"],
            "layers": layers, "d_model": welcome["d_model"], "wire": wire, "kv": "f32",
            "compute": "f32", "n_ctx": n_ctx, "max_pending": 16,
        }
        if resume is not None:
            self.hello["resume"] = resume
        self.welcome, _ = self.connection.ask(self.hello)
        self.seq = self.ack = self.next_id = 0

    def step(self, rows, **fields):
        self.seq += 1
        header = {"type": "step", "seq": self.seq, "ack": self.ack, **fields}
        if rows:
            header.update({"first": self.next_id, "n": len(rows)})
            self.next_id += len(rows)
        self.connection.send(header, encode(rows, self.hello["wire"]))
        return self.seq

    def append(self, rows):
        """Rows appended to the committed path."""
        base = {"base": self.next_id - 1} if self.next_id else {}
        return self.step(rows, commit=True, **base)

    def reply(self):
        header, payload = self.connection.receive()
        assert header["type"] == "rows", header
        assert header["seq"] == self.ack + 1, header
        assert header["ms"] >= 0
        self.ack = header["seq"]
        return decode(payload, header["n"], self.hello["d_model"], self.hello["wire"])


def check_steps(port, welcome, layers, n_ctx, given, want):
    for wire, most in (("f32", 1e-4), ("f16", 5e-2)):
        session = Session(port, welcome, layers, wire, n_ctx)
        assert session.welcome["layers"] == layers and not session.welcome["resumed"]
        # A prompt of 20 rows, then the rest a row at a time, two steps in flight.
        session.append(given[:20])
        got = []
        for row in given[20:]:
            session.append([row])
            got += session.reply()
        got += session.reply()
        error = difference(got, want)
        assert error < most, f"wire {wire}: rows differ by {error}"
        # The same as pending rows beside a wrong branch, and then kept.
        session.step([], rewind=20)
        session.reply()
        session.step([given[20], given[30], given[21]], base=19, parents=[-1, -1, 0])
        tree = session.reply()
        keep = session.next_id - 1
        session.step([given[22]], keep=keep, base=keep)
        got = [tree[0], tree[2]] + session.reply()
        error = difference(got, want[20:23])
        assert error < most, f"wire {wire}: rows of a tree differ by {error}"
        session.connection.send({"type": "close"})
        try:
            session.connection.receive()
            raise AssertionError("nothing should follow a close")
        except EOFError:
            pass
        session.connection.close()


def check_resume(port, welcome, layers, n_ctx, given, want):
    session = Session(port, welcome, layers, "f32", n_ctx)
    session.append(given[:30])
    session.reply()
    session.append(given[30:31])  # its reply is never read
    session.connection.close()
    again = Session(port, welcome, layers, "f32", n_ctx, resume=session.welcome["resume"])
    assert again.welcome["resumed"] and again.welcome["resume"] == session.welcome["resume"]
    again.seq, again.ack, again.next_id = 1, 1, 30
    again.append(given[30:31])
    again.append(given[31:32])
    got = again.reply() + again.reply()
    assert difference(got, want[30:32]) < 1e-4
    again.connection.close()
    stranger = Session(port, welcome, layers, "f32", n_ctx, resume="0" * 32)
    assert not stranger.welcome["resumed"] and len(stranger.welcome["resume"]) == 32
    stranger.connection.close()


def refusal(port, hello):
    connection = Connection(port)
    try:
        connection.ask(hello)
    except Refused as refused:
        try:
            connection.receive()
        except EOFError:
            return str(refused)
        raise AssertionError("the connection stayed open")
    finally:
        connection.close()
    raise AssertionError(f"not refused: {hello}")


def check_refusals(port, welcome, layers):
    good = {"type": "hello", "version": 1, "fingerprint": welcome["fingerprint"],
            "layers": layers, "d_model": welcome["d_model"], "wire": "f16", "n_ctx": 64}
    for change, code, named in (
            ({"version": 2}, "version", "2"),
            ({"fingerprint": "0" * 64}, "model", welcome["fingerprint"]),
            ({"d_model": 7}, "model", "7"),
            ({"layers": [0, 4000]}, "layers", "0:4000"),
            ({"kv": "f16"}, "compute", "f32"),
            ({"n_ctx": 1 << 31}, "too_large", str(1 << 31)),
            ({"wire": "f64"}, "bad_request", "q8"),
    ):
        text = refusal(port, {**good, **change})
        assert text.startswith(code + ": ") and named in text, (change, text)
    # What is sent is not sent back.
    text = refusal(port, {**good, "resume": "<script>"})
    assert "script" not in text, text


def fetch(port, path):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=60) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, ""


def check_model(splitd, path):
    expected = read_safetensors(os.path.join(path, "expected.safetensors"))
    with open(os.path.join(path, "config.json"), encoding="utf-8") as file:
        config = json.load(file)
    with open(os.path.join(path, "expected.json"), encoding="utf-8") as file:
        n_ctx = json.load(file)["session_length"]  # longrope depends on it
    n_layer = config.get("text_config", config)["num_hidden_layers"]
    layers = [1, n_layer]

    def rows(name):
        (n, d), values = expected[name]
        return [values[i * d:(i + 1) * d] for i in range(n)]

    given, want = rows("hidden.layer.0"), rows(f"hidden.layer.{n_layer - 1}")
    command = [splitd, "cloud", path, "--layers", f"1:{n_layer}", "--listen", "127.0.0.1:0",
               "--kv", "f32", "--compute", "f32", "--threads", "1"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as body:
        try:
            line = body.stderr.readline()
            match = re.fullmatch(r"listening on 127\.0\.0\.1:(\d+)\n", line)
            assert match, f"not the line that says where it listens: {line!r}"
            port = int(match[1])
            question = Connection(port)
            welcome, _ = question.ask({"type": "hello", "version": 1})
            question.close()
            assert welcome["type"] == "welcome" and welcome["layers"] == layers, welcome
            assert welcome["d_model"] == len(given[0]) and welcome["version"] == 1
            assert welcome["window"] == 8 and welcome["max_rows"] >= 32, welcome
            check_steps(port, welcome, layers, n_ctx, given, want)
            check_resume(port, welcome, layers, n_ctx, given, want)
            check_refusals(port, welcome, layers)
            assert fetch(port, "/healthz") == (200, "ok\n")
            assert fetch(port, "/readyz") == (200, "ready\n")
            assert fetch(port, "/nowhere")[0] == 404
            status, page = fetch(port, "/metrics")
            assert status == 200
            steps = int(re.search(r"^splitd_steps_total (\d+)$", page, re.M)[1])
            assert steps - 2 * (1 + 25 + 3) in (3, 4), page  # one reply's reader had left
            body.send_signal(signal.SIGTERM)
            assert body.wait(60) == 0, "exit code after SIGTERM"
            rest = body.stderr.read()
            assert rest == "", rest
        finally:
            body.kill()


def main():
    splitd, models = sys.argv[1:3]
    names = sys.argv[3:] or sorted(os.listdir(models))
    for name in names:
        check_model(splitd, os.path.join(models, name))
        print(f"{name}: ok")


if __name__ == "__main__":
    main()
