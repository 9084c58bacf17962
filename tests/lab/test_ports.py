"""Promise: a USB identity means exactly one serial port of this host, or is refused with all candidates."""

import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fqtbench.bench.ports import find_port, serial_ports
from fqtbench.board import load_instances, load_models
from fqtbench.errors import LinkError, UsageError
from tests.bench.conftest import bench_file
from tests.lab.trees import JLINK, Tree, jlink

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads trees as Linux lays them out")


def test_ports_are_listed_with_their_identity_and_links(tmp_path: Path) -> None:
    tree = jlink(tmp_path)
    tree.usb("1-3", 0x0403, 0x6001, None, "FT232R")
    tree.ftdi("ttyUSB0", "1-3", 16)
    first, second, adapter = serial_ports(tmp_path)
    assert (first.device, first.identity) == ("/dev/ttyACM0", f"1366:1051:{JLINK}-if00")
    assert (second.device, second.identity) == ("/dev/ttyACM1", f"1366:1051:{JLINK}-if02")
    assert first.by_id == f"/dev/serial/by-id/usb-SEGGER_J-Link_{JLINK}-if00"
    assert (adapter.device, adapter.identity, adapter.product) == ("/dev/ttyUSB0", None, "FT232R")
    assert adapter.by_path == "/dev/serial/by-path/pci-0000:00:14.0-usb-0:1-3:1.0"


def test_an_identity_is_one_port_or_none(tmp_path: Path) -> None:
    ports = serial_ports(jlink(tmp_path).root)
    assert find_port(f"1366:1051:{JLINK}-if02", ports) == "/dev/ttyACM1"
    with pytest.raises(LinkError, match=r"2 serial ports are called so .*ttyACM0, .*ttyACM1.*-ifNN"):
        find_port(f"1366:1051:{JLINK}", ports)
    for other in (f"1366:1051:{JLINK[:-1]}", f"1366:1051:{JLINK.lstrip('0')}", f"1366:1052:{JLINK}"):
        with pytest.raises(LinkError, match=r"no serial port .* is called so \(attached: .*ttyACM0"):
            find_port(other, ports)


@pytest.mark.parametrize("address", ["/dev/ttyACM0", "COM3", "socket://localhost:4000", "rfc2217://lab:4000"])
def test_any_other_address_stays_what_it_is(address: str) -> None:
    assert find_port(address, []) == address


def test_a_serial_number_may_contain_colons(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    tree.usb("1-2", 0x303A, 0x1001, "7C:DF:A1:00:11:22")
    tree.acm("ttyACM0", "1-2", 0)
    assert find_port("303A:1001:7C:DF:A1:00:11:22", serial_ports(tmp_path)) == "/dev/ttyACM0"


def test_a_devices_texts_are_harmless(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    tree.usb("1-2", 0x1366, 0x1051, b"\x1b[2J12\xff\x07", "\x1b]0;x")
    tree.acm("ttyACM0", "1-2", 0)
    (port,) = serial_ports(tmp_path)
    assert str(port).isprintable()
    assert port.product is not None
    assert port.product.isprintable()


@pytest.mark.parametrize("missing", ["idVendor", "1-2:1.0/bInterfaceNumber"])
def test_what_vanishes_while_it_is_read_is_no_port(tmp_path: Path, missing: str) -> None:
    tree = jlink(tmp_path)
    next(tmp_path.glob(f"sys/devices/*/*/usb1/1-2/{missing}")).unlink()
    assert "/dev/ttyACM0" not in {port.device for port in serial_ports(tree.root)}


def test_a_host_without_usb_has_no_ports(tmp_path: Path) -> None:
    assert serial_ports(tmp_path) == []


@pytest.mark.parametrize("serial", ["1366:1051", "1366:1051:", "0x1366:0x1051:1", "136:1051:1"])
def test_a_bench_file_with_half_an_identity_is_refused(tmp_path: Path, serial: str) -> None:
    with pytest.raises(UsageError, match=r"board\.0\.serial: .* is no USB identity; write vid:pid:serial"):
        load_instances(load_models(), bench_file(tmp_path, probe="1", serial=serial))


@pytest.mark.parametrize(
    ("key", "value"), [("power", "ppk2"), ("power", "a b:"), ("probe", ""), ("serial", "")]
)
def test_a_bench_file_with_an_impossible_address_is_refused(tmp_path: Path, key: str, value: str) -> None:
    addresses = {"probe": "1", "serial": "/dev/ttyACM0", key: value}
    with pytest.raises(UsageError, match=rf"board\.0\.{key}: "):
        load_instances(load_models(), bench_file(tmp_path, **addresses))


@given(st.text(min_size=1, max_size=40))
def test_no_text_means_a_port_that_it_does_not_name(text: str) -> None:
    try:
        assert find_port(text, []) == text
    except LinkError as error:
        assert "\n" not in str(error) or "\n" in text
