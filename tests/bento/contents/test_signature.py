"""Signatures of a Bento: by whose key, over what, and what is said where they do not hold."""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from openllm.bento.build import BuildOptions, BuildResult, build
from openllm.bento.contents.signature import Signer, check_signature
from openllm.bento.inspect import require_intact, verify_bento
from openllm.config.spec import LLMSpec
from openllm.errors import BuildError
from openllm.weights.checkpoint import file_digest
from tests.bento.conftest import bentoml_home
from tests.bento.models import write_echo_weights

pytest.importorskip("cryptography")
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519


def write_keys(folder: Path, curve: ec.EllipticCurve, password: bytes | None = None) -> Path:
    """A pair in `sign.key` and `sign.pub` below `folder`, which is returned."""
    folder.mkdir()
    key = ec.generate_private_key(curve)
    locked = serialization.BestAvailableEncryption(password) if password else None
    (folder / "sign.key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            locked or serialization.NoEncryption(),
        )
    )
    (folder / "sign.pub").write_bytes(
        key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )
    return folder


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_keys(tmp_path_factory.mktemp("signing") / "keys", ec.SECP256R1())


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, keys: Path) -> Iterator[BuildResult]:
    folder = tmp_path_factory.mktemp("signed")
    with pytest.MonkeyPatch.context() as patch, bentoml_home(folder / "bentoml", patch):
        spec = LLMSpec(model_id=str(write_echo_weights(folder / "parrot")), backend="echo")
        yield build(spec, BuildOptions(signer=Signer.of(keys / "sign.key")))


@pytest.fixture
def bento(built: BuildResult, tmp_path: Path) -> Path:
    place = tmp_path / built.path.parent.name / built.path.name
    shutil.copytree(built.path, place)
    return place


def refusal(bento: Path, key: Path) -> str:
    with pytest.raises(BuildError) as error:
        check_signature(bento, key)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_signed_bento_is_verified_by_the_public_key(built: BuildResult, keys: Path) -> None:
    assert verify_bento(built.tag, keys / "sign.pub").problems == ()
    require_intact(built.path, keys / "sign.pub")
    assert verify_bento(built.tag).problems == ()  # the signature itself is no foreign file


def test_the_signature_has_the_form_of_model_signing(built: BuildResult) -> None:
    bundle = json.loads((built.path / "model.sig").read_text())
    assert bundle["mediaType"] == "application/vnd.dev.sigstore.bundle.v0.3+json"
    envelope = bundle["dsseEnvelope"]
    assert envelope["payloadType"] == "application/vnd.in-toto+json"
    statement = json.loads(base64.b64decode(envelope["payload"]))
    assert statement["_type"] == "https://in-toto.io/Statement/v1"
    assert statement["predicateType"] == "https://model_signing/signature/v1.0"
    listed = {item["name"]: item["digest"] for item in statement["predicate"]["resources"]}
    assert set(listed) == {
        path.relative_to(built.path).as_posix()
        for path in built.path.rglob("*")
        if path.is_file() and path.name != "model.sig"
    }
    assert listed["manifest.json"] == file_digest(built.path / "manifest.json")


def test_a_signature_of_another_key_is_refused(bento: Path, tmp_path: Path) -> None:
    other = write_keys(tmp_path / "other", ec.SECP256R1())
    assert "is not by the key sign.pub" in refusal(bento, other / "sign.pub")


def test_what_is_not_signed_is_refused(bento: Path, keys: Path) -> None:
    (bento / "model.sig").unlink()
    assert "is not signed. Build it with" in refusal(bento, keys / "sign.pub")


def test_another_manifest_is_refused(bento: Path, keys: Path) -> None:
    manifest = bento / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"licence": null', '"licence": "MIT"'))
    assert "is not what was signed" in refusal(bento, keys / "sign.pub")


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"dsseEnvelope": {"payloadType": "x"}}'])
def test_what_is_no_signature_is_refused(bento: Path, keys: Path, text: str) -> None:
    (bento / "model.sig").write_text(text)
    assert "is no signature of OpenSSF's model signing" in refusal(bento, keys / "sign.pub")


def test_a_changed_payload_is_refused(bento: Path, keys: Path) -> None:
    bundle = json.loads((bento / "model.sig").read_text())
    payload = base64.b64decode(bundle["dsseEnvelope"]["payload"])
    changed = payload.replace(b"src/service.py", b"src/service.txt")
    bundle["dsseEnvelope"]["payload"] = base64.b64encode(changed).decode()
    (bento / "model.sig").write_text(json.dumps(bundle))
    assert "is not by the key" in refusal(bento, keys / "sign.pub")


@pytest.mark.parametrize("curve", [ec.SECP384R1(), ec.SECP521R1()])
def test_the_other_curves_and_a_key_with_a_password(
    bento: Path, tmp_path: Path, curve: ec.EllipticCurve
) -> None:
    pair = write_keys(tmp_path / "pair", curve, b"secret")
    with pytest.raises(BuildError, match="holds no private key for signing"):
        Signer.of(pair / "sign.key")
    Signer.of(pair / "sign.key", "secret").sign(bento)
    check_signature(bento, pair / "sign.pub")


def test_keys_that_cannot_sign_are_refused(bento: Path, tmp_path: Path) -> None:
    other = ed25519.Ed25519PrivateKey.generate()
    (tmp_path / "ed.key").write_bytes(
        other.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    odd = write_keys(tmp_path / "odd", ec.SECP256K1())
    for path, said in [
        (tmp_path / "ed.key", "holds no private key for signing: it is not elliptic"),
        (tmp_path / "none.key", "No such file"),
        (bento / "bento.yaml", "it cannot be read"),
    ]:
        with pytest.raises(BuildError, match=said):
            Signer.of(path)
    with pytest.raises(BuildError, match="A key on the curve secp256k1 cannot sign"):
        Signer.of(odd / "sign.key").sign(bento)
