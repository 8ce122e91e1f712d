"""What calls.json means, for the drivers in Python."""

import re


def fill(value, known):
    """The value with ${NAME} replaced by what is known."""
    if isinstance(value, str):
        return re.sub(r"\$\{(\w+)\}", lambda m: known[m[1]], value)
    if isinstance(value, list):
        return [fill(item, known) for item in value]
    if isinstance(value, dict):
        return {key: fill(item, known) for key, item in value.items()}
    return value


def matches(expected, actual):
    """Everything that is expected is there; "*" is anything."""
    if expected == "*":
        return actual is not None
    if isinstance(expected, dict):
        return isinstance(actual, dict) and all(matches(value, actual.get(key)) for key, value in expected.items())
    if isinstance(expected, list):
        return isinstance(actual, list) and len(actual) >= len(expected) and all(map(matches, expected, actual))
    return expected == actual
