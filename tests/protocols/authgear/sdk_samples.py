"""What the mobile SDKs send, octet for octet: signed requests, DPoP proofs and device information.

Written down from the SDKs' sources: npm @authgear/react-native 2.14.0, authgear-sdk-ios 01748e7, authgear-sdk-android
968c019 and authgear-sdk-flutter 4dc7831. Swift and Objective-C leave the order of a dictionary open: there it is one
of those that they produce.
"""

from base64 import urlsafe_b64encode
from collections.abc import Callable
from decimal import Decimal
from json import dumps
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

TYPE = "vnd.authgear.anonymous-request"
DPOP = "dpop+jwt"
APPLE_KEY_ID = "4ABDD8A7-2102-4AA0-A229-299456A45B33"  # NSUUID and Swift's UUID: upper case
JAVA_KEY_ID = "4abdd8a7-2102-4aa0-a229-299456a45b33"  # java.util.UUID: lower case

Object = dict[str, Any]
Sample = Callable[[RSAPrivateKey, str, str, str, bool, float], str]


# --- JSON and JWS as the platforms write them ---------------------------------------------------------------------


def java_double(number: float) -> str:
    """org.json of Android: a whole number without a fraction, others as Double.toString, from 10⁷ with an exponent."""
    if number == int(number):
        return str(int(number))
    if abs(number) < 10**7:
        return repr(number)
    parts = Decimal(repr(number)).as_tuple()
    first, *others = (str(digit) for digit in parts.digits)
    return f"{first}.{''.join(others) or '0'}E{len(parts.digits) + int(parts.exponent) - 1}"


def write(value: Any, *, slash: str = "/", double: Callable[[float], str] = repr) -> str:
    """JSON without spaces, the members in their order, nothing escaped but what must be, and perhaps the slash."""
    if isinstance(value, dict):
        members = (f"{write(k)}:{write(v, slash=slash, double=double)}" for k, v in value.items())
        return "{" + ",".join(members) + "}"
    if isinstance(value, str):
        return dumps(value, ensure_ascii=False).replace("/", slash)
    return double(value) if isinstance(value, float) else dumps(value)


def escaped(value: Any) -> str:
    """JSONEncoder and NSJSONSerialization of Apple escape every slash."""
    return write(value, slash="\\/")


def java_escaped(value: Any) -> str:
    """So does org.json of Android."""
    return write(value, slash="\\/", double=java_double)


def base64url(octets: bytes) -> str:
    """None of the SDKs pads."""
    return urlsafe_b64encode(octets).rstrip(b"=").decode()


