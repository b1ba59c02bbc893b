// The unmodified @authgear/react-native in Node: a phone without a screen, told what to do by JSON lines on stdin.
//
//   {"id": 1, "call": "authenticateAnonymously", "args": []}   a method of the SDK's container
//   {"id": 1, "do": "restart"}                                 something of this phone, see `phone`
//   → {"id": 1, "value": …} or {"id": 1, "failure": {…}}
//
// Commands run at once, answers come as they are ready. What a phone shows to its user is asked for:
//   → {"event": "openAuthorizeURL" | "openURL", "show": 1, "url": …, "callbackURL": …}
//   {"shown": 1, "value": redirectURI} or {"shown": 1, "reject": "CANCEL"}
//
// The native module does what AGAuthgearReactNative.m and AuthgearReactNativeModule.java of 2.14.0 do.

const crypto = require("node:crypto");
const dns = require("node:dns");
const Module = require("node:module");
const readline = require("node:readline");

const [platform, dpopSupported] = process.argv.slice(2);
const isIOS = platform === "ios";
const storage = new Map(); // Keychain, EncryptedSharedPreferences
const keys = new Map(); // Keychain, AndroidKeyStore
const requests = []; // what went over the network
const shown = new Map();
let ahead = 0; // milliseconds that the phone's clock is ahead
let meeting = null; // requests that wait for each other

const print = (message) => process.stdout.write(JSON.stringify(message) + "\n");

// --- the clock and the network ------------------------------------------------------------------

dns.setDefaultResultOrder("ipv4first"); // Django's live server listens there only

const RealDate = Date;
globalThis.Date = class Date extends RealDate {
  constructor(...args) {
    super(...(args.length ? args : [RealDate.now() + ahead]));
  }
  static now() {
    return RealDate.now() + ahead;
  }
};

const realFetch = globalThis.fetch;
globalThis.fetch = async (request) => {
  const { method, url } = request;
  const entry = { method, url, headers: Object.fromEntries(request.headers), body: await request.clone().text() };
  requests.push(entry);
  if (meeting?.path === new URL(url).pathname) {
    await arrive(meeting);
  }
  const response = await realFetch(request);
  entry.status = response.status;
  return response;
};

function arrive({ count, waiting }) {
  return new Promise((go) => {
    waiting.push(go);
    if (waiting.length === count) {
      meeting = null;
      waiting.forEach((go) => go());
    }
  });
}

// --- the native module --------------------------------------------------------------------------

const base64url = (data) => Buffer.from(data).toString("base64url");
const uuid = () => (isIOS ? crypto.randomUUID().toUpperCase() : crypto.randomUUID());
const sha256 = (data) => crypto.createHash("sha256").update(data).digest();
const tag = (kind, kid) => `com.authgear.keys.${kind}.${kid}`;

async function generateKey(name) {
  const { privateKey } = await new Promise((resolve, reject) =>
    crypto.generateKeyPair("rsa", { modulusLength: 2048 }, (error, publicKey, privateKey) =>
      error ? reject(error) : resolve({ privateKey })
    )
  );
  keys.set(name, privateKey);
  return privateKey;
}

function publicJWK(privateKey, kid) {
  const { n, e } = crypto.createPublicKey(privateKey).export({ format: "jwk" });
  return { kid, alg: "RS256", kty: "RSA", n, e };
}

function load(name) {
  const key = keys.get(name);
  if (key == null) {
    throw Object.assign(new Error("key not found"), { code: "EUNSPECIFIED" });
  }
  return key;
}

const sign = (key, data) => base64url(crypto.sign("sha256", Buffer.from(data), key));

function show(event, details) {
  return new Promise((resolve, reject) => {
    const id = shown.size + 1;
    shown.set(id, { resolve, reject });
    print({ event, show: id, ...details });
  });
}

const AuthgearReactNative = {
  storageGetItem: async (key) => storage.get(key) ?? null,
  storageSetItem: async (key, value) => void storage.set(key, value),
  storageDeleteItem: async (key) => void storage.delete(key),
  getDeviceInfo: async () => (isIOS ? deviceInfoOfIOS : deviceInfoOfAndroid),
  randomBytes: async (length) => [...crypto.randomBytes(length)],
  sha256String: async (input) => [...sha256(input)],
  generateUUID: async () => uuid(),
  openAuthorizeURL: (url, callbackURL, prefersEphemeral) =>
    show("openAuthorizeURL", { url, callbackURL, prefersEphemeral }),
  openURL: (url) => show("openURL", { url }),
  dismiss: async () => null,
  registerWechatRedirectURI: async () => null,
  // A key that is not there is made anew, under the same ID.
  getAnonymousKey: async (kid) => {
    const id = kid ?? uuid();
    const name = tag("anonymous", id);
    if (keys.has(name)) {
      return { kid: id, alg: "RS256" };
    }
    const jwk = publicJWK(await generateKey(name), id);
    return { kid: id, alg: "RS256", jwk };
  },
  signAnonymousToken: async (kid, data) => sign(load(tag("anonymous", kid)), data),
  removeBiometricPrivateKey: async () => null,
  checkDPoPSupported: async () => dpopSupported, // a string, since Objective-C has no booleans
  createDPoPPrivateKey: async ({ kid }) => void (await generateKey(tag("dpop", kid))),
  signWithDPoPPrivateKey: async ({ kid, payload }) => {
    const key = load(tag("dpop", kid));
    const header = { typ: "dpop+jwt", kid, alg: "RS256", jwk: publicJWK(key, kid) };
    // NSJSONSerialization and org.json escape slashes.
    const parts = [header, payload].map((part) => base64url(JSON.stringify(part).replaceAll("/", "\\/")));
    const data = parts.join(".");
    return `${data}.${sign(key, data)}`;
  },
  checkDPoPPrivateKey: async ({ kid }) => String(keys.has(tag("dpop", kid))),
  computeDPoPJKT: async ({ kid }) => {
    const { e, kty, n } = publicJWK(load(tag("dpop", kid)), kid);
    return base64url(sha256(JSON.stringify({ e, kty, n })));
  },
};

