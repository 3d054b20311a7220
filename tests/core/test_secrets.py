"""Which parameters look like secrets."""

from __future__ import annotations

import pytest

from flask_resumable.core.secrets import is_secret

SECRETS = """
jwt JWT access_token accessToken AccessToken access-token ACCESS_TOKEN accesstoken token Token authToken X-Auth-Token
Authorization authorisation bearer api_key apiKey APIKey APIKEY x-api-key Ocp-Apim-Subscription-Key id_token
refreshToken client_secret clientSecret SECRET password passwd PassWord pwd passphrase user[password] auth[token]
csrf_token csrfmiddlewaretoken X-CSRFToken XSRF-TOKEN _csrf _token authenticity_token __RequestVerificationToken
_wpnonce signature Signature sig hmac X-Amz-Signature X-Amz-Credential X-Amz-Security-Token AWSAccessKeyId
aws_secret_access_key private_key PrivateKey credentials Cookie session session_id sessionid PHPSESSID JSESSIONID
connect.sid sid otp oauth_verifier sas key pass pin
""".split()
HARMLESS = """
album secretary author authors monkey keyword keywords keynote key_frame position tags[] user[id] passenger passport
compass pinned session_title signed design assignee classid basic filetype tenant description sidebar größe
""".split()


@pytest.mark.parametrize("name", SECRETS)
def test_names_of_secrets(name: str) -> None:
    """Whatever the style, and wherever words run together."""
    assert is_secret(name, "x")


@pytest.mark.parametrize("name", HARMLESS)
def test_names_of_other_parameters(name: str) -> None:
    """Words that only contain such words are harmless."""
    assert not is_secret(name, "x")


def test_values() -> None:
    """A JSON Web Token and a bearer token are recognized under any name; prose is not."""
    assert is_secret("t", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl")
    assert is_secret("t", "eyJhbGciOiJub25lIn0.eyJzdWIiOiIxIn0.")
    assert is_secret("t", "Bearer mF_9.B5f-4.1JqM-0000")
    for text in ["", "bearer bonds", "Basic Training", "eyJ", "holiday.jpg.zip", "a.b.c"]:
        assert not is_secret("t", text)
