"""pyOCD's remote-probe protocol: which requests there are, and what each does to a debug port.

A request is one line of JSON, `{"id": n, "request": name, "arguments": [...]}`; the answer is one line,
`{"id": n, "status": 0, "result": value}` or `{"id": n, "status": code, "error": text}`. Source:
pyocd/probe/tcp_client_probe.py and tcp_probe_server.py of pyOCD 0.46, protocol version 1.

`ProbeSession` is one client's view of the probe: what it has opened, connected and locked dies with it.
"""

import json
import struct
from collections.abc import Callable
from typing import Any, Final

from fqtbench.virtual.debugport import DebugPort, TransferFault

PROTOCOL_VERSION: Final = 1

STATUS_OK: Final = 0
STATUS_GENERAL_ERROR: Final = 1
STATUS_PROBE_ERROR: Final = 3
STATUS_TRANSFER_FAULT: Final = 12

# More than any flash or RAM of the chips here: a larger count is a broken client.
MAX_TRANSFER_BYTES: Final = 4 << 20

_APV1: Final = 1  # pyocd.coresight.ap.APVersion.APv1
_MEMORY_AP: Final = 0  # the only access port with memory behind it; also its handle
_WIRE_PROTOCOLS: Final = ("DEFAULT", "SWD")
_TRANSFER_BITS: Final = (8, 16, 32)
_MAX_SEQUENCES: Final = 64
_TARGETSEL_HEADER: Final = 0x99  # start, DP write, A[3:2] = 3, parity, stop, park (ADI B4.3.4)


class RequestError(Exception):
    """A request that the probe refuses; the message goes to the client."""

    def __init__(self, message: str, status: int = STATUS_GENERAL_ERROR) -> None:
        super().__init__(message)
        self.status = status


def parse_request(line: bytes) -> tuple[int, str, list[Any]]:
    """Return id, name and arguments of a request line; raise `RequestError` for anything malformed."""
    try:
        request = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise RequestError("the request is not JSON") from error
    if not isinstance(request, dict):
        raise RequestError("the request is not a JSON object")
    identifier, name = request.get("id"), request.get("request")
    arguments = request.get("arguments", [])
    if type(identifier) is not int or not isinstance(name, str) or not isinstance(arguments, list):
        raise RequestError("a request needs an integer id, a request name and a list of arguments")
    return identifier, name, arguments


def format_result(identifier: int, result: object) -> bytes:
    """Return the answer line of a request that succeeded; without a result if that is None."""
    answer: dict[str, object] = {"id": identifier, "status": STATUS_OK}
    if result is not None:
        answer["result"] = result
    return json.dumps(answer, separators=(",", ":")).encode() + b"\n"


def format_error(identifier: int, status: int, message: str) -> bytes:
    """Return the answer line of a request that failed."""
    return json.dumps({"id": identifier, "status": status, "error": message}).encode() + b"\n"


