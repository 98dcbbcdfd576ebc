"""A small certificate authority: files for servers and clients that speak TLS."""
import pathlib
import subprocess
import tempfile

from . import keeper

_CONFIG = """
[ca]
default_ca = own
[own]
database = {dir}/index
new_certs_dir = {dir}
rand_serial = yes
certificate = {dir}/{name}.pem
private_key = {dir}/{name}.key
default_md = sha256
policy = any
unique_subject = no
copy_extensions = copy
[any]
commonName = supplied
"""


def _openssl(*args):
    subprocess.run(["openssl", *map(str, args)], check=True, stdout=subprocess.DEVNULL,
                   stderr=subprocess.DEVNULL)


class Authority:
    """`with Authority() as ca`: ca.file is its certificate, ca.issue("shop") one that it signed."""

    def __init__(self, name="test-ca"):
        self.name = name
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="smallage-tls-"))
        self.file = self.dir / f"{name}.pem"

    def __enter__(self):
        keeper.keep_folder(str(self.dir))
        _openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                 "-keyout", self.dir / f"{self.name}.key", "-out", self.file, "-days", 2, "-subj",
                 f"/CN={self.name}")
        (self.dir / "config").write_text(_CONFIG.format(dir=self.dir, name=self.name))
        (self.dir / "index").touch()
        return self

    def __exit__(self, *_):
        keeper.drop_folder(str(self.dir))

    def issue(self, name, holders="DNS:localhost,IP:127.0.0.1", start=None, end=None):
        """(certificate, key). start and end as YYYYMMDDHHMMSSZ."""
        cert, key, request = (self.dir / f"{name}.{x}" for x in ("pem", "key", "csr"))
        _openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                 "-keyout", key, "-out", request, "-subj", f"/CN={name}", "-addext",
                 f"subjectAltName={holders}")
        dates = ["-startdate", start, "-enddate", end] if start else ["-days", 2]
        _openssl("ca", "-batch", "-notext", "-config", self.dir / "config", "-in", request, "-out",
                 cert, *dates)
        # Some servers run as another user than who started them.
        key.chmod(0o644)
        return str(cert), str(key)
