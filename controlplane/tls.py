"""How a router is recognised over TLS: by an authority, by the fingerprint of its key, or by both.

An authority says who may call himself by a name; whoever it issues another certificate to can step between. A
fingerprint names the one key that counts, so that even a certificate of the right authority does not help a man in the
middle. The channel binding of WAMP-cryptosign is not used: the client signs the challenge XOR the channel's identity,
and who stands in the middle knows both identities and chooses the challenge, so that it binds nothing.
"""

from collections.abc import Iterable
from pathlib import Path

from OpenSSL import SSL
from OpenSSL.crypto import X509
from service_identity import VerificationError
from service_identity.cryptography import extract_patterns
from service_identity.hazmat import DNS_ID, IPAddress_ID, verify_service_identity
from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.ssl import Certificate, CertificateOptions, TLSVersion, platformTrust, trustRootFromCertificates
from twisted.protocols.tls import TLSMemoryBIOProtocol
from zope.interface import implementer  # type: ignore[import-untyped]

from controlplane.certificates import fingerprint, split_chain
from controlplane.errors import InvalidConfiguration

REASONS = {
    2: "no certificate of its issuer is known",
    9: "it is not valid yet",
    10: "it has expired",
    18: "it was issued by itself",
    19: "it was issued by an authority that is not the expected one",
    20: "it was issued by an authority that is not the expected one",
    21: "it was issued by an authority that is not the expected one",
    26: "it is not for servers",
}
"""What OpenSSL's numbers mean, where they mean something to an operator."""


@implementer(IOpenSSLClientConnectionCreator)
class RouterIdentity:
    """Makes TLS connections that nobody but the expected router can complete.

    With `ca_file`, or without anything, the router's certificate is verified against that authority or those of the
    system, and must be for the host. With `fingerprints` its key must be one of them; alone they are enough.
    """

    def __init__(self, host: str, ca_file: str | None, fingerprints: Iterable[str]) -> None:
        self._host = host
        self._is_address = isIPAddress(host) or isIPv6Address(host)
        self._fingerprints = frozenset(fingerprints)
        self._by_authority = ca_file is not None or not self._fingerprints
        self.problem: str | None = None
        """Why the last connection was refused."""

        if ca_file is not None:
            trust = trustRootFromCertificates(_authorities(Path(ca_file)))
        else:
            trust = platformTrust() if self._by_authority else trustRootFromCertificates([])
        options = CertificateOptions(trustRoot=trust, raiseMinimumTo=TLSVersion.TLSv1_2)
        self._context = options.getContext()

    def clientConnectionForTLS(self, _protocol: TLSMemoryBIOProtocol) -> SSL.Connection:  # noqa: N802
        """Return a connection that verifies the router in its handshake."""
        self.problem = None
        connection = SSL.Connection(self._context, None)
        if not self._is_address:
            connection.set_tlsext_host_name(self._host.encode("idna"))
        connection.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, self._verify)
        return connection

    def _verify(self, _connection: SSL.Connection, found: X509, error: int, depth: int, good: int) -> bool:
        self.problem = self._objection(found, error, depth, bool(good))
        return self.problem is None

    def _objection(self, found: X509, error: int, depth: int, good: bool) -> str | None:
        if self._by_authority and not good:
            return f"its certificate is not good: {_in_words(error)}"
        if depth > 0:
            return None
        certificate = found.to_cryptography()
        if self._fingerprints and fingerprint(certificate.public_key()) not in self._fingerprints:
            return (
                f"its key has the fingerprint {fingerprint(certificate.public_key())}, which is not the expected one: "
                "it was renewed without our knowing, or somebody is in between"
            )
        if self._by_authority:
            expected = IPAddress_ID(self._host) if self._is_address else DNS_ID(self._host)
            try:
                verify_service_identity(extract_patterns(certificate), [expected], [])
            except (VerificationError, ValueError):
                return f"its certificate is not for {self._host}"
        return None


def _authorities(file: Path) -> list[Certificate]:
    try:
        found = [Certificate.loadPEM(each) for each in split_chain(file.read_bytes())]
    except (OSError, SSL.Error, ValueError) as problem:
        raise InvalidConfiguration(
            f"the certificate authority in {file} cannot be read: {problem}",
            next_step="name the ca.crt that 'controlplane init' made",
        ) from problem
    if not found:
        raise InvalidConfiguration(f"there is no certificate in {file}", next_step="name a file in PEM format")
    return found


def _in_words(error: int) -> str:
    return REASONS.get(error, f"error {error} of OpenSSL")
