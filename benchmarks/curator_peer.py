"""bespokelabs-curator on the stub server, run by an environment of its own: completions per second and gigabytes.

python curator_peer.py ADDRESS COUNT
"""

import json
import os
import resource
import sys
import tempfile
import time
from pathlib import Path


def main(address: str, count: int) -> None:
    with tempfile.TemporaryDirectory() as cache:
        os.environ |= {
            "CURATOR_CACHE_DIR": cache,
            "TELEMETRY_ENABLED": "false",
            "CURATOR_DISABLE_RICH_DISPLAY": "1",
            "LITELLM_LOCAL_MODEL_COST_MAP": "true",
            "OPENAI_API_KEY": "none",
        }
        import litellm

        # curator counts tokens with a vocabulary that tiktoken downloads; litellm brings a copy of it
        os.environ["TIKTOKEN_CACHE_DIR"] = str(Path(litellm.__file__).parent / "litellm_core_utils" / "tokenizers")
        from bespokelabs import curator

        limits = {"max_requests_per_minute": 10_000_000, "max_tokens_per_minute": 10_000_000_000}
        llm = curator.LLM(
            model_name="stub",
            backend="openai",
            backend_params={"base_url": address, "max_concurrent_requests": 256, **limits},
        )
        start = time.monotonic()
        answers = llm([f"Question {n}?" for n in range(count)])
        rate = len(answers.dataset if hasattr(answers, "dataset") else answers) / (time.monotonic() - start)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        print(json.dumps({"rate": rate, "gigabytes": peak}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
