"""Promise: each reason why a board would not work is found where it is one, with its remedy, and only there."""

import sys
from pathlib import Path

import pytest

from fqtbench.bench.lock import Holder
from fqtbench.bench.probes import AttachedProbe
from fqtbench.errors import ProbeError
from fqtbench.lab.checks import CHECKS, Subject
from fqtbench.lab.doctor import examine, examine_host
from fqtbench.lab.finding import Finding, Severity
from fqtbench.lab.host import Host, User
from tests.boards import NAMES
from tests.lab.trees import JLINK, MODELS, Tree, desk, jlink
from tests.monitors import install

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads trees as Linux lays them out")


def _found(subject: Subject, host: Host) -> dict[str, Finding]:
    return {finding.check: finding for check in CHECKS if (finding := check(subject, host)) is not None}


def _only(subject: Subject, host: Host) -> Finding:
    found = _found(subject, host)
    assert len(found) == 1, found
    return next(iter(found.values()))


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return jlink(tmp_path)


@pytest.mark.parametrize(
    "serial",
    [f"1366:1051:{JLINK}-if00", f"/dev/serial/by-id/usb-SEGGER_J-Link_{JLINK}-if02", "socket://lab:4000"],
)
def test_a_board_that_is_well_has_no_finding(tree: Tree, serial: str) -> None:
    assert _found(desk(serial=serial), tree.host()) == {}


@pytest.mark.parametrize("name", [f"virtual-{name}" for name in NAMES])
def test_a_launched_board_has_no_address_yet(tmp_path: Path, name: str) -> None:
    from fqtbench.board import embedded_instances

    instance = embedded_instances(MODELS)[name]
    assert _found(Subject(instance, MODELS[instance.model]), Tree(tmp_path).host()) == {}


# -- the probe


def test_a_probe_that_is_not_there(tree: Tree) -> None:
    finding = _only(desk(probe="683000001"), tree.host())
    assert (finding.check, finding.severity) == ("probe", Severity.ERROR)
    assert "not attached to this host (attached: 683000000)" in finding.wrong


def test_two_probes_of_one_id_are_both_named(tree: Tree) -> None:
    tree.probes.append(AttachedProbe(JLINK, "Segger J-Link OB"))
    finding = _only(desk(), tree.host())
    assert finding.wrong == f"2 probes have this id: Segger J-Link 683000000, Segger J-Link OB {JLINK}"


