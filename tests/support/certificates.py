"""Certificates for TLS servers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import trustme


@dataclass(frozen=True)
class Certificate:
    """A key and a certificate for 127.0.0.1, and the authority that signed it."""

    authority: Path
    chain: Path
    key: Path


def issue_certificate(directory: Path) -> Certificate:
    made = Certificate(directory / "ca.pem", directory / "chain.pem", directory / "key.pem")
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1", "localhost")
    authority.cert_pem.write_to_path(str(made.authority))
    issued.private_key_pem.write_to_path(str(made.key))
    for blob in issued.cert_chain_pems:
        blob.write_to_path(str(made.chain), append=True)
    return made
