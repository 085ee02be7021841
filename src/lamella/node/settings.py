"""What a node is told: one YAML file, `lamella serve FILE`."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Literal

from lamella.batch.making import CaseThin
from lamella.errors import UsageError
from lamella.selection.rules import SeriesRules

_AE_TITLE = re.compile(r"(?=.*[^ ])[ -\[\]-~]{1,16}")  # PS3.5 table 6.2-1: no backslash, no control characters
_TIME = re.compile(r"([01]\d|2[0-3]):[0-5]\d")


@dataclass(frozen=True)
class TlsSettings:
    """Certificates for DICOM TLS; PEM files.

    Attributes:
        certificate: certificate of this node, with its chain up to the authority.
        key: private key of the certificate, without a password.
        ca: authorities that must have signed the certificates of peers.
        client_certificate: whether a peer that connects must present a certificate signed by `ca`.
    """

    certificate: Path
    key: Path
    ca: Path
    client_certificate: bool = True


@dataclass(frozen=True)
class DicomSettings:
    """Where the node listens for DICOM.

    Attributes:
        aet: AE title of the node.
        host: address to listen on; by default only this machine can connect.
        port: port to listen on.
        calling: AE titles that may connect; empty: all.
        called: further AE titles of the node; a call to any other title is rejected.
        tls: DICOM TLS for all peers that connect, and for sending to peers with `tls: true`; null for none.
    """

    aet: str
    port: int
    host: str = "127.0.0.1"
    calling: tuple[str, ...] = ()
    called: tuple[str, ...] = ()
    tls: TlsSettings | None = None

    def __post_init__(self) -> None:
        for title in (self.aet, *self.calling, *self.called):
            _check_title("dicom", title)
        _check_port("dicom.port", self.port)


@dataclass(frozen=True)
class HttpSettings:
    """Where the node answers HTTP.

    Attributes:
        host: address to listen on; any address that other machines can reach needs `token_file`.
        port: port to listen on.
        token_file: file with a secret of at least 16 characters. Every request but /health must send it as "Authorization:
            Bearer SECRET"; the page asks its users for it.
    """

    port: int
    host: str = "127.0.0.1"
    token_file: Path | None = None

    def __post_init__(self) -> None:
        _check_port("http.port", self.port)
        if not is_loopback(self.host) and self.token_file is None:
            raise UsageError(
                f"http.host {self.host} is open to other machines. Found no http.token_file, expected a file with a secret. "
                "Give one, or listen on 127.0.0.1."
            )


@dataclass(frozen=True)
class Peer:
    """Where results may be sent: a DICOM node (`aet`, `host`, `port`) or a DICOMweb server (`stow`).

    Attributes:
        name: name of the peer in `send_to`.
        aet: its AE title.
        host: its address.
        port: its port.
        tls: connect by DICOM TLS with the certificates of `dicom.tls`.
        stow: its DICOMweb address; studies are stored at this address + "/studies".
        token_file: file with a secret that is sent to `stow` as "Authorization: Bearer SECRET".
        ca: PEM file of the authority that signed the certificate of an https address; null for the authorities of the system.
    """

    name: str
    aet: str = ""
    host: str = ""
    port: int = 0
    tls: bool = False
    stow: str = ""
    token_file: Path | None = None
    ca: Path | None = None

    def __post_init__(self) -> None:
        if self.stow:
            if self.aet or self.host or self.port or not self.stow.startswith(("http://", "https://")):
                raise UsageError(
                    f"The peer {self.name} needs either aet, host and port, or stow with an http address. "
                    "Found both or neither."
                )
            return
        if not self.host:
            raise UsageError(f"The peer {self.name} needs aet, host and port, or stow. Found no host.")
        _check_title(f"peer {self.name}", self.aet)
        _check_port(f"peer {self.name}, port", self.port)


@dataclass(frozen=True)
class Limits:
    """The most that the node accepts. Beyond it the answer is "out of resources" (A700), so the sender keeps what it has.

    Attributes:
        associations: associations open at the same time; further ones are rejected for now.
        pdu_kb: largest PDU in KiB; a larger one ends its association.
        instance_mb: largest instance in MiB; a larger one ends its association. The node needs memory for this times
            `associations`.
        study_instances: largest number of instances of one study.
        study_gb: largest size of one study in GiB.
        queue: largest number of studies that are being received or wait; beyond it no new study is accepted.
        disk_free_gb: space in GiB to keep free on the disk of `state`.
        idle_s: seconds after which a silent association ends.
    """

    associations: int = 10
    pdu_kb: int = 128
    instance_mb: int = 1024
    study_instances: int = 10000
    study_gb: float = 16.0
    queue: int = 1000
    disk_free_gb: float = 2.0
    idle_s: float = 60.0


@dataclass(frozen=True)
class WorkSettings:
    """How studies are worked on.

    Attributes:
        threads: threads of the process that thins; null for OMP_NUM_THREADS or, if that is not set, all processors of this
            machine or container. Give less if other programs compute on the same processors.
        hours: [from, to] in local time, such as ["20:00", "06:00"]; studies are begun only within these hours. null: always.
        attempts: number of times that the worker may die on a study before the study counts as failed.
        study_s: seconds that thinning a study may take.
        parse_s: seconds that reading the headers and pixels of a study may take, in a process of its own.
        parse_gb: memory in GiB that this process may use.
    """

    threads: int | None = None
    hours: tuple[str, str] | None = None
    attempts: int = 3
    study_s: float = 7200.0
    parse_s: float = 300.0
    parse_gb: float = 8.0

    def __post_init__(self) -> None:
        if self.threads is not None and self.threads < 1:
            raise UsageError(f"work.threads must be 1 or more, or null. Found {self.threads}.")
        if self.hours is not None and not all(map(_TIME.fullmatch, self.hours)):
            raise UsageError(f'work.hours must be two times such as "20:00". Found {list(self.hours)}.')
        if self.hours is not None and self.hours[0] == self.hours[1]:
            raise UsageError(
                f"work.hours must be two different times; with equal ones nothing would ever begin. Found {list(self.hours)}. "
                "Leave hours out to work all day."
            )


@dataclass(frozen=True)
class RetrySettings:
    """When sending is tried again.

    Attributes:
        first_s: seconds to wait after the first failure; doubled after each further one.
        longest_s: longest wait between two tries, in seconds.
        days: days after which a study that could not be sent counts as failed.
        timeout_s: seconds that a peer may take for one answer.
    """

    first_s: float = 10.0
    longest_s: float = 3600.0
    days: float = 7.0
    timeout_s: float = 60.0


@dataclass(frozen=True)
class NodeThin(CaseThin):
    """How to thin. The keys mean what the options of `lamella thin` mean."""


@dataclass(frozen=True)
class NodeSettings:
    """Everything that a node is told.

    Attributes:
        state: folder that holds all studies, by state; made if missing.
        dicom: where the node listens for DICOM.
        http: where the web page, health and metrics are; null for no web server.
        peers: where results may be sent. The node opens no other connection.
        send_to: names of the peers that get every result.
        close_after_s: seconds without a new instance after which a study counts as complete.
        rules: which series of a study are thinned.
        thin: how they are thinned.
        pages: also write report.html, a page that shows the result, into the folder of each result.
        limits: the most that the node accepts.
        work: when studies are worked on, and how long and how often.
        retry: when sending is tried again.
        expire_days: days after which a finished study is deleted, with its pixels; null for never.
        audit_uids: whether UIDs in the audit log are "hashed" or "plain".
    """

    state: Path
    dicom: DicomSettings
    http: HttpSettings | None = None
    peers: tuple[Peer, ...] = ()
    send_to: tuple[str, ...] = ()
    close_after_s: float = 60.0
    rules: SeriesRules = field(default_factory=SeriesRules)
    thin: NodeThin = field(default_factory=NodeThin)
    pages: bool = False
    limits: Limits = field(default_factory=Limits)
    work: WorkSettings = field(default_factory=WorkSettings)
    retry: RetrySettings = field(default_factory=RetrySettings)
    expire_days: float | None = None
    audit_uids: Literal["hashed", "plain"] = "hashed"

    def __post_init__(self) -> None:
        names = [peer.name for peer in self.peers]
        if len(set(names)) < len(names):
            raise UsageError(f"Two peers have the same name. Found {', '.join(names)}.")
        if unknown := [name for name in self.send_to if name not in names]:
            raise UsageError(f"send_to names no peer: {unknown[0]}. Found peers: {', '.join(names) or 'none'}.")
        if any(peer.tls for peer in self.peers) and self.dicom.tls is None:
            raise UsageError("A peer has tls: true. Found no dicom.tls, expected certificate, key and ca.")
        if not self.close_after_s > 0:
            raise UsageError(f"close_after_s must be above 0. Found {self.close_after_s:g}.")

    @property
    def receivers(self) -> tuple[Peer, ...]:
        """The peers of `send_to`."""
        return tuple(peer for peer in self.peers if peer.name in self.send_to)


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _check_title(where: str, title: str) -> None:
    if not _AE_TITLE.fullmatch(title):
        raise UsageError(f"{where}: {title!r} is no AE title. Expected 1 to 16 characters without a backslash.")


def _check_port(where: str, port: int) -> None:
    if not 0 < port < 65536:
        raise UsageError(f"{where} must lie between 1 and 65535. Found {port}.")