def number(value: int, *, leading_zero: bool = False) -> str:
    """`leading_zero` is BigInteger.toByteArray, which makes room for a sign."""
    return base64url(value.to_bytes((value.bit_length() + 7) // 8 + leading_zero, "big"))


def compact(
    key: RSAPrivateKey | EllipticCurvePrivateKey, header: Object, payload: Object, json: Callable[[Any], str] = write
) -> str:
    signed = ".".join(base64url(json(part).encode()) for part in (header, payload))
    if isinstance(key, RSAPrivateKey):
        signature = key.sign(signed.encode(), PKCS1v15(), SHA256())
    else:
        signature = b"".join(
            part.to_bytes(32, "big") for part in decode_dss_signature(key.sign(signed.encode(), ECDSA(SHA256())))
        )
    return f"{signed}.{base64url(signature)}"


def rsa_jwk(key: RSAPrivateKey, kid: str, *, leading_zero: bool = False) -> Object:
    numbers = key.public_key().public_numbers()
    n, e = number(numbers.n, leading_zero=leading_zero), number(numbers.e)
    return {"kid": kid, "alg": "RS256", "kty": "RSA", "n": n, "e": e}


def in_order(value: Object, *names: str) -> Object:
    assert set(value) == set(names)
    return {name: value[name] for name in names}


# --- the signed anonymous request ---------------------------------------------------------------------------------


def react_native(key: RSAPrivateKey, kid: str, challenge: str, action: str, new: bool, now: float) -> str:
    """@authgear/react-native 2.14.0, src/index.ts authenticateAnonymously and promoteAnonymousUser, src/jwt.ts, and
    getAnonymousKey of AuthgearReactNativeModule.java: `jwk` only with a key that was just made."""
    jwk = {"jwk": rsa_jwk(key, kid)} if new else {}
    header = {"typ": TYPE, "kid": kid, "alg": "RS256"} | jwk
    return compact(key, header, {"iat": int(now), "exp": int(now) + 60, "challenge": challenge, "action": action})


def react_native_ios(key: RSAPrivateKey, kid: str, challenge: str, action: str, new: bool, now: float) -> str:
    """The same with AGAuthgearReactNative.m of 2.14.0: the members of an NSDictionary, with `kid` put in last."""
    jwk = {"jwk": in_order(rsa_jwk(key, kid), "alg", "kty", "n", "e", "kid")} if new else {}
    header = {"typ": TYPE, "alg": "RS256"} | jwk | {"kid": kid}
    return compact(key, header, {"iat": int(now), "exp": int(now) + 60, "challenge": challenge, "action": action})


def react_native_android_2_10(key: RSAPrivateKey, kid: str, challenge: str, action: str, new: bool, now: float) -> str:
    """AuthgearReactNativeModule.java before 36dfc7f1 (2024-07-18, released in 2.11.0): a zero octet before `n`."""
    jwk = {"jwk": rsa_jwk(key, kid, leading_zero=True)} if new else {}
    header = {"typ": TYPE, "kid": kid, "alg": "RS256"} | jwk
    return compact(key, header, {"iat": int(now), "exp": int(now) + 60, "challenge": challenge, "action": action})


def ios(key: RSAPrivateKey, kid: str, challenge: str, action: str, new: bool, now: float) -> str:
    """authgear-sdk-ios 01748e7, Sources/JWT.swift and Authgear.swift:878-983; the order is that of the vector in
    Authgear's own end-to-end tests. `jwk` only with a key that was just made."""
    jwk = {"jwk": in_order(rsa_jwk(key, kid), "kid", "kty", "alg", "n", "e")} if new else {}
    times = {"iat": int(now), "exp": int(now) + 60}
    payload = {"device_info": ios_device_info(), "challenge": challenge} | times | {"action": action}
    return compact(key, {"kid": kid, "alg": "RS256", "typ": TYPE} | jwk, payload, escaped)


def android(key: RSAPrivateKey, kid: str, challenge: str, action: str, new: bool, now: float) -> str:
    """authgear-sdk-android 968c019, AuthgearCore.kt:181-231 and 456-490, JWT.kt: `jwk` always, new or not."""
    header = {"typ": TYPE, "kid": kid, "alg": "RS256", "jwk": rsa_jwk(key, kid)}
    return compact(key, header, android_payload(challenge, action, now))


def android_2(key: RSAPrivateKey, kid: str, challenge: str, action: str, new: bool, now: float) -> str:
    """authgear-sdk-android before be60846 (2024-07-16, released in 3.0.0): a zero octet before `n`. The app's update
    spells the same stored key without it."""
    header = {"typ": TYPE, "kid": kid, "alg": "RS256", "jwk": rsa_jwk(key, kid, leading_zero=True)}
    return compact(key, header, android_payload(challenge, action, now))


def android_payload(challenge: str, action: str, now: float) -> Object:
    times = {"iat": int(now), "exp": int(now) + 60}
    return times | {"challenge": challenge, "action": action, "device_info": android_device_info()}


def flutter_android(key: RSAPrivateKey, kid: str, challenge: str, action: str, new: bool, now: float) -> str:
    """authgear-sdk-flutter 4dc7831, lib/src/container.dart:981-1190 and AuthgearPlugin.kt:927-1006: `jwk` always, times
    in milliseconds / 1000 as org.json writes a double (`1.753000000123E9`), members in the order of a HashMap."""
    jwk = in_order(rsa_jwk(key, kid), "kty", "alg", "e", "n", "kid")
    payload = {"challenge": challenge, "action": action, "exp": milliseconds(now) + 300, "iat": milliseconds(now)}
    return compact(key, {"typ": TYPE, "alg": "RS256", "kid": kid, "jwk": jwk}, payload, java_escaped)


def flutter_ios(key: RSAPrivateKey, kid: str, challenge: str, action: str, new: bool, now: float) -> str:
    """authgear-sdk-flutter 4dc7831, lib/src/container.dart:981-1190 and SwiftAuthgearPlugin.swift:772-885."""
    jwk = in_order(rsa_jwk(key, kid), "alg", "n", "kid", "e", "kty")
    payload = {"action": action, "iat": milliseconds(now), "challenge": challenge, "exp": milliseconds(now) + 300}
    return compact(key, {"alg": "RS256", "jwk": jwk, "kid": kid, "typ": TYPE}, payload, escaped)


def flutter_android_3(key: RSAPrivateKey, kid: str, challenge: str, action: str, new: bool, now: float) -> str:
    """authgear-sdk-flutter before 1d196eb (2024-07-17, released in 4.0.0): a zero octet before `n`."""
    jwk = in_order(rsa_jwk(key, kid, leading_zero=True), "kty", "alg", "e", "n", "kid")
    payload = {"challenge": challenge, "action": action, "exp": milliseconds(now) + 300, "iat": milliseconds(now)}
    return compact(key, {"typ": TYPE, "alg": "RS256", "kid": kid, "jwk": jwk}, payload, java_escaped)


def milliseconds(now: float) -> float:
    """`DateTime.now().toUtc().millisecondsSinceEpoch / 1000` of Dart."""
    return int(now * 1000) / 1000


# Which key ID belongs to which: SAMPLES["ios"][1] is how that platform spells a UUID.
SAMPLES: dict[str, tuple[Sample, str]] = {
    "react-native": (react_native, JAVA_KEY_ID),
    "react-native-ios": (react_native_ios, APPLE_KEY_ID),
    "react-native-android-2.10": (react_native_android_2_10, JAVA_KEY_ID),
    "ios": (ios, APPLE_KEY_ID),
    "android": (android, JAVA_KEY_ID),
    "android-2": (android_2, JAVA_KEY_ID),
    "flutter-android": (flutter_android, JAVA_KEY_ID),
    "flutter-android-3": (flutter_android_3, JAVA_KEY_ID),
    "flutter-ios": (flutter_ios, APPLE_KEY_ID),
}
# These send `jwk` with every request, so that an unknown key ID is never a dead end.
ALWAYS_WITH_JWK = {"android", "android-2", "flutter-android", "flutter-android-3", "flutter-ios"}


# --- DPoP ---------------------------------------------------------------------------------------------------------


def react_native_dpop(key: RSAPrivateKey, kid: str, method: str, url: str, jti: str, now: float) -> str:
    """@authgear/react-native 2.14.0, authgear-core/src/dpop.ts and signWithDPoPPrivateKey of
    AuthgearReactNativeModule.java: a HashMap's order, org.json's slashes."""
    jwk = in_order(rsa_jwk(key, kid), "kty", "e", "kid", "alg", "n")
    payload = {"htm": method, "htu": url, "exp": int(now) + 300, "iat": int(now), "jti": jti}
    return compact(key, {"kid": kid, "typ": DPOP, "alg": "RS256", "jwk": jwk}, payload, java_escaped)


def react_native_ios_dpop(key: RSAPrivateKey, kid: str, method: str, url: str, jti: str, now: float) -> str:
    """The same with AGAuthgearReactNative.m signDPoPJWT: keys sorted."""
    jwk = in_order(rsa_jwk(key, kid), "alg", "e", "kid", "kty", "n")
    payload = {"exp": int(now) + 300, "htm": method, "htu": url, "iat": int(now), "jti": jti}
    return compact(key, {"alg": "RS256", "jwk": jwk, "kid": kid, "typ": DPOP}, payload, escaped)


def ios_dpop(key: EllipticCurvePrivateKey, kid: str, method: str, url: str, jti: str, now: float) -> str:
    """authgear-sdk-ios 01748e7, Sources/dpop/DefaultDPoPProvider.swift: ES256, the key lives in the Secure Enclave."""
    numbers = key.public_key().public_numbers()
    x, y = (base64url(value.to_bytes(32, "big")) for value in (numbers.x, numbers.y))
    jwk = {"kid": kid, "kty": "EC", "alg": "ES256", "x": x, "y": y, "crv": "P-256"}
    payload = {"iat": int(now), "exp": int(now) + 60, "jti": jti, "htm": method, "htu": url}
    return compact(key, {"typ": DPOP, "kid": kid, "alg": "ES256", "jwk": jwk}, payload, escaped)


def android_dpop(key: RSAPrivateKey, kid: str, method: str, url: str, jti: str, now: float) -> str:
    """authgear-sdk-android 968c019, dpop/DefaultDPoPProvider.kt and JWT.kt."""
    payload = {"iat": int(now), "exp": int(now) + 60, "jti": jti, "htu": url, "htm": method}
    return compact(key, {"typ": DPOP, "kid": kid, "alg": "RS256", "jwk": rsa_jwk(key, kid)}, payload)


def flutter_android_dpop(key: RSAPrivateKey, kid: str, method: str, url: str, jti: str, now: float) -> str:
    """authgear-sdk-flutter 4dc7831, lib/src/dpop.dart and AuthgearPlugin.kt:939-1006: times are doubles here too."""
    jwk = in_order(rsa_jwk(key, kid), "kty", "alg", "e", "n", "kid")
    times = {"exp": milliseconds(now) + 300, "iat": milliseconds(now)}
    payload = {"htm": method, "htu": url} | times | {"jti": jti}
    return compact(key, {"typ": DPOP, "alg": "RS256", "kid": kid, "jwk": jwk}, payload, java_escaped)


# --- device information -------------------------------------------------------------------------------------------


def ios_device_info() -> Object:
    """authgear-sdk-ios 01748e7, Sources/DeviceInfo.swift; in React Native and Flutter it is the same."""
    version = "Darwin Kernel Version 24.5.0: Tue Apr 22 19:48:46 PDT 2025; root:xnu-11417.122.4~1/RELEASE_ARM64_T8110"
    uname = {"machine": "iPhone14,5", "nodename": "Adas-iPhone", "release": "24.5.0", "sysname": "Darwin"}
    device = {"name": "Ada’s iPhone", "systemName": "iOS", "systemVersion": "18.5", "model": "iPhone"}
    names = {"CFBundleIdentifier": "com.example.guestbook", "CFBundleName": "Guestbook"}
    program = {"CFBundleDisplayName": "Gästebuch", "CFBundleExecutable": "Guestbook"}
    return {
        "ios": {
            "uname": uname | {"version": version},
            "UIDevice": device | {"userInterfaceIdiom": "phone"},
            "NSProcessInfo": {"isMacCatalystApp": False, "isiOSAppOnMac": False},
            "NSBundle": names | program | {"CFBundleShortVersionString": "1.2.0", "CFBundleVersion": "42"},
        }
    }


def android_device_info() -> Object:
    """authgear-sdk-android 968c019, DeviceInfo.kt; in React Native and Flutter it is the same."""
    version = {"BASE_OS": "", "CODENAME": "REL", "INCREMENTAL": "11756739", "PREVIEW_SDK_INT": "0", "RELEASE": "14"}
    sdk = {"RELEASE_OR_CODENAME": "14", "SDK": "34", "SDK_INT": "34", "SECURITY_PATCH": "2024-06-05"}
    build = {"BOARD": "husky", "BRAND": "google", "MODEL": "Pixel 8 Pro", "DEVICE": "husky"}
    maker = {"DISPLAY": "AP1A.240505.005", "HARDWARE": "husky", "MANUFACTURER": "Google", "PRODUCT": "husky"}
    package = {"packageName": "com.example.guestbook", "versionName": "1.2.0", "versionCode": "42"}
    return {
        "android": {
            "Build": build | maker | {"VERSION": version | sdk},
            "PackageInfo": package | {"longVersionCode": "42"},
            "Settings": {
                "Secure": {"bluetooth_name": "", "ANDROID_ID": "9774d56d682e549c"},
                "Global": {"DEVICE_NAME": "Ada’s Pixel 8"},
            },
            "ApplicationInfoLabel": "Gästebuch",
        }
    }


def x_device_info(info: Object, json: Callable[[Any], str] = write) -> str:
    """The form's `x_device_info`. iOS writes it with `escaped`."""
    return base64url(json(info).encode())
