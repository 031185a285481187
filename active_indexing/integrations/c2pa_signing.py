"""Content Credentials for released files: signed after the activation, with the fingerprint as soft binding.

When the credentials of a copy are stripped, the fingerprint of what is left finds the manifest again.
"""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from active_indexing import __version__
from active_indexing.artefacts.atomic import write_bytes
from active_indexing.extras import third_party
from active_indexing.images.encoding import format_of
from active_indexing.integrations.c2pa_fingerprint import ALGORITHM, Fingerprint
from active_indexing.release.signing import SigningError
from active_indexing.store.rows import Manifest

MEDIA_TYPES = {"png": "image/png", "jpeg": "image/jpeg", "webp": "image/webp"}

SETTINGS = {"builder": {"thumbnail": {"enabled": False}}}
"""A thumbnail of the source would be a small copy of the photo that nobody protected."""

CURVES = {"secp256r1": "es256", "secp384r1": "es384", "secp521r1": "es512"}

# One pixel, on which certificate and key are tried before any work is done.
_TRIAL = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108000000003a7e9b550000000a49444154789c6360000000"
    "02000148afa4710000000049454e44ae426082"
)


@dataclass(frozen=True)
class Credentials:
    """Who signs.

    Attributes:
        chain: certificates as PEM, the signer's first, then those of who issued it.
        key: private key as PEM, PKCS #8.
        algorithm: of the signature, as C2PA names it: ``es256``, ``ps256``, ``ed25519`` and so on.
    """

    chain: bytes
    key: bytes
    algorithm: str

    @classmethod
    def read(cls, chain: Path, key: Path) -> Credentials:
        """From two files, tried on a picture of one pixel.

        Args:
            chain: PEM certificates.
            key: PEM private key, without a passphrase.

        Raises:
            SigningError: files that are missing, or that C2PA would not take.
            MissingExtraError: c2pa-python is not installed.
        """
        serialization = third_party("cryptography.hazmat.primitives.serialization", "c2pa")
        try:
            loaded = serialization.load_pem_private_key(key.read_bytes(), None)
            content = chain.read_bytes()
        except (OSError, ValueError, TypeError) as error:
            raise SigningError(
                f"--c2pa {chain} {key}: {one_sentence(error)}; give a chain of certificates and the private "
                "key of the first one, both as PEM, the key without a passphrase."
            ) from error
        plain = loaded.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        credentials = cls(content, plain, _algorithm(loaded))
        try:
            signed(_TRIAL, MEDIA_TYPES["png"], credentials, {"title": "trial"}, None)
        except SigningError as error:
            raise SigningError(f"--c2pa {chain} {key} can't be used to sign: {error}") from error
        return credentials


@dataclass(frozen=True)
class Signing:
    """Signs released files, see ``release.signing.Sign``.

    Attributes:
        credentials: who signs.
        descriptor: fingerprint of the network that describes the files.
    """

    credentials: Credentials
    descriptor: str

    def __call__(self, path: Path, source: Path | None, vector: np.ndarray) -> Manifest:
        """Sign a released file in its place.

        Args:
            path: of the file, PNG, JPEG or WebP.
            source: file that it was made from; its own credentials are kept as those of the parent.
            vector: (D,) float32 descriptor of the file.

        Raises:
            SigningError: the file is left as it was.
        """
        media_type = MEDIA_TYPES[format_of(path.name) or "png"]
        manifest = about(path.name, Fingerprint.of(self.descriptor, vector))
        content, kept = signed(path.read_bytes(), media_type, self.credentials, manifest, source)
        write_bytes(path, content)
        return kept


def about(title: str, fingerprint: Fingerprint) -> dict[str, Any]:
    """What is asserted about a released file."""
    return {
        "claim_generator_info": [{"name": "active-indexing", "version": __version__}],
        "title": title,
        "assertions": [
            {
                "label": "c2pa.soft-binding",
                "data": {"alg": ALGORITHM, "blocks": [{"scope": {}, "value": fingerprint.text()}]},
            },
            {
                "label": "c2pa.actions",
                "data": {"actions": [{"action": "c2pa.edited", "description": "active image indexing"}]},
            },
        ],
    }


def signed(
    content: bytes, media_type: str, credentials: Credentials, manifest: dict[str, Any], source: Path | None
) -> tuple[bytes, Manifest]:
    """A file with its manifest, and the manifest.

    Raises:
        SigningError: says why C2PA refuses it.
    """
    c2pa = third_party("c2pa", "c2pa")
    written = io.BytesIO()
    try:
        key = credentials.algorithm.encode(), credentials.chain, credentials.key, None
        signer = c2pa.Signer.from_info(c2pa.C2paSignerInfo(*key))
        builder = c2pa.Builder(manifest, c2pa.Context(c2pa.Settings.from_dict(SETTINGS)))
        builder.set_intent(c2pa.C2paBuilderIntent.EDIT)
        if source is not None:
            _add_parent(builder, source)
        kept = builder.sign(signer, media_type, io.BytesIO(content), written)
        told = json.loads(c2pa.Reader(media_type, io.BytesIO(written.getvalue())).json())
    except c2pa.C2paError as error:
        raise SigningError(one_sentence(error)) from error
    return written.getvalue(), Manifest(told["active_manifest"], bytes(kept))


def _add_parent(builder: Any, source: Path) -> None:
    kind = MEDIA_TYPES.get(format_of(source.name) or "")
    if kind is None:  # the released file stands for it: a BMP, say, has no credentials to keep
        return
    with source.open("rb") as file:
        builder.add_ingredient({"title": source.name, "relationship": "parentOf"}, kind, file)


def _algorithm(key: Any) -> str:
    """How C2PA calls what this private key signs with."""
    kind = type(key).__name__
    if "Ed25519" in kind:
        return "ed25519"
    if "RSA" in kind:
        return "ps256"
    name = getattr(getattr(key, "curve", None), "name", kind)
    if name not in CURVES:
        raise SigningError(f"C2PA does not sign with {name}; it takes {', '.join(CURVES)}, Ed25519 and RSA.")
    return CURVES[name]


def one_sentence(error: Exception) -> str:
    """The words of an error in one line."""
    return " ".join(str(error).split()).rstrip(".")
