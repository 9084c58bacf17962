"""Promise: board models are complete and checked; instances come from bench.toml or with the package."""

from pathlib import Path

import pytest

from fqtbench.board import find_instance, load_instances, load_model, load_models
from fqtbench.errors import UsageError
from fqtbench.paths import share
from tests.boards import NAMES

DESK = """
[[board]]
name = "desk"
model = "nrf52840"
probe = "683456789"
serial = "/dev/ttyACM0"
"""


def test_every_shipped_model_is_valid_and_named_as_its_file() -> None:
    models = load_models()
    assert "nrf52840" in models
    assert all(name == model.name for name, model in models.items())


def test_a_model_with_a_virtual_chip_brings_its_board() -> None:
    board = find_instance("virtual-nrf52840", load_instances(load_models()))
    assert board.launch is not None
    assert board.launch[1:] == ("-m", "fqtbench.virtual", "nrf52840")


def test_bench_file_adds_boards_and_keeps_the_virtual_ones(tmp_path: Path) -> None:
    bench = tmp_path / "bench.toml"
    bench.write_text(DESK)
    boards = load_instances(load_models(), bench)
    assert set(boards) == {"host", "desk", *(f"virtual-{name}" for name in NAMES)}
    assert (boards["desk"].probe, boards["desk"].cycles, boards["desk"].power) == (
        "683456789",
        "measured",
        "modelled:",
    )


def test_bench_toml_of_the_working_directory_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bench.toml").write_text(DESK)
    monkeypatch.chdir(tmp_path)
    assert "desk" in load_instances(load_models())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (DESK.replace("nrf52840", "nrf5284"), "unknown model nrf5284; did you mean nrf52840?"),
        (DESK.replace("serial =", "serail ="), "unknown key board.0.serail; did you mean serial?"),
        (DESK.replace('serial = "/dev/ttyACM0"', ""), "needs `probe` and `serial`"),
        (DESK + DESK, "two boards are called desk"),
        ("[[board]\n", "not TOML"),
    ],
)
def test_a_wrong_bench_file_names_file_and_key(tmp_path: Path, text: str, expected: str) -> None:
    bench = tmp_path / "bench.toml"
    bench.write_text(text)
    with pytest.raises(UsageError) as caught:
        load_instances(load_models(), bench)
    assert str(bench) in str(caught.value)
    assert expected in str(caught.value)


def test_a_missing_bench_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"nowhere\.toml"):
        load_instances(load_models(), tmp_path / "nowhere.toml")


@pytest.mark.parametrize(
    ("line", "replacement", "expected"),
    [
        ("clock_hz", "clok_hz", "unknown key clok_hz; did you mean clock_hz?"),
        ("image_bytes = 0x000C_0000", "image_bytes = 0x00FC_0000", "lies outside the flash"),
        ("volts = 3.0", "volts = -3.0", "supply.volts"),
    ],
)
def test_a_wrong_board_model_names_file_and_key(
    tmp_path: Path, line: str, replacement: str, expected: str
) -> None:
    path = tmp_path / "wrong.toml"
    path.write_text((share("boards") / "nrf52840.toml").read_text().replace(line, replacement))
    with pytest.raises(UsageError) as caught:
        load_model(path)
    assert str(path) in str(caught.value)
    assert expected in str(caught.value)


def test_an_unknown_board_gets_the_nearest_name() -> None:
    with pytest.raises(UsageError, match="did you mean virtual-nrf52840"):
        find_instance("virtual-nrf5280", load_instances(load_models()))
