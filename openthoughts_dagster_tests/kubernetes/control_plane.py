"""A real Kubernetes control plane on loopback: etcd, API server (with an audit log), controller manager, scheduler.

    with ControlPlane(folder) as plane:          # the fixture `plane` does this once a session
        plane.core, plane.batch                  # the official client, as administrator; plane.kubeconfig for others
        plane.stop("kube-apiserver"); plane.start("kube-apiserver")
        plane.audited()                          # every request that was answered, by whom

The binaries are found through KUBEBUILDER_ASSETS. There are no nodes: `openthoughts_dagster_tests.kubelet` runs them.
Times are shortened in proportion: a node that is silent for 8 s is not ready, its pods go 10 s later (50 s and 300 s).
"""

import ctypes
import json
import os
import secrets
import signal
import ssl
import subprocess
import urllib.request
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from openthoughts_dagster_tests.conftest import skip_without
from openthoughts_dagster_tests.e2e.servers import free_port, wait_for
from openthoughts_dagster_tests.kubernetes.applying import apply

BINARIES = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")
HOW_TO_GET = (
    "set KUBEBUILDER_ASSETS to a folder of etcd, kube-apiserver, kube-controller-manager and kube-scheduler "
    "(https://dl.k8s.io and the releases of etcd-io/etcd, or `go build` of their modules)"
)
_LIBC = ctypes.CDLL(None)  # loaded before any fork
_AUDIT = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [
        {"level": "Metadata", "userGroups": ["system:serviceaccounts"]},
        {"level": "None"},
    ],
}


def assets() -> Path | None:
    """The folder of the control plane's binaries, None where KUBEBUILDER_ASSETS names none."""
    folder = os.environ.get("KUBEBUILDER_ASSETS")
    complete = folder and all((Path(folder) / name).exists() for name in BINARIES)
    return Path(folder) if folder and complete else None


def need_control_plane() -> Path:
    """The folder of the binaries; the test is skipped without them, or fails where everything has to be tested."""
    found = assets()
    skip_without("a Kubernetes control plane", found is not None, HOW_TO_GET)
    assert found is not None
    return found


