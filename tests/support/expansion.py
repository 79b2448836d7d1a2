"""
Kubernetes' expansion of `$(NAME)` and `$$` in commands, arguments and variables, for tests.

After third_party/forked/golang/expansion/expand.go of k8s.io/kubernetes, line by line.
"""

from collections.abc import Mapping


def expand(text: str, variables: Mapping[str, str]) -> str:
    """What a container gets to see of a text in its Pod's manifest."""
    out, checkpoint, cursor = [], 0, 0
    while cursor < len(text):
        if text[cursor] == "$" and cursor + 1 < len(text):
            out.append(text[checkpoint:cursor])
            read, is_variable, advance = _try_read(text[cursor + 1 :])
            # An unknown variable stays as it was written.
            out.append(variables.get(read, f"$({read})") if is_variable else read)
            cursor += advance
            checkpoint = cursor + 1
        cursor += 1
    return "".join(out) + text[checkpoint:]


def _try_read(text: str) -> tuple[str, bool, int]:
    if text[0] == "$":
        return "$", False, 1
    if text[0] == "(":
        end = text.find(")")
        if end > 0:
            return text[1:end], True, end + 1
        return "$(", False, 1
    return f"${text[0]}", False, 1
