"""An authority of our own, for servers on this machine that speak TLS."""

from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import pkcs12

PASSWORD = "a store for a test"  # noqa: S105 - of files that tests make


def authority(folder: Path, name: str) -> tuple[Path, Path]:
    """An authority's certificate, and a server's key with the certificate that it signed, for 127.0.0.1: two PEM
    files."""

    def certificate(subject, key, issuer, issuer_key, *extensions):
        now = datetime.now(UTC)
        building = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, subject)]))
            .issuer_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, issuer)]))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(days=1))
        )
        for extension in extensions:
            building = building.add_extension(extension, critical=False)
        return building.sign(issuer_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ca = certificate(name, ca_key, name, ca_key, x509.BasicConstraints(ca=True, path_length=None))
    host = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    own = certificate("server", key, name, ca_key, host)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    folder.mkdir()
    (folder / "ca.pem").write_bytes(ca)
    (folder / "server.pem").write_bytes(private + own + ca)
    return folder / "ca.pem", folder / "server.pem"


def key_store(pem: Path) -> Path:
    """The server's key and certificate as a Java server reads them, with PASSWORD."""
    text = pem.read_bytes()
    key = serialization.load_pem_private_key(text, None)
    own, *others = x509.load_pem_x509_certificates(text)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    encryption = serialization.BestAvailableEncryption(PASSWORD.encode())
    store = pem.with_suffix(".p12")
    store.write_bytes(pkcs12.serialize_key_and_certificates(b"server", key, own, others, encryption))
    return store
