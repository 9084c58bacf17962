"""From a suite to runs: data loaded, images compiled, every run with its identity."""

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from fqtbench.bench.firmware import Firmware, load_firmware
from fqtbench.bench.job import DatasetRef, TensorRef, TrainJob, epoch_order
from fqtbench.board import BoardModel
from fqtbench.datasets import Dataset
from fqtbench.errors import ImageError, UsageError
from fqtbench.exchange.source import NetworkSource, load_network
from fqtbench.experiment.spec import DatasetSpec, Suite, Variant, canonical_json
from fqtbench.training.compile import CompiledModel, Memory, compile_model
from fqtbench.training.initial import GivenWeights
from fqtbench.training.spec import NetworkSpec


@dataclass(frozen=True)
class Run:
    """One training on one board model. `identity` is what `run_id` is the hash of."""

    run_id: str
    number: int
    label: str
    assignment: dict[str, Any]
    identity: dict[str, Any]
    model: BoardModel
    firmware: Firmware
    compiled: CompiledModel
    dataset: dict[str, Any]
    ref: DatasetRef
    n_train: int
    n_test: int

    @property
    def name(self) -> str:
        """What messages call it."""
        return f"run {self.number} ({self.label})"

    def job(self, image: Path, elf: Path | None = None) -> TrainJob:
        """Return the worker's job; `image` and `elf` are where model image and firmware were put."""
        spec = self.identity["spec"]
        tensors = tuple(
            TensorRef(name=t.name, index=t.index, n_bytes=t.n_bytes) for t in self.compiled.trained_tensors
        )
        return TrainJob(
            elf=(elf or self.firmware.path).resolve(),
            build_id=self.firmware.build_id,
            image=image.resolve(),
            image_crc32=self.compiled.crc32,
            dataset=self.ref,
            samples_sha256=self.dataset["sha256"],
            n_classes=len(self.dataset["classes"]),
            epochs=spec["training"]["epochs"],
            batch=spec["training"]["batch"],
            seed=spec["seed"],
            verify=spec["verify"],
            tensors=tensors,
            trained_layers=tuple(layer.name for layer in self.compiled.layers if layer.train != "none"),
            energy=spec.get("energy"),
        )


def plan_runs(
    suite: Suite,
    models: Iterable[BoardModel],
    dataset_root: Path | None = None,
    planned: Callable[[Run], None] = lambda _: None,
) -> list[Run]:
    """Return the suite's runs, each variant on each board model, in the order of the sweep.

    Calls `planned` after each. Raises UsageError and ImageError with the line of the suite that is wrong.
    """
    models = list(models)
    runs: list[Run] = []
    seen: dict[str, Run] = {}
    for model in models:
        firmware = load_firmware(model)
        for variant in suite.variants:
            label = variant.label or suite.spec.name
            if len(models) > 1:
                label = f"{label} on {model.name}"
            run = _plan_run(suite, variant, model, firmware, dataset_root, len(runs) + 1, label)
            if run.run_id in seen:
                twins = f"{seen[run.run_id].name} and {run.name}"
                raise UsageError(f"{suite.where('sweep')}: the sweep yields the same run twice, as {twins}")
            seen[run.run_id] = run
            runs.append(run)
            planned(run)
    return runs


def _plan_run(
    suite: Suite,
    variant: Variant,
    model: BoardModel,
    firmware: Firmware,
    dataset_root: Path | None,
    number: int,
    label: str,
) -> Run:
    spec = variant.spec
    if spec.energy is not None and model.supply is None:
        raise UsageError(
            f"{suite.where('energy')}: energy: {label}: board {model.name} has no supply that could be measured; "
            "leave out the key, or choose another board"
        )
    ref = _reference(suite, spec.dataset, dataset_root)
    try:
        data = _load(ref)
    except UsageError as error:
        raise UsageError(f"{suite.where('dataset')}: {error}") from error
    n_train, batch = len(data.train_x), spec.training.batch
    if n_train < batch:
        raise UsageError(
            f"{suite.where('training', 'batch')}: training.batch: {batch} is more than the {n_train} training samples"
        )
    orders = [epoch_order(n_train, batch, spec.seed, epoch) for epoch in range(spec.training.epochs)]
    calibration = orders[0][: spec.training.calibration_samples]
    try:
        network, weights = _network(suite, spec.network)
        compiled = compile_model(
            network,
            spec.training,
            data.train_x[calibration],
            data.train_y[calibration],
            len(data.classes),
            Memory(model.memory.image_bytes, firmware.arena_bytes),
            spec.seed,
            sum(len(order) for order in orders),
            (data.scale, data.zero_point),
            weights,
        )
    except ImageError as error:
        raise ImageError(f"{suite.where('network')}: {label}: board {model.name}: {error}") from error
    order_sha256 = hashlib.sha256(b"".join(order.astype("<u4").tobytes() for order in orders)).hexdigest()
    identity = {
        "spec": spec.canonical(),
        "seed": spec.seed,
        "image": compiled.sha256,
        "firmware": firmware.sha256,
        "samples": data.sha256,
        "order": order_sha256,
        "board": model.model_dump(mode="json"),
    }
    facts = {
        "name": data.name,
        "classes": list(data.classes),
        "licence": data.licence,
        "source": data.source,
        "sha256": data.sha256,
        "n_train": n_train,
        "n_test": len(data.test_x),
        "sample_shape": list(data.train_x.shape[1:]),
    }
    return Run(
        hashlib.sha256(canonical_json(identity)).hexdigest(),
        number,
        label,
        variant.assignment,
        identity,
        model,
        firmware,
        compiled,
        facts,
        ref,
        len(orders[0]),
        len(data.test_x),
    )


def _network(suite: Suite, network: NetworkSpec | NetworkSource) -> tuple[NetworkSpec, GivenWeights | None]:
    """Return the network, and its weights if they come from a file, whose path is relative to the suite's."""
    if isinstance(network, NetworkSpec):
        return network, None
    return load_network(network, suite.document.path.parent)


def _reference(suite: Suite, spec: DatasetSpec, dataset_root: Path | None) -> DatasetRef:
    root = dataset_root if spec.path is None else suite.document.path.parent / spec.path
    return DatasetRef(
        name=spec.name,
        root=None if root is None else root.resolve(),
        train=spec.train,
        test=spec.test,
        seed=spec.seed,
        **dict(spec.only(spec.given())),
    )


@lru_cache(maxsize=2)
def _load_whole(whole: DatasetRef) -> Dataset:
    return whole.load_whole()


@lru_cache(maxsize=2)
def _load(ref: DatasetRef) -> Dataset:
    return ref.part_of(_load_whole(ref.whole()))