const deviceInfoOfIOS = {
  ios: {
    uname: { machine: "iPhone14,5", nodename: "Adas-iPhone", release: "24.5.0", sysname: "Darwin", version: "Darwin" },
    UIDevice: {
      name: "Ada’s iPhone",
      systemName: "iOS",
      systemVersion: "18.5",
      model: "iPhone",
      userInterfaceIdiom: "phone",
    },
    NSProcessInfo: { isMacCatalystApp: false, isiOSAppOnMac: false },
    NSBundle: {
      CFBundleIdentifier: "com.example.guestbook",
      CFBundleName: "Guestbook",
      CFBundleDisplayName: "Gästebuch",
      CFBundleExecutable: "Guestbook",
      CFBundleShortVersionString: "1.2.0",
      CFBundleVersion: "42",
    },
  },
};

const deviceInfoOfAndroid = {
  android: {
    Build: {
      BOARD: "husky",
      BRAND: "google",
      MODEL: "Pixel 8 Pro",
      DEVICE: "husky",
      DISPLAY: "AP1A.240505.005",
      HARDWARE: "husky",
      MANUFACTURER: "Google",
      PRODUCT: "husky",
      VERSION: {
        BASE_OS: "",
        CODENAME: "REL",
        INCREMENTAL: "11756739",
        PREVIEW_SDK_INT: "0",
        RELEASE: "14",
        RELEASE_OR_CODENAME: "14",
        SDK: "34",
        SDK_INT: "34",
        SECURITY_PATCH: "2024-06-05",
      },
    },
    PackageInfo: {
      packageName: "com.example.guestbook",
      versionName: "1.2.0",
      versionCode: "42",
      longVersionCode: "42",
    },
    Settings: {
      Secure: { bluetooth_name: "", ANDROID_ID: "9774d56d682e549c" },
      Global: { DEVICE_NAME: "Ada’s Pixel 8" },
    },
    ApplicationInfoLabel: "Gästebuch",
  },
};

const reactNative = {
  NativeModules: { AuthgearReactNative },
  NativeEventEmitter: class {
    addListener() {
      return { remove() {} };
    }
  },
  Platform: { OS: platform },
};

const load_ = Module._load;
Module._load = (request, ...others) => (request === "react-native" ? reactNative : load_(request, ...others));
const sdk = require("@authgear/react-native");

// --- the phone ----------------------------------------------------------------------------------

const containers = [];
let configuration;

const phone = {
  configure: async (options) => {
    configuration = options;
    await phone.restart();
  },
  // The app is started again, or a second one shares the storage: what is in memory is new, what is stored is there.
  restart: async (index = 0) => {
    containers[index] = new sdk.ReactNativeContainer();
    await containers[index].configure(configuration);
  },
  state: async () => {
    const { sessionState, accessToken } = containers[0];
    const canReauthenticate = containers[0].canReauthenticate();
    const idToken = containers[0].getIDTokenHint() ?? null;
    return { sessionState, accessToken: accessToken ?? null, canReauthenticate, idToken };
  },
  storage: async () => Object.fromEntries(storage),
  store: async (key, value) => void (value === null ? storage.delete(key) : storage.set(key, value)),
  loseKey: async (kind, kid) => keys.delete(tag(kind, kid)),
  requests: async () => requests.splice(0),
  // The next requests for a path leave together, when `count` of them are there.
  meet: async (path, count) => void (meeting = { path, count, waiting: [] }),
  setClockAhead: async (seconds) => void (ahead = seconds * 1000),
  fetch: async (url) => {
    const response = await containers[0].fetch(url);
    return { status: response.status, body: await response.text() };
  },
};

function failureOf(e) {
  const cls = ["CancelError", "ServerError", "OAuthError", "AuthgearError"].find((name) => e instanceof sdk[name]);
  const text = (value) => (typeof value === "string" ? value : null);
  const cause = e.underlyingError ?? e.cause;
  return {
    cls: cls ?? e.constructor.name,
    name: text(e.name),
    message: text(e.message) || String(cause?.stack ?? cause ?? ""),
    reason: text(e.reason),
    error: text(e.error),
  };
}

readline.createInterface({ input: process.stdin }).on("line", async (line) => {
  const { id, call, do: action, args = [], container = 0, ...answer } = JSON.parse(line);
  if (answer.shown != null) {
    const { resolve, reject } = shown.get(answer.shown);
    answer.reject ? reject({ code: answer.reject }) : resolve(answer.value);
    return;
  }
  try {
    const value = action ? await phone[action](...args) : await containers[container][call](...args);
    print({ id, value: value ?? null });
  } catch (e) {
    print({ id, failure: failureOf(e) });
  }
});
