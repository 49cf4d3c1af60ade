"""Signatures of Bentos, as OpenSSF's model signing 1.0 has them: a bundle of an envelope of a list
of all files with their digests.

The bundle is Sigstore's, the envelope DSSE, the list an in-toto statement; it has the manifest in
it, and that has everything else. Keys are elliptic (P-256, P-384, P-521), in PEM. The library
`model-signing` writes and reads the same files, but brings twenty packages that an image would have
to carry, to check what takes one of them, and 1.1.1 does not start without another that it does not
ask for. Specification: github.com/sigstore/model-transparency, github.com/secure-systems-lab/dsse.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import attrs

from openllm.bento.contents.manifest import MANIFEST, SIGNATURE, Manifest
from openllm.errors import BuildError, MissingDependency, option
from openllm.weights.aliases import write_whole
from openllm.weights.checkpoint import file_digest

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.hashes import HashAlgorithm

PAYLOAD = "application/vnd.in-toto+json"
STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = "https://model_signing/signature/v1.0"
BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
_BROKEN = "is no signature of OpenSSF's model signing"


@attrs.frozen
class Signer:
    """A private key that was read, and can sign."""

    key: ec.EllipticCurvePrivateKey = attrs.field(repr=False)

    @classmethod
    def of(cls, path: Path, password: str | None = None) -> Self:
        """The key in the file `path`, PEM. Errors: BuildError, MissingDependency."""
        return cls(_private_key(path, password))

    def sign(self, path: Path) -> None:
        """Write the signature of a finished Bento beside its manifest; one that is there is
        replaced. Errors: BuildError, OSError.
        """
        payload = json.dumps(_statement(path.name, signed_files(path))).encode()
        public = self.key.public_key()
        signature = self.key.sign(_encoded(payload), _ecdsa(public))
        bundle = {
            "mediaType": BUNDLE,
            "verificationMaterial": {"publicKey": {"hint": _hint(public)}, "tlogEntries": []},
            "dsseEnvelope": {
                "payload": base64.b64encode(payload).decode(),
                "payloadType": PAYLOAD,
                "signatures": [{"sig": base64.b64encode(signature).decode()}],
            },
        }
        write_whole(path / SIGNATURE, json.dumps(bundle) + "\n")
        (path / SIGNATURE).chmod(0o644)


def _statement(name: str, files: Mapping[str, str]) -> dict[str, object]:
    """The in-toto statement of model signing: one subject, whose digest is that of all digests."""
    whole = hashlib.sha256(b"".join(bytes.fromhex(digest) for digest in files.values()))
    return {
        "_type": STATEMENT,
        "subject": [{"name": name, "digest": {"sha256": whole.hexdigest()}}],
        "predicateType": PREDICATE,
        "predicate": {
            "serialization": {
                "method": "files",
                "hash_type": "sha256",
                "allow_symlinks": False,
                "ignore_paths": [SIGNATURE, "models"],
            },
            "resources": [
                {"name": name, "algorithm": "sha256", "digest": digest}
                for name, digest in files.items()
            ],
        },
    }


def signed_files(path: Path) -> dict[str, str]:
    """What a signature of the Bento at `path` lists: its files and its manifest, SHA-256 by name,
    sorted as the format has them. Errors: BuildError, OSError.
    """
    files = {**Manifest.read(path).files, MANIFEST: file_digest(path / MANIFEST)}
    return dict(sorted(files.items(), key=lambda item: Path(item[0])))


def check_signature(path: Path, key: Path) -> None:
    """Whether the owner of `key`, a public one, has signed the list that the Bento at `path` has of
    itself; whether that is true, `check_bento` tells. Errors: BuildError where not,
    MissingDependency.
    """
    _require_cryptography()
    from cryptography.exceptions import InvalidSignature

    public = _public_key(key)
    payload, signature = _envelope(path / SIGNATURE)
    try:
        public.verify(signature, _encoded(payload), _ecdsa(public))
    except InvalidSignature:
        raise BuildError(
            f"The signature of {path.parent.name}:{path.name} is not by the key {key.name}.",
            hint="Ask whoever signed it for the public key, or build and sign it again.",
        ) from None
    if _listed(payload, path) != signed_files(path):
        raise BuildError(
            f"{path.parent.name}:{path.name} is not what was signed: {MANIFEST} is another.",
            hint="Build and sign it again.",
        )


def _encoded(payload: bytes) -> bytes:
    """What is signed: DSSE's pre-authentication encoding."""
    parts = (PAYLOAD.encode(), payload)
    return b" ".join([b"DSSEv1", *(b"%d %b" % (len(part), part) for part in parts)])


