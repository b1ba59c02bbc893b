// What the checks of all SDKs share, in Node and in a page alike. Their wrong results are told as text.
//
//   kit.check("1", "a guest logs in", async () => { … })   rows of realm.md §10
//   await kit.run(config) → [{rows, title, wrong}]          `wrong` is null where all is well
//
// config: {sdk, version, base, home, app}. `base` is what the SDK is told, `home` what the server says of itself; with
// `only` one check is run, by its title.

globalThis.kit = (() => {
  const PREFIX = "/api/client/v2.0";
  const PASSWORD = "correct horse 1";
  const TIMEOUT = 20_000; // milliseconds that a check may take
  // A well-formed JWT with a signature of nobody's, expired in 2017.
  const FORGED = [
    { alg: "HS256", typ: "JWT" },
    { sub: "59ad4d5b4deeba0bb1b5c0b8", typ: "access", iat: 1_500_000_000, exp: 1_500_001_800 },
    { nobody: true },
  ]
    .map((part) => btoa(JSON.stringify(part)).replace(/=+$/, ""))
    .join(".");

  const checks = [];
  let config;
  let addresses = 0;

  const sorted = (value) =>
    value && typeof value === "object" && !Array.isArray(value)
      ? Object.fromEntries(Object.keys(value).sort().map((key) => [key, value[key]]))
      : value;
  const text = (value) => (value === undefined ? "undefined" : JSON.stringify(value, (_, inner) => sorted(inner)));

  function equal(actual, expected, what = "value") {
    if (text(actual) !== text(expected)) {
      throw new Error(`${what} is ${text(actual)}, not ${text(expected)}`);
    }
  }

  function ok(condition, what) {
    if (!condition) {
      throw new Error(what);
    }
  }

  // What a promise is rejected with.
  async function rejected(promise) {
    let value;
    try {
      value = await promise;
    } catch (error) {
      return error;
    }
    throw new Error(`resolved to ${text(value)}, but should be rejected`);
  }

  async function control(path, body) {
    const response = await fetch(`${config.base}/_test/${path}`, { method: "POST", body: JSON.stringify(body ?? []) });
    return response.json();
  }

  // Something that an operator does; see `actions` in conftest.py.
  const operator = (name, ...args) => control("do", [name, ...args]);

  // What came to the server since somebody looked last, without preflights.
  async function requests() {
    const all = await control("seen");
    for (const { method, path, status } of all) {
      ok(method !== "OPTIONS" || (status >= 200 && status < 300), `the preflight of ${path} got ${status}`);
    }
    return all.filter(({ method }) => method !== "OPTIONS");
  }

  function line({ method, path, query, kind }) {
    const short = path.replace(PREFIX, "").replace(`/app/${config.app}`, "{a}");
    return `${method} ${short}${query && !query.startsWith("device=") ? `?${query}` : ""} ${kind}`;
  }

  // The same as lines: method, path without what all have in common, kind of token (A, R, -).
  const seen = async () => (await requests()).map(line);

  // A request that no SDK makes.
  async function http(method, path, token, body) {
    const headers = { "Content-Type": "application/json", ...(token ? { Authorization: `Bearer ${token}` } : {}) };
    const response = await fetch(config.base + PREFIX + path, {
      method,
      headers,
      ...(body ? { body: JSON.stringify(body) } : {}),
    });
    const content = await response.text();
    return { status: response.status, body: content ? JSON.parse(content) : null };
  }

  // A guest of Authgear's SDK: { access_token, refresh_token }.
  async function guestOfAuthgear() {
    const response = await fetch(`${config.home}/api/anonymous_user/signup`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ session_type: "refresh_token", client_id: "sdk-refresh-token" }),
    });
    const { result } = await response.json();
    await requests();
    return result;
  }

  const late = () => new Promise((_, reject) => setTimeout(() => reject(new Error("it takes too long")), TIMEOUT));

  async function run(given) {
    config = kit.config = given;
    kit.suite(config);
    const report = [];
    const wanted = checks.filter(({ title }) => !config.only || title === config.only);
    for (const { rows, title, steps } of wanted) {
      await kit.reset();
      await control("seen");
      let wrong = null;
      try {
        await Promise.race([steps(), late()]);
      } catch (error) {
        wrong = `${error.message || error} (${String(error.stack).split("\n").slice(1, 4).join("").trim()})`;
        wrong += ` after ${text((await control("seen")).map((one) => `${line(one)} → ${one.status} ${one.answer}`))}`;
      }
      report.push({ rows, title, wrong });
    }
    return report;
  }

  return {
    FORGED,
    PASSWORD,
    check: (rows, title, steps) => void checks.push({ rows, title, steps }),
    email: () => `guest-${++addresses}@example.com`,
    claims: (token) => JSON.parse(atob(token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/"))),
    equal,
    ok,
    rejected,
    operator,
    requests,
    seen,
    http,
    guestOfAuthgear,
    run,
    types: (identities) => identities.map((one) => one.providerType ?? one.provider_type),
  };
})();
