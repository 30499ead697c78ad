"""Damaged copies of good files, and what may come of opening one: a right answer, or one sentence."""

import copy
import json
import random
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

from napari_hrpn.cli.terminal import is_for_the_user

ODD_VALUES: tuple[Any, ...] = (
    None, True, -1, 0, 1, 0.5, 1e308, float("nan"), float("inf"), 10**400, 2**63, "", "x", "1e400", "\ud800",
    "$\\frac{", "../../x", [], {}, [[]], [None], {"a": 1}, [1, 2, 3], "x" * 300,
)  # fmt: skip
PYTHON_WORDS = ("object is not", "NoneType", "__init__", "unexpected keyword", "KeyError", "TypeError", "Traceback")
LONGEST_S = 5.0


def byte_mutants(data: bytes, count: int, seed: int) -> Iterator[bytes]:
    """Copies with bytes changed, left out, put in or cut off."""
    chance = random.Random(seed)
    for number in range(count):
        mutant = bytearray(data)
        first = chance.randrange(len(data))
        length = chance.randint(1, 1 + len(data) // 8)
        match number % 5:
            case 0:
                for _ in range(chance.randint(1, 8)):
                    mutant[chance.randrange(len(mutant))] = chance.randrange(256)
            case 1:
                del mutant[first:]
            case 2:
                del mutant[first : first + length]
            case 3:
                mutant[first:first] = mutant[:length]
            case _:
                mutant[first : first + length] = bytes(min(length, len(mutant) - first))
        yield bytes(mutant)


def json_mutants(content: Any, count: int, seed: int) -> Iterator[Any]:
    """Copies in which one value anywhere is another, or is not there."""
    chance = random.Random(seed)
    for _ in range(count):
        mutant = copy.deepcopy(content)
        holder, key = chance.choice(list(_places(mutant)))
        if chance.random() < 0.2:
            del holder[key]
        else:
            holder[key] = copy.deepcopy(chance.choice(ODD_VALUES))
        yield mutant


def json_bytes(content: Any) -> bytes:
    """JSON as lenient programs write it: NaN and lone surrogates as they are."""
    return json.dumps(content).encode("utf-8", "surrogatepass")


def fault_of(open_it: Callable[[], object]) -> str | None:
    """What is wrong with how an input was opened; None if it was fine, or refused in one sentence."""
    started = time.perf_counter()
    fault = None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            open_it()
        except Exception as error:
            said = str(error)
            if not is_for_the_user(error):
                fault = f"{type(error).__name__}: {said[:200]}"
            elif any(word in said for word in PYTHON_WORDS):
                fault = f"Python's words: {said[:300]}"
    seconds = time.perf_counter() - started
    if fault is None and seconds > LONGEST_S:
        fault = f"took {seconds:.0f} s"
    return fault


def _places(content: Any) -> Iterator[tuple[Any, Any]]:
    """All (container, key) of a JSON tree."""
    keys = list(content) if isinstance(content, dict) else range(len(content))
    for key in keys:
        yield content, key
        if isinstance(content[key], dict | list):
            yield from _places(content[key])
