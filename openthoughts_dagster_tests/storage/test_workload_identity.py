"""Pods without keys: a token that Kubernetes renews is exchanged for short-lived ones, by every library that we use."""

import datetime
import ipaddress
import os
import subprocess
import sys
from pathlib import Path

import pytest

from openthoughts_dagster_tests.object_store import KEYS, Certificate, object_store

WORK = """
import sys
from pathlib import Path
sys.modules["boto3"] = None  # not in every image
from openthoughts_dagster.lake import TEACHER_ANSWERS, Lake
from openthoughts_dagster.storage import Folders
from openthoughts_dagster_tests.lake.test_lake import _answers
pod = Path(sys.argv[1])
(pod / "made").mkdir()
(pod / "made" / "config.json").write_text("{}")
Folders(pod / "cache").put(pod / "made", "s3://files/made")
Folders(pod / "cache").fetch("s3://files/made")
lake = Lake("s3://lake/tables")
lake.append(TEACHER_ANSWERS, _answers("a"))
print(lake.scan(TEACHER_ANSWERS, source="a").collect().height)
"""


def _certificate(folder: Path) -> Certificate:
    """An authority of the test's own, and a server's certificate: tokens are sent through TLS only."""
    pytest.importorskip("cryptography", reason="cryptography comes with moto: pip install 'moto[s3]'")
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    now, day, pem = datetime.datetime.now(datetime.UTC), datetime.timedelta(days=1), serialization.Encoding.PEM
    keys = {name: ec.generate_private_key(ec.SECP256R1()) for name in ("authority", "server")}
    for name, key in keys.items():
        subject, issuer = (
            x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, each)]) for each in (name, "authority")
        )
        made = (
            x509.CertificateBuilder(
                issuer, subject, key.public_key(), x509.random_serial_number(), now - day, now + day
            )
            .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
            .add_extension(x509.BasicConstraints(ca=name == "authority", path_length=None), True)
            .sign(keys["authority"], hashes.SHA256())
        )
        (folder / f"{name}.pem").write_bytes(made.public_bytes(pem))
    private = keys["server"].private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "key.pem").write_bytes(private)
    return Certificate(folder / "authority.pem", folder / "server.pem", folder / "key.pem")


def test_tables_and_folders_are_written_with_a_service_accounts_token_and_no_key(tmp_path: Path) -> None:
    certificate = _certificate(tmp_path)
    (tmp_path / "token").write_text("a.service.account-token")
    with object_store("lake", "files", tls=certificate) as store:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")} | {
            "AWS_REGION": "us-east-1",
            "AWS_ROLE_ARN": "arn:aws:iam::123456789012:role/openthoughts",
            "AWS_WEB_IDENTITY_TOKEN_FILE": str(tmp_path / "token"),
            "AWS_ENDPOINT_URL": store.endpoint,
            "AWS_ENDPOINT_URL_STS": store.endpoint,
            "AWS_CA_BUNDLE": str(certificate.authority),
            "SSL_CERT_FILE": str(certificate.authority),
        }
        (tmp_path / "pod").mkdir()
        command = [sys.executable, "-c", WORK, str(tmp_path / "pod")]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
        assert (done.stdout, done.returncode) == ("2\n", 0), done.stderr[-2000:]
        # whoever asked the store had a temporary key, and none of them was ours
        used = store.keys_used - {""}
        assert used and all(key.startswith("ASIA") for key in used) and KEYS["AWS_ACCESS_KEY_ID"] not in used
