"""Checks whether a bucket can be used, and says what to do if not."""

from __future__ import annotations

from datetime import datetime
from datetime import UTC
from email.utils import parsedate_to_datetime

from ...errors import ConfigurationError
from ...errors import Unavailable
from ..multipart.store import ObjectInfo
from .errors import BotoCoreError
from .errors import ClientError
from .errors import code_of
from .errors import EndpointConnectionError
from .errors import may_pass
from .store import S3Store

_ADVICE = {
    "NoSuchBucket": "There is no such bucket: create it, or check its name, the region and the endpoint.",
    "404": "There is no such bucket: create it, or check its name, the region and the endpoint.",
    "InvalidAccessKeyId": "The store does not know this access key: check it, and the endpoint.",
    "XAdminUserNotFound": "The store does not know this access key: check it, and the endpoint.",  # Versity's gateway
    "SignatureDoesNotMatch": "The secret key does not match this access key, or the region is wrong.",
    "AccessDenied": "This key may not list, write or upload parts in this bucket: allow it; docs/s3.md has the policy.",
    "403": "This key may not use this bucket: allow it; docs/s3.md has the policy.",
    "AuthorizationHeaderMalformed": "The bucket is in another region: set it.",
    "PermanentRedirect": "The bucket is in another region: set it.",
    "NoCredentialsError": "There is no access key: pass access_key and secret_key, or configure boto3's credentials.",
    "PartialCredentialsError": "Pass both access_key and secret_key.",
    "NoRegionError": "Pass the region, or an endpoint_url.",
    "RequestTimeTooSkewed": "The clocks of this machine and of the store differ: synchronize them (NTP).",
    "SSLError": "The store's certificate is not trusted: check it, and endpoint_url.",
    "ValueError": "endpoint_url is not a URL; use one such as https://s3.example.org.",
    "InvalidBucketName": "This is not a valid bucket name.",
    "ParamValidationError": "This is not a valid bucket name.",
    **dict.fromkeys(
        (
            "AccessControlListNotSupported",
            "InvalidArgument",
            "InvalidEncryptionAlgorithmError",
            "InvalidRequest",
            "InvalidStorageClass",
            "InvalidTag",
            "KMS.DisabledException",
            "KMS.NotFoundException",
            "MetadataTooLarge",
            "NotImplemented",
        ),
        "The store refuses S3_OBJECT_PARAMETERS (object_parameters): change them.",
    ),
}


def check(bucket: S3Store, prefix: str) -> datetime | None:
    """Check that the bucket can be used, and return the time by the clock of the store if it says so.

    :raises ConfigurationError: It cannot; the message says what to do.
    :raises Unavailable: The store does not respond, which may be temporary.
    """
    key = f"{prefix}.partial/access"
    try:
        listed = bucket.client.list_objects_v2(Bucket=bucket.name, Prefix=prefix, MaxKeys=1)
        # With the parameters of finished objects, so that one that the store refuses is found now.
        said = bucket.said(ObjectInfo())
        multipart = bucket.client.create_multipart_upload(Bucket=bucket.name, Key=key, **said)["UploadId"]
        bucket.client.abort_multipart_upload(Bucket=bucket.name, Key=key, UploadId=multipart)
    except (BotoCoreError, ClientError, ValueError) as error:
        code = code_of(error) if isinstance(error, ClientError) else type(error).__name__
        if code in _ADVICE:
            advice = _ADVICE[code]
        elif _is_unknown_host(error):
            advice = "There is no host of this name: check endpoint_url."
        elif isinstance(error, ClientError) and not may_pass(error):
            advice = "The store refuses this, and trying again does not help: look this code up in its documentation."
        else:
            raise Unavailable from error
        raise ConfigurationError(f"The bucket {bucket.name!r} cannot be used ({code}). {advice}") from error
    return _date(listed.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date", ""))


def _date(header: str) -> datetime | None:
    try:
        date = parsedate_to_datetime(header)
    except ValueError:
        return None
    return date if date.tzinfo is not None else date.replace(tzinfo=UTC)


def _is_unknown_host(error: Exception) -> bool:
    return isinstance(error, EndpointConnectionError) and "NameResolutionError" in repr(error.kwargs.get("error"))