class ProbeSession:
    """One client's use of the probe in front of `port`."""

    def __init__(self, port: DebugPort, unique_id: str, product_name: str) -> None:
        self._port = port
        self._properties: dict[str, Callable[[], object]] = {
            "vendor_name": lambda: "fqtbench",
            "product_name": lambda: product_name,
            "unique_id": lambda: unique_id,
            # pyOCD picks DEFAULT, and with SWJ_SEQUENCE sends the switch from JTAG to SWD itself.
            "supported_wire_protocols": lambda: list(_WIRE_PROTOCOLS),
            "capabilities": lambda: ["SWJ_SEQUENCE", "SWD_SEQUENCE"],
            "wire_protocol": lambda: self._wire_protocol,
            "is_open": lambda: self._open_count > 0,
        }
        self._open_count = 0
        self._lock_count = 0
        self._wire_protocol: str | None = None
        self._handlers: dict[str, tuple[Callable[..., object], int]] = {
            "hello": (self._hello, 1),
            "readprop": (self._read_property, 1),
            "open": (self._open, 0),
            "close": (self._close, 0),
            "lock": (self._lock, 0),
            "unlock": (self._unlock, 0),
            "connect": (self._connect, 1),
            "disconnect": (self._disconnect, 0),
            "swj_sequence": (self._swj_sequence, 2),
            "swd_sequence": (self._swd_sequence, 1),
            "set_clock": (self._set_clock, 1),
            "reset": (self._reset, 0),
            "assert_reset": (self._assert_reset, 1),
            "is_reset_asserted": (self._is_reset_asserted, 0),
            "flush": (lambda: None, 0),
            "read_dp": (self._read_dp, 1),
            "write_dp": (self._write_dp, 2),
            "read_ap": (self._read_ap, 1),
            "write_ap": (self._write_ap, 2),
            "read_ap_multiple": (self._read_ap_multiple, 2),
            "write_ap_multiple": (self._write_ap_multiple, 2),
            "get_memory_interface_for_ap": (self._memory_interface, 2),
            "read_mem": (self._read_mem, 3),
            "write_mem": (self._write_mem, 4),
            "read_block32": (self._read_block32, 3),
            "write_block32": (self._write_block32, 3),
            "read_block8": (self._read_block8, 3),
            "write_block8": (self._write_block8, 3),
        }

    def execute(self, name: str, arguments: list[Any]) -> object:
        """Carry out one request and return its result; raise `RequestError` if it is refused."""
        if name not in self._handlers:
            raise RequestError(f"this probe has no request {name[:40]!r}")
        handler, count = self._handlers[name]
        if len(arguments) != count:
            raise RequestError(f"{name} takes {count} arguments, not {len(arguments)}")
        try:
            return handler(*arguments)
        except TransferFault as fault:
            raise RequestError(str(fault), STATUS_TRANSFER_FAULT) from fault

    # The probe itself

    def _hello(self, version: object) -> None:
        if version != PROTOCOL_VERSION:
            raise RequestError(f"this probe speaks protocol version {PROTOCOL_VERSION}, not {version!r:.20}")

    def _read_property(self, name: object) -> object:
        if not isinstance(name, str) or name not in self._properties:
            raise RequestError(f"this probe has no property {name!r:.40}")
        return self._properties[name]()

    def _open(self) -> None:
        self._open_count += 1

    def _close(self) -> None:
        if not self._open_count:
            raise RequestError("close without open", STATUS_PROBE_ERROR)
        self._open_count -= 1

    def _lock(self) -> None:
        self._lock_count += 1  # there is one client, so a lock is always free

    def _unlock(self) -> None:
        if not self._lock_count:
            raise RequestError("unlock without lock", STATUS_PROBE_ERROR)
        self._lock_count -= 1

    def _connect(self, protocol: object) -> None:
        self._require_open()
        if protocol not in _WIRE_PROTOCOLS:
            raise RequestError(f"this probe speaks SWD, not {protocol!r:.20}", STATUS_PROBE_ERROR)
        self._wire_protocol = "SWD"

    def _disconnect(self) -> None:
        self._wire_protocol = None

    def _swj_sequence(self, length: object, bits: object) -> None:
        self._require_open()
        _number(length)
        if type(bits) is not int or bits < 0:
            raise RequestError("swj_sequence needs its bits as a number")

    def _swd_sequence(self, sequences: object) -> list[object]:
        """Carry out bits on the wire, of which one pattern has a meaning here: a write of TARGETSEL.

        `sequences`: lists (bits to read,) or (bits, value to write). No reading is answered but with zeros, as ints,
        because bytes are not JSON. Result: (acknowledge, values read).
        """
        self._require_open()
        if not isinstance(sequences, list) or len(sequences) > _MAX_SEQUENCES:
            raise RequestError("swd_sequence needs a short list of sequences")
        steps = [_sequence(sequence) for sequence in sequences]
        if len(steps) > 2 and steps[0] == (8, _TARGETSEL_HEADER) and steps[1] == (5, None):
            length, value = steps[2]
            if length == 33 and value is not None and value.bit_count() % 2 == 0:  # 32 bits and their parity
                self._port.select_target(value & 0xFFFF_FFFF)
        return [0, [0 for _, value in steps if value is None]]

    def _set_clock(self, frequency_hz: object) -> None:
        self._require_open()
        _number(frequency_hz)

    def _reset(self) -> None:
        self._require_open()
        self._port.assert_reset(True)
        self._port.assert_reset(False)

    def _assert_reset(self, asserted: object) -> None:
        self._require_open()
        self._port.assert_reset(bool(asserted))

    def _is_reset_asserted(self) -> bool:
        return self._port.reset_asserted

    # Debug port and access ports

    def _read_dp(self, register: object) -> int:
        self._require_connected()
        return self._port.read_dp(_number(register))

    def _write_dp(self, register: object, value: object) -> None:
        self._require_connected()
        self._port.write_dp(_number(register), _number(value))

    def _read_ap(self, register: object) -> int:
        self._require_connected()
        return self._port.read_ap(_number(register))

    def _write_ap(self, register: object, value: object) -> None:
        self._require_connected()
        self._port.write_ap(_number(register), _number(value))

    def _read_ap_multiple(self, register: object, count: object) -> list[int]:
        self._require_connected()
        return self._port.read_ap_block(_number(register), _size(count, 4))

    def _write_ap_multiple(self, register: object, values: object) -> None:
        self._require_connected()
        words = _packed(values, "I")
        self._port.write_ap_block(_number(register), struct.unpack(f"<{len(words) // 4}I", words))

    # Block memory transfers, which a probe with its own firmware for them offers

    def _memory_interface(self, ap_version: object, nominal_address: object) -> int | None:
        return _MEMORY_AP if (ap_version, nominal_address) == (_APV1, _MEMORY_AP) else None

    def _read_mem(self, handle: object, address: object, bits: object) -> int:
        self._require_memory(handle)
        return int.from_bytes(self._port.read_memory(_number(address), _width(bits)), "little")

    def _write_mem(self, handle: object, address: object, value: object, bits: object) -> None:
        self._require_memory(handle)
        size, number = _width(bits), _number(value)
        if number >> 8 * size:
            raise RequestError(f"{number:#x} does not fit {8 * size} bits")
        self._port.write_memory(_number(address), number.to_bytes(size, "little"))

    def _read_block32(self, handle: object, address: object, count: object) -> list[int]:
        self._require_memory(handle)
        size = _size(count, 4)
        return list(struct.unpack(f"<{size}I", self._port.read_memory(_aligned(address), 4 * size)))

    def _write_block32(self, handle: object, address: object, values: object) -> None:
        self._require_memory(handle)
        self._port.write_memory(_aligned(address), _packed(values, "I"))

    def _read_block8(self, handle: object, address: object, count: object) -> list[int]:
        self._require_memory(handle)
        return list(self._port.read_memory(_number(address), _size(count, 1)))

    def _write_block8(self, handle: object, address: object, values: object) -> None:
        self._require_memory(handle)
        self._port.write_memory(_number(address), _packed(values, "B"))

    def _require_open(self) -> None:
        if not self._open_count:
            raise RequestError("the probe is not open", STATUS_PROBE_ERROR)

    def _require_connected(self) -> None:
        if self._wire_protocol is None:
            raise RequestError("the probe is not connected to its target", STATUS_PROBE_ERROR)

    def _require_memory(self, handle: object) -> None:
        self._require_connected()
        if type(handle) is not int or handle != _MEMORY_AP:
            raise RequestError(f"there is no memory interface with handle {handle!r:.20}")


