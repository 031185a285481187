"""Certificates of nobody, made for a test: a root and a signer whose certificate it issued."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

USES = ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment",
        "key_agreement", "key_cert_sign", "crl_sign", "encipher_only", "decipher_only")  # fmt: skip


def written(folder: Path, key: Any = None, days: int = 30) -> tuple[Path, Path]:
    """Files of a chain and of the signer's private key, as the C2PA profile wants them."""
    folder.mkdir(parents=True, exist_ok=True)
    key, root = key or ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    leaf = _issued("Signer", key.public_key(), root, is_root=False, days=days)
    chain = [leaf, _issued("Root", root.public_key(), root, is_root=True, days=days)]
    paths = folder / "chain.pem", folder / "key.pem"
    paths[0].write_bytes(b"".join(each.public_bytes(Encoding.PEM) for each in chain))
    form = (
        PrivateFormat.PKCS8
        if isinstance(key, ed25519.Ed25519PrivateKey)
        else PrivateFormat.TraditionalOpenSSL
    )
    paths[1].write_bytes(key.private_bytes(Encoding.PEM, form, NoEncryption()))
    return paths


def _issued(name: str, public: Any, root: Any, *, is_root: bool, days: int) -> Any:
    now = datetime.now(UTC)
    used = {"key_cert_sign", "crl_sign", "digital_signature"} if is_root else {"digital_signature"}
    built = (
        x509.CertificateBuilder()
        .subject_name(_name(name))
        .issuer_name(_name("Root"))
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=40))
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=is_root, path_length=None), critical=True)
        .add_extension(x509.KeyUsage(**{use: use in used for use in USES}), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(root.public_key()), critical=False)
    )
    if not is_root:
        built = built.add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=False
        )
    return built.sign(root, hashes.SHA256())


def _name(name: str) -> Any:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "A test"),
            x509.NameAttribute(NameOID.COMMON_NAME, name),
        ]
    )
