"""What somebody in the cluster's network tries at gitchain's own port: reviews in the API server's place."""

from __future__ import annotations

import http.client
import json
import ssl
import tempfile
from collections.abc import Callable
from pathlib import Path

from tests.stack import departures
from tests.stack.authority import Authority
from tests.stack.install import Installed
from tests.stack.kube import API_SERVER, Reply
from tests.stack.tries import GOOD, REFUSED, case, nothing, pod, spec
from tests.support.admission import review

FORGER = "cfo@example.com"
SECONDS = 20.0
Show = Callable[[Installed, Path, Path], None]


def _stranger(_on: Installed, certificate: Path, key: Path) -> None:
    Authority.make("gitchain test API servers").issue(certificate, key, client=API_SERVER)


WHO: dict[str, Show | None] = {
    "without a certificate": None,
    "with a certificate of another CA of the same name": _stranger,
    "with a certificate of the CA, of another name": lambda on, *places: on.cluster.clients.issue(
        *places, client="system:node:worker-1"
    ),
    "with a server's certificate of the CA": lambda on, *places: on.cluster.clients.issue(*places),
    "with the webhook's own certificate": lambda on, *places: on.authority.issue(*places),
}


def ask(on: Installed, path: str, show: Show | None) -> Reply:
    """Send a hand-written review past the API server; what TLS ends is refused as well."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with tempfile.TemporaryDirectory() as folder:
        if show is not None:
            places = Path(folder) / "tls.crt", Path(folder) / "tls.key"
            show(on, *places)
            context.load_cert_chain(*places)
        link = http.client.HTTPSConnection(
            "127.0.0.1", on.service.balancer.port, context=context, timeout=SECONDS
        )
    body = json.dumps(review(pod(spec(GOOD)), userInfo={"username": FORGER}))
    try:
        link.request("POST", path, body, {"Content-Type": "application/json"})
        answer = link.getresponse()
        document = json.loads(answer.read())
    except OSError as error:
        return Reply(0, {"message": f"{REFUSED}: {error}"})
    finally:
        link.close()
    return Reply(answer.status, {"message": document.get("error", "")})


for _name, _show in WHO.items():
    for _path in ("/validate", "/mutate"):
        case("forged", f"a review to {_path} {_name}", "refused")(
            lambda on, path=_path, show=_show: ask(on, path, show)  # type: ignore[misc]
        )


@case("forged", "none of these is in the deployment log", "impossible")
def _(on: Installed) -> Reply:
    return (
        Reply(201, {}) if FORGER in departures.log(on) else nothing("nobody of that name deployed anything")
    )
