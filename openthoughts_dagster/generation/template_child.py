"""The process in which a chat template is tried. It imports nothing of this package, so that it starts at once.

python template_child.py SECONDS < TEMPLATE
"""

import json
import resource
import sys
from typing import Any

MEGABYTES = 1024
MOST_LETTERS = 2**20  # of a rendered conversation, whose own texts have some twenty thousand
TOO_LONG, TOO_LARGE = 3, 4  # exit codes


def _conversations() -> list[list[dict[str, Any]]]:
    user: dict[str, Any] = {"role": "user", "content": "What is 2 + 2?"}
    answer = {"role": "assistant", "content": "<think>\ntwo and two\n</think>\n\n4"}
    system = {"role": "system", "content": "Be brief."}
    long = {"role": "user", "content": "Why? " * 4000}
    return [[user], [system, user], [user, answer], [user, answer, user], [long]]


def _environment() -> Any:
    """Make the environment in which transformers renders chat templates."""
    from jinja2 import nodes
    from jinja2.exceptions import TemplateError
    from jinja2.ext import Extension, loopcontrols
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Generation(Extension):
        """The block that marks what the model writes."""

        tags = {"generation"}  # noqa: RUF012, as Jinja has it

        def parse(self, parser: Any) -> Any:
            line = next(parser.stream).lineno
            body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
            return nodes.CallBlock(self.call_method("_as_it_is"), [], [], body).set_lineno(line)

        def _as_it_is(self, caller: Any) -> str:
            return str(caller())

    def refuse(message: str) -> None:
        raise TemplateError(message)

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols]
    )
    environment.filters["tojson"] = lambda value, **options: json.dumps(value, **options)
    environment.globals |= {"raise_exception": refuse, "strftime_now": lambda form: "2026-11-26"}
    return environment


def main(seconds: int) -> int:
    """Render the probes by the template on standard input; the exit code says which limit was reached."""
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_AS, (MEGABYTES * 2**20,) * 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    source = sys.stdin.buffer.read().decode()
    try:
        template = _environment().from_string(source)
        for messages in _conversations():
            for prompt in (True, False):
                length = 0
                try:
                    for part in template.generate(
                        messages=messages, tools=None, documents=None, add_generation_prompt=prompt
                    ):
                        length += len(part)
                        if length > MOST_LETTERS:
                            return TOO_LONG
                except (MemoryError, OverflowError):
                    return TOO_LARGE
                except Exception:
                    continue
    except MemoryError:
        return TOO_LARGE
    except Exception:  # not a template; transformers says so
        return 0
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
