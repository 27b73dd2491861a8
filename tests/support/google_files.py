"""What stands in the credentials files that Google's tools write, made up."""

from functools import cache
from typing import Any


@cache
def private_key() -> str:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return pem.decode()


def service_account() -> dict[str, Any]:
    return {
        "type": "service_account",
        "project_id": "p",
        "private_key_id": "1",
        "private_key": private_key(),
        "client_email": "robot@p.iam.test",
        "token_uri": "https://token.test/token",
    }


USER = {
    "type": "authorized_user",
    "client_id": "c",
    "client_secret": "s",
    "refresh_token": "r",
    "quota_project_id": "payer",
    "token_uri": "https://token.test/token",
}

EXTERNAL = {
    "type": "external_account",
    "audience": "//iam.test/pool",
    "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
    "token_url": "https://sts.googleapis.com/v1/token",
}

PROGRAM = EXTERNAL | {"credential_source": {"executable": {"command": "touch /tmp/never"}}}