class ControlPlane:
    """The four processes; their files, logs, kubeconfig and certificate are in `folder`."""

    def __init__(self, folder: Path, binaries: Path | None = None) -> None:
        self.folder = folder.resolve()
        self._binaries = binaries or need_control_plane()
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self.port, self._etcd, self._peer = free_port(), free_port(), free_port()
        self.kubeconfig = self.folder / "kubeconfig"
        self.certificate = self.folder / "certificates" / "apiserver.crt"
        self.key = self.certificate.with_suffix(".key")
        self._audit_log = self.folder / "audit.log"
        self.token = secrets.token_hex(16)  # the administrator's

    def __enter__(self) -> "ControlPlane":
        self.folder.mkdir(parents=True, exist_ok=True)
        _write_signing_key(self.folder)
        (self.folder / "tokens.csv").write_text(f'{self.token},admin,admin,"system:masters"\n')
        (self.folder / "audit.yaml").write_text(yaml.safe_dump(_AUDIT))
        try:
            self.start("etcd")
            self.start("kube-apiserver")
            self._write_kubeconfig()
            self.start("kube-controller-manager")
            self.start("kube-scheduler")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for name in reversed(BINARIES):
            if name in self._running:
                self.stop(name)

    def start(self, name: str) -> None:
        """Start one of the four; returns when the API server is ready, if it is that."""
        with (self.folder / f"{name}.log").open("ab") as log:
            command = [str(self._binaries / name), *self._options()[name]]
            self._running[name] = subprocess.Popen(
                command, stdout=log, stderr=log, start_new_session=True, preexec_fn=_end_with_us
            )
        if name == "kube-apiserver":
            wait_for(lambda: self._dead(name) or self.ready(), 90, f"API server, see {self.folder}/{name}.log")
        assert not self._dead(name), (self.folder / f"{name}.log").read_text()[-3000:]

    def stop(self, name: str, how: signal.Signals = signal.SIGTERM) -> None:
        """Stop one of the four and wait for its end."""
        process = self._running.pop(name)
        process.send_signal(how)
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)

    def ready(self) -> bool:
        """Whether the API server answers and is ready."""
        try:
            context = ssl.create_default_context(cafile=str(self.certificate))
            request = urllib.request.Request(
                f"{self.address}/readyz", headers={"Authorization": f"Bearer {self.token}"}
            )
            with urllib.request.urlopen(request, timeout=2, context=context) as reply:
                return bool(reply.status == 200)
        except OSError:
            return False

    @property
    def address(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    def client(self, token: str | None = None) -> Any:
        """An ApiClient of its own, as administrator or with a service account's token."""
        from kubernetes import client

        settings = client.Configuration(host=self.address, api_key={"authorization": f"Bearer {token or self.token}"})
        settings.ssl_ca_cert = str(self.certificate)
        settings.retries = False  # a server that is down is an answer, not a reason to wait
        return client.ApiClient(settings)

    @cached_property
    def administrator(self) -> Any:
        """An ApiClient that may do everything."""
        return self.client()

    @cached_property
    def core(self) -> Any:
        from kubernetes import client

        return client.CoreV1Api(self.administrator)

    @cached_property
    def batch(self) -> Any:
        from kubernetes import client

        return client.BatchV1Api(self.administrator)

    def apply(self, manifests: list[dict[str, Any]], namespace: str | None = None) -> None:
        """Apply manifests on the server's side, in order; those without a namespace of their own go to `namespace`."""
        apply(self.administrator, manifests, namespace)

    def audited(self) -> list[dict[str, Any]]:
        """What service accounts asked of the API server: user, verb, resource, subresource, namespace, code."""
        entries = []
        for line in self._audit_log.read_text().splitlines():
            event = json.loads(line)
            about = event.get("objectRef", {})
            entries.append(
                {
                    "user": event["user"]["username"],
                    "verb": event["verb"],
                    "resource": about.get("resource", ""),
                    "subresource": about.get("subresource", ""),
                    "namespace": about.get("namespace", ""),
                    "name": about.get("name", ""),
                    "code": event.get("responseStatus", {}).get("code"),
                }
            )
        return entries

    def _dead(self, name: str) -> bool:
        return self._running[name].poll() is not None

    def _write_kubeconfig(self) -> None:
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "test",
            "clusters": [
                {"name": "test", "cluster": {"server": self.address, "certificate-authority": str(self.certificate)}}
            ],
            "users": [{"name": "admin", "user": {"token": self.token}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "admin"}}],
        }
        self.kubeconfig.write_text(yaml.safe_dump(config))

    def _options(self) -> dict[str, list[str]]:
        local, kubeconfig = "127.0.0.1", str(self.kubeconfig)
        as_admin = [f"--{part}kubeconfig={kubeconfig}" for part in ("", "authentication-", "authorization-")]
        unserved = [f"--bind-address={local}", "--secure-port=0", "--leader-elect=false"]
        etcd = f"http://{local}:{self._etcd}"
        return {
            "etcd": [
                f"--data-dir={self.folder / 'etcd'}",
                f"--listen-client-urls={etcd}",
                f"--advertise-client-urls={etcd}",
                f"--listen-peer-urls=http://{local}:{self._peer}",
                "--unsafe-no-fsync",
                "--log-level=warn",
            ],
            "kube-apiserver": [
                f"--etcd-servers={etcd}",
                f"--bind-address={local}",
                f"--advertise-address={local}",
                f"--secure-port={self.port}",
                f"--cert-dir={self.certificate.parent}",
                "--service-account-issuer=https://kubernetes.default.svc",
                f"--service-account-signing-key-file={self.folder / 'sa.key'}",
                f"--service-account-key-file={self.folder / 'sa.pub'}",
                f"--token-auth-file={self.folder / 'tokens.csv'}",
                "--authorization-mode=RBAC",
                "--service-cluster-ip-range=10.0.0.0/24",
                "--endpoint-reconciler-type=none",
                "--default-not-ready-toleration-seconds=10",
                "--default-unreachable-toleration-seconds=10",
                f"--audit-policy-file={self.folder / 'audit.yaml'}",
                f"--audit-log-path={self._audit_log}",
            ],
            "kube-controller-manager": [
                *as_admin,
                *unserved,
                f"--service-account-private-key-file={self.folder / 'sa.key'}",
                f"--root-ca-file={self.certificate}",
                "--node-monitor-grace-period=8s",
                "--node-monitor-period=1s",
            ],
            "kube-scheduler": [*as_admin, *unserved],
        }


def _end_with_us() -> None:
    """Have the kernel end this process when the thread that started it is gone, also when it was killed."""
    _LIBC.prctl(1, signal.SIGKILL)


def _write_signing_key(folder: Path) -> None:
    """The key pair that service account tokens are signed with."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(65537, 2048)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    (folder / "sa.key").write_bytes(private)
    (folder / "sa.key").chmod(0o600)
    (folder / "sa.pub").write_bytes(public)