def test_a_probe_that_the_user_may_not_use_gets_udev_rules_for_usb_and_hid(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    tree.usb("1-4", 0x0D28, 0x0204, "0229000012345678", "DAPLink CMSIS-DAP")
    tree.hidraw("1-4", "hidraw0")
    subject = desk(probe="0229000012345678", serial="socket://lab:4000")
    finding = _only(subject, tree.host(tree.ada()))
    assert finding.check == "permission"
    assert "DAPLink 0d28:0204, serial number 0229000012345678 is plugged in" in finding.wrong
    *steps, usb_rule, hid_rule = finding.remedy.splitlines()
    assert "udevadm control --reload" in steps[0]
    for rule, match in ((usb_rule, 'SUBSYSTEM=="usb", '), (hid_rule, 'KERNEL=="hidraw*", ')):
        assert rule.startswith(match + 'ATTRS{idVendor}=="0d28", ATTRS{idProduct}=="0204", ')
        assert 'TAG+="uaccess"' in rule

    (tmp_path / "dev/bus/usb/001/005").chmod(0o666)
    assert "/dev/hidraw0" in _only(subject, tree.host(tree.ada())).wrong
    (tmp_path / "dev/hidraw0").chmod(0o666)
    finding = _only(subject, tree.host(tree.ada()))
    assert (finding.check, "pyOCD does not see it" in finding.wrong) == ("probe", True)


def test_a_probe_of_no_board_that_the_user_may_not_use_is_the_hosts_matter(tree: Tree) -> None:
    assert examine_host(tree.host(tree.ada()), [desk()]) == ()
    assert examine_host(tree.host(tree.ada(tree.gid)), []) == ()
    (finding,) = examine_host(tree.host(tree.ada()), [])
    assert (finding.severity, finding.check) == (Severity.WARNING, "permission")
    assert 'ATTRS{idVendor}=="1366"' in finding.remedy


def test_pyocds_own_failure_is_passed_on(tree: Tree) -> None:
    tree.root.joinpath("sys/bus/usb/devices/1-2").unlink()
    tree.probes_error = ProbeError("the attached probes can't be listed: no libusb; install it")
    finding = _only(desk(), tree.host())
    assert (finding.wrong, finding.remedy) == ("the attached probes can't be listed: no libusb", "install it")


@pytest.mark.parametrize(
    ("pid", "vid", "severity", "remedy"),
    [
        (0x3744, 0x0483, Severity.ERROR, "another probe"),
        (0x374D, 0x0483, Severity.ERROR, "STM32CubeProgrammer"),
        (0x0004, 0x2E8A, Severity.WARNING, "debugprobe_on_pico.uf2"),
    ],
)
def test_a_probe_with_unfit_firmware(
    tmp_path: Path, vid: int, pid: int, severity: Severity, remedy: str
) -> None:
    tree = Tree(tmp_path)
    tree.usb("1-4", vid, pid, "E661A4")
    tree.probes.append(AttachedProbe("E661A4", "a probe"))
    finding = _only(desk(probe="e661a4", serial="socket://lab:4000"), tree.host())
    assert (finding.check, finding.severity) == ("probe-firmware", severity)
    assert remedy in finding.remedy


def test_a_probe_in_use_is_told_with_its_holder(tree: Tree) -> None:
    tree.held[JLINK] = Holder(42, "bob", "their-desk")
    finding = _only(desk(), tree.host())
    assert finding.check == "probe-busy"
    assert finding.wrong == "in use by process 42 of bob (board their-desk)"
    assert "--wait" in finding.remedy


def test_a_probe_open_in_another_program_is_told_with_it(tree: Tree) -> None:
    tree.process(77, "openocd", "/dev/null", "/dev/bus/usb/001/005")
    tree.process(78, "lsusb", "/dev/bus/usb/001/006")
    assert _only(desk(), tree.host()).wrong == "open in openocd (process 77 of ada)"


# -- the serial line


def test_a_port_that_is_not_there(tree: Tree) -> None:
    for serial in ("0403:6001:A5", "/dev/ttyUSB7"):
        finding = _only(desk(serial=serial), tree.host())
        assert (finding.check, finding.severity) == ("serial", Severity.ERROR)
        assert "/dev/ttyACM0" in finding.wrong


def test_an_identity_of_two_ports(tree: Tree) -> None:
    finding = _only(desk(serial=f"1366:1051:{JLINK}"), tree.host())
    assert "2 serial ports are called so" in finding.wrong
    assert "-ifNN" in finding.remedy


def test_brltty_is_blamed_for_a_port_that_is_gone(tree: Tree) -> None:
    tree.process(5, "brltty", uid=0)
    finding = _only(desk(serial="10c4:ea60:0001"), tree.host())
    assert finding.check == "brltty"
    assert "brltty (process 5 of root) is running" in finding.wrong
    assert "systemctl mask" in finding.remedy
    assert _found(desk(), tree.host()) == {}, "it took nothing of this board's"


def test_a_port_of_a_group_that_the_user_is_not_in(tree: Tree) -> None:
    (tree.root / "dev/bus/usb/001/005").chmod(0o666)
    finding = _only(desk(), tree.host(tree.ada()))
    assert finding.check == "permission"
    assert finding.remedy == "`sudo usermod -aG dialout ada`, then log out and in again"
    tree.groups({"dialout": tree.gid}, dialout="bob,ada")
    assert "`newgrp dialout`" in _only(desk(), tree.host(tree.ada())).remedy
    assert _found(desk(), tree.host(tree.ada(tree.gid))) == {}
    (tree.root / "dev/ttyACM0").chmod(0o600)
    assert "no group has it" in _only(desk(), tree.host(tree.ada(tree.gid))).remedy


def test_root_may_use_everything(tree: Tree) -> None:
    assert _found(desk(), tree.host(User("root", 0, frozenset()))) == {}


@pytest.mark.parametrize(
    ("program", "remedy"),
    [
        ("minicom", "close that program"),
        ("brltty", "systemctl mask"),
        ("ModemManager", "ID_MM_DEVICE_IGNORE"),
    ],
)
def test_a_port_in_use_is_told_with_the_program(tree: Tree, program: str, remedy: str) -> None:
    tree.udev(ID_MM_PORT_IGNORE="1")
    tree.process(9, program, "/dev/ttyACM0", uid=0)
    finding = _only(desk(), tree.host())
    assert (finding.check, finding.wrong) == ("serial-busy", f"open in {program} (process 9 of root)")
    assert remedy in finding.remedy
    assert _found(desk(serial=f"1366:1051:{JLINK}-if02"), tree.host()) == {}


def test_a_pseudo_terminal_is_open_in_what_makes_it(tree: Tree) -> None:
    (tree.root / "dev/pts").mkdir()
    (tree.root / "dev/pts/3").touch()
    tree.process(9, "socat", "/dev/pts/3")
    assert _found(desk(serial="/dev/pts/3"), tree.host()) == {}


def test_modem_manager_is_a_warning_until_it_is_kept_off(tree: Tree) -> None:
    tree.process(9, "ModemManager", uid=0)
    finding = _only(desk(), tree.host())
    assert (finding.check, finding.severity) == ("modem-manager", Severity.WARNING)
    assert 'ATTR{idVendor}=="1366", ATTR{idProduct}=="1051", ENV{ID_MM_DEVICE_IGNORE}="1"' in finding.remedy
    tree.udev(ID_MM_DEVICE_IGNORE="0")
    assert _only(desk(), tree.host()).check == "modem-manager"
    tree.udev(ID_MM_DEVICE_IGNORE="1")
    assert _found(desk(), tree.host()) == {}


def test_a_latency_timer(tmp_path: Path) -> None:
    tree = jlink(tmp_path)
    tree.usb("1-3", 0x0403, 0x6001, "A50285BI", number=6)
    tree.ftdi("ttyUSB0", "1-3", 16)
    subject = desk(serial="0403:6001:A50285BI")
    finding = _only(subject, tree.host())
    assert (finding.check, finding.severity) == ("latency-timer", Severity.WARNING)
    assert "16 ms" in finding.wrong
    assert 'ATTR{latency_timer}="1"' in finding.remedy
    next(tmp_path.glob("sys/bus/usb-serial/devices/ttyUSB0/latency_timer")).write_text("1\n")
    assert _found(subject, tree.host()) == {}


def test_a_numbered_name_gets_a_better_one(tree: Tree) -> None:
    finding = _only(desk(serial="/dev/ttyACM1"), tree.host())
    assert (finding.check, finding.severity) == ("serial-name", Severity.WARNING)
    assert f'serial = "1366:1051:{JLINK}-if02"' in finding.remedy


def test_adapters_without_a_serial_number(tree: Tree) -> None:
    tree.usb("1-3", 0x1A86, 0x7523, None, "USB2.0-Serial", number=6)
    tree.ftdi("ttyUSB0", "1-3", 1)
    tree.by_id("usb-1a86_USB2.0-Serial-if00-port0", "ttyUSB0")
    subject = desk(serial="/dev/serial/by-id/usb-1a86_USB2.0-Serial-if00-port0")
    finding = _only(subject, tree.host())
    assert (finding.check, finding.severity) == ("serial-name", Severity.WARNING)
    by_path = "/dev/serial/by-path/pci-0000:00:14.0-usb-0:1-3:1.0"
    assert by_path in finding.remedy
    assert _found(desk(serial=by_path), tree.host()) == {}

    tree.usb("1-5", 0x1A86, 0x7523, None, "USB2.0-Serial", number=7)
    tree.ftdi("ttyUSB1", "1-5", 1)
    finding = _only(subject, tree.host())
    assert finding.severity is Severity.ERROR
    assert "/dev/ttyUSB0" in finding.wrong
    assert "/dev/ttyUSB1" in finding.wrong


# -- this computer


def test_a_chip_that_needs_a_pack(tree: Tree) -> None:
    tree.unknown_targets.add("nrf52840")
    finding = _only(desk(), tree.host())
    assert (finding.check, finding.severity) == ("pack", Severity.ERROR)
    assert "`pyocd pack install nrf52840`" in finding.remedy


def test_an_unknown_kind_of_power_monitor(tree: Tree) -> None:
    finding = _only(desk(power="modeled:"), tree.host())
    assert (finding.check, finding.severity) == ("monitor", Severity.ERROR)
    assert "did you mean modelled?" in finding.remedy


def test_a_kind_of_power_monitor_whose_package_is_broken(
    tree: Tree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, "broken_meter", "meter", "import no_such_driver")
    monkeypatch.syspath_prepend(tmp_path)
    finding = _only(desk(power="meter:C0FFEE"), tree.host())
    assert (finding.check, finding.severity) == ("monitor", Severity.ERROR)
    assert finding.wrong.startswith("broken_meter 1.0 registers broken_meter:Opened for it")
    assert finding.remedy == "mend or uninstall that package"


def test_a_board_with_an_error_is_not_tried(tree: Tree) -> None:
    """Nobody is at these addresses: trying would be an error of its own."""
    diagnosis = examine(desk(probe="683000001"), tree.host())
    assert (diagnosis.tried, [finding.check for finding in diagnosis.findings]) == ((), ["probe"])