def _envelope(path: Path) -> tuple[bytes, bytes]:
    """Payload and signature of a bundle. Errors: BuildError."""
    try:
        envelope = json.loads(path.read_bytes())["dsseEnvelope"]
        if envelope["payloadType"] != PAYLOAD:
            raise ValueError(envelope["payloadType"])
        (signature,) = envelope["signatures"]
        return (
            base64.b64decode(envelope["payload"], validate=True),
            base64.b64decode(signature["sig"], validate=True),
        )
    except FileNotFoundError:
        raise BuildError(
            f"{path.parent.parent.name}:{path.parent.name} is not signed.",
            hint=f"Build it with {option('sign', 'KEY')}.",
        ) from None
    except (OSError, ValueError, TypeError, LookupError, RecursionError):
        raise BuildError(f"{SIGNATURE} {_BROKEN}.", hint="Sign it again.") from None


def _listed(payload: bytes, path: Path) -> Mapping[str, str]:
    """The files that a payload lists. Errors: BuildError."""
    try:
        statement: dict[str, Any] = json.loads(payload)
        if (statement["_type"], statement["predicateType"]) != (STATEMENT, PREDICATE):
            raise ValueError(statement["_type"])
        resources = statement["predicate"]["resources"]
        return {item["name"]: item["digest"] for item in resources if item["algorithm"] == "sha256"}
    except (ValueError, TypeError, LookupError, RecursionError):
        raise BuildError(f"{SIGNATURE} of {path.name} {_BROKEN}.", hint="Sign it again.") from None


def _private_key(path: Path, password: str | None) -> ec.EllipticCurvePrivateKey:
    _require_cryptography()
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    secret = password.encode() if password else None
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), secret)
    except (OSError, ValueError, TypeError) as error:
        raise _no_key(path, "private key", error) from None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise _no_key(path, "private key", "it is not elliptic")
    return key


def _public_key(path: Path) -> ec.EllipticCurvePublicKey:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    try:
        key = serialization.load_pem_public_key(path.read_bytes())
    except (OSError, ValueError) as error:
        raise _no_key(path, "public key", error) from None
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise _no_key(path, "public key", "it is not elliptic")
    return key


def _no_key(path: Path, what: str, why: Exception | str) -> BuildError:
    said = why if isinstance(why, str) else getattr(why, "strerror", None) or "it cannot be read"
    return BuildError(
        f"{path} holds no {what} for signing: {said}.",
        hint="Make one: openssl ecparam -name prime256v1 -genkey -noout -out sign.key; openssl ec"
        " -in sign.key -pubout -out sign.pub.",
    )


def _ecdsa(key: ec.EllipticCurvePublicKey) -> ec.ECDSA:
    """The hash that goes with a curve. Errors: BuildError for a curve that the format lacks."""
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec

    known: dict[str, HashAlgorithm] = {
        "secp256r1": hashes.SHA256(),
        "secp384r1": hashes.SHA384(),
        "secp521r1": hashes.SHA512(),
    }
    if key.curve.name not in known:
        raise BuildError(
            f"A key on the curve {key.curve.name} cannot sign.", hint=f"Take {', '.join(known)}."
        )
    return ec.ECDSA(known[key.curve.name])


def _hint(key: ec.EllipticCurvePublicKey) -> str:
    from cryptography.hazmat.primitives import serialization

    pem = key.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return hashlib.sha256(pem).hexdigest()


def _require_cryptography() -> None:
    try:
        import cryptography  # noqa: F401
    except ImportError:
        raise MissingDependency(
            "Signatures need the package cryptography.", hint="Run: pip install cryptography"
        ) from None