def _number(value: object) -> int:
    if type(value) is not int or not 0 <= value <= 0xFFFF_FFFF:
        raise RequestError(f"{value!r:.40} is not an unsigned 32-bit number")
    return value


def _sequence(given: object) -> tuple[int, int | None]:
    """Return the bits of one sequence, and the value to write or None."""
    if not isinstance(given, list) or len(given) not in (1, 2):
        raise RequestError("a sequence is [bits] or [bits, value]")
    numbers = [number for number in given if type(number) is int and number >= 0]
    if len(numbers) != len(given) or not 0 < numbers[0] <= 64 or any(n >> 64 for n in numbers):
        raise RequestError("a sequence has 1 to 64 bits, and its value fits 64")
    return numbers[0], numbers[1] if len(numbers) == 2 else None


def _aligned(address: object) -> int:
    number = _number(address)
    if number % 4:
        raise RequestError(f"{number:#010x} is not aligned to a word")
    return number


def _size(count: object, item_bytes: int) -> int:
    number = _number(count)
    if number * item_bytes > MAX_TRANSFER_BYTES:
        raise RequestError(f"a transfer of {number * item_bytes} bytes exceeds {MAX_TRANSFER_BYTES}")
    return number


def _width(bits: object) -> int:
    if bits not in _TRANSFER_BITS:
        raise RequestError(f"{bits!r:.20} is not a transfer size: 8, 16 or 32 bits")
    return _number(bits) // 8


def _packed(values: object, code: str) -> bytes:
    """Return a list of unsigned numbers as little-endian items of the struct type `code`."""
    if not isinstance(values, list):
        raise RequestError("a block transfer needs a list of numbers")
    try:
        return struct.pack(f"<{len(values)}{code}", *values)
    except struct.error as error:
        raise RequestError(f"the list holds something that is not an unsigned number: {error}") from error
