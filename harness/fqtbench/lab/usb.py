"""Debug probes by their USB ids, what is known of some, and the udev rules that let people use them.

Sources: pyOCD's udev/*.rules and README (github.com/pyocd/pyOCD), its pyocd/probe/stlink/usb.py, picoprobe.py and
pydapaccess/interface/common.py (0.46); for J-Links SEGGER's 99-jlink.rules, which takes the vendor's every product.
"""

from typing import Final, NamedTuple

UsbId = tuple[int, int]
SEGGER: Final = 0x1366

PROBES: Final[dict[UsbId, str]] = {
    (0x03EB, 0x2111): "Microchip EDBG",
    (0x03EB, 0x2140): "Microchip JTAGICE3",
    (0x03EB, 0x2141): "Microchip Atmel-ICE",
    (0x03EB, 0x2144): "Microchip Power Debugger",
    (0x03EB, 0x2145): "Microchip mEDBG",
    (0x03EB, 0x216C): "Microchip EDBGC",
    (0x03EB, 0x2175): "Microchip nEDBG",
    (0x0483, 0x3744): "ST-Link/V1",
    (0x0483, 0x3748): "ST-Link/V2",
    (0x0483, 0x374A): "ST-Link/V2-1",
    (0x0483, 0x374B): "ST-Link/V2-1",
    (0x0483, 0x374D): "STLINK-V3 boot loader",
    (0x0483, 0x374E): "STLINK-V3",
    (0x0483, 0x374F): "STLINK-V3",
    (0x0483, 0x3752): "ST-Link/V2-1",
    (0x0483, 0x3753): "STLINK-V3",
    (0x0483, 0x3754): "STLINK-V3",
    (0x0483, 0x3755): "STLINK-V3",
    (0x0483, 0x3757): "STLINK-V3",
    (0x04B4, 0xF138): "Cypress KitProg",
    (0x04B4, 0xF148): "Cypress KitProg",
    (0x04B4, 0xF151): "Cypress MiniProg4",
    (0x04B4, 0xF152): "Cypress MiniProg4",
    (0x04B4, 0xF154): "Cypress KitProg3",
    (0x04B4, 0xF155): "Cypress KitProg3",
    (0x04B4, 0xF166): "Cypress KitProg3",
    (0x0D28, 0x0204): "DAPLink",
    (0x1FC9, 0x0090): "NXP LPC-Link2",
    (0x1FC9, 0x0143): "NXP MCU-Link",
    (0x2E8A, 0x0004): "Picoprobe",
    (0x2E8A, 0x000C): "Raspberry Pi Debug Probe",
    (0xC251, 0x2750): "Keil ULINKplus",
}


class OutOfService(NamedTuple):
    """Why a probe with these USB ids does not serve, or not well, and what its owner does about it."""

    fatal: bool
    wrong: str
    remedy: str


FIRMWARE: Final[dict[UsbId, OutOfService]] = {
    (0x0483, 0x3744): OutOfService(
        True, "an ST-Link/V1, which pyOCD does not support", "connect the chip to another probe"
    ),
    (0x0483, 0x374D): OutOfService(
        True,
        "in its boot loader: an update of its firmware did not end well",
        "unplug it and plug it in again; if that doesn't help, update its firmware by ST's STM32CubeProgrammer",
    ),
    (0x2E8A, 0x0004): OutOfService(
        False,
        "a Picoprobe with the old firmware, whose protocol is slow",
        "hold BOOTSEL while plugging it in, and copy debugprobe_on_pico.uf2 onto it "
        "(github.com/raspberrypi/debugprobe, releases)",
    ),
}


def probe_name(vid: int, pid: int) -> str | None:
    """Return what kind of probe has these USB ids; None if it is no probe that is known here."""
    return "SEGGER J-Link" if vid == SEGGER else PROBES.get((vid, pid))


def probe_rule(vid: int, pid: int) -> str:
    """Return udev rules that let whoever is logged in, and group plugdev, use a probe; by USB and by HID."""
    to = 'MODE="0660", GROUP="plugdev", TAG+="uaccess"'
    ids = f'ATTRS{{idVendor}}=="{vid:04x}", ATTRS{{idProduct}}=="{pid:04x}"'
    return f'SUBSYSTEM=="usb", {ids}, {to}\nKERNEL=="hidraw*", {ids}, {to}'


def modem_rule(vid: int, pid: int) -> str:
    """Return the udev rule that keeps ModemManager off a device.

    Source: ModemManager's reference manual, "Common udev tags", ID_MM_DEVICE_IGNORE.
    """
    return (
        f'ACTION!="remove", SUBSYSTEM=="usb", ENV{{DEVTYPE}}=="usb_device", ATTR{{idVendor}}=="{vid:04x}", '
        f'ATTR{{idProduct}}=="{pid:04x}", ENV{{ID_MM_DEVICE_IGNORE}}="1"'
    )


def latency_rule(vid: int, pid: int) -> str:
    """Return the udev rule that sets the latency timer of an FTDI adapter to 1 ms.

    Source: Linux, drivers/usb/serial/ftdi_sio.c, the port's attribute latency_timer in ms.
    """
    ids = f'ATTRS{{idVendor}}=="{vid:04x}", ATTRS{{idProduct}}=="{pid:04x}"'
    return f'ACTION=="add", SUBSYSTEM=="usb-serial", DRIVER=="ftdi_sio", {ids}, ATTR{{latency_timer}}="1"'


def install(rule: str, file: str) -> str:
    """Return in words how to install a udev rule; `file` is its name in /etc/udev/rules.d."""
    return (
        f"write this into /etc/udev/rules.d/{file}, then "
        f"`sudo udevadm control --reload && sudo udevadm trigger`, and plug it in again:\n{rule}"
    )
