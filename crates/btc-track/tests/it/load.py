#!/usr/bin/env python3
"""usage: load.py PORT [BAD]

What eight good clients get from a server on this computer while BAD others (2000
unless told) send half a head, half a JSON body, half an upload, read no answer, or
say nothing. Start one with `cargo run --release --example serve -- FOLDER PORT`.
Prints the requests a second, the failures and the longest wait, before, during
and after; run by hand, for it measures time.
"""
import json
import resource
import socket
import sys
import threading
import time

PORT = int(sys.argv[1])
BAD = int(sys.argv[2]) if len(sys.argv) > 2 else 2000
API = "/api/2.0/mlflow"
FILES = "/api/2.0/mlflow-artifacts/artifacts/0"
HOST = "Host: localhost\r\n"
KINDS = [
    "GET /health HTTP/1.1\r\nHost: lo",
    f"POST {API}/experiments/create HTTP/1.1\r\n{HOST}Content-Type: application/json\r\nContent-Length: 999\r\n\r\n{{",
    f"PUT {FILES}/half HTTP/1.1\r\n{HOST}Content-Length: 1000000\r\n\r\nx",
    f"GET {FILES}/large HTTP/1.1\r\n{HOST}\r\n",
    "",
]


def connect():
    stream = socket.create_connection(("127.0.0.1", PORT), timeout=60)
    stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return stream


def ask(stream, method, path, body=b""):
    head = f"{method} {path} HTTP/1.1\r\n{HOST}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    stream.sendall(head.encode() + body)
    answer = b""
    while b"\r\n\r\n" not in answer:
        part = stream.recv(65536)
        if not part:
            raise ConnectionError("closed")
        answer += part
    head, rest = answer.split(b"\r\n\r\n", 1)
    lines = head.lower().split(b"\r\n")
    length = next(int(line[15:]) for line in lines if line.startswith(b"content-length:"))
    while len(rest) < length:
        rest += stream.recv(65536)
    if not lines[0].endswith(b"200 ok"):
        raise ValueError(lines[0])
    return rest


def good(run, stop, results):
    done, failed, longest, stream = 0, 0, 0.0, None
    while not stop.is_set():
        started = time.monotonic()
        try:
            stream = stream or connect()
            metric = {"run_id": run, "key": "m", "value": 1, "timestamp": done, "step": done}
            ask(stream, "POST", f"{API}/runs/log-metric", json.dumps(metric).encode())
            ask(stream, "GET", f"{API}/runs/get?run_id={run}")
            done += 2
        except (OSError, ValueError):
            failed, stream = failed + 1, None
        longest = max(longest, time.monotonic() - started)
    results.append((done, failed, longest))


def measure(what, run, seconds=10):
    stop, results = threading.Event(), []
    threads = [threading.Thread(target=good, args=(run, stop, results)) for _ in range(8)]
    for thread in threads:
        thread.start()
    time.sleep(seconds)
    stop.set()
    for thread in threads:
        thread.join()
    done, failed, longest = zip(*results)
    print(f"{what}: {sum(done) / seconds:.0f} requests/s, {sum(failed)} failed, longest wait {max(longest):.2f} s")


_, most = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
first = connect()
run_id = json.loads(ask(first, "POST", f"{API}/runs/create", b"{}"))["run"]["info"]["run_id"]
ask(first, "PUT", f"{FILES}/large", b"x" * (20 << 20))
measure("alone", run_id)
streams = []
for i in range(BAD):
    streams.append(connect())
    streams[-1].sendall(KINDS[i % len(KINDS)].encode())
measure(f"with {BAD} bad clients", run_id)
for stream in streams:
    stream.close()
measure("alone again", run_id)
