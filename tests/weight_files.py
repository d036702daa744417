"""A small model with published weights, and a server on this machine that publishes them, well and badly."""

from __future__ import annotations

import hashlib
import io
import pickle
import tarfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread

import numpy as np

from engine import Array, Conv2d, Model, Network, WeightSource, chain

ARRAYS: dict[str, Array] = {
    "kernel": np.arange(12, dtype=np.float64).reshape(1, 1, 3, 4) / 7,  # (h, w, in, out)
    "bias": np.array([1, -2, 3, -4], np.float64),
    "head": np.ones(5),
}
CONTENT = pickle.dumps({"Conv_0": {"kernel": ARRAYS["kernel"], "bias": ARRAYS["bias"]}, "head": ARRAYS["head"]}, 3)
SUM = hashlib.sha256(CONTENT).hexdigest()
EXPECTED: dict[str, Array] = {
    "conv.weight": ARRAYS["kernel"].transpose(3, 2, 0, 1).astype(np.float32),
    "conv.bias": ARRAYS["bias"].astype(np.float32),
}


def source(address: str, sha256: str = SUM, archive_sha256: str = "") -> WeightSource:
    names = {"conv.weight": "Conv_0/kernel", "conv.bias": "Conv_0/bias"}
    return WeightSource(address, sha256, names, {4: (3, 2, 0, 1)}, archive_sha256)


class TinyEncoder(Model):
    """One convolution, published at the addresses that a test gives."""

    name = "tiny_encoder"
    published: tuple[WeightSource, ...] = ()
    channels: int = 4

    def network(self) -> Network:
        return Network({"image": 3}, chain("image", {"conv": Conv2d(out_channels=self.channels, kernel=1)}), ("conv",))

    def sources(self) -> tuple[WeightSource, ...]:
        return self.published


class Publisher:
    """What the server was asked for."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.asked: Counter[str] = Counter()
        self.stopping = Event()

    def url(self, name: str) -> str:
        return f"{self.address}/models/{name}"


@contextmanager
def publishing(content: bytes = CONTENT) -> Iterator[Publisher]:
    """``good.ckpt`` of this content; ``wrong``, ``short``, ``huge``, ``silent``, ``moved`` as they are called; the rest 404."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            name = self.path.rsplit("/", 1)[-1].partition(".")[0]
            publisher.asked[name] += 1
            if name not in {"good", "wrong", "short", "huge", "silent", "moved"}:
                return self.send_error(404)
            if name == "silent":
                publisher.stopping.wait(10)
                return None
            self.send_response(302 if name == "moved" else 200)
            if name == "moved":
                self.send_header("Location", "/models/good.ckpt")
            body = content.replace(b"Conv_0", b"Conv_1") if name == "wrong" else b"" if name in {"huge", "moved"} else content
            self.send_header("Content-Length", str(3 << 30 if name == "huge" else len(body)))
            self.end_headers()
            self.wfile.write(body[: len(body) // 2] if name == "short" else body)
            return None

        def log_message(self, format: str, *args: object) -> None:
            """Nothing on stderr."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    publisher = Publisher(f"http://127.0.0.1:{server.server_address[1]}")
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield publisher
    finally:
        publisher.stopping.set()
        server.shutdown()
        server.server_close()
        thread.join()


_BACKEND = """
import pathlib
pathlib.Path({marker!r}).touch()
def prepare_metadata_for_build_wheel(folder, config_settings=None):
    made = pathlib.Path(folder, "tiny_weights-1.0.dist-info")
    made.mkdir()
    (made / "METADATA").write_text("Metadata-Version: 2.1\\nName: tiny-weights\\nVersion: 1.0\\n")
    return made.name
def build_wheel(*args, **kwargs):
    raise SystemExit("nobody asked for a wheel")
"""


def write_sdist(folder: Path, marker: Path, content: bytes = CONTENT) -> Path:
    """``tiny-weights==1.0`` with ``tiny/weights.ckpt`` inside; its build script, which needs nothing installed, leaves ``marker``."""
    path = folder / "tiny_weights-1.0.tar.gz"
    files = {
        "PKG-INFO": b"Metadata-Version: 2.1\nName: tiny-weights\nVersion: 1.0\n",
        "pyproject.toml": b'[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n',
        "backend.py": _BACKEND.format(marker=str(marker)).encode(),
        "tiny/weights.ckpt": content,
    }
    with tarfile.open(path, "w:gz") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(f"tiny_weights-1.0/{name}")
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path
