"""Where a scheduler is, and whether it may be talked to: in the clear only on this computer, else by mutual TLS.

Whoever can reach a scheduler or a host of it can run any program there: Dask's messages hold pickles.
"""

import ipaddress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal
from urllib.parse import urlsplit

from fqtbench.board import LabTable
from fqtbench.errors import UsageError

if TYPE_CHECKING:
    import distributed

DEFAULT_PORT: Final = 8786
LOOPBACK: Final = "127.0.0.1"
_HOW: Final = (
    "make an authority and a certificate for each host as docs/lab.md shows (`openssl req -x509 …`), then use "
    "tls:// with --tls-ca, --tls-cert and --tls-key, or with `ca`, `cert` and `key` in [lab] of bench.toml"
)


@dataclass(frozen=True)
class Address:
    """A scheduler's address."""

    scheme: Literal["tcp", "tls"]
    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> "Address":
        """Read ``tcp://HOST:PORT`` or ``tls://HOST:PORT``; the port may be left out."""
        wrong = UsageError(
            f"scheduler {text}: not tcp://HOST:PORT or tls://HOST:PORT, e.g. tcp://{LOOPBACK}:{DEFAULT_PORT}"
        )
        try:
            parts = urlsplit(text)
            host, port = parts.hostname, DEFAULT_PORT if parts.port is None else parts.port
        except ValueError:
            raise wrong from None
        if parts.scheme not in ("tcp", "tls") or not host or parts.path or parts.query or parts.username:
            raise wrong
        return cls("tls" if parts.scheme == "tls" else "tcp", host, port)

    @property
    def is_loopback(self) -> bool:
        """Whether it can be reached from this computer alone."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"


def security_of(address: Address, tls: LabTable) -> "distributed.Security | None":
    """Return what to secure the connection by, or None on loopback; UsageError if it would be open to others."""
    if address.scheme == "tcp":
        if not address.is_loopback:
            raise UsageError(
                f"scheduler {address}: without TLS anybody on that network could run programs on every host; {_HOW}"
            )
        return None
    files: dict[str, Any] = {"ca": tls.ca, "cert": tls.cert, "key": tls.key}
    missing = [name for name, path in files.items() if path is None]
    if missing:
        raise UsageError(f"scheduler {address}: TLS needs {', '.join(missing)}; {_HOW}")
    for name, path in files.items():
        if not path.is_file():
            raise UsageError(f"scheduler {address}: {name}: no such file {path}; {_HOW}")
    return _security(*(str(path) for path in files.values()))


def _security(ca: str, cert: str, key: str) -> "distributed.Security":
    import ssl  # noqa: PLC0415

    from distributed import Security  # noqa: PLC0415  (an extra)

    security = Security(
        require_encryption=True,
        tls_ca_file=ca,
        tls_client_cert=cert,
        tls_client_key=key,
        tls_worker_cert=cert,
        tls_worker_key=key,
        tls_scheduler_cert=cert,
        tls_scheduler_key=key,
    )
    try:
        security.get_connection_args("client")
    except (ssl.SSLError, OSError) as error:
        raise UsageError(
            f"{ca}, {cert}, {key}: no certificates that belong together: {error}; {_HOW}"
        ) from error
    return security
