"""Reviews through the API server while certificates change and replicas are replaced: none fails, none is wrong."""

from __future__ import annotations

import base64
import copy
import socket
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.stack import install
from tests.stack.authority import Authority
from tests.stack.install import DENIED, Installed
from tests.stack.kube import DEVELOPER
from tests.stack.tries import BAD, GOOD, path, pod, spec

CLIENTS = 4
TAKEN_UP_SECONDS = 3.0  # until the API server has taken a configuration up, and the replicas a certificate


@dataclass
class Load:
    """Clients that send one review after the other, in turn about a model that passes and one that does not."""

    on: Installed
    count: int
    done: int = 0
    failed: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)
    threads: list[threading.Thread] = field(default_factory=list)
    enough: threading.Event = field(default_factory=threading.Event)
    seconds: float = 0.0

    def start(self) -> None:
        """Start the clients."""
        self.seconds = time.monotonic()
        self.threads = [threading.Thread(target=self._send, daemon=True) for _ in range(CLIENTS)]
        for one in self.threads:
            one.start()

    def end(self) -> None:
        """Send no more than were asked for, or are sent already, and wait until all are answered."""
        self.enough.set()
        for one in self.threads:
            one.join()
        self.seconds = time.monotonic() - self.seconds

    def reach(self, part: float) -> None:
        """Wait until this part of the reviews is answered."""
        while self.done < self.count * part and any(one.is_alive() for one in self.threads):
            time.sleep(0.05)

    def _send(self) -> None:
        client = self.on.cluster.client(DEVELOPER)
        good, bad = pod(spec(GOOD)), pod(spec(BAD))
        where = f"{path(good)}?dryRun=All"
        while True:
            with self.lock:
                if self.done >= self.count and self.enough.is_set():
                    return
                number = self.done
                self.done += 1
            passes = number % 2 == 0
            reply = client.call("POST", where, good if passes else bad)
            answered = reply.status == 201 or reply.message.startswith(DENIED)
            if not answered:
                self.failed.append(f"{reply.status} {reply.message}")
            elif passes != (reply.status == 201):
                self.wrong.append(f"{'signed' if passes else 'unknown'}: {reply.status} {reply.message}")


def operate(on: Installed, load: Load, told: Callable[[str], None]) -> None:
    """Change the certificate three times, the last two by another CA, and replace both replicas, under load."""
    old, new = on.authority, Authority.make("gitchain test webhook, the next")
    steps: list[tuple[str, Callable[[], None]]] = [
        ("certificate 1: by the same CA", lambda: rotate(on, old)),
        ("caBundle: the CA of now and the next one", lambda: trust(on, old.pem + new.pem)),
        ("certificate 2: by the next CA", lambda: rotate(on, new)),
        ("caBundle: the next CA alone", lambda: trust(on, new.pem)),
        ("certificate 3: by the next CA", lambda: rotate(on, new)),
        ("replica 1 is replaced", lambda: replace(on)),
        ("replica 2 is replaced", lambda: replace(on)),
    ]
    for number, (name, act) in enumerate(steps, 1):
        load.reach(number / (len(steps) + 1))
        act()
        told(f"  {load.done:>6} reviews  {name}")


def trust(on: Installed, pem: bytes) -> None:
    """Give the API server other CAs to trust, and wait until it does."""
    for configuration in on.configurations:
        hook = copy.deepcopy(configuration)
        for one in hook["webhooks"]:
            one["clientConfig"]["caBundle"] = base64.b64encode(pem).decode()
        reply = install.configure(on.admin, hook)
        assert reply.status == 200, reply.message
    time.sleep(TAKEN_UP_SECONDS)


def rotate(on: Installed, authority: Authority) -> None:
    """Write another certificate, and wait until each replica serves it. AssertionError if one does not."""
    folder = on.service.folder
    authority.issue(folder / "tls.crt", folder / "tls.key")
    expected = ssl.PEM_cert_to_DER_cert((folder / "tls.crt").read_text())
    for backend in on.service.backends:
        until = time.monotonic() + 10 * TAKEN_UP_SECONDS
        while served(backend.port) != expected:
            assert time.monotonic() < until, "a replica does not take the new certificate into use"
            time.sleep(0.1)


def served(port: int) -> bytes | None:
    """Return the certificate that a new connection gets."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection(("127.0.0.1", port)) as plain, context.wrap_socket(plain) as link:
        return link.getpeercert(binary_form=True)


def replace(on: Installed) -> None:
    """Start another replica and end the oldest, as a rolling update does."""
    on.service.add()
    assert on.service.retire(), "a replica did not end in time"
