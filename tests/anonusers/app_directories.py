"""App directories of MongoDB's tools, written from what their documentation says of each generation."""

import io
import json
import zipfile
from pathlib import Path
from typing import Any

ANON_ID = "5a030e154810c524eabef93d"
USERPASS_ID = "5a030e154810c524eabef93e"
GOOGLE_ID = "5a030e154810c524eabef93f"
CONFIG = {
    "autoConfirm": False,
    "emailConfirmationUrl": "https://shop.example.com/confirm",
    "resetPasswordUrl": "https://shop.example.com/reset",
    "confirmEmailSubject": "Welcome",
    "runConfirmationFunction": False,
}
ANON = {"_id": ANON_ID, "name": "anon-user", "type": "anon-user", "disabled": False}
USERPASS = {"name": "local-userpass", "type": "local-userpass", "config": CONFIG, "disabled": False}
GOOGLE = {
    "name": "oauth2-google",
    "type": "oauth2-google",
    "disabled": False,
    "config": {"clientId": "12"},
    "secret_config": {"clientSecret": "google_secret"},
    "redirect_uris": ["https://shop.example.com/"],
}
CUSTOM_DATA = {"enabled": False, "database_name": "shop"}

STITCH = {
    "stitch.json": {
        "config_version": 20180301,
        "app_id": "shop-abcde",
        "name": "shop",
        "location": "US-VA",
        "security": {"allowed_request_origins": ["https://shop.example.com"]},
        "custom_user_data_config": CUSTOM_DATA,
    },
    "secrets.json": {"auth_providers": {"oauth2-google": {"clientSecret": "hush"}}},
    "auth_providers/anything.json": ANON,
    "auth_providers/local-userpass.json": {"_id": USERPASS_ID, **USERPASS},
    "auth_providers/oauth2-google.json": {"_id": GOOGLE_ID, **GOOGLE},
    "functions/hello/config.json": {"name": "hello"},
    "functions/hello/source.js": "exports = () => 1;\n",
}
OLD = {
    "config.json": {**STITCH["stitch.json"], "config_version": 20200603},  # type: ignore[dict-item]
    "auth_providers/anon-user.json": {"id": ANON_ID, "name": "anon-user", "type": "anon-user", "disabled": True},
    "auth_providers/local-userpass.json": {"id": USERPASS_ID, **USERPASS},
}
NEW: dict[str, Any] = {
    "realm_config.json": {
        "config_version": 20210101,
        "app_id": "shop-abcde",
        "name": "shop",
        "environment": "production",
        "allowed_request_origins": ["https://shop.example.com"],
    },
    "auth/providers.json": {
        "anon-user": {"id": ANON_ID, "name": "anon-user", "type": "anon-user", "disabled": False},
        "api-key": {"name": "api-key", "type": "api-key", "disabled": True},
        "local-userpass": {"id": USERPASS_ID, **USERPASS},
    },
    "auth/custom_user_data.json": CUSTOM_DATA,
    "functions/hello.js": "exports = () => 1;\n",
}
ROOT = {"root_config.json": NEW["realm_config.json"], "auth/providers.json": NEW["auth/providers.json"]}
GENERATIONS = {"stitch.json": STITCH, "config.json": OLD, "realm_config.json": NEW, "root_config.json": ROOT}


def content_of(value: Any) -> bytes:
    return value if isinstance(value, bytes) else (value if isinstance(value, str) else json.dumps(value)).encode()


def write(folder: Path, files: dict[str, Any]) -> Path:
    for name, value in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content_of(value))
    return folder


def zipped(files: dict[str, Any]) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, value in files.items():
            archive.writestr(name, content_of(value))
    return target.getvalue()
