"""Makes certificates for programs that talk to themselves alone: new at every start, by an authority that ends then.

Whoever has no file of the folder can neither present a certificate that is taken, nor have one made.
"""

from __future__ import annotations

import ipaddress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from caravan.stack.host.private_files import write_private

if TYPE_CHECKING:
    from cryptography import x509

AUTHORITY, CERTIFICATE, KEY = "authority.pem", "certificate.pem", "key.pem"
#: How long one start may last.
LIFETIME = timedelta(days=3650)


def make(folder: Path, host: str) -> None:
    """Write an authority, one certificate for both ends at `host` and loopback, and its key; 0600 in a 0700 folder."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    def named(name: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])

    def blank(subject: str, key: ec.EllipticCurvePrivateKey, *, authority: bool) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        return (
            x509.CertificateBuilder(subject_name=named(subject), issuer_name=named("authority"))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))  # clocks jump
            .not_valid_after(now + LIFETIME)
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        )

    authority_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    authority = blank("authority", authority_key, authority=True).sign(authority_key, hashes.SHA256())
    certificate = (
        blank("node", key, authority=False)
        .add_extension(x509.SubjectAlternativeName(_names(host)), critical=False)
        .add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False
        )
        .sign(authority_key, hashes.SHA256())
    )
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    write_private(folder / AUTHORITY, authority.public_bytes(Encoding.PEM).decode())
    write_private(folder / CERTIFICATE, certificate.public_bytes(Encoding.PEM).decode())
    write_private(folder / KEY, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode())


def _names(host: str) -> list[x509.GeneralName]:
    from cryptography import x509

    try:
        own: x509.GeneralName = x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        own = x509.DNSName(host)
    return list(dict.fromkeys([x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1")), own]))
