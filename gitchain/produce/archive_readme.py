"""README.txt of an archive: how to check it by hand with tar, sha256sum, jq and openssl, without gitchain.

A test runs the indented commands on the members of a real archive (tests/cli/test_archive_by_hand.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from gitchain import __version__
from gitchain.consume.archive_verdict import Coverage
from gitchain.consume.verifier import Verifier
from gitchain.evidence.vocabulary import time_text
from gitchain.sources.archive_manifest import ArchiveMember

_TEXT = """\
ARCHIVE OF THE EVIDENCE ABOUT A MODEL

This file is a member of an archive that gitchain {version} made at {created}.
Target: {target}
{artifacts}
The archive holds signed statements about how the model was made, and what is
needed to check them without a network. It does not hold the model or the
data: statements name these by SHA-256.


1. THE MEMBERS

  archive.json                    name, size and SHA-256 of each other member
  evidence/*.sigstore.json        attestations: Sigstore bundles with a statement
  evidence/*.manifest.json        lists of the files of directories
  layout.sigstore.json            the signed policy ("layout")
  trust/trusted-root.json         keys and certificates of the signing services
  trust/layout-signer.der         key of the layout's signer, if it is a key
  verdict.json                    the verdict when the archive was made
  schemas/                        JSON Schemas of the formats

All times are UTC. The formats are public: in-toto attestations, DSSE,
Sigstore bundles, RFC 3161 timestamps, RFC 6962 Merkle trees, C2SP tlog
checkpoints, RFC 8785 canonical JSON.


2. WHAT THE ARCHIVE CANNOT PROVE ABOUT ITSELF

Its maker chose the trusted root and the layout. Get these two facts from a
source that you trust, such as the contract, the regulator's register or the
layout's signer, and compare them:

  trusted root    sha256:{trust}
  layout signer   {signer}
  its issuer      {issuer}

The first is the SHA-256 of the trusted root as canonical JSON, without the
service addresses around it (in most cases jq prints that form):

    jq -cjS '.trustedRoot // .' trust/trusted-root.json | sha256sum

An archive whose maker left out statements can still be consistent. Statements
of type https://gitchain.dev/predicate/checkpoint/v0.1 list what the store of
the evidence held. Besides these statements the archive has {total} members of
evidence, and the checkpoints that count under the layout list {covered} of them:
if one of these is missing, a check against the checkpoints shows it.{others}


3. CHECK THE DIGESTS OF THE MEMBERS

You need a POSIX shell, sha256sum, base64, jq and openssl 3. Unpack the archive
into an empty directory (tar -xf FILE), go there, and type:

    T=$(mktemp -d)
    jq -r '.members[] | .sha256 + "  " + .name' archive.json > $T/sums
    sha256sum --quiet -c $T/sums

The last line prints nothing if each member has its digest.


4. READ THE STATEMENTS

The chain of the model, step by step, as verdict.json has it:

{chain}

Print one statement. `subject` has what it is about, `predicateType` its kind,
`predicate` the rest: inputs (resolvedDependencies), parameters, command.

    B={bundle}
    jq -r .dsseEnvelope.payload $B | base64 -d > $T/payload
    jq . $T/payload

The layout, with the rules, and who may sign for which step (functionaries):

    jq -r .dsseEnvelope.payload layout.sigstore.json | base64 -d | jq .predicate


5. CHECK ONE SIGNATURE

Repeat this with B set to each bundle above, and to layout.sigstore.json.

The signature covers a fixed prefix, lengths, the type and the payload (DSSE):

    TYPE=$(jq -r .dsseEnvelope.payloadType $B)
    SIZE=$(($(wc -c < $T/payload)))
    {{ printf 'DSSEv1 %d %s %d ' ${{#TYPE}} "$TYPE" $SIZE; cat $T/payload; }} > $T/signed
    jq -r '.dsseEnvelope.signatures[0].sig' $B | base64 -d > $T/sig

The SHA-256 of these bytes is the id of the attestation in verdict.json:

    sha256sum < $T/signed

The signer's certificate is in the bundle. (A bundle with a `publicKey` instead
is signed by a key in the layout; use that key.) It names the signer:

    jq -r .verificationMaterial.certificate.rawBytes $B | base64 -d > $T/cert.der
    openssl x509 -inform der -in $T/cert.der -noout -ext subjectAltName -dates
    openssl x509 -inform der -in $T/cert.der -noout -pubkey > $T/cert.pub
    openssl dgst -sha256 -verify $T/cert.pub -signature $T/sig $T/signed

The last line prints: Verified OK


6. CHECK THE TIME, AND THE CERTIFICATE AT THAT TIME

The certificate was valid for ten minutes. A timestamp authority signed when
the signature existed. First, the authorities of the trusted root as PEM:

    pem() {{ while read -r C; do
      echo '-----BEGIN CERTIFICATE-----'; echo "$C" | fold -w 64; echo '-----END CERTIFICATE-----'
    done; }}
    ROOT='(.trustedRoot // .)'
    jq -r "$ROOT.timestampAuthorities[].certChain.certificates[].rawBytes" trust/trusted-root.json | pem > $T/tsa.pem
    jq -r "$ROOT.certificateAuthorities[].certChain.certificates[].rawBytes" trust/trusted-root.json | pem > $T/ca.pem

Then the timestamp. (A bundle of an older log has none; there the log signed
the time as `integratedTime`, with `signedEntryTimestamp`.)

    jq -r '.verificationMaterial.timestampVerificationData.rfc3161Timestamps[0].signedTimestamp' $B | base64 -d > $T/ts
    openssl ts -reply -in $T/ts -text 2> /dev/null | grep 'Time stamp:'
    WHEN=$(date -u -d "$(openssl ts -reply -in $T/ts -text 2> /dev/null | sed -n 's/^Time stamp: //p')" +%s)
    openssl ts -verify -in $T/ts -data $T/sig -CAfile $T/tsa.pem -attime $WHEN
    openssl x509 -inform der -in $T/cert.der -out $T/cert.pem
    openssl verify -attime $WHEN -CAfile $T/ca.pem $T/cert.pem

The two checks print: Verification: OK, and: cert.pem: OK


7. CHECK THE LOG

The signature is in an append-only log. Its entry names this signature, and the
SHA-256 of what it covers (Rekor v2) or of the payload (Rekor v1):

    E='.verificationMaterial.tlogEntries[0]'
    jq -r "$E.canonicalizedBody" $B | base64 -d > $T/body
    jq . $T/body
    SIG=$(jq -r '.dsseEnvelope.signatures[0].sig' $B)
    COVERED=$(openssl dgst -sha256 -binary < $T/signed | base64)
    PAYLOAD=$(sha256sum < $T/payload | cut -d ' ' -f 1)
    V2='[.spec.hashedRekordV002 | .signature.content, .data.digest] == [$sig, $covered]'
    V1='[.spec.signatures[0].signature, .spec.payloadHash.value] == [$sig, $payload]'
    jq -e --arg sig "$SIG" --arg covered "$COVERED" --arg payload "$PAYLOAD" "($V2) or ($V1)" $T/body

The last line prints: true

The entry, hashed up the tree, is the root in the log's signed checkpoint:

    sha() {{ openssl dgst -sha256 -binary; }}
    {{ printf '\\0'; cat $T/body; }} | sha > $T/hash
    F=$(jq -r "$E.inclusionProof.logIndex" $B)
    S=$(($(jq -r "$E.inclusionProof.treeSize" $B) - 1))
    for P in $(jq -r "$E.inclusionProof.hashes[]" $B); do
      echo "$P" | base64 -d > $T/part
      if [ $((F & 1)) = 1 ] || [ $F = $S ]; then
        {{ printf '\\001'; cat $T/part $T/hash; }} | sha > $T/next
        while [ $((F & 1)) = 0 ] && [ $F != 0 ]; do F=$((F >> 1)); S=$((S >> 1)); done
      else
        {{ printf '\\001'; cat $T/hash $T/part; }} | sha > $T/next
      fi
      mv $T/next $T/hash
      F=$((F >> 1)); S=$((S >> 1))
    done
    jq -r "$E.inclusionProof.checkpoint.envelope" $B > $T/checkpoint
    sed -n 3p $T/checkpoint
    if [ "$(base64 < $T/hash)" = "$(sed -n 3p $T/checkpoint)" ]; then echo 'Root: OK'; else echo 'Root: DIFFERENT'; false; fi

It prints the root that the log signed, and: Root: OK

The log signed the lines of the checkpoint before the empty line:

    sed '/^$/,$d' $T/checkpoint > $T/head
    sed -n '/^$/,$p' $T/checkpoint | sed -n 2p | sed 's/.* //' | base64 -d | tail -c +5 > $T/head.sig
    ID=$(jq -r "$E.logId.keyId" $B)
    KEY="$ROOT.tlogs[] | select(.logId.keyId == \\"$ID\\") | .publicKey.rawBytes"
    jq -r "$KEY" trust/trusted-root.json | base64 -d > $T/log.der
    openssl pkey -pubin -inform der -in $T/log.der -out $T/log.pem
    if openssl pkey -pubin -in $T/log.pem -noout -text | grep -q ED25519
    then openssl pkeyutl -verify -pubin -inkey $T/log.pem -rawin -in $T/head -sigfile $T/head.sig
    else openssl dgst -sha256 -verify $T/log.pem -signature $T/head.sig $T/head
    fi

It prints: Signature Verified Successfully, or: Verified OK


8. COMPARE A COPY OF THE MODEL

The digest of a file is its SHA-256 (sha256sum FILE), and must be one of those
at the top. The digest of a directory is that of its manifest node in evidence/,
which lists name, size and digest of each file.


9. WITH GITCHAIN

  gitchain archive verify FILE --trust ROOT --signer SIGNER --issuer ISSUER

with the values of part 2; ROOT is the line that starts with sha256.

It checks all of the above for every statement, applies every rule of the
layout, and prints what the verdict rests on. The page docs/archive.md of
gitchain describes it, docs/formats/archive.md the format.
"""


def readme(
    verifier: Verifier,
    target: str,
    now: datetime,
    documents: Sequence[Mapping[str, Any]],
    members: Sequence[ArchiveMember],
    coverage: Coverage,
) -> str:
    """Return the page: printable ASCII, whatever the evidence has."""
    signed = verifier.accepted.signed
    chain = list(_chain(verifier, documents))
    bundles = [name for _, name in chain] or [one.name for one in members if one.is_bundle]
    return _TEXT.format(
        version=__version__,
        created=time_text(now),
        target=_ascii(target),
        artifacts="\n".join(map(_artifact, documents)) + "\n",
        trust=verifier.accepted.profile.trust_digest,
        signer=_ascii(signed.signer.subject),
        issuer=_ascii(signed.signer.issuer),
        total=coverage.total,
        covered=coverage.covered,
        others=_others(coverage),
        chain="\n".join(line for line, _ in chain) or "  no chain: the verdict is FAILED",
        bundle=bundles[0],
    )


def _chain(verifier: Verifier, documents: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    """Yield for each attestation of the verdicts the lines about it, and the name of its bundle."""
    told = set[str]()
    waiting = [step for document in documents for step in document["steps"]]
    while waiting:
        step = waiting.pop(0)
        waiting = [*step.get("sublayout", {}).get("steps", ()), *waiting]
        for one in step["attestations"]:
            for bundle in verifier.evidence.bundles.with_id(one["id"]):
                name = f"evidence/{bundle.name}.sigstore.json"
                if name not in told:
                    told.add(name)
                    what = f"  {_ascii(step['name'])}, signed by {_ascii(one['signer']['subject'])} at {one['time']}"
                    yield f"{what}\n  {name}", name


def _artifact(document: Mapping[str, Any]) -> str:
    resource = document["resource"]
    return (
        f"  {_ascii(resource['name'] or 'artifact')}\n  sha256:{resource['digest']['sha256']}\n"
        f"  verdict {document['verificationResult']}"
    )


def _others(coverage: Coverage) -> str:
    return "" if coverage.covered == coverage.total else "\nNo check shows whether others were left out."


def _ascii(text: str) -> str:
    """Return a text from evidence or the command line as printable ASCII, cut at 200 characters."""
    shown = text.encode("ascii", "backslashreplace").decode("ascii")
    return "".join(char if char.isprintable() else "?" for char in shown)[:200]
