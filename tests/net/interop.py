"""WebSocket against an independent implementation, the `websockets` package, as client and server.

usage: interop.py NET_INTEROP WORK_DIR [URL]
The package is installed into a venv of WORK_DIR; where it cannot be, the test is skipped (77).
"""

import os
import struct
import subprocess
import sys
import threading

HERE = os.path.dirname(os.path.abspath(__file__))
REQUIREMENTS = os.path.join(HERE, "requirements.txt")


def reach_package(work):
    """Runs this script again inside a venv that has the package."""
    try:
        import websockets  # noqa: F401

        return
    except ImportError:
        pass
    if os.environ.get("SPLITD_INTEROP_VENV"):
        sys.exit("the package is installed and cannot be imported")
    venv = os.path.join(work, "interop-venv")
    python = os.path.join(venv, "bin", "python3")
    try:
        subprocess.run([sys.executable, "-m", "venv", venv], check=True, stdout=subprocess.DEVNULL)
        subprocess.run([python, "-m", "pip", "install", "-q", "-r", REQUIREMENTS], check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"skipped: the Python package websockets cannot be installed here ({error})")
        sys.exit(77)
    os.environ["SPLITD_INTEROP_VENV"] = venv
    os.execv(python, [python, *sys.argv])


def frame(header, payload=b""):
    return struct.pack(">I", len(header)) + header + payload


def parse(message):
    (length,) = struct.unpack(">I", message[:4])
    return message[4 : 4 + length], message[4 + length :]


def echo_frame(payload):
    return frame(b'{"type":"echo","bytes":%d}' % len(payload), payload)


HELLO = frame(b'{"type":"hello","bytes":0}')


def as_client(binary):
    from websockets.exceptions import ConnectionClosed, InvalidStatus
    from websockets.sync.client import connect

    server = subprocess.Popen([binary, "serve"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        url = f"ws://127.0.0.1:{int(server.stdout.readline())}"
        # It offers permessage-deflate, which must be declined.
        with connect(url + "/ws", max_size=None) as ws:
            assert not ws.protocol.extensions, ws.protocol.extensions
            ws.send(HELLO)
            header, _ = parse(ws.recv(timeout=20))
            assert b'"welcome"' in header, header
            for size in (0, 1, 90, 125, 126, 4096, 65535, 65536, 300_000):
                payload = os.urandom(size)
                ws.send(echo_frame(payload))
                header, back = parse(ws.recv(timeout=20))
                assert back == payload, size
            # One frame in many fragments.
            payload = os.urandom(10_000)
            message = echo_frame(payload)
            ws.send(message[i : i + 777] for i in range(0, len(message), 777))
            assert parse(ws.recv(timeout=20))[1] == payload
            assert ws.ping(b"are you there").wait(20)
            ws.send(frame(b'{"type":"ping","t":42,"bytes":0}'))
            assert parse(ws.recv(timeout=20))[0] == b'{"bytes":0,"type":"pong","t":42}'
        assert ws.protocol.close_rcvd.code == 1000, ws.protocol.close_rcvd

        def code_after(*messages):
            with connect(url + "/ws") as bad:
                try:
                    for message in messages:
                        bad.send(message)
                    while True:
                        bad.recv(timeout=20)
                except ConnectionClosed as end:
                    return end.rcvd.code

        assert code_after("text") == 1003
        assert code_after(b"junk") == 1009  # a header of 1.8 GB
        assert code_after(frame(b"{")) == 1002
        assert code_after(HELLO, frame(b'{"type":"bye","bytes":0}')) == 1000

        def status_of(path, **options):
            try:
                connect(url + path, **options).close()
            except InvalidStatus as error:
                return error.response.status_code
            return 101

        assert status_of("/other") == 404
        assert status_of("/ws", origin="http://evil.example") == 403
    finally:
        server.stdin.close()
        assert server.wait(20) == 0


def as_server(binary):
    from websockets.sync.server import serve

    def handle(ws):
        for number, message in enumerate(ws):
            header, payload = parse(message)
            if b'"hello"' in header:
                ws.send(frame(b'{"type":"welcome","bytes":0}'))
            elif b'"echo"' in header:
                ws.ping()
                answer = echo_frame(payload)
                if number % 2:
                    ws.send(answer)
                else:
                    ws.send(answer[i : i + 999] for i in range(0, len(answer), 999))

    with serve(handle, "127.0.0.1", 0, max_size=None) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        port = server.socket.getsockname()[1]
        subprocess.run([binary, "connect", str(port)], check=True, timeout=60)
        server.shutdown()


if __name__ == "__main__":
    reach_package(sys.argv[2])
    as_client(sys.argv[1])
    as_server(sys.argv[1])
    print("websockets interoperates as client and as server")
