"""Everything `fqtbench report` writes: figures as PNG, SVG and CSV, summary.csv, and report.html in one file."""

import base64
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from matplotlib.figure import Figure

from fqtbench.durable import write_durably
from fqtbench.errors import ResultError
from fqtbench.experiment.attempts import load_attempts
from fqtbench.experiment.metrics import (
    BY_NAME,
    METRICS,
    Metric,
    plus_minus,
    show,
    show_number,
    show_uncertainty,
)
from fqtbench.experiment.results import RunResult, SuiteResults, load_results, summary_table
from fqtbench.report import style
from fqtbench.report.drawing import Drawing
from fqtbench.report.figures import draw_all

HEADLINE: Final = (
    "test_accuracy",
    "forward_s",
    "backward_s",
    "update_s",
    "step_s",
    "step_j",
    "ram_bytes",
    "flash_bytes",
)


@dataclass(frozen=True)
class _Column:
    metric: Metric
    origin: str


def write_report(folder: Path) -> Path:
    """Draw everything of a results folder again; returns the path of report.html.

    Raises ResultError if the folder holds no recorded run, or can't be written.
    """
    results = load_results(folder)
    if not results.runs:
        raise ResultError(f"{folder}: no run is recorded there yet; go on with the suite by --resume")
    drawings = draw_all(results)
    try:
        images = _write_files(folder, results, drawings)
        page = _render(results, drawings, images)
        write_durably(folder / "report.html", page.encode())
    except OSError as error:
        raise ResultError(
            f"{folder}: can't write the report: {error.filename}: {error.strerror or error}"
        ) from error
    return folder / "report.html"


def headline_columns(results: SuiteResults) -> list[_Column]:
    """Return the metrics of the summary, each with the origins found."""
    return [
        _Column(BY_NAME[name], style.origins(run.metrics[name].origin for run in results.having(name).runs))
        for name in results.present(HEADLINE)
    ]


def _write_files(folder: Path, results: SuiteResults, drawings: list[Drawing]) -> dict[str, bytes]:
    """Return the drawings as SVG, by their names."""
    images = {d.name: write_drawing(d, folder / "figures", d.name).read_bytes() for d in drawings}
    write_durably(folder / "summary.csv", summary_table(results).to_csv(index=False).encode())
    return images


def write_drawing(drawing: Drawing, folder: Path, name: str) -> Path:
    """Write a figure as PNG and SVG, its table as CSV, into `folder`, made if need be; returns the path of the SVG."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.svg"
    _lay_out(drawing.figure)
    write_durably(folder / f"{name}.png", _bytes(drawing.figure, "png"))
    write_durably(path, _bytes(drawing.figure, "svg"))
    write_durably(folder / f"{name}.csv", drawing.table.to_csv(index=False).encode())
    return path


def _lay_out(figure: Figure) -> None:
    """Let everything find its place once for all, instead of twice for each file: that takes longer than to draw it."""
    with style.house_style():
        figure.draw_without_rendering()
        figure.set_layout_engine(None)


def _bytes(figure: Figure, kind: str) -> bytes:
    """Return the figure's file; the same figure gives the same bytes."""
    file = io.BytesIO()
    metadata: dict[str, Any] = {"Date": None} if kind == "svg" else {"Software": None}
    with style.house_style():
        figure.savefig(file, format=kind, dpi=style.PNG_DPI, metadata=metadata)
    return file.getvalue()


def _render(results: SuiteResults, drawings: list[Drawing], images: dict[str, bytes]) -> str:
    loader = PackageLoader("fqtbench.report", ".")
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    sources = {
        name: f"data:image/svg+xml;base64,{base64.b64encode(svg).decode()}" for name, svg in images.items()
    }
    return environment.get_template("report.html.j2").render(
        results=results,
        columns=headline_columns(results),
        metrics=[metric for metric in METRICS if results.present([metric.name])],
        drawings=drawings,
        images=sources,
        attempts=load_attempts(results.folder),
        show=show,
        show_number=show_number,
        show_uncertainty=show_uncertainty,
        provenance=[_provenance(run) for run in results.runs],
        origins=style.origins(m.origin for run in results.runs for m in run.metrics.values()),
    )


def _instruments(d: dict[str, Any]) -> dict[str, str]:
    """Return where the board was and what measured it; nothing of a library in this computer."""
    if "probe" not in d["board"]:
        return {"cycles": "not counted", "power": "not measured"}
    return {
        "probe": str(d["board"]["probe"]),
        "serial line": str(d["board"]["serial"]),
        "device id": f"{d['device'].get('device_id', 0):016x}",
        "cycles": _counter(d),
        "power": d["power_model_id"],
        **_account(d.get("energy", {}).get("account")),
    }


def _account(account: dict[str, Any] | None) -> dict[str, str]:
    """Return what became of an instrument's samples, where there was one."""
    if account is None or None in (account["drift_ppm"], account["edge_uncertainty_rel"]):
        return {}
    idle = "" if account["idle_w"] is None else f"; {account['idle_w'] * 1e3:.4g} mW between the windows"
    return {
        "power samples": f"{account['n_samples']} in {account['n_windows']} windows and between them, "
        f"{account['n_lost']} lost, {account['n_range_switches']} at a change of range{idle}",
        "power clock": f"{account['drift_ppm']:+.1f} ppm against the board's, then "
        f"{account['residual_s'] * 1e6:.2g} µs RMS; edges ±{100 * account['edge_uncertainty_rel']:.2g}% of a window's "
        "energy",
    }


def _counter(d: dict[str, Any]) -> str:
    model = d["timing_model_id"] or "none, a counter"
    return f"{d['board']['cycles']}; timing model: {model}{plus_minus(d['board'].get('cycles_uncertainty'))}"


def _provenance(run: RunResult) -> dict[str, str]:
    d = run.description
    git = d["environment"]["git"]
    commit = "not in a git clone"
    if git is not None:
        commit = f"{git['commit'] or 'no commit'}{' with uncommitted changes' if git['dirty'] else ''}"
    manifest = d["firmware"]["manifest"]
    return {
        "run id": d["run_id"],
        "suite point": run.label,
        "board": f"{d['board']['name']} ({d['identity']['board']['title']})",
        **_instruments(d),
        "firmware": f"build {d['firmware']['build_id']}, sha256 {d['firmware']['sha256']} of "
        + manifest.get("sha256_of", "the ELF"),
        "toolchain": str(manifest.get("toolchain", "not stated")),
        "model image": f"{d['image']['bytes']} bytes, sha256 {d['image']['sha256']}",
        "network": f"{d['image']['parameters']} parameters, {d['image']['macs_forward']} MACs forward",
        "dataset": f"{d['dataset']['name']}, {d['dataset']['n_train']} training and {d['dataset']['n_test']} test "
        f"samples, {d['dataset']['licence']}, {d['dataset']['source']}, sha256 {d['dataset']['sha256']}",
        "seed": str(d["identity"]["seed"]),
        "checked against the reference": f"{d['verified_steps']} steps, bit-identical"
        if d["verified_steps"]
        else "no",
        "attempts": str(run.attempts),
        "perturbed": "yes: frames were sent again" if d["perturbed"] else "no",
        "fqtbench": f"{d['environment']['fqtbench']}, {commit}",
        "python": f"{d['environment']['python']} on {d['environment']['platform']}",
        "libraries": ", ".join(
            f"{name} {version}" for name, version in d["environment"]["libraries"].items()
        ),
        "time": f"{d['started']} to {d['ended']}",
    }
