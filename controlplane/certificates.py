"""X.509 certificates in PEM: authorities of our own, what they issue and take back, and fingerprints of keys.

All keys are on the curve P-256. A fingerprint is the SHA-256 of a public key (its SubjectPublicKeyInfo in DER) in
hexadecimal: it stays when a certificate is renewed for the same key.
"""

import hashlib
import ipaddress
import os
import re
import tempfile
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from controlplane.errors import InvalidConfiguration

AUTHORITY_LIFETIME = timedelta(days=3650)
CLOCKS_DIFFER = timedelta(hours=1)
"""Certificates begin that much earlier, for machines whose clocks are late."""

RENEWAL_SHARE = 1 / 3
"""A certificate is due when less than this share of its life is left."""

SERVER = ExtendedKeyUsageOID.SERVER_AUTH
CLIENT = ExtendedKeyUsageOID.CLIENT_AUTH
PEM_CERTIFICATE = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----\n?", re.DOTALL)


RequestedKey = ec.EllipticCurvePublicKey


class Authority(NamedTuple):
    """Who issues certificates."""

    key: bytes
    certificate: bytes


class Description(NamedTuple):
    """What a certificate says."""

    names: tuple[str, ...]
    """Host names and addresses that it is good for."""

    issuer: str
    begins: datetime
    ends: datetime
    fingerprint: str
    """Of its key."""

    serial: int

    def is_due(self, now: datetime) -> bool:
        """Say whether it should be renewed."""
        return self.ends - now < (self.ends - self.begins) * RENEWAL_SHARE


def make_key() -> bytes:
    """Return a new private key."""
    return ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def make_authority(name: str, now: datetime) -> Authority:
    """Return a new authority, which can issue certificates of ends but no further authorities."""
    key = make_key()
    private = _private(key)
    subject = _name(name)
    builder = _builder(subject, subject, private.public_key(), now, AUTHORITY_LIFETIME)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    usage = _key_usage(key_cert_sign=True, crl_sign=True)
    return Authority(key, _signed(builder.add_extension(usage, critical=True), private))


def issue(
    authority: Authority,
    public_key: ec.EllipticCurvePublicKey,
    names: Iterable[str],
    usage: x509.ObjectIdentifier,
    now: datetime,
    lifetime: timedelta,
) -> bytes:
    """Return a certificate for a public key, good for these host names or addresses and for one usage."""
    issuer = x509.load_pem_x509_certificate(authority.certificate)
    names = list(names)
    builder = _builder(_name(names[0]), issuer.subject, public_key, now, lifetime)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(_key_usage(digital_signature=True), critical=True)
    builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
    builder = builder.add_extension(x509.SubjectAlternativeName([_general(name) for name in names]), critical=False)
    return _signed(builder, _private(authority.key))


def make_request(key: bytes, name: str) -> bytes:
    """Return a request for a certificate (CSR) for a private key, which does not have to leave its machine for it."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(_name(name))
    return builder.sign(_private(key), hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def requested_key(request: bytes) -> ec.EllipticCurvePublicKey:
    """Return the public key of a request whose sender has shown to have the private one; raises `ValueError`."""
    found = x509.load_pem_x509_csr(request)
    key = found.public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise ValueError("its key is not on the curve P-256")
    if not found.is_signature_valid:
        raise ValueError("its signature is wrong")
    return key


def make_revocations(authority: Authority, serials: Iterable[int], now: datetime, lifetime: timedelta) -> bytes:
    """Return the list of certificates that an authority has taken back."""
    issuer = x509.load_pem_x509_certificate(authority.certificate)
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.subject)
        .last_update(now - CLOCKS_DIFFER)
        .next_update(now + lifetime)
    )
    for serial in serials:
        taken_back = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(now - CLOCKS_DIFFER)
        builder = builder.add_revoked_certificate(taken_back.build())
    return builder.sign(_private(authority.key), hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def describe(certificate: bytes) -> Description:
    """Return what the first certificate of a PEM text says; raises `ValueError` when there is none."""
    found = x509.load_pem_x509_certificate(certificate)
    try:
        general = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        names: tuple[str, ...] = ()
    else:
        addresses = general.get_values_for_type(x509.IPAddress)
        names = (*general.get_values_for_type(x509.DNSName), *(str(address) for address in addresses))
    return Description(
        names,
        found.issuer.rfc4514_string(),
        found.not_valid_before_utc,
        found.not_valid_after_utc,
        fingerprint(found.public_key()),
        found.serial_number,
    )


def fingerprint(public_key: CertificatePublicKeyTypes) -> str:
    """Return the fingerprint of a public key."""
    der = public_key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(der).hexdigest()


def key_fingerprint(key: bytes) -> str:
    """Return the fingerprint of the public half of a private key of any kind; raises `ValueError`."""
    found = serialization.load_pem_private_key(key, password=None).public_key()
    der = found.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(der).hexdigest()


def public_half(key: bytes) -> ec.EllipticCurvePublicKey:
    """Return the public half of a private key."""
    return _private(key).public_key()


def split_chain(text: bytes) -> list[bytes]:
    """Return the certificates of a PEM text, one by one."""
    return PEM_CERTIFICATE.findall(text)


def read_certificate(path: Path) -> Description:
    """Return what the certificate in a file says; raises `InvalidConfiguration` when it cannot be read."""
    try:
        return describe(path.read_bytes())
    except (OSError, ValueError) as problem:
        raise InvalidConfiguration(
            f"there is no certificate in {path}: {problem}", next_step="name a file with a certificate in PEM format"
        ) from problem


def write_private(path: Path, content: bytes) -> None:
    """Replace a file at once, readable by its owner only; of several who do so at the same time one is the last."""
    descriptor, fresh = tempfile.mkstemp(dir=path.parent, prefix=f"{path.name}.", suffix=".new")
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(descriptor)
    os.replace(fresh, path)


def today() -> datetime:
    """Return the time that certificates are compared with."""
    return datetime.now(UTC)


def _private(key: bytes) -> ec.EllipticCurvePrivateKey:
    found = serialization.load_pem_private_key(key, password=None)
    if not isinstance(found, ec.EllipticCurvePrivateKey):
        raise ValueError("the key is not on an elliptic curve")
    return found


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text[:64])])


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    public_key: ec.EllipticCurvePublicKey,
    now: datetime,
    lifetime: timedelta,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCKS_DIFFER)
        .not_valid_after(now + lifetime)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
    )


def _key_usage(**used: bool) -> x509.KeyUsage:
    every = (
        "digital_signature",
        "content_commitment",
        "key_encipherment",
        "data_encipherment",
        "key_agreement",
        "key_cert_sign",
        "crl_sign",
        "encipher_only",
        "decipher_only",
    )
    return x509.KeyUsage(**{name: used.get(name, False) for name in every})


def _signed(builder: x509.CertificateBuilder, key: ec.EllipticCurvePrivateKey) -> bytes:
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
