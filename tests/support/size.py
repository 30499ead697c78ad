"""Size of the package in figures that blanks and comments do not change: ``python tests/support/size.py``."""

import ast
import io
import tokenize
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "src" / "napari_hrpn"
_LAYOUT = {
    tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER,
}  # fmt: skip


def _docstring_lines(tree: ast.Module) -> set[int]:
    holders = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    texts = [node.body[0] for node in ast.walk(tree) if isinstance(node, holders) and ast.get_docstring(node)]
    return {line for text in texts for line in range(text.lineno, text.end_lineno + 1)}


def _tokens(text: str, docstrings: set[int]) -> int:
    found = tokenize.generate_tokens(io.StringIO(text).readline)
    return sum(
        token.type not in _LAYOUT and not (token.type == tokenize.STRING and token.start[0] in docstrings)
        for token in found
    )


def figures(package: Path = PACKAGE) -> dict[str, int]:
    """Files, lines, tokens without comments and docstrings, public top-level functions and classes, longest body."""
    found = {"files": 0, "lines": 0, "tokens": 0, "public": 0, "longest body": 0}
    for path in package.rglob("*.py"):
        text = path.read_text("utf-8")
        tree = ast.parse(text)
        found["files"] += 1
        found["lines"] += len(text.splitlines())
        found["tokens"] += _tokens(text, _docstring_lines(tree))
        found["public"] += sum(
            isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_") for node in tree.body
        )
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                body = node.body[1:] if ast.get_docstring(node) else node.body
                length = body[-1].end_lineno - body[0].lineno + 1 if body else 0
                found["longest body"] = max(found["longest body"], length)
    return found


if __name__ == "__main__":
    for name, figure in figures().items():
        print(f"{name:<14}{figure:>9,}")
