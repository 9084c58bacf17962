"""A package that registers a kind of power monitor, as pip would leave it: a module and a `.dist-info` folder."""

from pathlib import Path

GROUP = "fqtbench.power"


def install(folder: Path, name: str, kind: str, code: str) -> None:
    """Put the package `name` 1.0, whose module has `code` with a class `Opened`, into `folder`, a part of sys.path."""
    about = folder / f"{name}-1.0.dist-info"
    about.mkdir(parents=True)
    (folder / f"{name}.py").write_text(code, "utf-8")
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n", "utf-8")
    (about / "entry_points.txt").write_text(f"[{GROUP}]\n{kind} = {name}:Opened\n", "utf-8")
